//! What is said about one endpoint: parameters, body, answers. From it comes the
//! Operation Object of the document.

use axum::http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::ops::http::{List, PROBLEM_CONTENT_TYPE, Problem};

const JSON: &str = "application/json";

type Generate = fn(&mut SchemaGenerator) -> Schema;

/// The description of one endpoint.
pub struct Operation {
    id: &'static str,
    summary: &'static str,
    query: Option<Generate>,
    list: Option<List>,
    /// Where else a parameter is, its name, and what it is.
    others: Vec<(&'static str, &'static str, &'static str)>,
    body: Vec<(&'static str, Generate)>,
    answers: Vec<Answer>,
    errors: Vec<StatusCode>,
    is_open: bool,
}

struct Answer {
    status: StatusCode,
    text: &'static str,
    content: Vec<(&'static str, Generate)>,
}

/// An operation with its address.
pub(super) struct Place {
    pub method: Method,
    pub path: &'static str,
    pub operation: Operation,
}

impl Operation {
    /// `id` is unique in the document; the summary is a sentence.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        let (others, body, answers, errors) = Default::default();
        Self { id, summary, query: None, list: None, others, body, answers, errors, is_open: false }
    }

    /// The parameters of the query are the fields of this type.
    #[must_use]
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(T::json_schema);
        self
    }

    /// `limit` and `cursor` are those of this list.
    #[must_use]
    pub fn list(mut self, list: &List) -> Self {
        self.list = Some(*list);
        self
    }

    /// What a `{name}` in the path is.
    #[must_use]
    pub fn path(mut self, name: &'static str, text: &'static str) -> Self {
        self.others.push(("path", name, text));
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, text: &'static str) -> Self {
        self.others.push(("header", name, text));
        self
    }

    /// A body of this type is needed; of several kinds one.
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self, content_type: &'static str) -> Self {
        self.body.push((content_type, SchemaGenerator::subschema_for::<T>));
        self
    }

    /// 200 with this type as JSON.
    #[must_use]
    pub fn answers_as<T: JsonSchema>(self, text: &'static str) -> Self {
        self.answers::<T>(StatusCode::OK, JSON, text)
    }

    /// This status with this type; again for another kind of content.
    #[must_use]
    pub fn answers<T: JsonSchema>(
        mut self,
        status: StatusCode,
        content_type: &'static str,
        text: &'static str,
    ) -> Self {
        let content = (content_type, SchemaGenerator::subschema_for::<T> as Generate);
        match self.answers.iter_mut().find(|answer| answer.status == status) {
            Some(answer) => answer.content.push(content),
            None => self.answers.push(Answer { status, text, content: vec![content] }),
        }
        self
    }

    /// Statuses that say something particular here; any other error may come as well.
    #[must_use]
    pub fn fails(mut self, statuses: &[StatusCode]) -> Self {
        self.errors.extend(statuses);
        self
    }

    /// No token is needed.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.is_open = true;
        self
    }
}

impl Place {
    /// The Operation Object.
    pub fn describe(&self, read: &mut SchemaGenerator, written: &mut SchemaGenerator) -> Value {
        let operation = &self.operation;
        let mut described = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "responses": self.responses(written),
        });
        let parameters = self.parameters(read);
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if !operation.body.is_empty() {
            described["requestBody"] = json!({ "required": true, "content": content(&operation.body, read) });
        }
        if operation.is_open {
            described["security"] = json!([]);
        }
        described
    }

    fn responses(&self, written: &mut SchemaGenerator) -> Map<String, Value> {
        let operation = &self.operation;
        let mut responses = Map::new();
        for answer in &operation.answers {
            let content = content(&answer.content, written);
            let response = json!({ "description": answer.text, "content": content });
            responses.insert(answer.status.as_str().to_string(), response);
        }
        let problem = json!({ "$ref": "#/components/responses/Problem" });
        let of_query = operation.query.map(|_| StatusCode::BAD_REQUEST);
        let of_guard = (!operation.is_open).then_some(StatusCode::UNAUTHORIZED);
        for status in operation.errors.iter().copied().chain(of_query).chain(of_guard) {
            // An endpoint may answer a status in a form of its own.
            responses.entry(status.as_str()).or_insert_with(|| problem.clone());
        }
        responses.insert("default".to_string(), problem);
        responses
    }

    fn parameters(&self, read: &mut SchemaGenerator) -> Vec<Value> {
        let others = self.operation.others.iter().map(|(place, name, text)| {
            let required = *place == "path";
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": place, "required": required, "description": text, "schema": schema })
        });
        let mut parameters: Vec<Value> = others.collect();
        let Some(query) = self.operation.query else { return parameters };
        let schema = query(read);
        let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, mut schema) in properties {
            if let Some(list) = &self.operation.list {
                of_list(&name, &mut schema, list);
            }
            let members = schema.as_object_mut().and_then(|members| members.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "schema": given(schema) });
            parameter["required"] = required.contains(&name.into()).into();
            if let Some(description) = members {
                parameter["description"] = description;
            }
            parameters.push(parameter);
        }
        parameters
    }
}

/// `limit` and `cursor` as their list reads them, with what their field says besides.
fn of_list(name: &str, schema: &mut Value, list: &List) {
    let (general, mut whole) = match name {
        "limit" => {
            let (default, maximum) = (list.limit_default, list.limit_max);
            let schema = json!({ "type": "integer", "minimum": 1, "maximum": maximum, "default": default });
            ("Items of one answer.", schema)
        }
        "cursor" => ("`cursor` of the answer before, for the page after it.", json!({ "type": "string" })),
        _ => return,
    };
    let own = schema.get("description").and_then(Value::as_str);
    whole["description"] = own.map_or(general.to_string(), |own| format!("{general} {own}")).into();
    *schema = whole;
}

/// A parameter is left out rather than null.
fn given(mut schema: Value) -> Value {
    if let Some(types) = schema.get_mut("type").filter(|types| types.is_array()) {
        let others: Vec<Value> =
            types.as_array().into_iter().flatten().filter(|t| *t != "null").cloned().collect();
        *types = if others.len() == 1 { others[0].clone() } else { others.into() };
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    if let Some(any) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        any.retain(|one| one.get("type").is_none_or(|t| t != "null"));
    }
    if let Some(members) = schema.as_object_mut()
        && members.get("default").is_some_and(Value::is_null)
    {
        members.remove("default");
    }
    schema
}

fn content(kinds: &[(&'static str, Generate)], generator: &mut SchemaGenerator) -> Map<String, Value> {
    let kind = |(kind, schema): &(&str, Generate)| {
        (kind.to_string(), json!({ "schema": schema(generator).to_value() }))
    };
    kinds.iter().map(kind).collect()
}

/// What every error looks like.
pub(super) fn problem(written: &mut SchemaGenerator) -> Value {
    json!({
        "description": "What went wrong and what to do about it (RFC 9457).",
        "headers": {
            "Retry-After": {
                "description": "Seconds after which a retry makes sense, where one does.",
                "schema": { "type": "integer", "minimum": 0 },
            },
        },
        "content": content(&[(PROBLEM_CONTENT_TYPE, SchemaGenerator::subschema_for::<Problem>)], written),
    })
}
