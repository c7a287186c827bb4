//! The contract, made from the handlers: what `/openapi.json` serves and `openapi/openapi.json` keeps.

use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(title = "Feira", description = "An open, self-hosted model marketplace that speaks Replicate's API.", license(name = "Apache-2.0")),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Contract;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

pub(crate) fn contract() -> utoipa::openapi::OpenApi {
    Contract::openapi()
}

/// The whole document, as it is served and committed.
pub fn document() -> String {
    let (_, openapi) = crate::routes::v1().split_for_parts();
    let mut text = serde_json::to_string_pretty(&complete(&openapi)).expect("the contract is plain data");
    text.push('\n');
    text
}

/// Adds what holds for many operations alike, so that a handler declares only what is its own: who may be refused for what.
pub(crate) fn complete(openapi: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(openapi).expect("the contract is plain data");
    let query = serde_json::to_value(crate::routes::catalogue::query_operation()).expect("the contract is plain data");
    document["paths"]["/v1/models"]["x-query"] = query;
    document["paths"]["/v1/models"]["x-query"]["tags"] = json!(["models"]);
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            if operation["responses"].is_object() {
                complete_operation(method, operation);
            }
            if path.starts_with("/openai/") {
                tell_errors_as_openai_does(operation);
            }
        }
    }
    for (status, about) in PROBLEMS {
        document["components"]["responses"][about.name] = about.response(status);
    }
    document
}

fn complete_operation(method: &str, operation: &mut Value) {
    let mut statuses = vec![429, 500, 503];
    if operation["security"][0] != json!({}) {
        statuses.extend([401, 403]);
    }
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if parameters.iter().any(|parameter| parameter["in"] == "path") {
        statuses.extend([400, 404]);
    }
    if parameters.iter().any(|parameter| parameter["in"] == "query") {
        statuses.push(400);
    }
    if operation["requestBody"].is_object() {
        statuses.extend([400, 413, 422]);
    }
    let responses = operation["responses"].as_object_mut().expect("it was looked at before");
    for status in statuses {
        responses.entry(status.to_string()).or_insert_with(|| json!({"description": ""}));
    }
    for (status, response) in responses {
        let status: u16 = status.parse().unwrap_or(0);
        if status < 400 {
            response["headers"]["ratelimit-remaining"] = header("integer", "Requests of this kind that are left at once");
            response["headers"]["ratelimit-reset"] = header("integer", "Seconds until all of them are there again");
            if response["description"].as_str().is_none_or(str::is_empty) {
                response["description"] = Value::from(if status == 204 { "Done" } else { "As asked" });
            }
        } else if let Some((_, about)) = PROBLEMS.iter().find(|(known, _)| *known == status) {
            let own = response["description"].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
            *response = match own {
                // An answer to HEAD has no body.
                _ if method == "head" => json!({"description": about.when}),
                Some(own) => about.told(status, &own),
                None => json!({"$ref": format!("#/components/responses/{}", about.name)}),
            };
        }
    }
}

/// Below `/openai/v1` the same errors have the shape that clients of `OpenAI` read.
fn tell_errors_as_openai_does(operation: &mut Value) {
    let responses = operation["responses"].as_object_mut().into_iter().flatten();
    for (status, response) in responses.filter(|(status, _)| status.as_str() >= "400") {
        let when = PROBLEMS.iter().find(|(known, _)| known.to_string() == *status).map_or("Something went wrong", |(_, about)| about.when);
        let own = response["description"].as_str().filter(|text| !text.is_empty()).unwrap_or(when).to_owned();
        *response = json!({"description": own, "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/ErrorBody"},
            "example": {"error": {"message": when, "type": "invalid_request_error", "param": null, "code": null}}
        }}});
    }
}

fn header(kind: &str, description: &str) -> Value {
    json!({"description": description, "schema": {"type": kind}})
}

/// What a status means wherever it is given.
struct About {
    name: &'static str,
    when: &'static str,
    title: &'static str,
    detail: &'static str,
}

impl About {
    fn response(&self, status: u16) -> Value {
        self.told(status, self.when)
    }

    fn told(&self, status: u16, when: &str) -> Value {
        let mut example = json!({"title": self.title, "detail": self.detail, "status": status});
        if status == 429 {
            example["retry_after"] = Value::from(5);
        }
        let mut response = json!({"description": when, "content": {
            protocol::problem::MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
        }});
        if matches!(status, 429 | 503) {
            response["headers"]["retry-after"] = header("integer", "Seconds after which to try again");
        }
        response
    }
}

const PROBLEMS: [(u16, About); 13] = [
    (400, about("BadRequest", "The request cannot be read", "Bad request", "The cursor is not one of ours; start at the first page")),
    (401, about("Unauthenticated", "The token is missing or wrong", "Unauthenticated", "You did not pass a valid authentication token")),
    (
        402,
        about(
            "InsufficientCredit",
            "The credit does not cover the run",
            "Insufficient credit",
            "You have insufficient credit to run this model",
        ),
    ),
    (403, about("Forbidden", "The token may not do this", "Forbidden", "This token lacks the scope `models:write`; make one that has it")),
    (404, about("NotFound", "It does not exist, or is not yours to see", "Not found", "The requested model could not be found")),
    (409, about("Conflict", "It stands against what is there", "Conflict", "the model ada/echo exists already")),
    (413, about("TooLarge", "The body is too large", "Too large", "Files must be less than 100MB in size")),
    (416, about("OutOfRange", "The file ends before the range", "Range not satisfiable", "The file has 10 bytes; ask for some of them")),
    (
        422,
        about("Invalid", "The fields do not fit; `invalid_fields` names them", "Input validation failed", "- input: prompt is required\n"),
    ),
    (429, about("Throttled", "Too many requests", "Throttled", "Request was throttled. Your rate limit resets in ~5s.")),
    (
        500,
        about(
            "Failed",
            "A failure on our side; nothing was charged",
            "Internal error",
            "Something failed on our side; nothing was charged",
        ),
    ),
    (502, about("HookFailed", "The model's own hook failed", "Hook failed", "The model's own hook `check` failed. Nothing was charged")),
    (503, about("Unavailable", "Not now", "Unavailable", "The server is stopping; try again in a moment")),
];

const fn about(name: &'static str, when: &'static str, title: &'static str, detail: &'static str) -> About {
    About { name, when, title, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_tells_its_errors_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        let mut seen = std::collections::HashSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(seen.insert(id.to_owned()), "{id} is named twice");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let named = response["$ref"].as_str().map(|at| at.rsplit('/').next().unwrap());
                    let response = named.map_or(response, |name| &document["components"]["responses"][name]);
                    assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
                    let is_error = status.starts_with('4') || status.starts_with('5');
                    if is_error && method != "head" {
                        let shape = if path.starts_with("/openai/") { "application/json" } else { "application/problem+json" };
                        assert!(response["content"][shape]["example"].is_object(), "{method} {path} {status}");
                    }
                }
            }
        }
    }
}
