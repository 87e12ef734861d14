//! The document at /openapi.json against the program that serves it: it keeps to OpenAPI
//! 3.1, describes what is there, and every answer is what it says. And the lists: page by
//! page the same as at once, by the rules that the document tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::filled::{Answered, ask, event, filled};
use super::program::{Program, eventually};

/// Every list: its address, where its items are, and what tells them apart.
const LISTS: [(&str, &str, &[&str]); 11] = [
    ("/v1/volume?window=1h&by=platform", "cells", &["start", "platform"]),
    ("/v1/trends", "trends", &["subject", "since"]),
    ("/v1/stories", "stories", &["id"]),
    ("/v1/search?q=whale", "hits", &["id"]),
    ("/v1/digests", "items", &["key"]),
    ("/v1/digests/preview", "items", &["digest.route"]),
    ("/v1/alerts", "items", &["key"]),
    ("/v1/outbox", "items", &["key"]),
    ("/v1/dead-letters", "items", &["topic", "partition", "offset"]),
    ("/v1/sources", "sources", &["key"]),
    ("/v1/topics", "topics", &["topic"]),
];
const RECORDS: &str = "/v1/topics/dead.letters/records";

/// The schemas of a document, for validation.
struct Schemas(Value);

impl Schemas {
    fn of(document: &Value) -> Self {
        Self(document["components"].clone())
    }

    fn check(&self, schema: &Value, what: &str, value: &Value) {
        let whole = json!({ "allOf": [schema], "components": self.0 });
        let validator = jsonschema::draft202012::new(&whole).expect("a schema");
        let errors: Vec<String> =
            validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what} is not what the document says: {errors:#?}\n{value:#}");
    }
}

