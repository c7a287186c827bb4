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

use super::fetch::PIECE_BYTES;
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
    ranges: Mutex<Vec<String>>,
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
        self.weights_up_to(1 << 30)
    }

    fn weights_up_to(&self, bytes_max: u64) -> Weights {
        Weights::new(self.home.path(), reqwest::Client::new(), Some(bytes_max)).unwrap()
    }

    /// A version of these files, each of which the store has.
    fn keep(&self, name: &str, contents: &[&[u8]]) -> Bundle {
        for content in contents {
            self.answer(content, &[Answer::Bytes(content.to_vec())]);
        }
        let files: Vec<VersionFile> = contents.iter().enumerate().map(|(n, content)| file(&n.to_string(), content)).collect();
        bundle(name, &files)
    }

    async fn fetch(&self, weights: &Weights, bundle: &Bundle) -> Result<Project, FetchError> {
        weights.project(bundle, Errand::Predict, &self.grant, &[]).await
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
    let range = headers.get("range").map(|range| range.to_str().unwrap().to_owned());
    store.ranges.lock().unwrap().extend(range.clone());
    let part = |content: Vec<u8>| match &range {
        None => content,
        Some(range) => {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            content.get(first..content.len().min(last + 1)).unwrap_or_default().to_vec()
        }
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let half = |content: Vec<u8>| {
        let content = part(content);
        Ok::<_, io::Error>(content[..content.len() / 2].to_vec())
    };
    match answer {
        Answer::Bytes(content) => (status, part(content)).into_response(),
        Answer::Status(status) => status.into_response(),
        Answer::Half(content) => {
            let broken = stream::iter([half(content), Err(io::ErrorKind::BrokenPipe.into())]);
            (status, Body::from_stream(broken)).into_response()
        }
        Answer::Hang(content) => {
            let tell = async move {
                store.half_sent.notify_one();
                futures::future::pending().await
            };
            Body::from_stream(stream::iter([half(content)]).chain(tell.into_stream())).into_response()
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
    let folder = weights.project(&bundle, Errand::Predict, &bed.grant, &made).await.unwrap().path;
    assert_eq!(fs::read(folder.join("predict.py")).unwrap(), b"code");
    assert_eq!(fs::read(folder.join("weights/a.bin")).unwrap(), large);
    assert_eq!(fs::read(folder.join(".cog/openapi_schema.json")).unwrap(), b"{}");
    for name in ["", "weights", "predict.py", ".cog/openapi_schema.json"] {
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o555, "{name}");
    }
    assert_eq!(fs::metadata(folder.join("predict.py")).unwrap().nlink(), 2);
    assert_eq!(weights.project(&bundle, Errand::Predict, &bed.grant, &made).await.unwrap().path, folder);
    assert_eq!(bed.weights().project(&bundle, Errand::Predict, &bed.grant, &made).await.unwrap().path, folder);
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
    assert_eq!(fs::read(first.unwrap().path.join("a")).unwrap(), b"shared");
    assert_eq!(fs::read(second.unwrap().path.join("c")).unwrap(), b"shared");
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
        let weights = Weights::new(home.path(), reqwest::Client::new(), Some(1 << 30)).unwrap();
        let folder = weights.project(&bundle("v", &[file("a", b"right")]), Errand::Predict, &bed.grant, &[]).await.unwrap().path;
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
    let folder = bed.weights().project(&bundle, Errand::Predict, &bed.grant, &[]).await.unwrap().path;
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
    let folder = weights.project(&bundle, Errand::Predict, &bed.grant, &[]).await.unwrap().path;
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"weights");
}

#[tokio::test]
async fn what_a_killed_runner_left_is_removed_and_what_a_living_one_writes_is_not() {
    let bed = Bed::new().await;
    bed.weights();
    let (unfinished, projects) = (bed.home.path().join("blobs/unfinished"), bed.home.path().join("projects"));
    fs::write(unfinished.join("dead"), b"half").unwrap();
    fs::write(unfinished.join(Digest::of(b"wanted again").hex()), b"wanted").unwrap();
    let living = fs::File::create(unfinished.join("living")).unwrap();
    living.lock().unwrap();
    fs::create_dir_all(projects.join(".unfinished-x/deep")).unwrap();
    fs::set_permissions(projects.join(".unfinished-x"), fs::Permissions::from_mode(0o555)).unwrap();
    bed.weights();
    assert!(!unfinished.join("dead").exists() && unfinished.join("living").exists());
    assert!(unfinished.join(Digest::of(b"wanted again").hex()).exists());
    assert_eq!(fs::read_dir(projects).unwrap().count(), 0);
}

/// Bytes of which no two pieces are the same.
fn large(pieces: usize) -> Vec<u8> {
    let bytes = pieces * usize::try_from(PIECE_BYTES).unwrap() - 5;
    (0..bytes).map(|n| u8::try_from((n / 251 + n) % 256).unwrap()).collect()
}

#[tokio::test]
async fn a_large_blob_comes_in_ranges_and_is_whole() {
    let bed = Bed::new().await;
    let content = large(6);
    let bundle = bed.keep("v", &[&content]);
    let folder = bed.fetch(&bed.weights(), &bundle).await.unwrap().path;
    assert_eq!(Digest::of(&fs::read(folder.join("0")).unwrap()), Digest::of(&content));
    assert_eq!((bed.asked(), bed.store.ranges.lock().unwrap().len()), (6, 6));
}

#[tokio::test]
async fn after_a_break_only_the_rest_of_one_piece_is_asked_for_again() {
    let bed = Bed::new().await;
    let content = large(6);
    let bundle = bed.keep("v", &[&content]);
    bed.answer(&content, &[Answer::Bytes(content.clone()), Answer::Half(content.clone()), Answer::Bytes(content.clone())]);
    let folder = bed.fetch(&bed.weights(), &bundle).await.unwrap().path;
    assert_eq!(Digest::of(&fs::read(folder.join("0")).unwrap()), Digest::of(&content));
    let ranges = bed.store.ranges.lock().unwrap().clone();
    let starts_inside = |range: &&String| {
        let start: u64 = range.strip_prefix("bytes=").unwrap().split('-').next().unwrap().parse().unwrap();
        !start.is_multiple_of(PIECE_BYTES)
    };
    assert!(ranges.len() == 7 && ranges.iter().filter(starts_inside).count() == 1, "{ranges:?}");
}

#[tokio::test]
async fn a_runner_that_was_killed_goes_on_where_it_was() {
    let bed = Bed::new().await;
    let content = large(3);
    let bundle = bed.keep("v", &[&content]);
    let weights = bed.weights();
    let unfinished = bed.home.path().join("blobs/unfinished").join(Digest::of(&content).hex());
    fs::write(&unfinished, &content[..5_000_000]).unwrap();
    let folder = bed.fetch(&weights, &bundle).await.unwrap().path;
    assert_eq!(Digest::of(&fs::read(folder.join("0")).unwrap()), Digest::of(&content));
    let ranges = bed.store.ranges.lock().unwrap().clone();
    assert_eq!(ranges, ["bytes=5000000-9194303", &format!("bytes=9194304-{}", content.len() - 1)]);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn what_broke_off_is_gone_on_with_and_what_was_wrong_in_it_is_noticed() {
    let bed = Bed::new().await;
    let content = large(6);
    let bundle = bed.keep("v", &[&content]);
    let mut answers = vec![Answer::Bytes(content.clone()); 3];
    answers.push(Answer::Status(StatusCode::BAD_GATEWAY));
    bed.answer(&content, &answers);
    let weights = bed.weights();
    let error = bed.fetch(&weights, &bundle).await.unwrap_err();
    assert!(matches!(error, FetchError::Broken { .. }), "{error}");
    let unfinished = bed.home.path().join("blobs/unfinished").join(Digest::of(&content).hex());
    let here = fs::metadata(&unfinished).unwrap().len();
    assert!(here > 0 && here < content.len() as u64, "{here}");

    let damaged = fs::OpenOptions::new().write(true).open(&unfinished).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&damaged, b"damaged", 1_000).unwrap();
    drop(damaged);
    bed.answer(&content, &[Answer::Bytes(content.clone())]);
    let folder = bed.fetch(&weights, &bundle).await.unwrap().path;
    assert_eq!(Digest::of(&fs::read(folder.join("0")).unwrap()), Digest::of(&content));
    assert!(bed.store.ranges.lock().unwrap().contains(&format!("bytes={here}-{}", here + PIECE_BYTES - 1)));
    assert!(bed.home.path().join("blobs/quarantine").join(Digest::of(&content).hex()).exists());
}

#[tokio::test]
async fn two_runners_over_one_home_do_not_write_into_one_file() {
    let bed = Bed::new().await;
    let bundle = bed.keep("v", &[b"weights"]);
    let weights = bed.weights();
    let taken = fs::File::create(bed.home.path().join("blobs/unfinished").join(Digest::of(b"weights").hex())).unwrap();
    taken.lock().unwrap();
    let folder = bed.fetch(&weights, &bundle).await.unwrap().path;
    assert_eq!(fs::read(folder.join("0")).unwrap(), b"weights");
    assert_eq!(taken.metadata().unwrap().len(), 0);
}

#[tokio::test]
async fn a_piece_from_another_blob_is_noticed() {
    let bed = Bed::new().await;
    let content = large(3);
    let mut other = content.clone();
    other[7_000_000] ^= 1;
    let bundle = bed.keep("v", &[&content]);
    bed.answer(&content, &[Answer::Bytes(other)]);
    let error = bed.fetch(&bed.weights(), &bundle).await.unwrap_err();
    assert!(matches!(error, FetchError::Mismatch { .. }), "{error}");
}

/// Sets back when a version was last used.
fn used_long_ago(project: &Project, seconds: u64) {
    let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000 - seconds);
    fs::File::open(&project.path).unwrap().set_modified(at).unwrap();
}

