//! Tools from operations of an OpenAPI document (<https://spec.openapis.org/oas/v3.1.0>), versions 3.0 and 3.1, as JSON.
//!
//! References within the document are put in place; others, and those that go in circles, are refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Auth, BadTool, HttpMethod, HttpTool, Limits, ToolName};

/// The most operations that are taken at a time.
pub const MAX_OPERATIONS: usize = 50;
/// How deep references may lie in each other.
const MAX_DEPTH: usize = 16;
/// The most values that are looked at while references are put in place.
const MAX_VALUES: usize = 20_000;

/// What holds for all tools of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The base of every path, instead of the document's own.
    pub server: Option<String>,
    /// What every tool's name begins with, before an underscore.
    pub prefix: Option<String>,
    /// How the service is told who calls.
    pub auth: Option<Auth>,
    /// What a call may take.
    pub limits: Limits,
}

/// The tools of these operations, by their `operationId`, in this order.
pub fn tools(
    document: &Value,
    operations: &[String],
    import: &Import,
) -> Result<Vec<(ToolName, HttpTool)>, BadTool> {
    if !document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")) {
        return Err(BadTool::new("/document", "must be an OpenAPI document of version 3.0 or 3.1, as JSON"));
    }
    if operations.is_empty() || operations.len() > MAX_OPERATIONS {
        return Err(BadTool::new("/operations", format!("1 to {MAX_OPERATIONS} operation ids")));
    }
    let mut tools: Vec<(ToolName, HttpTool)> = Vec::new();
    for (index, wanted) in operations.iter().enumerate() {
        let pointer = format!("/operations/{index}");
        let at = |reason: String| BadTool::new(&pointer, reason);
        let found =
            find(document, wanted).ok_or_else(|| at(format!("the document has no operation `{wanted}`")))?;
        let name = name(wanted, import.prefix.as_deref());
        let name: ToolName = name.parse().map_err(|error| at(format!("`{name}`: {error}")))?;
        if tools.iter().any(|(taken, _)| *taken == name) {
            return Err(at(format!("two operations would be called `{name}`")));
        }
        let mut reader = Reader { document, values: 0 };
        let tool = reader.tool(&found, import).and_then(HttpTool::checked);
        tools.push((name, tool.map_err(|bad| at(format!("`{wanted}`: {} {}", bad.pointer, bad.reason)))?));
    }
    Ok(tools)
}

struct Found<'a> {
    path: &'a str,
    method: HttpMethod,
    item: &'a Value,
    operation: &'a Value,
}

fn find<'a>(document: &'a Value, wanted: &str) -> Option<Found<'a>> {
    let paths = document["paths"].as_object()?;
    paths.iter().find_map(|(path, item)| {
        HttpMethod::ALL.iter().find_map(|&method| {
            let operation = &item[method.as_str().to_ascii_lowercase()];
            (operation["operationId"] == wanted).then_some(Found { path, method, item, operation })
        })
    })
}

/// `listPets` and `list-pets` are `list_pets`.
fn name(operation: &str, prefix: Option<&str>) -> String {
    let mut name = prefix.map(|prefix| format!("{prefix}_")).unwrap_or_default();
    let mut is_lower = false;
    for character in operation.chars() {
        if character.is_ascii_alphanumeric() {
            if character.is_ascii_uppercase() && is_lower {
                name.push('_');
            }
            is_lower = !character.is_ascii_uppercase();
            name.push(character.to_ascii_lowercase());
        } else if !name.ends_with('_') {
            name.push('_');
            is_lower = false;
        }
    }
    name.trim_end_matches('_').to_owned()
}

struct Reader<'a> {
    document: &'a Value,
    values: usize,
}

