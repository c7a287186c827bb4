//! A small market behind the pages: the routes of the public API that they use, answered with typed data, each call written down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Multipart, Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use protocol::api::{Account, Balance, File, FileUrls, HardwarePrice, Measured, Model, Page, Storage, TagMove, Version};
use protocol::prediction::{ColdStart, CostLine, HookRun, Rung, Timings, Urls};
use protocol::{Clock, Digest, Entropy, Prediction, Pricing, Problem, Status, Timestamp};
use serde_json::{Map, Value, json};
use tower::util::BoxCloneSyncService;
use web::{Api, Config};

pub const BASE: &str = "http://localhost";
pub const TOKEN: &str = "fe_ada";
pub const SESSION: &str = "session.of.ada";
/// 2026-11-24, about five in the morning.
pub const NOW: i64 = 1_795_496_400_000_000;

/// The market, and what it was asked.
#[derive(Clone, Debug, Default)]
pub struct Market {
    pub models: Vec<Model>,
    pub predictions: Vec<Prediction>,
    pub readme: String,
    /// Whether files are refused before they are read.
    pub refuses_files: bool,
    /// What predictions are refused with.
    pub refusal: Option<Problem>,
    pub calls: Arc<Mutex<Vec<Call>>>,
}

/// One call of the API.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Call {
    pub path: &'static str,
    pub bearer: String,
    pub source: String,
    pub body: Value,
}

impl Market {
    /// A market of every kind of stall.
    pub fn open() -> Self {
        let models = vec![smol_chat(), upscale(), embed(), hello_world(), every_kind()];
        let predictions = vec![picture_run(), chat_run(), failed_run(), queued_run(), running_run()];
        Self { models, predictions, readme: "# Upscale\n\nMakes a picture **larger**.\n".to_owned(), ..Self::default() }
    }

    pub fn calls_of(&self, path: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.path == path).cloned().collect()
    }

    fn write_down(&self, path: &'static str, headers: &HeaderMap, body: Value) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let bearer = header(AUTHORIZATION.as_str()).trim_start_matches("Bearer ").to_owned();
        let call = Call { path, bearer, source: header("feira-source"), body };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/account", get(account))
            .route("/v1/account/balance", get(balance))
            .route("/v1/account/storage", get(storage))
            .route("/v1/account/sessions", post(sessions))
            .route("/v1/prices", get(prices))
            .route("/v1/models", get(models))
            .route("/v1/models/{owner}/{name}", get(model))
            .route("/v1/models/{owner}/{name}/readme", get(readme))
            .route("/v1/models/{owner}/{name}/examples", get(examples))
            .route("/v1/models/{owner}/{name}/versions", get(versions))
            .route("/v1/models/{owner}/{name}/tags", get(tags))
            .route("/v1/models/{owner}/{name}/tags/latest/history", get(moves_of_latest))
            .route("/v1/models/{owner}/{name}/versions/{id}", get(version))
            .route("/v1/search", get(search))
            .route("/v1/predictions", get(predictions).post(create))
            .route("/v1/predictions/{id}", get(prediction))
            .route("/v1/predictions/{id}/cancel", post(cancel))
            .route("/v1/files", post(upload))
            .route("/v1/files/{id}/download", get(download))
            .route("/openapi.json", get(|| async { Json(openapi()) }))
            .fallback(|| async { refused(&Problem::new(404, "Not found", "there is no such route")) })
            .with_state(self)
    }

    pub fn shop(&self) -> Router {
        let service = BoxCloneSyncService::new(self.clone().routes());
        let config =
            Config { public_url: Some(BASE.to_owned()), clock: Clock::fixed(Timestamp::from_micros(NOW)), entropy: Entropy::seeded(1) };
        web::router(Api::new(service, "fe_visitor"), config)
    }
}

fn refused(problem: &Problem) -> Response {
    (StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(problem)).into_response()
}

