//! Blobs on their way to the server: only what is absent, several at a time, large ones in pieces that survive an interruption.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use protocol::Digest;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::json;
use tokio::fs;

use super::{Client, ClientError, patiently};
use crate::show::Bars;

/// Larger blobs go in pieces of this size, so that this is all an interruption costs.
const PIECE_BYTES: u64 = 8 << 20;
/// How finely a bar moves while a piece is on its way.
const STEP_BYTES: usize = 128 << 10;
const UPLOADS_AT_ONCE: usize = 4;
const QUESTIONS_AT_ONCE: usize = 16;
/// Pieces of one blob that may fail before the upload is given up; each is tried again where the server stands.
const BROKEN_PIECES_MAX: u32 = 8;

/// Bytes with a name: what a version is made of, before the server has it.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What people call it: its path in the project.
    pub label: String,
    pub source: Source,
}

#[derive(Clone, Debug)]
pub enum Source {
    File(PathBuf),
    Bytes(Bytes),
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path} cannot be read")]
    Source { path: String, source: io::Error },
    #[error("{path} changed while it was sent; push again")]
    Changed { path: String },
    #[error("the state of an upload cannot be kept")]
    State(#[source] io::Error),
}

/// Sends blobs to one server, and remembers in `state_dir` which uploads have begun.
#[derive(Debug)]
pub struct Uploads<'a> {
    client: &'a Client,
    state_dir: PathBuf,
}

/// Where an upload stands.
#[derive(Debug, Deserialize)]
struct Session {
    id: String,
    offset: u64,
}

#[derive(Debug, Deserialize)]
struct Offset {
    offset: u64,
}

impl<'a> Uploads<'a> {
    pub fn new(client: &'a Client, home: &Path) -> Self {
        let server = Digest::of(client.endpoint().host().as_bytes()).hex();
        Self { client, state_dir: home.join("push").join(&server[..16]) }
    }

