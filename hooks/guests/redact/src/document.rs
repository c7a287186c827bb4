//! Takes addresses and numbers out of the texts of a JSON document; its keys and numbers stay.

use serde_json::Value;

use crate::config::Config;
use crate::filter::{Counts, Filter};

/// Redacts every text of the document. `None` when there was nothing to take out.
///
/// A list of texts may be the tokens of one text (that is how a language model's output is kept), so what is split over
/// two of its elements is found too.
///
/// # Errors
///
/// When the document is not JSON.
pub fn redact_document(config: Config, document: &str) -> Result<(Option<String>, Counts), String> {
    let mut value: Value = serde_json::from_str(document).map_err(|error| error.to_string())?;
    let mut filter = Filter::new(config);
    redact_value(&mut filter, &mut value);
    let counts = filter.counts();
    let changed = counts != Counts::default();
    Ok((changed.then(|| value.to_string()), counts))
}

fn redact_value(filter: &mut Filter, value: &mut Value) {
    match value {
        Value::String(text) if may_match(text) => *text = filter.push(text) + &filter.finish(),
        Value::Array(elements) => {
            for element in &mut *elements {
                redact_value(filter, element);
            }
            redact_joined(filter, elements);
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| redact_value(filter, field)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Reads the texts of a list as one. Only a list that has a match across its elements is changed, and keeps its length.
fn redact_joined(filter: &mut Filter, elements: &mut [Value]) {
    let texts = || elements.iter().filter_map(Value::as_str);
    if elements.len() < 2 || texts().count() < elements.len() || !texts().any(may_match) {
        return;
    }
    let counts_before = filter.counts();
    let mut redacted: Vec<String> = texts().map(|text| filter.push(text)).collect();
    let held = filter.finish();
    if filter.counts() == counts_before {
        return;
    }
    if let Some(last) = redacted.last_mut() {
        last.push_str(&held);
    }
    for (element, text) in elements.iter_mut().zip(redacted) {
        *element = Value::String(text);
    }
}

/// Every match has an `@` or a digit; most texts have neither and need not be read closely.
fn may_match(text: &str) -> bool {
    text.bytes().any(|byte| byte == b'@' || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(document: &str) -> Option<String> {
        redact_document(Config { emails: true, cards: true }, document).expect("a JSON document").0
    }

    #[test]
    fn texts_at_any_depth_are_redacted() {
        let document = r#"{"b":[{"mail":"ada@example.com","n":4111111111111111}],"a":1.50}"#;
        let expected = r#"{"b":[{"mail":"[e-mail removed]","n":4111111111111111}],"a":1.50}"#;
        assert_eq!(redacted(document).as_deref(), Some(expected));
    }

    #[test]
    fn a_document_without_a_match_passes() {
        assert_eq!(redacted(r#"["to","ken","s", 1]"#), None);
        assert_eq!(redacted(r#"["to","ken","s"]"#), None);
        assert_eq!(redacted("null"), None);
    }

    #[test]
    fn an_address_split_over_two_elements_goes() {
        let expected = r#"["Write to ","[e-mail removed] ","now."]"#;
        assert_eq!(redacted(r#"["Write to ada@exam","ple.com ","now."]"#).as_deref(), Some(expected));
    }

    #[test]
    fn numbers_side_by_side_in_a_list_both_go() {
        let expected = r#"["[card number removed]","[card number removed]"]"#;
        assert_eq!(redacted(r#"["4111111111111111","5500005555555559"]"#).as_deref(), Some(expected));
    }
}
