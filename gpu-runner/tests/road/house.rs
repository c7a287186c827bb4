//! A runner with a platform around it: blobs to fetch, input files, a place for output files, and versions made from folders.
#![expect(clippy::unwrap_used, reason = "a house that cannot be built is a failed test")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Segments, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use fabric::{Fabric, Line};
use gpu_runner::{IsolationWish, RunnerConfig, serve};
use protocol::manifest::VersionFile;
use protocol::prediction::Errand;
use protocol::wire::{Assignment, Bundle, Ended, Event, FailCode, Grant, Outcome, RunnerCard, Started};
use protocol::{Clock, Digest, Entropy, Manifest, PredictionId, VersionConfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "grant";
/// A cold start with an environment that has to be built first, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a runner reaches over HTTP.
#[derive(Clone, Debug, Default)]
pub struct Platform(Arc<Mutex<Shelves>>);

#[derive(Debug, Default)]
struct Shelves {
    blobs: HashMap<String, Bytes>,
    /// Of blobs, in their order.
    asked: Vec<String>,
    inputs: HashMap<String, Bytes>,
    uploads: Vec<(String, String, Bytes)>,
}

impl Platform {
    pub fn keep_input(&self, path: &str, content: &'static [u8]) {
        self.0.lock().unwrap().inputs.insert(path.to_owned(), Bytes::from_static(content));
    }

    /// The name and content of an uploaded file, by its location.
    pub fn upload(&self, location: &Value) -> (String, Bytes) {
        let number: usize = location.as_str().unwrap().strip_prefix("feira-file:").unwrap().trim_end_matches("?signed=1").parse().unwrap();
        let (_, name, content) = self.0.lock().unwrap().uploads[number].clone();
        (name, content)
    }

    /// How often a blob was asked for.
    pub fn asked(&self, content: &[u8]) -> usize {
        let digest = Digest::of(content).to_string();
        self.0.lock().unwrap().asked.iter().filter(|asked| **asked == digest).count()
    }

    async fn serve(self, listener: tokio::net::TcpListener) {
        let allowed = |headers: &HeaderMap| headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"));
        let blob = move |State(platform): State<Self>, Segments(digest): Segments<String>, headers: HeaderMap| async move {
            assert!(allowed(&headers));
            let mut shelves = platform.0.lock().unwrap();
            let found = shelves.blobs.get(&digest).cloned();
            shelves.asked.push(digest);
            found.ok_or(StatusCode::NOT_FOUND)
        };
        let input = move |State(platform): State<Self>, Segments(path): Segments<String>, headers: HeaderMap| async move {
            assert!(allowed(&headers));
            let found = platform.0.lock().unwrap().inputs.get(&path).cloned();
            found.ok_or(StatusCode::NOT_FOUND)
        };
        let output = move |State(platform): State<Self>,
                           Segments((prediction, name)): Segments<(String, String)>,
                           headers: HeaderMap,
                           content: Bytes| async move {
            assert!(allowed(&headers));
            let uploads = &mut platform.0.lock().unwrap().uploads;
            uploads.push((prediction, name, content));
            (StatusCode::CREATED, [("location", format!("feira-file:{}?signed=1", uploads.len() - 1))]).into_response()
        };
        let router = Router::new()
            .route("/runner/blobs/{digest}", get(blob))
            .route("/runner/inputs/{*path}", get(input))
            .route("/runner/files/{prediction}/{name}", put(output).layer(axum::extract::DefaultBodyLimit::disable()))
            .with_state(self);
        axum::serve(listener, router).await.unwrap();
    }
}

#[derive(Debug)]
pub struct House {
    pub fabric: Fabric,
    pub platform: Platform,
    pub runner: String,
    base_url: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

/// The runtime of all houses: a house that several tests share outlives each of them.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Runs a test in the house that most of them share.
pub fn in_the_house<F: Future<Output = ()>>(test: impl FnOnce(&'static House) -> F) {
    static HOUSE: OnceLock<House> = OnceLock::new();
    let house =
        HOUSE.get_or_init(|| runtime().block_on(House::open("shared", |config| (config.instances_max, config.zygotes_max) = (64, 1))));
    runtime().block_on(test(house));
}

/// Runs a test in the house whose runner prepares zygotes, alone there and once one is ready for a project that imports nothing but Cog.
pub fn in_the_house_of_zygotes<F: Future<Output = ()>>(test: impl FnOnce(&'static House) -> F) {
    static HOUSE: OnceLock<House> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let house = HOUSE.get_or_init(|| {
        let configure = |config: &mut RunnerConfig| (config.instances_max, config.zygotes_max) = (64, 2);
        runtime().block_on(House::open("zygotes", configure))
    });
    runtime().block_on(async {
        if house.card().unwrap().zygotes == 0 {
            let word = json!({"type": "string"});
            let echo = house.project("echo", &format!("first {:?}", Instant::now()), &json!({"text": word}), &word);
            house.run(&echo, json!({"text": "x"})).await.succeeded();
        }
        house.wait_for_card(|card| card.zygotes > 0).await;
        test(house).await;
    });
}

/// Runs a test in a house of its own, which it may close.
pub fn in_a_house<F: Future<Output = ()>>(name: &str, configure: impl FnOnce(&mut RunnerConfig), test: impl FnOnce(House) -> F) {
    runtime().block_on(async { test(House::open(name, configure).await).await });
}

impl House {
    async fn open(name: &str, configure: impl FnOnce(&mut RunnerConfig)) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let platform = Platform::default();
        tokio::spawn(platform.clone().serve(listener));
        let mut config = RunnerConfig {
            id: name.to_owned(),
            region: "local".to_owned(),
            home: home(name),
            feira_exe: launcher(),
            search_path: variable("PATH").unwrap(),
            tools: ["SSL_CERT_FILE", "PIP_CERT", "HTTPS_PROXY", "NO_PROXY", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), variable(name)?)))
                .collect(),
            isolation: IsolationWish::Auto,
            weights_bytes_max: Some(1 << 30),
            freeze_after: Duration::from_mins(10),
            idle_expiry: Duration::from_mins(10),
            instances_max: 8,
            memory_bytes_max: None,
            zygotes_max: 0,
            memory_bytes_default: 2 << 30,
            scratch_bytes_max: 1 << 30,
            drain_grace: Duration::from_secs(2),
        };
        configure(&mut config);
        let (fabric, stop) = (Fabric::in_process(), CancellationToken::new());
        let running = serve(config, fabric.clone(), Clock::system(), Entropy::system(), stop.clone());
        let serving = tokio::spawn(async { running.await.unwrap() });
        let house = Self { fabric, platform, runner: name.to_owned(), base_url, stop, serving };
        house.wait_for_card(|_| true).await;
        house
    }

    /// Where the runner keeps a blob.
    pub fn blob(&self, content: &[u8]) -> PathBuf {
        let hex = Digest::of(content).hex();
        home(&self.runner).join("blobs").join(&hex[..2]).join(hex)
    }

    /// Stops the runner and waits until it has drained.
    pub async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }

    /// Begins to stop the runner.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// A version made of files and a config.
    pub fn version(&self, files: &[(&str, &[u8])], config: &Value) -> Arc<Bundle> {
        let config: VersionConfig = serde_json::from_value(config.clone()).unwrap();
        let files: Vec<VersionFile> = files
            .iter()
            .map(|(path, content)| {
                let digest = Digest::of(content);
                self.platform.0.lock().unwrap().blobs.insert(digest.to_string(), Bytes::copy_from_slice(content));
                VersionFile { path: (*path).to_owned(), digest, size: content.len() as u64 }
            })
            .collect();
        let (manifest, _) = Manifest::new(&config, &files, &BTreeMap::new());
        Arc::new(Bundle { model: "feira/test".parse().unwrap(), version: manifest.id(), config, files })
    }

    /// One of the test projects, with the parts of its schema that matter. `salt` makes a version of its own of it.
    pub fn project(&self, name: &str, salt: &str, input: &Value, output: &Value) -> Arc<Bundle> {
        let folder = projects().join(name);
        let predict = std::fs::read(folder.join("predict.py")).unwrap();
        self.predictor(&[("predict.py", &predict), ("salt", salt.as_bytes())], &json!({}), input, output)
    }

    /// A predictor made of files, in the environment of the test projects.
    pub fn predictor(&self, files: &[(&str, &[u8])], more: &Value, input: &Value, output: &Value) -> Arc<Bundle> {
        let lock = std::fs::read(projects().join("echo/requirements.lock")).unwrap();
        let mut files = files.to_vec();
        files.push(("requirements.lock", &lock));
        let mut config = json!({
            "protocol": "cog",
            "predictor": "predict.py:Predictor",
            "environment": {"python": "3.11", "lock": "requirements.lock"},
            "openapi_schema": {"components": {"schemas": {"Input": {"type": "object", "properties": input}, "Output": output}}},
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.version(&files, &config)
    }

    pub fn grant(&self) -> Grant {
        Grant { base_url: self.base_url.clone(), token: TOKEN.to_owned() }
    }

    pub fn call(&self, bundle: &Arc<Bundle>, account: &str, input: Value) -> Line {
        self.send(Assignment { account: account.to_owned(), ..self.assignment(bundle, input) })
    }

    /// A training, or a deployment's prediction.
    pub fn call_for(&self, bundle: &Arc<Bundle>, errand: Errand, deployment: Option<&str>, input: Value) -> Line {
        let deployment = deployment.map(|name| name.parse().unwrap());
        self.send(Assignment { errand, deployment, ..self.assignment(bundle, input) })
    }

    fn send(&self, assignment: Assignment) -> Line {
        self.fabric.open(&self.runner, assignment).unwrap()
    }

    fn assignment(&self, bundle: &Arc<Bundle>, input: Value) -> Assignment {
        Assignment {
            prediction: PredictionId::new(&Clock::system(), &Entropy::system()),
            attempt: 1,
            account: "a".to_owned(),
            errand: Errand::Predict,
            deployment: None,
            bundle: bundle.clone(),
            input,
            grant: self.grant(),
        }
    }

    pub async fn run(&self, bundle: &Arc<Bundle>, input: Value) -> Ran {
        Ran::listen(&mut self.call(bundle, "a", input)).await
    }

    pub fn card(&self) -> Option<Arc<RunnerCard>> {
        self.fabric.directory().cards().into_iter().find(|card| card.id == self.runner)
    }

    pub async fn wait_for_card(&self, is_it: impl Fn(&RunnerCard) -> bool) -> Arc<RunnerCard> {
        let mut changes = self.fabric.directory().watch();
        let waiting = async {
            loop {
                if let Some(card) = self.card().filter(|card| is_it(card)) {
                    return card;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no such card: {:?}", self.card()))
    }
}

/// All that was heard of one prediction.
#[derive(Debug, Default)]
pub struct Ran {
    pub started: Option<Started>,
    pub logs: String,
    pub outputs: Vec<Value>,
    pub metrics: BTreeMap<String, Value>,
    pub ended: Option<Ended>,
}

impl Ran {
    pub async fn listen(line: &mut Line) -> Self {
        let mut ran = Self::default();
        let listening = async { while ran.hear(line).await.is_some() {} };
        tokio::time::timeout(PATIENCE, listening).await.expect("the prediction ends");
        assert!(ran.ended.is_some(), "the line ended before the prediction: {ran:?}");
        ran
    }

    /// Takes one event, as text; `None` after the end.
    pub async fn hear(&mut self, line: &mut Line) -> Option<()> {
        let event = line.next().await?;
        assert!(self.ended.is_none(), "{event:?} came after the end");
        match event {
            Event::Started(started) => assert!(self.started.replace(started).is_none(), "it started twice"),
            Event::Log { text } => self.logs.push_str(&text),
            Event::Output { chunk } => self.outputs.push(chunk),
            Event::Metric { name, value } => drop(self.metrics.insert(name, value)),
            Event::Ended(ended) => self.ended = Some(ended),
        }
        Some(())
    }

    /// Listens until the logs have this text.
    pub async fn until_logged(line: &mut Line, text: &str) -> Self {
        let mut ran = Self::default();
        let listening = async {
            while !ran.logs.contains(text) {
                ran.hear(line).await.unwrap_or_else(|| panic!("it ended before it said {text:?}"));
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("it says it");
        ran
    }

    pub fn outcome(&self) -> &Outcome {
        &self.ended.as_ref().unwrap().outcome
    }

    pub fn run_us(&self) -> u64 {
        self.ended.as_ref().unwrap().run_us
    }

    pub fn failure(&self) -> (FailCode, &str) {
        match self.outcome() {
            Outcome::Failed { code, message } => (*code, message),
            other => panic!("it did not fail: {other:?}"),
        }
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.outcome(), &Outcome::Succeeded, "{}", self.logs);
        self
    }
}

/// Cancels a prediction and returns what was heard until its end, and how long that took.
pub async fn cancel(line: &mut Line) -> (Ran, Duration) {
    let asked_at = Instant::now();
    line.cancel();
    (Ran::listen(line).await, asked_at.elapsed())
}

pub fn projects() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/projects")
}

/// Kept between runs, so that environments are built once.
fn home(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("homes").join(name);
    std::fs::create_dir_all(&home).unwrap();
    home
}

fn launcher() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples/confine")
}

#[expect(clippy::disallowed_methods, reason = "a test stands where the command line does")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
