//! The same problems in the shape that clients of `OpenAI` read.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use protocol::Problem;
use serde::Serialize;
use utoipa::ToSchema;

/// Below it everything that goes wrong is told in `OpenAI`'s shape.
const ROOT: &str = "/openai/v1";
/// Released clients try again by themselves unless this says no.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    message: String,
    /// `invalid_request_error`, `insufficient_quota`, `requests` or `server_error`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "invalid_request_error")]
    kind: &'static str,
    /// The parameter that is wrong.
    #[schema(example = "messages")]
    param: Option<String>,
    #[schema(example = "model_not_found")]
    code: Option<String>,
}

impl ErrorBody {
    pub fn of(problem: &Problem) -> Self {
        let status = status_of(problem);
        let wrong = problem.invalid_fields.first();
        let code = match problem.status {
            401 => "invalid_api_key".to_owned(),
            402 => "insufficient_quota".to_owned(),
            429 => "rate_limit_exceeded".to_owned(),
            _ => wrong.map_or_else(|| problem.title.to_lowercase().replace(' ', "_"), |field| field.kind.clone()),
        };
        let kind = match problem.status {
            402 => "insufficient_quota",
            429 => "requests",
            _ if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let param = wrong.and_then(|field| parameter(&field.field)).map(ToOwned::to_owned);
        Self { error: ErrorDetail { message: message(problem), kind, param, code: Some(code) } }
    }
}

/// `input.temperature` is `temperature` to a caller who sends no `input`.
fn parameter(field: &str) -> Option<&str> {
    Some(field.strip_prefix("input.").unwrap_or(field)).filter(|name| !name.is_empty() && *name != "input")
}

fn message(problem: &Problem) -> String {
    if problem.invalid_fields.is_empty() {
        return problem.detail.clone();
    }
    let line = |field: &protocol::problem::InvalidField| match parameter(&field.field) {
        Some(name) => format!("{name}: {}", field.description),
        None => field.description.clone(),
    };
    problem.invalid_fields.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// `OpenAI` knows no 422, and has no 402 for what is not paid.
fn status_of(problem: &Problem) -> StatusCode {
    match problem.status {
        402 => StatusCode::TOO_MANY_REQUESTS,
        422 => StatusCode::BAD_REQUEST,
        other => StatusCode::from_u16(other).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Whether another try of the same call would end the same.
const fn is_final(problem: &Problem) -> bool {
    matches!(problem.status, 402 | 409 | 502)
}

/// Rewrites what went wrong below `/openai/v1`, whoever refused it: a handler, a limit, or the router.
pub(crate) async fn in_openais_words(request: Request, next: Next) -> Response {
    let is_openais = request.uri().path().strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut response = next.run(request).await;
    if !is_openais {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let body = serde_json::to_vec(&ErrorBody::of(&problem)).expect("an error is plain data");
    let (mut parts, _) = response.into_parts();
    parts.status = status_of(&problem);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if is_final(&problem) {
        parts.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::problem::InvalidField;
    use serde_json::{Value, json};

    fn told(problem: &Problem) -> (u16, Value) {
        (status_of(problem).as_u16(), serde_json::to_value(ErrorBody::of(problem)).unwrap()["error"].clone())
    }

    #[test]
    fn every_problem_has_the_status_and_the_code_that_clients_look_for() {
        for (problem, status, kind, code) in [
            (Problem::new(401, "Unauthenticated", "x"), 401, "invalid_request_error", "invalid_api_key"),
            (Problem::new(402, "Insufficient credit", "x"), 429, "insufficient_quota", "insufficient_quota"),
            (Problem::new(404, "Model not found", "x"), 404, "invalid_request_error", "model_not_found"),
            (Problem::new(429, "Too many", "x"), 429, "requests", "rate_limit_exceeded"),
            (Problem::new(502, "Model error", "x"), 502, "server_error", "model_error"),
        ] {
            let (told, error) = told(&problem);
            assert_eq!((told, &error["type"], &error["code"]), (status, &json!(kind), &json!(code)));
        }
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let field = InvalidField::new("number_lte", "input.temperature", "Must be less than or equal to 2");
        let (status, error) = told(&Problem::invalid("Input validation failed", vec![field]));
        assert_eq!(status, 400);
        let expected = json!({"message": "temperature: Must be less than or equal to 2", "type": "invalid_request_error",
                              "param": "temperature", "code": "number_lte"});
        assert_eq!(error, expected);
    }
}
