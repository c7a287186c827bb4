//! `OpenAI`'s routes: each runs a prediction as any other route does, and answers in `OpenAI`'s shape.

mod models;

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue};
use protocol::prediction::Errand;
use protocol::problem::InvalidField;
use protocol::{ModelRef, Problem, Reference};
use registry::{Caller, Catalogued, Scope};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::JsonObject;
use crate::db::idempotency::KeyUse;
use crate::db::prediction::{PredictionRow, Source};
use crate::openai::answer::{ChatCompletion, EmbeddingList, TextCompletion};
use crate::openai::chunks::{Chunks, Shape};
use crate::openai::running::{Running, Said};
use crate::openai::{Endpoint, Inputs, Order, Request, completion, conversation, embedding, ended};
use crate::origin::Origin;
use crate::prediction::{Admission, Asked, create};
use crate::problem::Refused;
use crate::problem::openai::ErrorBody;
use crate::routes::predictions::{idempotency_key, require_row};

/// What fails this soon is told by its status; after that the stream is open, and an error is one of its events.
const STATUS_TOLD_WITHIN: Duration = Duration::from_secs(10);
/// A comment line this often keeps a stream's connection alive.
const PING_EVERY: Duration = Duration::from_secs(10);

pub(super) fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(create_chat_completion))
        .routes(routes!(create_completion))
        .routes(routes!(create_embedding))
        .routes(routes!(models::list_models))
        .routes(routes!(models::get_model))
        .routes(routes!(models::get_model_by_encoded_id))
}

