//! How a prediction ended, in terms that an answer has: its text, why it stops, or the problem that it is.

use protocol::Problem;
use protocol::prediction::State;
use serde_json::Value;

use crate::db::prediction::PredictionRow;

/// Seconds after which another try may find a runner.
const RETRY_SECONDS: u64 = 1;

/// What went wrong, if something did.
pub(crate) fn problem(row: &PredictionRow) -> Option<Problem> {
    let code = row.code.as_deref().unwrap_or("model_error");
    let detail = row.error.clone().unwrap_or_else(|| "the model failed and did not say why".to_owned());
    match (row.state, code) {
        (State::Failed, "input_refused") => Some(Problem::new(400, "Input refused", detail)),
        (State::Failed, "no_capacity" | "runner_lost" | "fetch_failed") => {
            Some(Problem { retry_after: Some(RETRY_SECONDS), ..Problem::new(503, spoken(code), detail) })
        }
        (State::Failed, code) => Some(Problem::new(502, spoken(code), detail)),
        (State::Canceled | State::Aborted, _) => Some(Problem::new(409, "Canceled", "The prediction was canceled before its end")),
        (State::Queued | State::Leased | State::Running | State::Succeeded, _) => None,
    }
}

/// `model_error` as a title: `Model error`.
fn spoken(code: &str) -> String {
    let words = code.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The model's own reason; one that does not say came to its end.
pub(crate) fn finish_reason(row: &PredictionRow) -> &'static str {
    match row.metrics.get("finish_reason").and_then(Value::as_str) {
        Some("length") => "length",
        Some("content_filter") => "content_filter",
        Some("tool_calls") => "tool_calls",
        _ => "stop",
    }
}

/// An output as running text: its pieces joined.
pub(crate) fn text_of(output: &Value) -> String {
    match output {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(pieces) => pieces.iter().map(text_of).collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use serde_json::json;

    #[test]
    fn a_failure_is_the_callers_the_models_or_ours() {
        let told = |state, code: Option<&str>| {
            let row = PredictionRow { state, code: code.map(ToOwned::to_owned), error: Some("why".to_owned()), ..row() };
            problem(&row).map(|problem| (problem.status, problem.title, problem.retry_after))
        };
        assert_eq!(told(State::Failed, Some("input_refused")), Some((400, "Input refused".to_owned(), None)));
        assert_eq!(told(State::Failed, Some("oom")), Some((502, "Oom".to_owned(), None)));
        assert_eq!(told(State::Failed, None), Some((502, "Model error".to_owned(), None)));
        assert_eq!(told(State::Failed, Some("no_capacity")), Some((503, "No capacity".to_owned(), Some(1))));
        assert_eq!(told(State::Canceled, None).map(|(status, ..)| status), Some(409));
        assert_eq!(told(State::Succeeded, None), None);
    }

    #[test]
    fn an_output_is_read_as_text_whatever_its_form() {
        assert_eq!(text_of(&json!(["a", " b"])), "a b");
        assert_eq!(text_of(&json!("a")), "a");
        assert_eq!(text_of(&Value::Null), "");
    }
}