fn or_404<T: serde::Serialize>(found: Option<T>) -> Response {
    found.map_or_else(|| refused(&Problem::new(404, "Not found", "")), |found| Json(found).into_response())
}

async fn account(headers: HeaderMap) -> Response {
    if headers.get(AUTHORIZATION).is_none_or(|bearer| bearer != &format!("Bearer {SESSION}")) {
        return refused(&Problem::new(401, "Unauthenticated", "this session has ended"));
    }
    let account =
        Account { kind: "user".to_owned(), username: "ada".to_owned(), name: "Ada".to_owned(), github_url: None, avatar_url: None };
    Json(account).into_response()
}

async fn balance() -> Json<Balance> {
    let amount = |text: &str| text.parse().expect("an amount");
    Json(Balance { credit: amount("24.9999785"), held: amount("0.003"), available: amount("24.9969785") })
}

async fn storage() -> Json<Storage> {
    Json(Storage { kept_bytes: 1_500_000_000, reserved_bytes: 500_000_000, limit_bytes: Some(10_000_000_000) })
}

async fn sessions(headers: HeaderMap) -> Response {
    if headers.get(AUTHORIZATION).is_none_or(|bearer| bearer != &format!("Bearer {TOKEN}")) {
        return refused(&Problem::new(401, "Unauthenticated", "no account has this token"));
    }
    Json(json!({"session": SESSION, "expires_at": Timestamp::from_micros(NOW).plus_millis(3_600_000)})).into_response()
}

async fn prices() -> Json<Value> {
    let price = |sku: &str, name: &str, price: &str| HardwarePrice {
        sku: sku.to_owned(),
        name: name.to_owned(),
        per_second: price.parse().expect("a price"),
        active_per_second: price.parse().expect("a price"),
    };
    Json(
        json!({"hardware": [price("cpu", "CPU", "0.0001"), price("gpu-t4", "Nvidia T4", "0.000225"), price("gpu-h100", "Nvidia H100", "0.001525")]}),
    )
}

fn page<T>(results: Vec<T>) -> Page<T> {
    Page { next: None, previous: None, results }
}

async fn models(State(market): State<Market>) -> Json<Page<Model>> {
    Json(page(market.models))
}

async fn model(State(market): State<Market>, Path((owner, name)): Path<(String, String)>) -> Response {
    or_404(market.models.into_iter().find(|model| model.owner == owner && model.name == name))
}

async fn readme(State(market): State<Market>) -> String {
    market.readme
}

async fn examples(State(market): State<Market>, Path((owner, name)): Path<(String, String)>) -> Json<Page<Prediction>> {
    let model = format!("{owner}/{name}");
    Json(page(market.predictions.into_iter().filter(|run| run.model == model && run.status == Status::Succeeded).collect()))
}

async fn versions(State(market): State<Market>, Path((owner, name)): Path<(String, String)>) -> Json<Page<Version>> {
    let of_model = |model: Model| (model.owner == owner && model.name == name).then_some(model.latest_version).flatten();
    Json(page(market.models.into_iter().filter_map(of_model).collect()))
}

async fn version(State(market): State<Market>, Path((_, _, id)): Path<(String, String, String)>) -> Response {
    or_404(market.models.into_iter().filter_map(|model| model.latest_version).find(|version| version.id == id))
}

/// Every version is the `latest` of its model, and `stable`; `latest` was rolled back to it from another.
fn moved(tag: &str, number: i64, version: &str) -> TagMove {
    let moved_at = Timestamp::from_micros(NOW).plus_millis(-3_600_000);
    TagMove { tag: tag.to_owned(), number, version: version.to_owned(), moved_at, moved_by: Some("ada".to_owned()) }
}

async fn tags(State(market): State<Market>, Path((owner, name)): Path<(String, String)>) -> Json<Page<TagMove>> {
    let Json(versions) = versions(State(market), Path((owner, name))).await;
    Json(page(versions.results.iter().flat_map(|version| [moved("latest", 2, &version.id), moved("stable", 1, &version.id)]).collect()))
}

