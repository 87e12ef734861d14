//! What makes a body of a request valid: Discord's documented limits, and its OpenAPI
//! document where it is at hand (`TIDINGS_DISCORD_OPENAPI`, or beside the repository).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// Discord's own document; `None` where there is none on this machine.
static OPENAPI: LazyLock<Option<Value>> = LazyLock::new(|| {
    #[allow(clippy::disallowed_methods)]
    let named = std::env::var("TIDINGS_DISCORD_OPENAPI").ok().filter(|p| !p.is_empty());
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/discord/openapi.json");
    let text = match &named {
        Some(path) => Some(std::fs::read_to_string(path).expect("TIDINGS_DISCORD_OPENAPI can be read")),
        None => std::fs::read_to_string(beside).ok(),
    };
    text.map(|text| serde_json::from_str(&text).expect("the OpenAPI document is JSON"))
});

fn units(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.encode_utf16().count())
}

/// The first limit that the body breaks: Discord answers 400.
pub fn validate(body: &Value, kind: &str) -> Result<(), String> {
    let within = |what: &str, size: usize, max: usize| {
        if size > max { Err(format!("{what}: Must be {max} or fewer in length.")) } else { Ok(()) }
    };
    within("content", units(&body["content"]), 2_000)?;
    let none = Vec::new();
    let embeds = body["embeds"].as_array().unwrap_or(&none);
    within("embeds", embeds.len(), 10)?;
    let mut total = 0;
    for embed in embeds {
        total += embed_size(embed, &within)?;
    }
    within("embeds in all", total, 6_000)?;
    if kind != "edit" && embeds.is_empty() && units(&body["content"]) == 0 {
        return Err("Cannot send an empty message".to_string());
    }
    within("nonce", units(&body["nonce"]), 25)?;
    if let Some(document) = OPENAPI.as_ref() {
        let name = match kind {
            "post" => "IncomingWebhookRequestPartial",
            "create" => "MessageCreateRequest",
            _ => "IncomingWebhookUpdateRequestPartial",
        };
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        conforms(document, &schema, body, name)?;
    }
    Ok(())
}

fn embed_size(
    embed: &Value,
    within: &impl Fn(&str, usize, usize) -> Result<(), String>,
) -> Result<usize, String> {
    let mut total = 0;
    for (text, max) in [
        (&embed["title"], 256),
        (&embed["description"], 4_096),
        (&embed["footer"]["text"], 2_048),
        (&embed["author"]["name"], 256),
    ] {
        within("embed text", units(text), max)?;
        total += units(text);
    }
    let none = Vec::new();
    let fields = embed["fields"].as_array().unwrap_or(&none);
    within("fields", fields.len(), 25)?;
    for field in fields {
        if field["name"].as_str().unwrap_or("").trim().is_empty()
            || field["value"].as_str().unwrap_or("").trim().is_empty()
        {
            return Err("This field is required".to_string());
        }
        within("field name", units(&field["name"]), 256)?;
        within("field value", units(&field["value"]), 1_024)?;
        total += units(&field["name"]) + units(&field["value"]);
    }
    if let Some(url) = embed["url"].as_str() {
        within("url", url.len(), 2_048)?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("Scheme must be one of http, https.".to_string());
        }
    }
    if total == 0 {
        return Err("an embed is empty".to_string());
    }
    Ok(total)
}

/// What Discord would take, and a correct client never sends.
pub fn misdeeds(body: &Value, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    if body["allowed_mentions"]["parse"] != json!([]) {
        found.push(format!("{kind}: allowed_mentions.parse is not empty"));
    }
    if kind == "create" && (body["nonce"].as_str().is_none() || body["enforce_nonce"] != json!(true)) {
        found.push("create: without an enforced nonce".to_string());
    }
    let title = body["embeds"][0]["title"].as_str().unwrap_or("");
    let rings = title.starts_with("Critical") || title.starts_with("Resolved");
    if kind != "edit" && !rings && body["flags"].as_u64().unwrap_or(0) & (1 << 12) == 0 {
        found.push(format!("{kind}: not silent"));
    }
    let none = Vec::new();
    let embeds = body["embeds"].as_array().unwrap_or(&none);
    let urls: Vec<&str> = embeds.iter().filter_map(|e| e["url"].as_str()).collect();
    if urls.iter().collect::<BTreeSet<_>>().len() != urls.len() {
        found.push(format!("{kind}: two embeds have one url and would be merged"));
    }
    let text = body.to_string();
    for trigger in ["@everyone", "@here", "<@", "<#", "discord.gg", "](http", "\u{202e}"] {
        if text.contains(trigger) {
            found.push(format!("{kind}: {trigger:?} is in the body"));
        }
    }
    found
}

/// Enough of JSON Schema for the document: types, references, unions, bounds. Unknown
/// properties are refused, although Discord ignores them.
fn conforms(document: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document
            .pointer(name.trim_start_matches('#'))
            .ok_or_else(|| format!("{name} is not in the document"))?;
        return conforms(document, target, value, path);
    }
    for union in ["oneOf", "anyOf"] {
        if let Some(options) = schema[union].as_array() {
            let fits = options.iter().any(|option| conforms(document, option, value, path).is_ok());
            return if fits { Ok(()) } else { Err(format!("{path}: {value} fits none of its forms")) };
        }
    }
    if let Some(types) = match &schema["type"] {
        Value::String(one) => Some(vec![one.as_str()]),
        Value::Array(all) => Some(all.iter().filter_map(Value::as_str).collect()),
        _ => None,
    } {
        let fits = types.iter().any(|t| match *t {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => false,
        });
        if !fits {
            return Err(format!("{path}: {value} is not {types:?}"));
        }
    }
    bounds(schema, value, path)?;
    if let Some(values) = value.as_array() {
        values
            .iter()
            .enumerate()
            .try_for_each(|(i, v)| conforms(document, &schema["items"], v, &format!("{path}/{i}")))?;
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, inner) in object {
            let property = properties.get(name).ok_or_else(|| format!("{path}: no property {name}"))?;
            conforms(document, property, inner, &format!("{path}/{name}"))?;
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return Err(format!("{path}: {name} is missing"));
            }
        }
    }
    Ok(())
}

fn bounds(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let bad = |what: &str| Err(format!("{path}: {what}"));
    let length = value.as_str().map(|t| t.encode_utf16().count() as u64);
    if length.zip(schema["maxLength"].as_u64()).is_some_and(|(l, max)| l > max) {
        return bad("too long");
    }
    if length.zip(schema["minLength"].as_u64()).is_some_and(|(l, min)| l < min) {
        return bad("too short");
    }
    let items = value.as_array().map(|a| a.len() as u64);
    if items.zip(schema["maxItems"].as_u64()).is_some_and(|(n, max)| n > max) {
        return bad("too many items");
    }
    let number = value.as_i64();
    if number.zip(schema["maximum"].as_i64()).is_some_and(|(n, max)| n > max)
        || number.zip(schema["minimum"].as_i64()).is_some_and(|(n, min)| n < min)
    {
        return bad("out of range");
    }
    Ok(())
}
