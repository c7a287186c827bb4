//! The files that a prediction names: what kind each is, asked of the API, so that a page knows how to show it.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::Value;

use crate::visit::Visit;

/// Files of one prediction that are asked about; the rest are shown as links.
const FILES_MAX: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileFact {
    pub content_type: String,
    pub bytes: Option<u64>,
    pub name: Option<String>,
}

/// What is known of each file, by its address.
pub(crate) type Files = BTreeMap<String, FileFact>;

/// Asks for the headers of every file of this shop that stands in `value`. What cannot be asked stays unknown.
pub(crate) async fn look_up(visit: &Visit, value: &Value) -> Files {
    let mut files = Files::new();
    for url in texts(value).into_iter().filter(|text| text.contains("/v1/files/")).take(FILES_MAX) {
        if let Some(path) = visit.own_path(url)
            && let Ok(headers) = visit.api.head(path).await
        {
            files.insert(url.to_owned(), fact(path, &headers));
        }
    }
    files
}

/// Every text in a value: itself, or the members of a list or an object.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::Object(members) => members.values().flat_map(texts_of_member).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn texts_of_member(member: &Value) -> Vec<&str> {
    match member {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn fact(path: &str, headers: &HeaderMap) -> FileFact {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    FileFact {
        content_type: text(CONTENT_TYPE).unwrap_or_default().to_owned(),
        bytes: text(CONTENT_LENGTH).and_then(|bytes| bytes.parse().ok()),
        name: text(CONTENT_DISPOSITION).and_then(file_name).or_else(|| last_segment(path)).map(ToOwned::to_owned),
    }
}

/// The name in `inline; filename="larger.png"`.
fn file_name(disposition: &str) -> Option<&str> {
    let (_, rest) = disposition.split_once("filename=")?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(';').next(),
    }
}

/// The name at the end of `/v1/files/<id>/download/<name>?…`.
fn last_segment(path: &str) -> Option<&str> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    path.rsplit('/').next().filter(|name| !name.is_empty() && *name != "download")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_name_that_the_api_gives_it() {
        assert_eq!(file_name(r#"inline; filename="larger.png""#), Some("larger.png"));
        assert_eq!(file_name("attachment; filename=a.bin; size=3"), Some("a.bin"));
        assert_eq!(file_name("inline"), None);
        assert_eq!(last_segment("/v1/files/a/download/larger.png?owner=x"), Some("larger.png"));
        assert_eq!(last_segment("/v1/files/a/download?owner=x"), None);
    }
}
