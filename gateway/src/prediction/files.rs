//! Files in inputs and outputs: a caller's own file in an input becomes an address for the runner; only what a prediction itself uploaded
//! may stand as a file in its output.

use protocol::problem::InvalidField;
use serde_json::Value;

use crate::Gateway;
use crate::file_name::file_name;
use crate::live::Live;
use crate::prediction::Refusal;
use crate::prediction::prepare::Prepared;

/// How a file that a model uploaded stands in a stored output; answers show a signed address in its place.
pub(crate) const FILE_SCHEME: &str = "feira-file:";

/// Where a runner fetches an input file, below the grant's base.
const INPUTS: &str = "/runner/inputs/";

/// Replaces the addresses of files that the caller owns, in the model's input, by ones that the runner's grant opens.
pub(super) async fn own_files_to_grants(gateway: &Gateway, prepared: &mut Prepared) -> Result<(), Refusal> {
    let schema = prepared.catalogued.version.config.input_schema_of(prepared.asked.errand).clone();
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, property) in properties {
        let Some(value) = prepared.model_input.get_mut(name) else { continue };
        if !is_file(property) && !is_file(&property["items"]) {
            continue;
        }
        let addresses: &mut [Value] = match value {
            Value::Array(items) => items,
            single => std::slice::from_mut(single),
        };
        for address in addresses {
            let Some(id) = address.as_str().and_then(|text| prepared.asked.origin.own_path(text)).and_then(file_id) else { continue };
            let file = gateway.registry().find_file(id).await?;
            let own = file.filter(|file| file.account_id == prepared.caller.account.id);
            let missing = || {
                InvalidField::new(
                    "file",
                    format!("input.{name}"),
                    format!("{name} names a file that does not exist, or has expired; upload it again"),
                )
            };
            let own = own.ok_or_else(|| Refusal::InvalidInput(vec![missing()]))?;
            *address = Value::from(format!("{INPUTS}{}/{}", own.id, file_name(&own.name)));
        }
    }
    Ok(())
}

fn is_file(schema: &Value) -> bool {
    schema["format"] == "uri"
}

/// The id in `/v1/files/{id}` and `/v1/files/{id}/download…`, with or without `/v1`.
fn file_id(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/files/")?;
    rest.split(['/', '?']).next().filter(|id| !id.is_empty())
}

/// Takes file references that this prediction did not make out of a piece of output: a model must not name another's file.
pub(super) fn disown_foreign(live: &Live, output: &mut Value) {
    match output {
        Value::String(text) => {
            if let Some(id) = text.strip_prefix(FILE_SCHEME)
                && !live.has_file(id)
            {
                *text = format!("(not a file of this prediction) {id}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| disown_foreign(live, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| disown_foreign(live, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use crate::live::LiveSet;
    use serde_json::json;

    #[test]
    fn a_files_id_is_found_in_each_form_of_its_address() {
        for path in ["/v1/files/fil_1", "/files/fil_1", "/v1/files/fil_1/download?owner=a", "/v1/files/fil_1/download/a.png"] {
            assert_eq!(file_id(path), Some("fil_1"), "{path}");
        }
        assert_eq!(file_id("/v1/models/a/b"), None);
    }

    #[test]
    fn a_model_cannot_name_a_file_it_did_not_upload() {
        let live = LiveSet::default().enter(row());
        live.note_file("fil_mine");
        let mut output = json!(["feira-file:fil_mine", {"x": "feira-file:fil_theirs"}]);
        disown_foreign(&live, &mut output);
        assert_eq!(output[0], "feira-file:fil_mine");
        assert!(!output[1]["x"].as_str().unwrap().starts_with(FILE_SCHEME));
    }
}
