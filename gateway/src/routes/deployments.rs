//! Deployments over HTTP: list, create, get, change, delete, their releases, and the predictions that are asked of them.

mod body;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use protocol::api::{self, Page};
use protocol::prediction::{Errand, Prediction};
use protocol::problem::InvalidField;
use protocol::{ModelRef, Problem, Reference, VersionId};
use registry::{Caller, Catalogued, Deployment, Linger, NewDeployment, Release, ReleaseChange, Scale, Scope};
use serde::Deserialize;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::body::{JsonObject, Parameters};
use crate::db::prediction::of_deployment;
use crate::orders;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::routes::account;
use crate::routes::predictions::{Order, answer, read_envelope};
use body::{ChangeBody, NewBody};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// List your deployments, newest first.
#[utoipa::path(get, path = "/deployments", tag = "deployments", params(ListQuery),
    responses((status = 200, body = Page<api::Deployment>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list_deployments(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<api::Deployment>>, Refused> {
    let caller = caller.require(Scope::DeploymentsRead)?;
    let page = gateway.registry().list_deployments(&caller.account.id, query.cursor.as_deref()).await?;
    let address = |cursor: String| origin.url(&format!("/v1/deployments?cursor={cursor}"));
    let results = page.rows.iter().map(|row| shown(&caller, row)).collect();
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results }))
}

/// Create a deployment.
///
/// Its instances are its own: `min_instances` of them stay warm, and up to `max_instances` run. With `max_instances` 0 it is off. While any is
/// busy, `buffer_instances` more than the busy ones are started ahead; one that nobody uses for `idle_seconds` goes.
#[utoipa::path(post, path = "/deployments", tag = "deployments", request_body = NewBody,
    responses((status = 200, body = api::Deployment), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_deployment(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    body: JsonObject,
) -> Result<Json<api::Deployment>, Refused> {
    let caller = caller.require(Scope::DeploymentsWrite)?;
    let body = NewBody::read(&body.fields)?;
    require_hardware(&gateway, &body.hardware)?;
    let new = NewDeployment {
        catalogued: require_version(&gateway, &caller, &body.model, &body.version).await?,
        scale: Scale::new(body.min_instances, body.max_instances)
            .and_then(|scale| scale.with_buffer(body.buffer_instances.unwrap_or_default()))
            .and_then(|scale| scale.with_linger(Linger::of(body.idle_seconds)))
            .map_err(registry::RegistryError::from)?,
        name: body.name,
        hardware: body.hardware,
        require_signature: body.require_signature,
    };
    let created = gateway.registry().create_deployment(&caller, new).await?;
    gateway.note_deployments_changed();
    Ok(Json(shown(&caller, &created)))
}

/// Get a deployment.
#[utoipa::path(get, path = "/deployments/{owner}/{name}", tag = "deployments", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = api::Deployment), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_deployment(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(path): Path<(String, String)>,
) -> Result<Json<api::Deployment>, Refused> {
    let caller = caller.require(Scope::DeploymentsRead)?;
    let deployment = require_deployment(&gateway, &caller, &path).await?;
    Ok(Json(shown(&caller, &deployment)))
}

/// Change a deployment: each change is its next release.
///
/// With `max_instances` 0 it is off: what waits and what runs is canceled, and it takes nothing until it is set higher.
#[utoipa::path(patch, path = "/deployments/{owner}/{name}", tag = "deployments", request_body = ChangeBody,
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = api::Deployment), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch_deployment(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(path): Path<(String, String)>,
    body: JsonObject,
) -> Result<Json<api::Deployment>, Refused> {
    let caller = caller.require(Scope::DeploymentsWrite)?;
    let before = require_deployment(&gateway, &caller, &path).await?;
    let body = ChangeBody::read(&body.fields)?;
    if let Some(hardware) = &body.hardware {
        require_hardware(&gateway, hardware)?;
    }
    let version = match &body.version {
        Some(version) => Some(require_version(&gateway, &caller, &before.release.model.to_string(), version).await?.version.id),
        None => None,
    };
    let change = ReleaseChange {
        version,
        hardware: body.hardware,
        instances_min: body.min_instances,
        instances_max: body.max_instances,
        require_signature: body.require_signature,
        instances_buffer: body.buffer_instances,
        linger: body.linger,
    };
    let released = gateway.registry().release(&caller, &before.name, change).await?;
    orders::enforce(&gateway, &released).await?;
    Ok(Json(shown(&caller, &released)))
}

/// Delete a deployment that keeps nothing warm and of which nothing waits or runs.
#[utoipa::path(delete, path = "/deployments/{owner}/{name}", tag = "deployments", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn delete_deployment(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path(path): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::DeploymentsWrite)?;
    let deployment = require_deployment(&gateway, &caller, &path).await?;
    let in_use = |detail: String| Refused::from(Problem::new(409, "Deployment in use", detail));
    let name = &deployment.name;
    if deployment.release.scale.min() > 0 {
        let kept = deployment.release.scale.min();
        return Err(in_use(format!("{name} keeps {kept} instances warm; set min_instances to 0 with PATCH, then delete it")));
    }
    let counted = name.clone();
    let open = gateway.db().read(move |tx| Box::pin(async move { of_deployment::count_open(tx, &counted).await })).await?;
    if open > 0 {
        return Err(in_use(format!("{open} predictions of {name} wait or run; let them end, or set max_instances to 0 with PATCH")));
    }
    // A prediction that came in between still runs: what it needs is fixed when it is admitted.
    gateway.registry().delete_deployment(&caller, name).await?;
    gateway.note_deployments_changed();
    Ok(StatusCode::NO_CONTENT)
}

