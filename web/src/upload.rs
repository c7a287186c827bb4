//! Hands a file from a form on to the API piece by piece, so that it is never whole in memory.

use axum::body::Body;
use axum::extract::multipart::Field;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{StreamExt, TryStreamExt, future, stream};
use protocol::api::File;

use crate::api::ApiError;
use crate::visit::Visit;

/// Pieces that may wait between the browser and the API.
const PIECES_MAX: usize = 4;

/// Sends the file to `POST /v1/files` while it arrives.
pub(crate) async fn pass_on(visit: &Visit, field: Field<'_>) -> Result<File, ApiError> {
    let boundary = format!("feira-{:016x}{:016x}", visit.entropy.u64(), visit.entropy.u64());
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
        quoted(field.file_name().unwrap_or("file")),
        content_type(field.content_type()),
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Broken>>(PIECES_MAX);
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let answer = visit.api.post_body("/v1/files", &content_type, Body::from_stream(receiver));
    let content = field.map_err(|error| Broken(error.body_text()));
    let pieces = stream::iter([Ok(Bytes::from(head))]).chain(content).chain(stream::iter([Ok(Bytes::from(tail))]));
    // A receiver that is gone before the last piece has answered already: what it said is what counts.
    future::join(answer, pieces.map(Ok).forward(sender)).await.0
}

#[derive(Debug, thiserror::Error)]
#[error("the file did not arrive whole: {0}")]
struct Broken(String);

/// A file name as browsers write it into a form: <https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data>.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn content_type(given: Option<&str>) -> &str {
    given.filter(|given| given.bytes().all(|b| b.is_ascii_graphic() || b == b' ')).unwrap_or("application/octet-stream")
}