async fn moves_of_latest(State(market): State<Market>, Path((owner, name)): Path<(String, String)>) -> Json<Page<TagMove>> {
    let Json(versions) = versions(State(market), Path((owner, name))).await;
    let first = "0".repeat(64);
    Json(page(versions.results.iter().flat_map(|version| [moved("latest", 2, &version.id), moved("latest", 1, &first)]).collect()))
}

async fn search(State(market): State<Market>, request: axum::extract::Request) -> Json<Value> {
    let wanted = request.uri().query().unwrap_or_default().rsplit('=').next().unwrap_or_default().to_lowercase();
    let found: Vec<Value> = market
        .models
        .into_iter()
        .filter(|model| model.name.contains(&wanted))
        .map(|model| json!({"model": model, "metadata": {}}))
        .collect();
    Json(json!({"query": wanted, "models": found, "collections": [], "pages": []}))
}

async fn predictions(State(market): State<Market>) -> Json<Page<Prediction>> {
    Json(page(market.predictions))
}

async fn create(State(market): State<Market>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    market.write_down("/v1/predictions", &headers, body);
    match &market.refusal {
        Some(problem) => refused(problem),
        None => (StatusCode::CREATED, Json(picture_run())).into_response(),
    }
}

async fn prediction(State(market): State<Market>, Path(id): Path<String>) -> Response {
    or_404(market.predictions.into_iter().find(|run| run.id == id))
}

async fn cancel(State(market): State<Market>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    market.write_down("/v1/predictions/cancel", &headers, Value::from(id.as_str()));
    or_404(market.predictions.into_iter().find(|run| run.id == id))
}

async fn upload(State(market): State<Market>, headers: HeaderMap, mut multipart: Multipart) -> Response {
    if market.refuses_files {
        return refused(&Problem::new(413, "Too large", "Files must be less than 100MB in size"));
    }
    let Ok(Some(field)) = multipart.next_field().await else { return refused(&Problem::new(400, "No file", "send content")) };
    let (name, kind) = (field.file_name().unwrap_or_default().to_owned(), field.content_type().unwrap_or_default().to_owned());
    let Ok(bytes) = field.bytes().await else { return refused(&Problem::new(413, "Too large", "Files must be less than 100MB in size")) };
    market.write_down("/v1/files", &headers, json!({"name": name, "content_type": kind, "size": bytes.len()}));
    let file = File {
        id: "ZmlsZQ".to_owned(),
        name,
        content_type: kind,
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        etag: String::new(),
        checksums: BTreeMap::new(),
        metadata: Map::new(),
        created_at: Timestamp::from_micros(NOW),
        expires_at: None,
        urls: FileUrls { get: format!("{BASE}/v1/files/ZmlsZQ") },
    };
    (StatusCode::CREATED, Json(file)).into_response()
}

async fn download() -> Response {
    let picture = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 5"><path fill="#f2eedf" d="M0 0h8v5H0z"/><path fill="#2e7d4f" d="M1 1h2v2H1zM5 0a2 2 0 0 1 2 2H5z"/><path fill="#e1502b" d="M3 3h2v2H3zM6 3a1 1 0 1 0 2 0 1 1 0 1 0-2 0z"/></svg>"##;
    ([(CONTENT_TYPE.as_str(), "image/svg+xml"), ("content-disposition", "inline; filename=\"larger.png\"")], Body::from(picture))
        .into_response()
}

fn openapi() -> Value {
    json!({
        "info": {"title": "Feira", "version": "0.1.0", "description": "Replicate's API, and what it lacks."},
        "paths": {
            "/v1/predictions": {
                "get": {"tags": ["predictions"], "summary": "Lists the caller's predictions, newest first.", "responses": {"200": {"description": "A page of them"}}},
                "post": {"tags": ["predictions"], "summary": "Runs a version.", "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewPrediction"}}}}, "responses": {"201": {"description": "Accepted"}, "402": {"description": "Credit is short"}}}
            },
            "/v1/models": {"get": {"tags": ["models"], "summary": "Lists the public catalogue.", "parameters": [{"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "Where to go on"}], "responses": {"200": {"description": "A page of models"}}}}
        },
        "components": {"schemas": {"NewPrediction": {"description": "What to run, on what.", "properties": {"input": {"type": "object", "description": "By the version's schema"}, "version": {"type": "string"}}, "required": ["input"]}}}
    })
}