impl Reader<'_> {
    fn tool(&mut self, found: &Found<'_>, import: &Import) -> Result<HttpTool, BadTool> {
        let Found { path, method, item, operation } = found;
        let mut tool = HttpTool {
            description: description(operation, path),
            parameters: Value::Null,
            method: *method,
            url: format!("{}{path}", self.base(import)?),
            query: Vec::new(),
            headers: BTreeMap::new(),
            body: None,
            auth: import.auth.clone(),
            limits: import.limits,
            safe_to_repeat: matches!(method, HttpMethod::Get | HttpMethod::Put | HttpMethod::Delete),
        };
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for parameter in self.parameters(item, operation)? {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            let in_path = parameter["in"] == "path";
            match parameter["in"].as_str() {
                Some("path") => {}
                Some("query") => tool.query.push(name.clone()),
                Some("header") => drop(tool.headers.insert(name.clone(), name.clone())),
                // Whose cookies they would be nobody can say.
                _ if parameter["required"] == true => {
                    return Err(BadTool::new("/parameters", format!("`{name}` would be a cookie")));
                }
                _ => continue,
            }
            let mut schema = parameter.get("schema").cloned().unwrap_or_else(|| json!({}));
            if let (Some(text), Some(schema)) = (parameter["description"].as_str(), schema.as_object_mut()) {
                schema.entry("description").or_insert_with(|| text.into());
            }
            if in_path || parameter["required"] == true {
                required.push(Value::from(name.clone()));
            }
            properties.insert(name, schema);
        }
        self.body(operation, &mut tool, &mut properties, &mut required)?;
        tool.parameters = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        Ok(tool)
    }

    fn base(&self, import: &Import) -> Result<String, BadTool> {
        let base = import.server.as_deref().or_else(|| self.document["servers"][0]["url"].as_str());
        let base = base.filter(|base| base.contains("://") && !base.contains('{')).ok_or_else(|| {
            BadTool::new(
                "/server",
                "the document does not say where the service is: give its base URL as `server`",
            )
        })?;
        Ok(base.trim_end_matches('/').to_owned())
    }

    /// The parameters of a path and of its operation, which go before.
    fn parameters(&mut self, item: &Value, operation: &Value) -> Result<Vec<Value>, BadTool> {
        let mut all: Vec<Value> = Vec::new();
        for listed in [operation, item] {
            for parameter in listed["parameters"].as_array().into_iter().flatten() {
                let parameter = self.resolved(parameter, 0)?;
                let is_same =
                    |other: &Value| other["name"] == parameter["name"] && other["in"] == parameter["in"];
                if !all.iter().any(is_same) {
                    all.push(parameter);
                }
            }
        }
        Ok(all)
    }

    /// The properties of an object stand beside the other arguments; any other body is an argument of its own.
    fn body(
        &mut self,
        operation: &Value,
        tool: &mut HttpTool,
        properties: &mut Map<String, Value>,
        required: &mut Vec<Value>,
    ) -> Result<(), BadTool> {
        let Some(body) = operation.get("requestBody") else { return Ok(()) };
        let body = self.resolved(body, 0)?;
        let schema = &body["content"]["application/json"]["schema"];
        if schema.is_null() {
            return Err(BadTool::new("/requestBody", "only bodies of application/json can be sent"));
        }
        let fields = schema["properties"].as_object().filter(|fields| {
            schema["type"] == "object" && !fields.keys().any(|name| properties.contains_key(name))
        });
        if let Some(fields) = fields {
            properties.extend(fields.clone());
            required.extend(schema["required"].as_array().cloned().unwrap_or_default());
            return Ok(());
        }
        if properties.contains_key("body") {
            return Err(BadTool::new("/requestBody", "a parameter is called `body` already"));
        }
        properties.insert("body".to_owned(), schema.clone());
        if body["required"] == true {
            required.push("body".into());
        }
        tool.body = Some("body".to_owned());
        Ok(())
    }

    /// A value with what its references name in their places.
    fn resolved(&mut self, value: &Value, depth: usize) -> Result<Value, BadTool> {
        self.values += 1;
        if self.values > MAX_VALUES || depth > MAX_DEPTH {
            return Err(BadTool::new("/components", "its references go in circles, or are too many"));
        }
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let target =
                        reference.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
                    let target = target.ok_or_else(|| {
                        BadTool::new("/components", format!("`{reference}` is not in the document"))
                    })?;
                    return self.resolved(target, depth + 1);
                }
                let fields =
                    fields.iter().map(|(name, inner)| Ok((name.clone(), self.resolved(inner, depth)?)));
                Ok(Value::Object(fields.collect::<Result<_, _>>()?))
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolved(item, depth));
                Ok(Value::Array(items.collect::<Result<_, _>>()?))
            }
            other => Ok(other.clone()),
        }
    }
}

