//! Predictions over HTTP: create by each form of reference, get, list, cancel. Decides nothing; the road does.

mod cancel_after;
mod inline;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use protocol::api::Page;
use protocol::prediction::{Errand, Prediction};
use protocol::problem::InvalidField;
use protocol::{Digest, ModelRef, PredictionId, Problem, Reference, Timestamp, VersionId};
use registry::{Caller, Deployment, Scope};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::{JsonObject, Parameters};
use crate::db::idempotency::KeyUse;
use crate::db::prediction::{self, Listing, PredictionRow, Source, Webhook};
use crate::origin::Origin;
use crate::prediction::{Admission, Asked, create};
use crate::problem::Refused;
use crate::render;
use crate::webhooks;
use wait::Wait;

/// Predictions on one page, as at Replicate.
pub(super) const PAGE: i64 = 100;
/// A cancel is answered once it has taken effect, or after this.
const CANCEL_ANSWERED_WITHIN: Duration = Duration::from_millis(2_500);
/// Keys of one request body; more are a mistake.
const ENVELOPE: [&str; 6] = ["version", "input", "webhook", "webhook_events_filter", "webhook_completed", "stream"];

/// Run a version.
///
/// `version` is `owner/name`, `owner/name:id` or `id`. With `Prefer: wait` the answer waits for the end, at most 58 seconds.
#[utoipa::path(post, path = "/predictions", tag = "predictions", request_body = Object,
    params(("Prefer" = Option<String>, Header, description = "`wait` or `wait=N`, N seconds"),
           ("Idempotency-Key" = Option<String>, Header, description = "The same key and body run once")),
    responses((status = 201, body = Prediction), (status = 400, body = Problem), (status = 401, body = Problem), (status = 402, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
              (status = 502, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create_prediction(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let mut envelope = read_envelope(body.fields)?;
    let version = envelope.version.take().ok_or_else(|| Refused::invalid(InvalidField::new("required", "", "version is required")))?;
    let reference: Reference = version.parse().map_err(|_| unknown_version())?;
    answer(gateway, caller, origin, &headers, reference.into(), envelope, &body.raw).await
}

/// Run a model's latest version.
#[utoipa::path(post, path = "/models/{owner}/{name}/predictions", tag = "predictions", request_body = Object,
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 201, body = Prediction), (status = 400, body = Problem), (status = 401, body = Problem), (status = 402, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
              (status = 422, body = Problem), (status = 502, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create_for_model(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    let found = gateway.registry().find_model(&model, &caller.account.id).await?;
    found.ok_or_else(|| Refused::not_found("model"))?;
    let mut envelope = read_envelope(body.fields)?;
    let reference = match envelope.version.take() {
        Some(id) => Reference::Exact(model, id.parse::<VersionId>().map_err(|_| unknown_version())?),
        None => Reference::Latest(model),
    };
    answer(gateway, caller, origin, &headers, reference.into(), envelope, &body.raw).await
}

/// Get a prediction.
#[utoipa::path(get, path = "/predictions/{id}", tag = "predictions", params(("id" = String, Path)),
    responses((status = 200, body = Prediction), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_prediction(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    let row = require_row(&gateway, &caller, &id).await?;
    Ok(with_timing(StatusCode::OK, render::prediction(&gateway, &origin, row)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    /// Inclusive, RFC 3339.
    created_after: Option<String>,
    /// Exclusive, RFC 3339.
    created_before: Option<String>,
    /// `web`: only runs of the playground.
    source: Option<String>,
}

/// List your predictions, newest first.
#[utoipa::path(get, path = "/predictions", tag = "predictions", params(ListQuery),
    responses((status = 200, body = Page<Prediction>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn list_predictions(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<axum::Json<Page<Prediction>>, Refused> {
    let caller = caller.require(Scope::PredictionsRead)?;
    let moment = |name: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => {
            Timestamp::parse(text).map(Some).ok_or_else(|| Refused::bad_request(format!("{name} must be an RFC 3339 date and time")))
        }
    };
    let listing = Listing {
        account_id: caller.account.id.clone(),
        errand: Errand::Predict,
        created_after: moment("created_after", &query.created_after)?,
        created_before: moment("created_before", &query.created_before)?,
        source: match query.source.as_deref() {
            None => None,
            Some("web") => Some(Source::Web),
            Some("api") => Some(Source::Api),
            Some(_) => return Err(Refused::bad_request("source must be `web` or `api`")),
        },
        after: query.cursor.as_deref().map(read_cursor).transpose()?,
        most: PAGE + 1,
    };
    let filters = [("created_after", &query.created_after), ("created_before", &query.created_before), ("source", &query.source)];
    let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let kept = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(filters).finish();
    page_of(&gateway, &origin, listing, &format!("/v1/predictions?{kept}")).await.map(axum::Json)
}

/// One page of what is listed, and where the next one is: at `path`, which has its other parameters already.
pub(super) async fn page_of(gateway: &Gateway, origin: &Origin, listing: Listing, path: &str) -> Result<Page<Prediction>, Refused> {
    let mut rows = gateway.db().read(move |tx| Box::pin(async move { prediction::list(tx, &listing).await })).await?;
    let page = usize::try_from(PAGE).expect("a page is a hundred rows");
    let more = rows.len() > page;
    rows.truncate(page);
    let next = rows.last().filter(|_| more).map(|last| origin.url(&format!("{path}&cursor={}", write_cursor(last)).replace("?&", "?")));
    let results = rows.into_iter().map(|row| render::prediction(gateway, origin, current(gateway, row))).collect();
    Ok(Page { next, previous: None, results })
}

/// Cancel a prediction. One that has ended stays as it is.
#[utoipa::path(post, path = "/predictions/{id}/cancel", tag = "predictions", params(("id" = String, Path)),
    responses((status = 200, body = Prediction), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn cancel_prediction(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let row = require_row(&gateway, &caller, &id).await?;
    cancel(&gateway, &origin, row).await
}

/// Ends what waits or runs, and answers with it once that has taken effect.
pub(super) async fn cancel(gateway: &Gateway, origin: &Origin, row: PredictionRow) -> Result<Response, Refused> {
    let row = match gateway.live().find(row.id) {
        Some(live) => {
            live.cancel();
            let _ = tokio::time::timeout(CANCEL_ANSWERED_WITHIN, live.ended()).await;
            live.row()
        }
        None if row.state.is_terminal() => row,
        None => {
            let (id, now) = (row.id, gateway.clock().now());
            gateway.db().write(move |tx| Box::pin(prediction::request_cancel(tx, id, now))).await?;
            row
        }
    };
    Ok(with_timing(StatusCode::OK, render::prediction(gateway, origin, row)))
}

pub(super) struct Envelope {
    version: Option<String>,
    input: Value,
    webhook: Option<Webhook>,
}

impl Envelope {
    /// Where the address says which version it is, the body must not.
    pub fn without_version(self) -> Result<Self, Refused> {
        match self.version {
            None => Ok(self),
            Some(_) => Err(Refused::invalid(not_allowed("version"))),
        }
    }
}

/// What a request is for, besides what its envelope says.
pub(super) struct Order {
    pub reference: Reference,
    pub errand: Errand,
    pub deployment: Option<Arc<Deployment>>,
    pub destination: Option<ModelRef>,
}

impl From<Reference> for Order {
    fn from(reference: Reference) -> Self {
        Self { reference, errand: Errand::Predict, deployment: None, destination: None }
    }
}

impl Order {
    /// What an idempotency key stands for beside the body. A deployment is asked by its name, whichever release it has by then.
    fn target(&self) -> String {
        match &self.deployment {
            Some(deployment) => format!("deployment {}", deployment.name),
            None => format!("{} {:?}", self.errand.name(), self.reference),
        }
    }
}

fn not_allowed(key: &str) -> InvalidField {
    InvalidField::new("additional_property_not_allowed", "", format!("Additional property {key} is not allowed"))
}

pub(super) fn read_envelope(mut fields: Map<String, Value>) -> Result<Envelope, Refused> {
    let unknown: Vec<InvalidField> = fields.keys().filter(|key| !ENVELOPE.contains(&key.as_str())).map(|key| not_allowed(key)).collect();
    if !unknown.is_empty() {
        return Err(Problem::invalid("Input validation failed", unknown).into());
    }
    let version = match fields.remove("version") {
        None | Some(Value::Null) => None,
        Some(Value::String(version)) => Some(version),
        Some(_) => return Err(Refused::invalid(InvalidField::new("invalid_type", "version", "version must be a string"))),
    };
    let input = fields.remove("input").ok_or_else(|| Refused::invalid(InvalidField::new("required", "", "input is required")))?;
    let webhook = webhooks::read(&mut fields).map_err(Refused::invalid)?;
    Ok(Envelope { version, input, webhook })
}

fn unknown_version() -> Refused {
    crate::prediction::Refusal::UnknownVersion.into()
}

pub(super) async fn answer(
    gateway: Gateway,
    caller: Caller,
    origin: Origin,
    headers: &HeaderMap,
    order: Order,
    envelope: Envelope,
    raw: &Bytes,
) -> Result<Response, Refused> {
    let asked = Asked {
        idempotency: idempotency_key(headers, &caller, &order.target(), raw),
        source: if text(headers, "feira-source") == Some("web") { Source::Web } else { Source::Api },
        errand: order.errand,
        deployment: order.deployment,
        destination: order.destination,
        webhook: envelope.webhook,
        cancel_after: cancel_after::asked_by(headers)?,
        reference: order.reference,
        input: envelope.input,
        origin: origin.clone(),
    };
    let wait = Wait::asked_by(headers);
    let admission = create(&gateway, caller.clone(), asked).await?;
    let (row, live) = match admission {
        Admission::New(live) => (live.row(), Some(live)),
        Admission::Replayed(id) => (require_row(&gateway, &caller, &id.to_string()).await?, gateway.live().find(id)),
    };
    let shown = match (&wait, live) {
        (Some(wait), Some(live)) => wait.for_end_of(&gateway, &origin, &live).await,
        _ => render::prediction(&gateway, &origin, row),
    };
    let location = shown.urls.get.clone();
    let mut response = with_timing(StatusCode::CREATED, shown);
    insert(&mut response, http::header::LOCATION, &location);
    if let Some(wait) = wait {
        insert(&mut response, HeaderName::from_static("preference-applied"), &wait.applied);
    }
    Ok(response)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn idempotency_key(headers: &HeaderMap, caller: &Caller, target: &str, raw: &Bytes) -> Option<KeyUse> {
    let key = text(headers, "idempotency-key")?;
    let body_hash = Digest::of(&[format!("{target}\n").as_bytes(), raw].concat()).hex();
    Some(KeyUse { account_id: caller.account.id.clone(), key: key.to_owned(), body_hash })
}

/// The caller's own prediction, as it is now.
pub(super) async fn require_row(gateway: &Gateway, caller: &Caller, id: &str) -> Result<PredictionRow, Refused> {
    let not_found = || Refused::not_found("prediction");
    let id: PredictionId = id.parse().map_err(|_| not_found())?;
    if let Some(live) = gateway.live().find(id) {
        return Some(live.row()).filter(|row| row.account_id == caller.account.id).ok_or_else(not_found);
    }
    let account_id = caller.account.id.clone();
    let found = gateway.db().read(move |tx| Box::pin(async move { prediction::find(tx, id, &account_id).await })).await?;
    found.ok_or_else(not_found)
}

/// A row that is under way here is newer in memory.
fn current(gateway: &Gateway, row: PredictionRow) -> PredictionRow {
    gateway.live().find(row.id).map_or(row, |live| live.row())
}

fn write_cursor(last: &PredictionRow) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{}.{}", last.created_at.micros(), last.id))
}

pub(super) fn read_cursor(cursor: &str) -> Result<(Timestamp, PredictionId), Refused> {
    use base64::Engine as _;
    let read = || {
        let text = String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (micros, id) = text.split_once('.')?;
        Some((Timestamp::from_micros(micros.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Refused::bad_request("The cursor is not one of ours; start at the first page"))
}

/// Adds where the time went and where it ran, for tools that look at headers.
pub(super) fn with_timing(status: StatusCode, shown: Prediction) -> Response {
    let timing = shown.timings.filter(|_| shown.status.is_terminal()).map(|timings| {
        let ms = |us: u64| format!("{}.{:03}", us / 1_000, us % 1_000);
        let mut parts = vec![format!("queue;dur={}", ms(timings.queue_us))];
        parts.extend(timings.cold.map(|cold| format!("cold;dur={};desc=\"{}\"", ms(cold.total_us()), cold.rung.name())));
        parts.extend(timings.before_us.map(|us| format!("before;dur={}", ms(us))));
        parts.push(format!("predict;dur={}", ms(timings.predict_us)));
        parts.extend(timings.after_us.map(|us| format!("after;dur={}", ms(us))));
        parts.join(", ")
    });
    let route = shown.runner.as_ref().map(|runner| {
        let warm = shown.timings.is_some_and(|timings| timings.cold.is_none());
        format!("region={}, runner={runner}, {}", shown.region, if warm { "warm" } else { "cold" })
    });
    let mut response = (status, axum::Json(shown)).into_response();
    if let Some(timing) = timing {
        insert(&mut response, HeaderName::from_static("server-timing"), &timing);
    }
    if let Some(route) = route {
        insert(&mut response, HeaderName::from_static("x-feira-route"), &route);
    }
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cursor_reads_back_and_a_foreign_one_is_refused() {
        let row = prediction::tests::row();
        assert_eq!(read_cursor(&write_cursor(&row)).unwrap(), (row.created_at, row.id));
        assert!(read_cursor("p=2020").is_err());
    }

    #[test]
    fn an_envelope_with_an_unknown_key_is_refused_as_replicate_does() {
        let fields = |json: Value| json.as_object().unwrap().clone();
        let Err(Refused(problem)) = read_envelope(fields(json!({"input": {}, "model": "a/b"}))) else { panic!("accepted") };
        assert_eq!(problem.invalid_fields[0].description, "Additional property model is not allowed");
        assert!(read_envelope(fields(json!({"input": {}, "stream": true}))).is_ok());
    }
}