// The stalls.

pub fn schema(input: &Value, output: &Value) -> Value {
    json!({"openapi": "3.0.2", "info": {"title": "Cog", "version": "0.1.0"}, "components": {"schemas": {"Input": input, "Output": output,
        "format": {"type": "string", "enum": ["png", "jpg", "webp"], "title": "format", "description": "An enumeration."}}}})
}

fn streamed_text() -> Value {
    json!({"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"})
}

pub fn stall(name: &str, task: &str, description: &str, schema: Value) -> Model {
    let version = Version {
        id: Digest::of(name.as_bytes()).hex(),
        created_at: Timestamp::from_micros(NOW).plus_millis(-3 * 86_400_000),
        cog_version: "0.23.1".to_owned(),
        driver: protocol::manifest::Driver::Process,
        openapi_schema: schema,
        warnings: Vec::new(),
        signatures: vec![signature("publisher"), signature("operator")],
    };
    Model {
        url: format!("{BASE}/feira/{name}"),
        owner: "feira".to_owned(),
        name: name.to_owned(),
        description: Some(description.to_owned()),
        visibility: "public".to_owned(),
        is_official: true,
        github_url: Some("https://github.com/feira/feira".to_owned()),
        paper_url: None,
        license_url: None,
        weights_url: None,
        run_count: 981,
        cover_image_url: None,
        default_example: None,
        latest_version: Some(version),
        created_at: Timestamp::from_micros(NOW).plus_millis(-9 * 86_400_000),
        hardware: "cpu".to_owned(),
        pricing: Pricing::Second,
        task: Some(task.to_owned()),
        warm: 0,
        measured: None,
    }
}

fn smol_chat() -> Model {
    let input = json!({"type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string", "title": "Prompt", "description": "What to say to the model.", "x-order": 0},
        "system_prompt": {"type": "string", "title": "System prompt", "default": "You are a helpful assistant.", "x-order": 1},
        "max_tokens": {"type": "integer", "title": "Max tokens", "minimum": 1, "maximum": 512, "default": 128, "x-order": 2},
        "temperature": {"type": "number", "title": "Temperature", "description": "Zero is always the same answer.", "minimum": 0, "maximum": 2, "default": 0.7, "x-order": 3}
    }});
    let pricing = Pricing::Token { prompt: "0.00000015".parse().expect("a price"), completion: "0.00000015".parse().expect("a price") };
    let measured =
        Measured { runs: 12_044, predict_p50_seconds: 1.24, predict_p95_seconds: 3.9, cost_p50: "0.0000154".parse().expect("an amount") };
    Model {
        run_count: 12_400,
        warm: 3,
        pricing,
        measured: Some(measured),
        default_example: Some(Box::new(chat_run())),
        ..stall("smol-chat", "language", "A small language model that streams. Runs anywhere.", schema(&input, &streamed_text()))
    }
}

fn upscale() -> Model {
    let input = json!({"type": "object", "required": ["image"], "properties": {
        "image": {"type": "string", "format": "uri", "title": "Image", "description": "The picture to enlarge: PNG, JPEG or WebP, at most a megapixel", "x-order": 0},
        "scale": {"type": "integer", "title": "Scale", "minimum": 2, "maximum": 8, "default": 4, "x-order": 1},
        "format": {"allOf": [{"$ref": "#/components/schemas/format"}], "title": "Format", "default": "png", "x-order": 2},
        "denoise": {"type": "boolean", "title": "Denoise first", "default": true, "x-order": 3}
    }});
    let measured =
        Measured { runs: 1_822, predict_p50_seconds: 0.214, predict_p95_seconds: 0.342, cost_p50: "0.000021".parse().expect("an amount") };
    Model {
        run_count: 3_140,
        warm: 3,
        measured: Some(measured),
        default_example: Some(Box::new(picture_run())),
        ..stall(
            "upscale",
            "image",
            "Twice the pixels, sharper edges, in a blink.",
            schema(&input, &json!({"type": "string", "format": "uri"})),
        )
    }
}