    /// Those of `blobs` that the server does not have.
    pub async fn missing(&self, blobs: &[Blob]) -> Result<Vec<Blob>, UploadError> {
        let absent = stream::iter(blobs)
            .map(|blob| async move {
                let path = blob_path(&blob.digest);
                let there = patiently(|| self.client.has(&path)).await?;
                Ok::<_, UploadError>((!there).then(|| blob.clone()))
            })
            .buffered(QUESTIONS_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(absent.into_iter().flatten().collect())
    }

    pub async fn send(&self, blobs: &[Blob], bars: &Bars) -> Result<(), UploadError> {
        let total = bars.bytes("total", blobs.iter().map(|blob| blob.size).sum());
        stream::iter(blobs)
            .map(|blob| async {
                let bar = bars.bytes(&blob.label, blob.size);
                self.send_one(blob, &bar, &total).await?;
                bar.finish_and_clear();
                Ok::<_, UploadError>(())
            })
            .buffer_unordered(UPLOADS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        total.finish_and_clear();
        Ok(())
    }

    async fn send_one(&self, blob: &Blob, bar: &ProgressBar, total: &ProgressBar) -> Result<(), UploadError> {
        if blob.size <= PIECE_BYTES {
            let piece = self.read_piece(blob, 0).await?;
            let path = blob_path(&blob.digest);
            let sent = patiently(|| {
                bar.set_position(0);
                self.client.send(with_body(self.client.slow_request(Method::PUT, &path), piece.clone(), bar))
            });
            sent.await.map_err(|error| changed_or(error, blob))?;
        } else {
            self.send_in_pieces(blob, bar).await?;
        }
        total.inc(blob.size);
        Ok(())
    }

    async fn send_in_pieces(&self, blob: &Blob, bar: &ProgressBar) -> Result<(), UploadError> {
        let Session { id, mut offset } = self.take_up(blob).await?;
        let path = format!("/v1/blobs/uploads/{id}");
        let mut broken = 0;
        let mut ahead = (offset, self.read_piece(blob, offset).await?);
        while offset < blob.size {
            bar.set_position(offset);
            let piece = if ahead.0 == offset { ahead.1 } else { self.read_piece(blob, offset).await? };
            let next = offset + piece.len() as u64;
            let request = self.client.slow_request(Method::PATCH, &path).header("upload-offset", offset);
            // The next piece is read while this one is sent.
            let (answer, read) = tokio::join!(self.client.answer::<Offset>(with_body(request, piece, bar)), self.read_piece(blob, next));
            ahead = (next, read?);
            match answer {
                Ok(answer) => offset = answer.offset,
                Err(error) if broken < BROKEN_PIECES_MAX && (error.is_passing() || is_conflict(&error)) => {
                    broken += 1;
                    offset = patiently(|| self.client.get::<Offset>(&path)).await?.offset;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let finished = patiently(|| self.client.send(self.client.slow_request(Method::PUT, &path))).await;
        // Finished or refused for good: either way there is nothing left to take up.
        match fs::remove_file(self.state_file(blob)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(UploadError::State(error)),
            _ => {}
        }
        finished.map(drop).map_err(|error| changed_or(error, blob))
    }

    /// The upload that was interrupted, where the server still knows it; else a new one.
    async fn take_up(&self, blob: &Blob) -> Result<Session, UploadError> {
        if let Ok(id) = fs::read_to_string(self.state_file(blob)).await {
            let path = format!("/v1/blobs/uploads/{id}");
            match patiently(|| self.client.get::<Offset>(&path)).await {
                Ok(Offset { offset }) => return Ok(Session { id, offset }),
                Err(ClientError::Refused(problem)) if matches!(problem.status, 404 | 410) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let begin = json!({"digest": blob.digest, "size": blob.size});
        let session: Session = patiently(|| self.client.post("/v1/blobs/uploads", &begin)).await?;
        fs::create_dir_all(&self.state_dir).await.map_err(UploadError::State)?;
        fs::write(self.state_file(blob), &session.id).await.map_err(UploadError::State)?;
        Ok(session)
    }

    async fn read_piece(&self, blob: &Blob, offset: u64) -> Result<Bytes, UploadError> {
        let length = (blob.size - offset).min(PIECE_BYTES);
        let read = async {
            match &blob.source {
                Source::Bytes(bytes) => {
                    let start = usize::try_from(offset).expect("bytes in memory have a length in usize");
                    let length = usize::try_from(length).expect("a piece fits in memory");
                    Ok(bytes.slice(start..start + length))
                }
                Source::File(path) => {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || read_part(&path, offset, length)).await.map_err(io::Error::other)?
                }
            }
        };
        let piece = read.await.map_err(|source| UploadError::Source { path: blob.label.clone(), source })?;
        if piece.len() as u64 == length { Ok(piece) } else { Err(UploadError::Changed { path: blob.label.clone() }) }
    }

    fn state_file(&self, blob: &Blob) -> PathBuf {
        self.state_dir.join(blob.digest.hex())
    }
}

/// Fewer bytes than `length` where the file ends before.
fn read_part(path: &Path, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut file = std::fs::File::open(path)?;
    file.seek(io::SeekFrom::Start(offset))?;
    let mut part = Vec::with_capacity(usize::try_from(length).expect("a piece fits in memory"));
    file.take(length).read_to_end(&mut part)?;
    Ok(Bytes::from(part))
}

fn blob_path(digest: &Digest) -> String {
    format!("/v1/blobs/{digest}")
}

/// The piece as a body of known length that moves the bar while it is sent.
fn with_body(request: RequestBuilder, piece: Bytes, bar: &ProgressBar) -> RequestBuilder {
    let length = piece.len();
    let bar = bar.clone();
    let steps = (0..length).step_by(STEP_BYTES).map(move |start| {
        let step = piece.slice(start..length.min(start + STEP_BYTES));
        bar.inc(step.len() as u64);
        Ok::<_, io::Error>(step)
    });
    request.header(CONTENT_LENGTH, length).body(Body::wrap_stream(stream::iter(steps)))
}

fn is_conflict(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.status == 409)
}

/// The server hashes what arrives: 422 says that the bytes are not those of the digest.
fn changed_or(error: ClientError, blob: &Blob) -> UploadError {
    match error {
        ClientError::Refused(problem) if problem.status == 422 => UploadError::Changed { path: blob.label.clone() },
        error => UploadError::Client(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, head, post};
    use axum::{Json, Router};
    use serde_json::Value;

    use super::super::Endpoint;
    use super::*;

    /// A server with one upload that loses the connection, so to speak, after the first piece.
    #[derive(Default)]
    struct Shelf {
        received: Vec<u8>,
        begun: u32,
        refusals: u32,
        pieces: Vec<usize>,
        finished: bool,
    }

    type Shared = Arc<Mutex<Shelf>>;

    async fn begin(State(shelf): State<Shared>) -> (StatusCode, Json<Value>) {
        shelf.lock().unwrap().begun += 1;
        (StatusCode::CREATED, Json(json!({"id": "u1", "offset": 0})))
    }

    async fn piece(State(shelf): State<Shared>, headers: HeaderMap, body: Bytes) -> (StatusCode, Json<Value>) {
        let mut shelf = shelf.lock().unwrap();
        let offset: usize = headers["upload-offset"].to_str().unwrap().parse().unwrap();
        if offset != shelf.received.len() {
            return (StatusCode::CONFLICT, Json(json!({"offset": shelf.received.len()})));
        }
        shelf.received.extend_from_slice(&body);
        shelf.pieces.push(body.len());
        if shelf.refusals > 0 {
            // The bytes arrived, the answer does not say so.
            shelf.refusals -= 1;
            return (StatusCode::BAD_GATEWAY, Json(json!({})));
        }
        (StatusCode::OK, Json(json!({"offset": shelf.received.len()})))
    }

    async fn offset(State(shelf): State<Shared>) -> Json<Value> {
        Json(json!({"offset": shelf.lock().unwrap().received.len()}))
    }

    async fn finish(State(shelf): State<Shared>) -> StatusCode {
        shelf.lock().unwrap().finished = true;
        StatusCode::CREATED
    }

    async fn serve(shelf: Shared) -> Client {
        let upload = get(offset).patch(piece).put(finish);
        let app = Router::new()
            .route("/v1/blobs/uploads", post(begin))
            .route("/v1/blobs/uploads/{id}", upload)
            .route("/v1/blobs/{digest}", head(|| async { StatusCode::NOT_FOUND }))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(shelf);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Client::new(Endpoint::new(format!("http://{address}").parse().unwrap(), None)).unwrap()
    }

    fn blob(content: Vec<u8>) -> Blob {
        let content = Bytes::from(content);
        Blob { digest: Digest::of(&content), size: content.len() as u64, label: "weights".to_owned(), source: Source::Bytes(content) }
    }

    #[tokio::test]
    async fn an_upload_that_broke_goes_on_where_the_server_stands() {
        let content: Vec<u8> = (0..20_u64 << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let shelf = Shared::new(Mutex::new(Shelf { refusals: 1, ..Shelf::default() }));
        let client = serve(Arc::clone(&shelf)).await;
        let home = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(&client, home.path());
        let blob = blob(content.clone());
        assert_eq!(uploads.missing(std::slice::from_ref(&blob)).await.unwrap().len(), 1);
        uploads.send(&[blob], &Bars::new(true)).await.unwrap();
        let shelf = shelf.lock().unwrap();
        assert!(shelf.received == content && shelf.finished);
        assert_eq!(shelf.pieces, [8 << 20, 8 << 20, 4 << 20]);
    }

    #[tokio::test]
    async fn another_run_takes_up_the_upload_that_an_earlier_one_began() {
        let content = vec![7; 9 << 20];
        let shelf = Shared::new(Mutex::new(Shelf { received: content[..8 << 20].to_vec(), ..Shelf::default() }));
        let client = serve(Arc::clone(&shelf)).await;
        let home = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(&client, home.path());
        let blob = blob(content);
        fs::create_dir_all(&uploads.state_dir).await.unwrap();
        fs::write(uploads.state_file(&blob), "u1").await.unwrap();
        uploads.send(std::slice::from_ref(&blob), &Bars::new(true)).await.unwrap();
        let shelf = shelf.lock().unwrap();
        assert_eq!((shelf.begun, shelf.pieces.as_slice(), shelf.finished), (0, [1 << 20].as_slice(), true));
        assert!(!uploads.state_file(&blob).exists());
    }
}
