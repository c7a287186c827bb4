//! The cache against a store that answers, breaks off and lies.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::*;

/// What the store does when a blob is asked for.
#[derive(Clone)]
enum Answer {
    Bytes(Vec<u8>),
    Status(StatusCode),
    /// Half of it, and then the line breaks.
    Half(Vec<u8>),
    /// Half of it, and then nothing.
    Hang(Vec<u8>),
}

#[derive(Default)]
struct Store {
    /// Taken in turn; the last one stays.
    answers: Mutex<HashMap<String, Vec<Answer>>>,
    asked: Mutex<Vec<String>>,
    half_sent: Notify,
}

struct Bed {
    store: Arc<Store>,
    home: TempDir,
    grant: Grant,
    server: AbortHandle,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bed {
    async fn new() -> Self {
        let store = Arc::new(Store::default());
        let router = Router::new().route("/runner/blobs/{digest}", get(serve_blob)).with_state(Arc::clone(&store));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { store, home: tempfile::tempdir().unwrap(), grant: Grant { base_url, token: "leave".to_owned() }, server }
    }

    fn weights(&self) -> Weights {
        Weights::new(self.home.path(), reqwest::Client::new()).unwrap()
    }

    fn answer(&self, content: &[u8], answers: &[Answer]) {
        self.store.answers.lock().unwrap().insert(Digest::of(content).to_string(), answers.to_vec());
    }

    fn asked(&self) -> usize {
        self.store.asked.lock().unwrap().len()
    }

    fn blob(&self, content: &[u8]) -> PathBuf {
        let hex = Digest::of(content).hex();
        self.home.path().join("blobs").join(&hex[..2]).join(hex)
    }
}

async fn serve_blob(State(store): State<Arc<Store>>, UrlPath(digest): UrlPath<String>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|value| value != "Bearer leave") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    store.asked.lock().unwrap().push(digest.clone());
    let answer = {
        let mut answers = store.answers.lock().unwrap();
        match answers.get_mut(&digest) {
            None => Answer::Status(StatusCode::NOT_FOUND),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        }
    };
    let half = |content: &[u8]| Ok::<_, io::Error>(content[..content.len() / 2].to_vec());
    match answer {
        Answer::Bytes(content) => content.into_response(),
        Answer::Status(status) => status.into_response(),
        Answer::Half(content) => Body::from_stream(stream::iter([half(&content), Err(io::ErrorKind::BrokenPipe.into())])).into_response(),
        Answer::Hang(content) => {
            let tell = async move {
                store.half_sent.notify_one();
                futures::future::pending().await
            };
            Body::from_stream(stream::iter([half(&content)]).chain(tell.into_stream())).into_response()
        }
    }
}

fn file(path: &str, content: &[u8]) -> VersionFile {
    VersionFile { path: path.to_owned(), digest: Digest::of(content), size: content.len() as u64 }
}

fn bundle(name: &str, files: &[VersionFile]) -> Bundle {
    Bundle {
        model: "acme/echo".parse().unwrap(),
        version: VersionId::new(Digest::of(name.as_bytes())),
        config: serde_json::from_value(json!({"protocol": "cog", "openapi_schema": {}})).unwrap(),
        files: files.to_vec(),
    }
}

#[tokio::test]
async fn a_versions_files_lie_in_place_read_only_and_are_fetched_once() {
    let bed = Bed::new().await;
    let large = vec![7; 3 << 20];
    bed.answer(b"code", &[Answer::Bytes(b"code".to_vec())]);
    bed.answer(&large, &[Answer::Bytes(large.clone())]);
    let bundle = bundle("v", &[file("predict.py", b"code"), file("weights/a.bin", &large)]);
    let made = [MadeFile { path: ".cog/openapi_schema.json".to_owned(), content: b"{}".to_vec() }];
    let weights = bed.weights();
    let folder = weights.project(&bundle, Errand::Predict, &bed.grant, &made).await.unwrap();
    assert_eq!(fs::read(folder.join("predict.py")).unwrap(), b"code");
    assert_eq!(fs::read(folder.join("weights/a.bin")).unwrap(), large);
    assert_eq!(fs::read(folder.join(".cog/openapi_schema.json")).unwrap(), b"{}");
    for name in ["", "weights", "predict.py", ".cog/openapi_schema.json"] {
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o555, "{name}");
    }
    assert_eq!(fs::metadata(folder.join("predict.py")).unwrap().nlink(), 2);
    assert_eq!(weights.project(&bundle, Errand::Predict, &bed.grant, &made).await.unwrap(), folder);
    assert_eq!(bed.weights().project(&bundle, Errand::Predict, &bed.grant, &made).await.unwrap(), folder);
    assert_eq!(bed.asked(), 2);
}

#[tokio::test]
async fn a_blob_that_two_versions_want_at_once_is_fetched_once() {
    let bed = Bed::new().await;
    bed.answer(b"shared", &[Answer::Bytes(b"shared".to_vec())]);
    let weights = bed.weights();
    let (one, two) = (bundle("1", &[file("a", b"shared")]), bundle("2", &[file("b", b"shared"), file("c", b"shared")]));
    let (first, second, again) = tokio::join!(
        weights.project(&one, Errand::Predict, &bed.grant, &[]),
        weights.project(&two, Errand::Predict, &bed.grant, &[]),
        weights.project(&two, Errand::Predict, &bed.grant, &[])
    );
    assert_eq!(fs::read(first.unwrap().join("a")).unwrap(), b"shared");
    assert_eq!(fs::read(second.unwrap().join("c")).unwrap(), b"shared");
    again.unwrap();
    assert_eq!(bed.asked(), 1);
}