fn embed() -> Model {
    let input = json!({"type": "object", "required": ["texts"], "properties": {"texts": {"type": "array", "items": {"type": "string"}, "title": "Texts", "x-order": 0}}});
    stall(
        "embed",
        "embedding",
        "384 numbers for the meaning of a sentence.",
        schema(&input, &json!({"type": "array", "items": {"type": "number"}})),
    )
}

fn hello_world() -> Model {
    let input = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "title": "Name", "description": "Whom to greet.", "x-order": 0}}});
    Model {
        pricing: Pricing::Free,
        warm: 1,
        run_count: 1,
        ..stall("hello-world", "language", "Greets whoever you name. Needs no download.", schema(&input, &json!({"type": "string"})))
    }
}

fn every_kind() -> Model {
    let input = json!({"type": "object", "required": ["prompt", "image"], "properties": {
        "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
        "image": {"type": "string", "format": "uri", "title": "Image", "x-order": 1},
        "scale": {"type": "integer", "title": "Scale", "minimum": 2, "maximum": 8, "default": 4, "x-order": 2},
        "strength": {"type": "number", "title": "Strength", "minimum": 0, "maximum": 1, "default": 0.5, "x-order": 3},
        "seed": {"type": "integer", "title": "Seed", "x-order": 4},
        "format": {"allOf": [{"$ref": "#/components/schemas/format"}], "title": "Format", "default": "png", "x-order": 5},
        "denoise": {"type": "boolean", "title": "Denoise first", "default": false, "x-order": 6},
        "key": {"type": "string", "format": "password", "x-cog-secret": true, "title": "Key", "x-order": 7},
        "tags": {"type": "array", "items": {"type": "string"}, "title": "Tags", "x-order": 8},
        "options": {"type": "object", "title": "Options", "x-order": 9}
    }});
    stall("every-kind", "audio", "One field of every kind that a schema knows.", schema(&input, &json!({"type": "object"})))
}

// The runs.

pub fn run(id: &str, name: &str, status: Status) -> Prediction {
    Prediction {
        id: id.to_owned(),
        model: format!("feira/{name}"),
        version: Digest::of(name.as_bytes()).hex(),
        input: json!({}),
        output: Value::Null,
        logs: String::new(),
        error: None,
        status,
        data_removed: false,
        source: "web".to_owned(),
        created_at: Timestamp::from_micros(NOW).plus_millis(-95_000),
        started_at: None,
        completed_at: None,
        deadline: None,
        deployment: None,
        destination: None,
        metrics: Map::new(),
        urls: Urls { get: format!("{BASE}/v1/predictions/{id}"), cancel: String::new(), web: String::new(), stream: None },
        webhook: None,
        webhook_events_filter: None,
        cost: None,
        cost_lines: Vec::new(),
        queue_position: None,
        queue_seconds: None,
        error_code: None,
        hardware: "cpu".to_owned(),
        region: "local".to_owned(),
        runner: None,
        timings: None,
        hooks: Vec::new(),
    }
}