/// Path, method and description of every operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("operations").clone();
        item.into_iter().map(|(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

fn parameters(operation: &Value) -> Vec<Value> {
    operation["parameters"].as_array().cloned().unwrap_or_default()
}

#[test]
fn the_document_is_right_and_every_answer_is_what_it_says() {
    let program = filled();
    let document = ask(&program, "GET", "/openapi.json", "").expect_status(200).body.clone();
    keeps_to_the_specification(&document);
    let schemas = Schemas::of(&document);
    let described: BTreeSet<String> = document["paths"].as_object().expect("paths").keys().cloned().collect();
    for (path, ..) in LISTS {
        let path = path.split('?').next().expect("a path");
        assert!(described.contains(path), "{path} is not described");
    }
    eventually("something in every list", || {
        for (path, items, _) in LISTS {
            let answer = program.get(path)?;
            if answer[items].as_array().is_none_or(|items| items.len() < 2) {
                return Err(format!("{path}: {answer}"));
            }
        }
        Ok(())
    });
    let story = program.get("/v1/stories").expect("answers")["stories"][0]["id"].clone();
    let filled = |text: &str| {
        let text = text.replace("{id}", story.as_str().expect("an id")).replace("{component}", "memory");
        text.replace("{topic}", "content.enriched").replace("{key}", "no~such~key")
    };
    let of_parameter = BTreeMap::from([("q", "bread"), ("rule", "bread")]);
    for (path, method, operation) in operations(&document) {
        let what = format!("{method} {path}");
        let needed =
            parameters(&operation).into_iter().filter(|p| p["in"] == "query" && p["required"] == true);
        let needed: Vec<String> = needed
            .map(|p| p["name"].as_str().expect("a name").to_string())
            .map(|name| format!("{name}={}", of_parameter[name.as_str()]))
            .collect();
        let asked = format!("{}?{}", filled(&path), needed.join("&"));
        let body = match path.as_str() {
            "/v1/events" => event("forum", 9_000, 1, "One more about bread.").to_string(),
            "/v1/outbox/{key}/resolve" => json!({ "action": "drop" }).to_string(),
            _ => String::new(),
        };
        let answer = ask(&program, &method.to_uppercase(), &asked, &body);
        assert_ne!(answer.body["detail"], "no such resource", "{what} is described and not served");
        let response = resolved(&document, &operation["responses"][answer.status.to_string()]);
        let of_kind = answer.kind.split(';').next().expect("a kind");
        let schema = response["content"]
            .as_object()
            .and_then(|kinds| kinds.iter().find(|(kind, _)| kind.split(';').next() == Some(of_kind)))
            .unwrap_or_else(|| panic!("{what}: {} as {of_kind} is not described", answer.status));
        if of_kind.contains("json") {
            schemas.check(&schema.1["schema"], &what, &answer.body);
        }
        let is_refused = path == "/v1/outbox/{key}/resolve";
        assert_eq!(answer.status >= 400, is_refused, "{what}: {}", answer.body);
        if parameters(&operation).iter().any(|p| p["in"] == "query") {
            let refused = ask(&program, &method.to_uppercase(), &format!("{asked}&limits=1"), &body);
            refused.expect_status(400);
            let detail = refused.body["detail"].as_str().expect("a detail");
            assert!(detail.starts_with("unknown parameter \"limits\": is it "), "{what}: {detail}");
            schemas.check(&json!({ "$ref": "#/components/schemas/Problem" }), &what, &refused.body);
        }
    }
    let every_sample = json!({ "lines": "text" });
    let wrong = std::panic::catch_unwind(|| {
        schemas.check(&json!({ "$ref": "#/components/schemas/Receipt" }), "a wrong answer", &every_sample);
    });
    assert!(wrong.is_err(), "a wrong answer is found");
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("inside of the document");
            document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

/// What OpenAPI 3.1 asks of the parts that we use.
fn keeps_to_the_specification(document: &Value) {
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    for member in ["title", "version"] {
        assert!(document["info"][member].is_string(), "info.{member}");
    }
    every_reference_leads_somewhere(document, document);
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(is_name(name) && !name.ends_with(char::is_numeric), "{name} is a name of one type");
        if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
            panic!("{name}: {error}");
        }
    }
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    assert_eq!(
        schemes["bearer"],
        json!({ "type": "http", "scheme": "bearer", "description": schemes["bearer"]["description"] })
    );
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(document) {
        let what = format!("{method} {path}");
        assert!(path.starts_with('/') && ["get", "post"].contains(&method.as_str()), "{what}");
        assert!(ids.insert(operation["operationId"].as_str().expect("an id").to_string()), "{what}");
        let in_path: BTreeSet<String> =
            path.split('{').skip(1).map(|part| part.split('}').next().expect("closed").to_string()).collect();
        let (mut named, mut of_path) = (BTreeSet::new(), BTreeSet::new());
        for parameter in parameters(&operation) {
            let (name, place) = (parameter["name"].as_str().expect("a name"), &parameter["in"]);
            assert!(named.insert((name.to_string(), place.to_string())), "{what}: {name} twice");
            assert!(["path", "query", "header"].iter().any(|known| place == known), "{what}: {name}");
            let ignored = ["accept", "content-type", "authorization"].contains(&&*name.to_lowercase());
            assert!(place != "header" || !ignored, "{what}: {name} is told elsewhere");
            let schema = &parameter["schema"];
            assert!(schema.is_object() && !schema.to_string().contains("null"), "{what}: {name}: {schema}");
            assert!(jsonschema::draft202012::meta::is_valid(&parameter["schema"]), "{what}: {name}");
            if place == "path" {
                assert_eq!(parameter["required"], true, "{what}: {name}");
                of_path.insert(name.to_string());
            }
        }
        assert_eq!(of_path, in_path, "{what}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
        for (status, response) in responses {
            let is_status = status == "default" || (status.len() == 3 && status.parse::<u16>().is_ok());
            assert!(is_status && resolved(document, response)["description"].is_string(), "{what}: {status}");
        }
        for requirement in
            operation["security"].as_array().or(document["security"].as_array()).expect("a list")
        {
            let names = requirement.as_object().expect("schemes").keys();
            assert!(names.into_iter().all(|name| schemes.contains_key(name)), "{what}");
        }
        if operation.get("requestBody").is_some() {
            assert!(
                operation["requestBody"]["content"].as_object().is_some_and(|kinds| !kinds.is_empty()),
                "{what}"
            );
        }
    }
}

fn every_reference_leads_somewhere(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if members.get("$ref").is_some_and(Value::is_string) {
                resolved(document, part);
            }
            members.values().for_each(|member| every_reference_leads_somewhere(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| every_reference_leads_somewhere(document, item)),
        _ => {}
    }
}

#[test]
fn lists_are_the_same_page_by_page_and_keep_to_one_rule() {
    let program = filled();
    let document = program.get("/openapi.json").expect("answers");
    let mut cursors = Vec::new();
    for (path, items, told_by) in
        LISTS.into_iter().chain([(RECORDS, "records", &["partition", "offset"][..])])
    {
        let asked = |rest: &str| {
            let sign = if path.contains('?') { '&' } else { '?' };
            ask(&program, "GET", &format!("{path}{sign}{rest}"), "")
        };
        let ids = |answer: &Answered| -> Vec<Vec<Value>> {
            let items = answer.expect_status(200).body[items].as_array().expect("items").clone();
            let id = |item: Value| {
                let member = |name: &&str| item.pointer(&format!("/{}", name.replace('.', "/"))).cloned();
                told_by.iter().map(|name| member(name).unwrap_or_default()).collect()
            };
            items.into_iter().map(id).collect()
        };
        let template = path.split('?').next().expect("a path").replace("dead.letters/", "{topic}/");
        let limit =
            parameters(&document["paths"][&template]["get"]).into_iter().find(|p| p["name"] == "limit");
        let limit = limit.unwrap_or_else(|| panic!("{path} has no limit"))["schema"].clone();
        let max = limit["maximum"].as_u64().expect("a maximum");
        // What is decided while this looks moves things: the two must agree in the end.
        let cursor = eventually(&format!("{path} by pages"), || {
            let whole = asked(&format!("limit={max}"));
            if !whole.body["cursor"].is_null() || whole.body.get("cursor").is_none() {
                return Err(format!("the last page has a cursor or no place for one: {}", whole.body));
            }
            let (mut seen, mut cursor, mut first) = (Vec::new(), String::new(), None);
            loop {
                let page = asked(&format!("limit=1&cursor={cursor}"));
                seen.extend(ids(&page));
                let Some(next) = page.body["cursor"].as_str() else { break };
                first.get_or_insert(next.to_string());
                cursor = next.to_string();
            }
            let mut whole_seen = ids(&whole);
            if path == RECORDS {
                // In order within a partition alone.
                [&mut seen, &mut whole_seen]
                    .into_iter()
                    .for_each(|ids| ids.sort_by_key(|id| format!("{id:?}")));
            }
            match first {
                Some(first) if seen == whole_seen => Ok(first),
                _ => Err(format!("{seen:?}\n{}", whole.body)),
            }
        });
        for wrong in ["0", "-1", &(max + 1).to_string(), "99999999999999999999999"] {
            let refused = asked(&format!("limit={wrong}"));
            refused.expect_status(400);
            assert_eq!(refused.body["detail"], format!("limit must be between 1 and {max}"), "{path}");
        }
        assert_eq!(limit["minimum"], 1);
        assert!((1..=max).contains(&limit["default"].as_u64().expect("a default")), "{path}");
        for wrong in ["limit=x", "limit=1.5", "cursor=x", "cursor=1", "cursor=%00"] {
            assert_eq!(asked(wrong).expect_status(400).kind, "application/problem+json", "{path}?{wrong}");
        }
        cursors.push(cursor);
    }
    for (n, (path, ..)) in LISTS.into_iter().enumerate() {
        let sign = if path.contains('?') { '&' } else { '?' };
        for (_, cursor) in cursors.iter().enumerate().filter(|(of, _)| *of != n) {
            let foreign = ask(&program, "GET", &format!("{path}{sign}cursor={cursor}"), "");
            foreign.expect_status(400);
            assert!(
                foreign.body["detail"].as_str().is_some_and(|d| d.contains("cursor")),
                "{}",
                foreign.body
            );
        }
    }
}

#[test]
fn a_process_describes_what_it_serves() {
    let program = Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), "source = []\n").expect("can be written");
        command.args(["--set", "embed.enabled=false", "--roles", "poll,serve"]);
    });
    eventually("readiness", || program.get("/readyz"));
    let document = program.get("/openapi.json").expect("answers");
    keeps_to_the_specification(&document);
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/v1/volume") && !paths.contains_key("/v1/alerts"), "{:?}", paths.keys());
    ask(&program, "GET", "/v1/alerts", "").expect_status(404);
}