#[tokio::test]
async fn a_wrong_blob_is_refused_and_quarantined() {
    let bed = Bed::new().await;
    bed.answer(b"right", &[Answer::Bytes(b"wrong".to_vec())]);
    bed.answer(b"short", &[Answer::Bytes(b"longer than it".to_vec())]);
    for content in [b"right", b"short"] {
        let error = bed.weights().project(&bundle("v", &[file("a", content)]), Errand::Predict, &bed.grant, &[]).await.unwrap_err();
        assert!(matches!(error, FetchError::Mismatch { .. }), "{error}");
        assert!(!bed.blob(content).exists());
        assert!(bed.home.path().join("blobs/quarantine").join(Digest::of(content).hex()).exists());
    }
    assert_eq!(bed.asked(), 4);
    assert_eq!(fs::read_dir(bed.home.path().join("projects")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_fetch_that_went_wrong_is_tried_once_more() {
    let bed = Bed::new().await;
    for first in [
        Answer::Bytes(b"wrong".to_vec()),
        Answer::Half(b"right".to_vec()),
        Answer::Bytes(b"ri".to_vec()),
        Answer::Status(StatusCode::BAD_GATEWAY),
    ] {
        let home = tempfile::tempdir().unwrap();
        bed.answer(b"right", &[first, Answer::Bytes(b"right".to_vec())]);
        let weights = Weights::new(home.path(), reqwest::Client::new()).unwrap();
        let folder = weights.project(&bundle("v", &[file("a", b"right")]), Errand::Predict, &bed.grant, &[]).await.unwrap();
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"right");
    }
    assert_eq!(bed.asked(), 8);
}

#[tokio::test]
async fn a_line_that_breaks_twice_is_an_error_that_says_so() {
    let bed = Bed::new().await;
    for answer in [Answer::Half(b"right".to_vec()), Answer::Bytes(b"ri".to_vec())] {
        bed.answer(b"right", &[answer]);
        let error = bed.weights().project(&bundle("v", &[file("a", b"right")]), Errand::Predict, &bed.grant, &[]).await.unwrap_err();
        assert!(matches!(error, FetchError::Broken { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    let bed = Bed::new().await;
    let error = bed.weights().project(&bundle("v", &[file("a", b"unknown")]), Errand::Predict, &bed.grant, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { status: 404, .. }), "{error}");
    let stranger = Grant { token: "other".to_owned(), ..bed.grant.clone() };
    let error = bed.weights().project(&bundle("v", &[file("a", b"unknown")]), Errand::Predict, &stranger, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { status: 401, .. }), "{error}");
    assert_eq!(bed.asked(), 1);
}

#[tokio::test]
async fn a_path_that_leaves_the_project_is_refused_before_anything_is_fetched() {
    let bed = Bed::new().await;
    let error = bed.weights().project(&bundle("v", &[file("../../x", b"x")]), Errand::Predict, &bed.grant, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Path { .. }), "{error}");
    assert_eq!(bed.asked(), 0);
}

#[tokio::test]
async fn a_blob_that_changed_on_the_disk_is_noticed_and_fetched_again() {
    let bed = Bed::new().await;
    bed.answer(b"weights", &[Answer::Bytes(b"weights".to_vec())]);
    let bundle = bundle("v", &[file("a", b"weights")]);
    let folder = bed.weights().project(&bundle, Errand::Predict, &bed.grant, &[]).await.unwrap();
    fs::set_permissions(bed.blob(b"weights"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(bed.blob(b"weights"), b"damaged").unwrap();
    bed.weights().project(&bundle, Errand::Predict, &bed.grant, &[]).await.unwrap();
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"weights");
    assert_eq!(bed.asked(), 2);

    // Touched but not changed: hashed again, not fetched again.
    fs::File::open(bed.blob(b"weights")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    bed.weights().project(&bundle, Errand::Predict, &bed.grant, &[]).await.unwrap();
    assert_eq!(bed.asked(), 2);
}

#[tokio::test]
async fn a_fetch_that_is_given_up_in_the_middle_leaves_nothing_to_see() {
    let bed = Bed::new().await;
    bed.answer(b"weights", &[Answer::Hang(b"weights".to_vec()), Answer::Bytes(b"weights".to_vec())]);
    let bundle = bundle("v", &[file("a", b"weights")]);
    let weights = bed.weights();
    tokio::select! {
        result = weights.project(&bundle, Errand::Predict, &bed.grant, &[]) => panic!("{result:?}"),
        () = bed.store.half_sent.notified() => {}
    }
    assert!(!bed.blob(b"weights").exists());
    assert_eq!(fs::read_dir(bed.home.path().join("projects")).unwrap().count(), 0);
    let folder = weights.project(&bundle, Errand::Predict, &bed.grant, &[]).await.unwrap();
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"weights");
}

#[tokio::test]
async fn what_a_killed_runner_left_is_removed_and_what_a_living_one_writes_is_not() {
    let bed = Bed::new().await;
    bed.weights();
    let (unfinished, projects) = (bed.home.path().join("blobs/unfinished"), bed.home.path().join("projects"));
    fs::write(unfinished.join("dead"), b"half").unwrap();
    let living = fs::File::create(unfinished.join("living")).unwrap();
    living.lock().unwrap();
    fs::create_dir_all(projects.join(".unfinished-x/deep")).unwrap();
    fs::set_permissions(projects.join(".unfinished-x"), fs::Permissions::from_mode(0o555)).unwrap();
    bed.weights();
    assert!(!unfinished.join("dead").exists() && unfinished.join("living").exists());
    assert_eq!(fs::read_dir(projects).unwrap().count(), 0);
}