pub fn picture_run() -> Prediction {
    let cold = ColdStart { rung: Rung::Zygote, fetch_us: 0, environment_us: 0, start_us: 46_000, setup_us: 120_000 };
    Prediction {
        input: json!({"image": format!("{BASE}/v1/files/in"), "scale": 4, "format": "png", "denoise": true}),
        output: Value::from(format!("{BASE}/v1/files/out/download?owner=feira&expiry=1&signature=x")),
        logs: "loading weights/x4\n 10%\r 50%\r100%\nenlarged 256×160 to 1024×640\n".to_owned(),
        metrics: json!({"predict_time": 0.312, "total_time": 0.481}).as_object().cloned().expect("an object"),
        cost: Some("0.0000312".parse().expect("an amount")),
        cost_lines: vec![CostLine {
            meter: "run_time".to_owned(),
            quantity: "0.312".to_owned(),
            unit: "second".to_owned(),
            unit_price: "0.0001".to_owned(),
            amount: "0.0000312".parse().expect("an amount"),
        }],
        runner: Some("r1".to_owned()),
        timings: Some(Timings { queue_us: 400, cold: Some(cold), before_us: Some(11), predict_us: 312_000, after_us: Some(9) }),
        ..run("01hf7yat00wjx3whax6rf4kq2p", "upscale", Status::Succeeded)
    }
}

pub fn chat_run() -> Prediction {
    let hook = |name: &str, stage: &str, outcome: &str, logs: Vec<String>| HookRun {
        name: name.to_owned(),
        stage: stage.to_owned(),
        outcome: outcome.to_owned(),
        duration_us: 44,
        memory_bytes: 36_864,
        logs,
        metrics: Map::new(),
    };
    let line = |meter: &str, quantity: &str, amount: &str| CostLine {
        meter: meter.to_owned(),
        quantity: quantity.to_owned(),
        unit: "token".to_owned(),
        unit_price: "0.00000015".to_owned(),
        amount: amount.parse().expect("an amount"),
    };
    Prediction {
        input: json!({"prompt": "What is the capital of France?", "max_tokens": 128}),
        output: json!(["The", " capital", " of", " France", " is", " Paris", "."]),
        metrics: json!({"predict_time": 1.24, "total_time": 1.25, "input_token_count": 41, "output_token_count": 7})
            .as_object()
            .cloned()
            .expect("an object"),
        cost: Some("0.0000072".parse().expect("an amount")),
        cost_lines: vec![line("prompt_tokens", "41", "0.00000615"), line("completion_tokens", "7", "0.00000105")],
        runner: Some("r1".to_owned()),
        timings: Some(Timings { queue_us: 400, cold: None, before_us: Some(44), predict_us: 1_240_000, after_us: Some(9) }),
        hooks: vec![hook("prompt", "before", "replace", vec!["41 tokens".to_owned()]), hook("redact", "stream", "filter", Vec::new())],
        ..run("01hf7yat00wjx3whax6rf4chat", "smol-chat", Status::Succeeded)
    }
}

pub fn failed_run() -> Prediction {
    Prediction {
        error: Some("ValueError: the picture has 4000 × 3000 pixels; at most a megapixel is taken".to_owned()),
        error_code: Some("predict_failed".to_owned()),
        cost: Some("0".parse().expect("an amount")),
        ..run("01hf7yat00wjx3whax6rf4fail", "upscale", Status::Failed)
    }
}

pub fn queued_run() -> Prediction {
    Prediction { queue_position: Some(2), queue_seconds: Some(12.4), ..run("01hf7yat00wjx3whax6rfqueue", "embed", Status::Starting) }
}

pub fn running_run() -> Prediction {
    let mut run = Prediction {
        input: json!({"prompt": "Tell me about markets."}),
        output: json!(["Markets", " are"]),
        ..run("01hf7yat00wjx3whax6rflive1", "smol-chat", Status::Processing)
    };
    run.urls.stream = Some("http://other.example/v1/streams/signed.token".to_owned());
    run
}

fn signature(signer: &str) -> protocol::api::Signature {
    protocol::api::Signature {
        signer: signer.to_owned(),
        key: Digest::of(signer.as_bytes()).hex(),
        key_name: None,
        algorithm: "ed25519".to_owned(),
        status: if signer == "publisher" { "valid" } else { "revoked" }.to_owned(),
        signed_at: Timestamp::from_micros(NOW),
        revoked_at: None,
        public_key: None,
        bundle: None,
    }
}
