//! What a caller asks to be told: the webhook's address and its filter, read from the request and judged before anything is admitted.

use protocol::problem::InvalidField;
use serde_json::{Map, Value};
use url::Url;

use crate::db::prediction::{Webhook, WebhookEvent};
use crate::webhooks::dial::literal_is_public;

const URL_BYTES_MAX: usize = 2_048;
/// What is told when no filter says otherwise.
const DEFAULT_FILTER: [WebhookEvent; 2] = [WebhookEvent::Output, WebhookEvent::Completed];

/// Takes `webhook`, `webhook_events_filter` and their forerunner `webhook_completed` out of a request's fields.
pub(crate) fn read(fields: &mut Map<String, Value>) -> Result<Option<Webhook>, InvalidField> {
    let url = address(fields.remove("webhook"), "webhook")?;
    let filter = filter(fields.remove("webhook_events_filter"))?;
    let completed = address(fields.remove("webhook_completed"), "webhook_completed")?;
    Ok(match (url, completed) {
        (Some(url), _) => Some(Webhook { url, events: filter.unwrap_or_else(|| DEFAULT_FILTER.to_vec()) }),
        (None, Some(url)) => Some(Webhook { url, events: vec![WebhookEvent::Completed] }),
        (None, None) => None,
    })
}

/// Refuses an address that could only be ours: a name is judged again when it is dialled, by what it resolves to then.
pub(crate) fn refuse_private(webhook: &Webhook) -> Result<(), InvalidField> {
    let is_ours_alone = Url::parse(&webhook.url).map_or(true, |url| !literal_is_public(&url) || url.domain().is_some_and(is_localhost));
    if !is_ours_alone {
        return Ok(());
    }
    let detail = "webhook must be an address on the public internet: this server does not call private ones. \
                  Use a tunnel, or ask the operator to start it with --webhook-private";
    Err(InvalidField::new("public_address", "webhook", detail))
}

/// Names of this machine alone: RFC 6761.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn address(value: Option<Value>, field: &str) -> Result<Option<String>, InvalidField> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(InvalidField::new("invalid_type", field, format!("{field} must be a string"))),
    };
    if text.len() > URL_BYTES_MAX {
        return Err(InvalidField::new("string_lte", field, format!("{field} must be at most {URL_BYTES_MAX} bytes long")));
    }
    let malformed = |rule: &str| InvalidField::new("format", field, format!("{field} must be {rule}"));
    let url = Url::parse(&text).map_err(|_| malformed("an http or https URL, such as https://example.org/hook"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(malformed("an http or https URL, such as https://example.org/hook"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("a URL without a user name or password; check the signature of what is sent instead"));
    }
    Ok(Some(text))
}

/// `None` when there is none, or an empty one.
fn filter(value: Option<Value>) -> Result<Option<Vec<WebhookEvent>>, InvalidField> {
    const FIELD: &str = "webhook_events_filter";
    let names = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(names)) => names,
        Some(_) => return Err(InvalidField::new("invalid_type", FIELD, format!("{FIELD} must be a list of events"))),
    };
    let mut events = Vec::with_capacity(WebhookEvent::EVERY.len());
    for (at, name) in names.iter().enumerate() {
        let known = WebhookEvent::EVERY.into_iter().find(|event| name == event.name());
        let event = known.ok_or_else(|| {
            let known = WebhookEvent::EVERY.map(|event| format!("\"{}\"", event.name())).join(", ");
            InvalidField::new("enum", format!("{FIELD}.{at}"), format!("{FIELD}.{at} must be one of the following: {known}"))
        })?;
        if !events.contains(&event) {
            events.push(event);
        }
    }
    Ok(Some(events).filter(|events| !events.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(json: Value) -> Result<Option<Webhook>, InvalidField> {
        let Value::Object(mut fields) = json else { panic!("a request is an object") };
        read(&mut fields)
    }

    #[test]
    fn a_webhook_is_told_of_output_and_the_end_unless_its_filter_says_otherwise() {
        use WebhookEvent::{Completed, Logs, Output, Start};
        let events = |json| asked(json).unwrap().unwrap().events;
        assert_eq!(events(json!({"webhook": "https://a.example/h"})), [Output, Completed]);
        assert_eq!(events(json!({"webhook": "https://a.example/h", "webhook_events_filter": null})), [Output, Completed]);
        assert_eq!(events(json!({"webhook": "https://a.example/h", "webhook_events_filter": []})), [Output, Completed]);
        let filter = json!(["logs", "start", "logs"]);
        assert_eq!(events(json!({"webhook": "https://a.example/h", "webhook_events_filter": filter})), [Logs, Start]);
        assert_eq!(events(json!({"webhook_completed": "https://a.example/h"})), [Completed]);
        assert_eq!(asked(json!({"webhook": null, "webhook_events_filter": ["start"]})), Ok(None));
    }

    #[test]
    fn what_cannot_be_called_is_refused_and_named() {
        let long = format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX));
        for (url, kind) in [
            (json!("a.example/h"), "format"),
            (json!(""), "format"),
            (json!("ftp://a.example/h"), "format"),
            (json!("file:///etc/passwd"), "format"),
            (json!("https://ada:secret@a.example/h"), "format"),
            (json!("https://ada@a.example/h"), "format"),
            (json!(7), "invalid_type"),
            (json!(long), "string_lte"),
        ] {
            let refused = asked(json!({"webhook": url})).unwrap_err();
            assert_eq!((refused.kind.as_str(), refused.field.as_str()), (kind, "webhook"), "{url}");
        }
        let refused = asked(json!({"webhook": "https://a.example/h", "webhook_events_filter": ["start", "end"]})).unwrap_err();
        assert_eq!((refused.kind.as_str(), refused.field.as_str()), ("enum", "webhook_events_filter.1"));
        assert!(refused.description.ends_with(r#""start", "output", "logs", "completed""#));
        assert!(asked(json!({"webhook_events_filter": "start"})).is_err());
    }

    #[test]
    fn private_addresses_are_refused_however_they_are_written() {
        let judged = |url: &str| refuse_private(&Webhook { url: url.to_owned(), events: Vec::new() }).is_ok();
        for url in [
            "http://127.0.0.1:9/h",
            "http://0x7f.1/h",
            "http://2130706433/h",
            "http://[::1]/h",
            "http://[::ffff:10.0.0.1]/h",
            "http://169.254.169.254/latest",
            "http://LOCALHOST:9/h",
            "http://api.localhost./h",
        ] {
            assert!(!judged(url), "{url}");
        }
        assert!(judged("https://example.org/h") && judged("http://93.184.215.14/h") && judged("https://localhost.example/h"));
    }
}