/// List a deployment's releases, the one that runs first.
#[utoipa::path(get, path = "/deployments/{owner}/{name}/releases", tag = "deployments",
    params(("owner" = String, Path), ("name" = String, Path), ListQuery),
    responses((status = 200, body = Page<api::Release>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn list_releases(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(path): Path<(String, String)>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<api::Release>>, Refused> {
    let caller = caller.require(Scope::DeploymentsRead)?;
    let deployment = require_deployment(&gateway, &caller, &path).await?;
    let page = gateway.registry().list_releases(&deployment, query.cursor.as_deref()).await?;
    let address = |cursor: String| origin.url(&format!("/v1/deployments/{}/releases?cursor={cursor}", deployment.name));
    let results = page.rows.iter().map(|release| shown_release(&caller, release)).collect();
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results }))
}

/// Run a deployment's version on its own instances.
///
/// It is charged as any other prediction of the model, at the rate of the deployment's hardware.
#[utoipa::path(post, path = "/deployments/{owner}/{name}/predictions", tag = "deployments", request_body = Object,
    params(("owner" = String, Path), ("name" = String, Path),
           ("Prefer" = Option<String>, Header, description = "`wait` or `wait=N`, N seconds"),
           ("Cancel-After" = Option<String>, Header, description = "`30`, `30s`, `5m`, `1h30m45s`: at least 5 seconds"),
           ("Idempotency-Key" = Option<String>, Header, description = "The same key and body run once")),
    responses((status = 201, body = Prediction), (status = 400, body = Problem), (status = 401, body = Problem), (status = 402, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
              (status = 422, body = Problem), (status = 502, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create_for_deployment(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Refused> {
    let caller = caller.require(Scope::PredictionsWrite)?;
    let deployment = require_deployment(&gateway, &caller, &path).await?;
    let envelope = read_envelope(body.fields)?.without_version()?;
    let reference = Reference::Exact(deployment.release.model.clone(), deployment.release.version);
    let order = Order { reference, errand: Errand::Predict, deployment: Some(deployment), destination: None };
    answer(gateway, caller, origin, &headers, order, envelope, &body.raw).await
}

/// The caller's own deployment; another's reads as one that does not exist.
async fn require_deployment(gateway: &Gateway, caller: &Caller, (owner, name): &(String, String)) -> Result<Arc<Deployment>, Refused> {
    let not_found = || Refused::not_found("deployment");
    let name = ModelRef::new(owner, name).map_err(|_| not_found())?;
    gateway.registry().find_deployment(&name, &caller.account.id).await?.ok_or_else(not_found)
}

fn require_hardware(gateway: &Gateway, sku: &str) -> Result<(), Refused> {
    if gateway.prices().find(sku).is_some() {
        return Ok(());
    }
    let description = format!("there is no hardware `{sku}`; GET /v1/hardware lists what there is");
    Err(Refused::invalid(InvalidField::new("enum", "hardware", description)))
}

/// A version of this model that the caller may run; `version` is its id, or `owner/name:id`.
async fn require_version(gateway: &Gateway, caller: &Caller, model: &str, version: &str) -> Result<Arc<Catalogued>, Refused> {
    let unknown = |field: &str| {
        let description = format!("the {field} does not exist (or perhaps you don't have permission to use it)");
        Refused::invalid(InvalidField::new("unknown", field, description))
    };
    let model: ModelRef = model.parse().map_err(|_| unknown("model"))?;
    gateway.registry().find_model(&model, &caller.account.id).await?.ok_or_else(|| unknown("model"))?;
    let id = version.strip_prefix(&format!("{model}:")).unwrap_or(version);
    let id: VersionId = id.parse().map_err(|_| unknown("version"))?;
    let found = gateway.registry().resolve(&Reference::Exact(model, id), &caller.account.id).await?;
    found.ok_or_else(|| unknown("version"))
}

fn shown(caller: &Caller, deployment: &Deployment) -> api::Deployment {
    api::Deployment {
        owner: deployment.name.owner.clone(),
        name: deployment.name.name.clone(),
        current_release: shown_release(caller, &deployment.release),
    }
}

/// Only its own account sees a deployment, and only that account made its releases.
fn shown_release(caller: &Caller, release: &Release) -> api::Release {
    api::Release {
        number: release.number,
        model: release.model.to_string(),
        version: release.version.to_string(),
        created_at: release.created_at,
        created_by: account::shown(&caller.account),
        configuration: api::Configuration {
            hardware: release.hardware.clone(),
            min_instances: release.scale.min(),
            max_instances: release.scale.max(),
            require_signature: release.require_signature,
            buffer_instances: release.scale.buffer(),
            idle_seconds: release.scale.linger().seconds(),
        },
    }
}