#[tokio::test]
async fn the_version_used_least_recently_makes_room_and_shared_blobs_stay() {
    let bed = Bed::new().await;
    let weights = bed.weights_up_to(100);
    let (old, older, shared) = ([1; 30], [2; 30], [3; 30]);
    let first = bed.keep("old", &[&old, &shared]);
    let second = bed.keep("older", &[&older, &shared]);
    let third = bed.keep("new", &[&[4; 35]]);
    used_long_ago(&bed.fetch(&weights, &first).await.unwrap(), 1);
    used_long_ago(&bed.fetch(&weights, &second).await.unwrap(), 2);
    let third = bed.fetch(&weights, &third).await.unwrap();
    assert!(bed.blob(&old).exists() && bed.blob(&shared).exists() && !bed.blob(&older).exists());
    assert_eq!(fs::read(third.path.join("0")).unwrap(), [4; 35]);
    assert_eq!(fs::read_dir(bed.home.path().join("projects")).unwrap().count(), 2);
}

#[tokio::test]
async fn using_a_version_again_keeps_it() {
    let bed = Bed::new().await;
    let weights = bed.weights_up_to(100);
    let (first, second) = (bed.keep("1", &[&[1; 40]]), bed.keep("2", &[&[2; 40]]));
    used_long_ago(&bed.fetch(&weights, &first).await.unwrap(), 9);
    used_long_ago(&bed.fetch(&weights, &second).await.unwrap(), 5);
    bed.fetch(&weights, &first).await.unwrap();
    bed.fetch(&weights, &bed.keep("3", &[&[3; 40]])).await.unwrap();
    assert!(bed.blob(&[1; 40]).exists() && !bed.blob(&[2; 40]).exists());
}