/// Answer a conversation.
///
/// `model` is `owner/name` or `owner/name:version`. With `stream` the answer is a stream of `chat.completion.chunk` events that ends with
/// `[DONE]`. A caller who disconnects cancels the run, unless it has an `Idempotency-Key`.
#[utoipa::path(post, path = "/chat/completions", tag = "openai",
    request_body(content = Object, example = json!({"model": "feira/smol-chat", "messages": [{"role": "user", "content": "What is a market?"}]})),
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body run once")),
    responses((status = 200, content((ChatCompletion = "application/json"), (String = "text/event-stream"))),
              (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
              (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody), (status = 500, body = ErrorBody),
              (status = 502, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn create_chat_completion(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Refused> {
    let (call, parameters) = Call::open(gateway, caller, origin, &headers, body, Endpoint::Chat).await?;
    let order = conversation::order(call.inputs(), parameters).map_err(Refused::invalid)?;
    let running = call.run(order).await?;
    if call.stream {
        return call.streamed(running, Shape::Chat).await;
    }
    let row = running.succeeded().await?;
    Ok(named(&row, Json(ChatCompletion::of(&row, &call.model)).into_response()))
}

/// Complete a prompt.
///
/// Of a model that converses the prompt is what its user says.
#[utoipa::path(post, path = "/completions", tag = "openai",
    request_body(content = Object, example = json!({"model": "feira/smol-chat", "prompt": "A market is"})),
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body run once")),
    responses((status = 200, content((TextCompletion = "application/json"), (String = "text/event-stream"))),
              (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
              (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody), (status = 500, body = ErrorBody),
              (status = 502, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn create_completion(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Refused> {
    let (call, parameters) = Call::open(gateway, caller, origin, &headers, body, Endpoint::Completions).await?;
    let order = completion::order(call.inputs(), parameters).map_err(Refused::invalid)?;
    let running = call.run(order).await?;
    if call.stream {
        return call.streamed(running, Shape::Text).await;
    }
    let row = running.succeeded().await?;
    Ok(named(&row, Json(TextCompletion::of(&row, &call.model)).into_response()))
}

/// Embed a text, or several.
#[utoipa::path(post, path = "/embeddings", tag = "openai",
    request_body(content = Object, example = json!({"model": "feira/embed", "input": ["a fruit stall at the market", "apples and pears for sale"]})),
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body run once")),
    responses((status = 200, body = EmbeddingList),
              (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
              (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody), (status = 500, body = ErrorBody),
              (status = 502, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn create_embedding(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Refused> {
    let (call, parameters) = Call::open(gateway, caller, origin, &headers, body, Endpoint::Embeddings).await?;
    let (order, encoding) = embedding::order(call.inputs(), parameters).map_err(Refused::invalid)?;
    let running = call.run(order).await?;
    let row = running.succeeded().await?;
    let vectors = embedding::vectors(&row.output, encoding);
    let vectors = vectors.ok_or_else(|| Problem::new(502, "Model error", "The model's output is no list of vectors"))?;
    Ok(named(&row, Json(EmbeddingList::of(&row, &call.model, vectors)).into_response()))
}

/// A call whose model is known and serves it.
struct Call {
    gateway: Gateway,
    caller: Caller,
    origin: Origin,
    catalogued: Arc<Catalogued>,
    model: String,
    stream: bool,
    include_usage: bool,
    idempotency: Option<KeyUse>,
}

impl Call {
    /// Also returns the parameters that are the route's own.
    async fn open(
        gateway: Gateway,
        caller: Authenticated,
        origin: Origin,
        headers: &HeaderMap,
        body: JsonObject,
        asked: Endpoint,
    ) -> Result<(Self, Map<String, Value>), Refused> {
        let caller = caller.require(Scope::PredictionsWrite)?;
        let Request { model, stream, include_usage, rest } = Request::read(body.fields).map_err(Refused::invalid)?;
        let reference: Reference = model.parse().map_err(|_| unknown_model(&model))?;
        let found = gateway.registry().resolve(&reference, &caller.account.id).await?;
        let catalogued = found.ok_or_else(|| unknown_model(&model))?;
        match Endpoint::of(&catalogued.version.config) {
            Some(endpoint) if endpoint.serves(asked) => {}
            Some(endpoint) => return Err(elsewhere(&model, endpoint)),
            None => return Err(speaks_no_openai(&model, &catalogued.model.model)),
        }
        let idempotency = idempotency_key(headers, &caller, &format!("openai {asked:?} {model}"), &body.raw);
        Ok((Self { gateway, caller, origin, catalogued, model, stream, include_usage, idempotency }, rest))
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs::of(&self.catalogued.version.config)
    }

    /// Runs the order as a prediction of exactly the version that it was made for.
    async fn run(&self, order: Order) -> Result<Running, Refused> {
        let version = Reference::Exact(self.catalogued.model.model.clone(), self.catalogued.version.id);
        let asked = Asked {
            idempotency: self.idempotency.clone(),
            source: Source::Api,
            errand: Errand::Predict,
            deployment: None,
            destination: None,
            webhook: None,
            cancel_after: None,
            reference: version,
            input: Value::Object(order.input.clone()),
            origin: self.origin.clone(),
        };
        let is_keyed = self.idempotency.is_some();
        let (gateway, caller) = (self.gateway.clone(), self.caller.clone());
        // A caller who leaves before the prediction is known cancels it too: what this task returns is dropped.
        let creating = self.gateway.tasks().spawn(async move {
            let admission = create(&gateway, caller.clone(), asked).await;
            match admission {
                Ok(Admission::New(live)) if is_keyed => Ok(Running::keyed(live)),
                Ok(Admission::New(live)) => Ok(Running::sole(live)),
                Ok(Admission::Replayed(id)) => match gateway.live().find(id) {
                    Some(live) => Ok(Running::keyed(live)),
                    None => Ok(Running::kept(require_row(&gateway, &caller, &id.to_string()).await?)?),
                },
                Err(refusal) => Err(Refused::from(order.in_callers_words(refusal))),
            }
        });
        creating.await.expect("creation does not panic and is not aborted")
    }

    async fn streamed(self, running: Running, shape: Shape) -> Result<Response, Refused> {
        let row = running.row();
        let mut chunks = Chunks::new(&row, &self.model, shape, self.include_usage);
        let mut said = running.said().boxed();
        let first = tokio::time::timeout(STATUS_TOLD_WITHIN, said.next()).await.ok().flatten();
        if let Some(Said::Ended(row)) = &first
            && let Some(problem) = ended::problem(row)
        {
            return Err(problem.into());
        }
        let events = stream::iter(first).chain(said).flat_map(move |said| {
            let sent = match said {
                Said::Text(text) => chunks.text(&text),
                Said::Ended(row) => chunks.end(&row),
            };
            stream::iter(sent.into_iter().map(|data| Ok::<_, Infallible>(Event::default().data(data))))
        });
        Ok(named(&row, Sse::new(events).keep_alive(KeepAlive::new().interval(PING_EVERY)).into_response()))
    }
}

/// Says which prediction it was; `OpenAI`'s clients show `x-request-id` where something goes wrong.
fn named(row: &PredictionRow, mut response: Response) -> Response {
    let id = HeaderValue::from_str(&row.id.to_string()).expect("an id is letters and digits");
    response.headers_mut().insert("x-request-id", id.clone());
    response.headers_mut().insert("x-feira-prediction", id);
    response
}

fn unknown_model(model: &str) -> Refused {
    let named: String = model.chars().take(200).collect();
    Problem::new(404, "Model not found", format!("The model `{named}` does not exist or you do not have access to it")).into()
}

fn speaks_no_openai(model: &str, at: &ModelRef) -> Refused {
    let detail = format!("The model `{model}` does not speak OpenAI's API; run it at /v1/models/{at}/predictions");
    Problem::new(404, "Model not found", detail).into()
}

fn elsewhere(model: &str, endpoint: Endpoint) -> Refused {
    let detail = format!("the model `{model}` is not served here; ask it at /openai{}", endpoint.path());
    Refused::invalid(InvalidField::new("unsupported_model", "model", detail))
}