fn description(operation: &Value, path: &str) -> String {
    let parts = ["summary", "description"].into_iter().filter_map(|part| operation[part].as_str());
    let text = parts.filter(|text| !text.trim().is_empty()).collect::<Vec<_>>().join(". ");
    let text = if text.is_empty() { format!("The operation at {path}") } else { text };
    text.chars().take(1_024).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({
            "openapi": "3.1.0",
            "servers": [{"url": "https://pets.example.org/v1/"}],
            "paths": {"/pets/{petId}": {
                "parameters": [{"$ref": "#/components/parameters/pet"}],
                "get": {"operationId": "getPet", "summary": "A pet",
                    "parameters": [{"name": "fields", "in": "query", "schema": {"type": "string"}},
                                   {"name": "X-Region", "in": "header", "schema": {"type": "string"}},
                                   {"name": "session", "in": "cookie", "schema": {"type": "string"}}]},
                "put": {"operationId": "replace-pet", "requestBody": {"required": true, "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}}},
                "patch": {"operationId": "tagPet", "requestBody": {"required": true, "content": {
                    "application/json": {"schema": {"type": "array", "items": {"type": "string"}}}}}},
                "post": {"operationId": "loop", "requestBody": {"content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Loop"}}}}},
                "delete": {"operationId": "uploadPet", "requestBody": {"content": {"image/png": {"schema": {}}}}},
            }},
            "components": {
                "parameters": {"pet": {"name": "petId", "in": "path", "description": "Which", "schema": {"type": "string"}}},
                "schemas": {
                    "Pet": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string"}, "owner": {"$ref": "#/components/schemas/Owner"}}},
                    "Owner": {"type": "object", "properties": {"email": {"type": "string"}}},
                    "Loop": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Loop"}}},
                },
            },
        })
    }

    fn import() -> Import {
        Import { server: None, prefix: None, auth: None, limits: Limits::default() }
    }

    fn one(operation: &str) -> (String, HttpTool) {
        let (name, tool) = tools(&document(), &[operation.to_owned()], &import()).unwrap().remove(0);
        (name.to_string(), tool)
    }

    #[test]
    fn parameters_keep_their_places() {
        let (name, tool) = one("getPet");
        assert_eq!((name.as_str(), tool.method, tool.safe_to_repeat), ("get_pet", HttpMethod::Get, true));
        assert_eq!(tool.url, "https://pets.example.org/v1/pets/{petId}");
        assert_eq!((tool.query, tool.headers["X-Region"].as_str()), (vec!["fields".to_owned()], "X-Region"));
        assert_eq!(tool.parameters["required"], json!(["petId"]));
        assert_eq!(tool.parameters["properties"]["petId"], json!({"type": "string", "description": "Which"}));
        assert!(tool.parameters["properties"]["session"].is_null(), "a cookie that need not be is left out");
    }

    #[test]
    fn a_body_is_laid_beside_the_others_or_is_an_argument() {
        let (name, tool) = one("replace-pet");
        assert_eq!((name.as_str(), tool.body), ("replace_pet", None));
        assert_eq!(tool.parameters["required"], json!(["petId", "name"]));
        assert_eq!(tool.parameters["properties"]["owner"]["properties"]["email"]["type"], "string");
        let (_, tool) = one("tagPet");
        assert_eq!(
            (tool.body.as_deref(), &tool.parameters["required"]),
            (Some("body"), &json!(["petId", "body"]))
        );
        assert!(!tool.safe_to_repeat);
    }

    #[test]
    fn a_server_and_a_prefix_may_be_given() {
        let other =
            Import { server: Some("https://eu.example.org".into()), prefix: Some("pets".into()), ..import() };
        let (name, tool) = tools(&document(), &["getPet".into()], &other).unwrap().remove(0);
        assert_eq!(
            (name.as_str(), tool.url.as_str()),
            ("pets_get_pet", "https://eu.example.org/pets/{petId}")
        );
    }

    #[test]
    fn what_cannot_be_a_tool_is_refused() {
        let refused = |document: &Value, operations: &[&str]| {
            let operations: Vec<String> = operations.iter().map(ToString::to_string).collect();
            tools(document, &operations, &import()).unwrap_err()
        };
        for (operation, said) in
            [("nothing", "no operation"), ("loop", "in circles"), ("uploadPet", "application/json")]
        {
            let bad = refused(&document(), &[operation]);
            assert!(bad.pointer == "/operations/0" && bad.reason.contains(said), "{bad:?}");
        }
        assert_eq!(refused(&document(), &["getPet", "getPet"]).pointer, "/operations/1");
        assert_eq!(refused(&document(), &[]).pointer, "/operations");
        assert_eq!(refused(&json!({"swagger": "2.0"}), &["getPet"]).pointer, "/document");
        let mut nowhere = document();
        nowhere["servers"] = json!([{"url": "/v1"}]);
        assert!(refused(&nowhere, &["getPet"]).reason.contains("/server"));
        let mut elsewhere = document();
        elsewhere["paths"]["/pets/{petId}"]["parameters"] = json!([{"$ref": "other.json#/a"}]);
        assert!(refused(&elsewhere, &["getPet"]).reason.contains("not in the document"));
    }
}
