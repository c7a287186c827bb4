//! Rows as callers see them: addresses on the caller's own origin, files behind signatures, what is not theirs left out.

use protocol::api::{File, FileUrls};
use protocol::prediction::{Errand, Prediction, Urls};
use registry::FileRow;
use serde_json::Value;

use crate::Gateway;
use crate::db::prediction::{PredictionRow, Streams};
use crate::keys::FILE_ADDRESS_SECONDS;
use crate::origin::Origin;
use crate::paces::Line;
use crate::prediction::files::FILE_SCHEME;

pub(crate) fn prediction(gateway: &Gateway, origin: &Origin, row: PredictionRow) -> Prediction {
    let id = row.id.to_string();
    let waiting = !row.state.is_terminal() && row.started_at.is_none();
    let queue_position = waiting.then(|| gateway.live().ahead_of(&row));
    let queue_seconds = queue_position.and_then(|ahead| {
        let line = Line { version: row.version, errand: row.errand, deployment: row.deployment.clone() };
        gateway.paces().estimate(&line, ahead, &gateway.fabric().directory().cards())
    });
    let mut output = row.output;
    sign_files(gateway, origin, &mut output);
    // Released clients read files out of a stream whose address lies below `/v1/files/`.
    let streams = match row.streams {
        Streams::Values => "streams",
        Streams::Files => "files/streams",
    };
    let noun = match row.errand {
        Errand::Predict => "predictions",
        Errand::Train => "trainings",
    };
    Prediction {
        urls: Urls {
            get: origin.url(&format!("/v1/{noun}/{id}")),
            cancel: origin.url(&format!("/v1/{noun}/{id}/cancel")),
            web: origin.url(&format!("/p/{id}")),
            stream: Some(origin.url(&format!("/v1/{streams}/{}", gateway.keys().sign_stream(row.id, row.created_at)))),
        },
        id,
        model: row.model.to_string(),
        version: row.version.to_string(),
        input: row.input,
        output,
        logs: row.logs,
        error: row.error,
        status: row.state.status(),
        data_removed: row.data_removed,
        source: row.source.name().to_owned(),
        created_at: row.created_at,
        started_at: row.started_at,
        completed_at: row.completed_at,
        deadline: row.deadline_at,
        deployment: row.deployment.map(|deployment| deployment.to_string()),
        destination: row.destination.map(|destination| destination.to_string()),
        metrics: row.metrics,
        webhook_events_filter: row.webhook.as_ref().map(|webhook| webhook.events.iter().map(|event| event.name().to_owned()).collect()),
        webhook: row.webhook.map(|webhook| webhook.url),
        cost: row.cost,
        cost_lines: row.cost_lines,
        queue_position,
        queue_seconds,
        error_code: row.code,
        hardware: row.hardware,
        region: row.region,
        runner: row.runner,
        timings: row.timings,
        hooks: row.hooks,
    }
}

/// Puts signed addresses where files stand in an output.
pub(crate) fn sign_files(gateway: &Gateway, origin: &Origin, output: &mut Value) {
    match output {
        Value::String(text) => {
            if let Some(reference) = text.strip_prefix(FILE_SCHEME) {
                *text = download_address(gateway, origin, reference);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| sign_files(gateway, origin, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| sign_files(gateway, origin, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `reference` is `{id}/{name}`; the name is for people and for clients that judge a file by its ending.
fn download_address(gateway: &Gateway, origin: &Origin, reference: &str) -> String {
    const OWNER: &str = "feira";
    let (id, name) = reference.split_once('/').unwrap_or((reference, "output"));
    let expiry = gateway.clock().now().seconds() + FILE_ADDRESS_SECONDS;
    let signature = gateway.keys().sign_file(OWNER, id, expiry);
    origin.url(&format!("/v1/files/{id}/download/{name}?owner={OWNER}&expiry={expiry}&signature={signature}"))
}

/// An uploaded file's object.
pub(crate) fn file(origin: &Origin, row: FileRow) -> File {
    let sha256 = row.digest.hex();
    File {
        urls: FileUrls { get: origin.url(&format!("/v1/files/{}", row.id)) },
        id: row.id,
        name: row.name,
        content_type: row.content_type,
        size: i64::try_from(row.size).unwrap_or(i64::MAX),
        etag: sha256.clone(),
        checksums: row.md5.map(|md5| ("md5".to_owned(), md5)).into_iter().chain([("sha256".to_owned(), sha256)]).collect(),
        metadata: row.metadata,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}
