//! Small output files come with the answer that a caller waited for, as `data:`; others, and all later answers, give their addresses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use registry::{FileRow, RegistryError};
use serde_json::Value;

use crate::Gateway;
use crate::prediction::files::FILE_SCHEME;

/// Bytes of one file, and of all files of an answer.
const FILE_BYTES_MAX: u64 = 512 * 1024;
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Puts the bytes of small files in their places. What cannot be read stays a reference, which is shown as an address.
pub(super) async fn small_files(gateway: &Gateway, output: &mut Value) {
    let mut left = ANSWER_BYTES_MAX;
    for place in places(output) {
        match inlined(gateway, place, left).await {
            Ok(Some((text, bytes))) => {
                *place = text;
                left -= bytes;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "an output file could not be put into the answer"),
        }
    }
}

/// Every text of an output that stands for a file.
fn places(output: &mut Value) -> Vec<&mut String> {
    match output {
        Value::String(text) if text.starts_with(FILE_SCHEME) => vec![text],
        Value::Array(items) => items.iter_mut().flat_map(places).collect(),
        Value::Object(fields) => fields.values_mut().flat_map(places).collect(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

async fn inlined(gateway: &Gateway, reference: &str, bytes_max: u64) -> Result<Option<(String, u64)>, RegistryError> {
    let id = reference.trim_start_matches(FILE_SCHEME).split('/').next().unwrap_or_default();
    let Some(FileRow { size, digest, content_type, .. }) = gateway.registry().find_file(id).await? else { return Ok(None) };
    if size > FILE_BYTES_MAX.min(bytes_max) {
        return Ok(None);
    }
    let Some(blob) = gateway.registry().blobs().get(&digest).await? else { return Ok(None) };
    let bytes = blob.bytes.try_collect::<Vec<_>>().await?.concat();
    Ok(Some((format!("data:{content_type};base64,{}", STANDARD.encode(bytes)), size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_are_found_wherever_they_stand_and_nothing_else_is() {
        let mut output = json!(["feira-file:a/1.png", "text", {"mask": "feira-file:b/2.png", "n": 1}]);
        assert_eq!(places(&mut output), ["feira-file:a/1.png", "feira-file:b/2.png"]);
    }
}
