//! How fast a gibibyte of weights arrives, hashed and in its place, beside a plain `curl` of the same file to the same disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::get;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpu_runner::weights::Weights;
use http::{HeaderMap, StatusCode, header};
use protocol::Digest;
use protocol::manifest::VersionFile;
use protocol::prediction::Errand;
use protocol::wire::{Bundle, Grant};
use protocol::{VersionConfig, VersionId};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::runtime::Runtime;
use tokio_util::io::ReaderStream;

const WEIGHTS_BYTES: usize = 1 << 30;
/// What the platform reads of a blob at a time.
const READ_BYTES: usize = 256 << 10;

fn fetch(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let bed = runtime.block_on(Bed::new());
    let mut group = c.benchmark_group("weights_1_gib");
    group.sample_size(10).throughput(Throughput::Bytes(WEIGHTS_BYTES as u64));
    group.bench_function("fetched_and_verified", |b| {
        b.to_async(&runtime).iter_custom(|times| bed.sum(times, async |to| bed.fetch(to).await));
    });
    group.bench_function("curl", |b| b.to_async(&runtime).iter_custom(|times| bed.sum(times, async |to| bed.curl(to).await)));
    group.finish();
}

struct Bed {
    home: TempDir,
    grant: Grant,
    bundle: Bundle,
}

impl Bed {
    async fn new() -> Self {
        let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
        // No two pages the same, and none that a file system could leave out.
        let content: Vec<u8> = (0..WEIGHTS_BYTES / 8).flat_map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
        let served = home.path().join("served");
        std::fs::write(&served, &content).expect("the disk has room");
        let router = Router::new().route("/runner/blobs/{digest}", get(serve)).with_state(Arc::new(served));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base_url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async { axum::serve(listener, router).await.expect("it serves until the end") });
        let config: VersionConfig = serde_json::from_value(json!({"protocol": "cog", "openapi_schema": {}})).expect("it is a config");
        let digest = Digest::of(&content);
        let files = vec![VersionFile { path: "model.safetensors".to_owned(), digest, size: content.len() as u64 }];
        let bundle = Bundle { model: "acme/large".parse().expect("it is a name"), version: VersionId::new(digest), config, files };
        Self { home, grant: Grant { base_url, token: "grant".to_owned() }, bundle }
    }

    /// Each time into a new directory, whose removal is not measured.
    async fn sum(&self, times: u64, run: impl AsyncFn(PathBuf)) -> Duration {
        let mut taken = Duration::ZERO;
        for _ in 0..times {
            let to = TempDir::new_in(self.home.path()).expect("a directory can be made");
            let begun_at = Instant::now();
            run(to.path().to_owned()).await;
            taken += begun_at.elapsed();
        }
        taken
    }

    async fn fetch(&self, to: PathBuf) {
        let weights = Weights::new(&to, reqwest::Client::new(), Some(u64::MAX)).expect("the directory can be written");
        let project = weights.project(&self.bundle, Errand::Predict, &self.grant, &[]).await.expect("the weights arrive");
        make_writable(&project.path);
    }

    async fn curl(&self, to: PathBuf) {
        let url = format!("{}/runner/blobs/{}", self.grant.base_url, self.bundle.files[0].digest);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--output"]).arg(to.join("weights")).arg(url);
        let status = tokio::task::spawn_blocking(move || curl.status()).await.expect("it does not panic").expect("curl is there");
        assert!(status.success());
    }
}

/// So that the directory can be removed.
fn make_writable(project: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(project, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

async fn serve(State(served): State<Arc<PathBuf>>, headers: HeaderMap, _request: Request) -> impl IntoResponse {
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (first, last) = match range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
        Some((first, last)) => (first.parse().expect("it is a number"), last.parse().expect("it is a number")),
        None => (0, WEIGHTS_BYTES as u64 - 1),
    };
    let mut file = tokio::fs::File::open(served.as_path()).await.expect("it was written");
    file.seek(std::io::SeekFrom::Start(first)).await.expect("it is that long");
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let body = axum::body::Body::from_stream(ReaderStream::with_capacity(file.take(last - first + 1), READ_BYTES));
    (status, [(header::CONTENT_LENGTH, last - first + 1)], body)
}

criterion_group!(benches, fetch);
criterion_main!(benches);