#[tokio::test]
async fn what_an_instance_uses_is_never_let_go() {
    let bed = Bed::new().await;
    let weights = bed.weights_up_to(100);
    let in_use = bed.fetch(&weights, &bed.keep("1", &[&[1; 60]])).await.unwrap();
    used_long_ago(&in_use, 9);
    let other = bed.keep("2", &[&[2; 60]]);
    let error = bed.fetch(&weights, &other).await.unwrap_err();
    assert!(matches!(error, FetchError::Full { needed: 120, bytes_max: 100 }), "{error}");
    assert_eq!(fs::read(in_use.path.join("0")).unwrap(), [1; 60]);
    drop(in_use);
    bed.fetch(&weights, &other).await.unwrap();
    assert!(!bed.blob(&[1; 60]).exists());
}

#[tokio::test]
async fn what_is_in_quarantine_or_of_no_version_goes_first() {
    let bed = Bed::new().await;
    let weights = bed.weights_up_to(100);
    bed.answer(&[9; 30], &[Answer::Bytes(vec![8; 30])]);
    bed.fetch(&weights, &bundle("wrong", &[file("0", &[9; 30])])).await.unwrap_err();
    bed.answer(&[7; 30], &[Answer::Bytes(vec![7; 30])]);
    bed.fetch(&weights, &bundle("half", &[file("0", &[7; 30]), file("1", b"absent")])).await.unwrap_err();
    let broken_off = bed.home.path().join("blobs/unfinished").join(Digest::of(b"broken off").hex());
    fs::write(&broken_off, [6; 9]).unwrap();
    let kept = bed.keep("kept", &[&[1; 30]]);
    used_long_ago(&bed.fetch(&weights, &kept).await.unwrap(), 9);
    bed.fetch(&weights, &bed.keep("new", &[&[2; 60]])).await.unwrap();
    assert!(bed.blob(&[1; 30]).exists() && !bed.blob(&[7; 30]).exists() && !broken_off.exists());
    assert_eq!(fs::read_dir(bed.home.path().join("blobs/quarantine")).unwrap().count(), 0);
}

#[tokio::test]
async fn without_a_limit_most_of_the_free_disk_is_used() {
    let bed = Bed::new().await;
    let kept = bed.keep("v", &[&[1; 30]]);
    let weights = Weights::new(bed.home.path(), reqwest::Client::new(), None).unwrap();
    bed.fetch(&weights, &kept).await.unwrap();
    let disk = nix::sys::statvfs::statvfs(bed.home.path()).unwrap();
    let size = disk.blocks() * disk.fragment_size();
    assert!((1 << 20..size / 5 * 4).contains(&weights.cache.bytes_max), "{}", weights.cache.bytes_max);
}
