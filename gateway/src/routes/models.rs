//! Models: list, create, get, change, delete; their README and examples.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use protocol::api::{Measured, Model, Page};
use protocol::{Credits, ModelRef, Prediction, Pricing, Problem};
use registry::{Direction, Links, ModelPatch, ModelRow, ModelSort, ModelsOf, NewModel, Scope, Visibility};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::{Authenticated, Viewer};
use crate::body::{JsonObject, Parameters};
use crate::db::prediction;
use crate::origin::Origin;
use crate::problem::Refused;
use crate::render;
use crate::routes::predictions::require_row;
use crate::routes::{signatures, versions};

/// Runs that an estimate rests on, at most.
const SAMPLE_MAX: i64 = 1_000;

/// A model as callers see it.
pub(super) async fn shown(gateway: &Gateway, origin: &Origin, row: &ModelRow) -> Result<Model, Refused> {
    let latest = match &row.latest_version_id {
        Some(id) => gateway.registry().find_version(row, id).await?,
        None => None,
    };
    let example = match row.default_example_id {
        Some(id) => gateway.db().read(move |tx| Box::pin(prediction::find_any(tx, id))).await?,
        None => None,
    };
    let warm = latest.as_ref().map_or(0, |version| {
        let cards = gateway.fabric().directory().cards();
        let of_it = cards.iter().flat_map(|card| &card.versions).filter(|on_it| on_it.version == version.id);
        of_it.map(|on_it| on_it.instances_warm + on_it.instances_frozen).sum()
    });
    let model = row.model.clone();
    let sample = gateway.db().read(move |tx| Box::pin(async move { prediction::warm_runs(tx, &model, SAMPLE_MAX).await })).await?;
    Ok(Model {
        url: origin.url(&format!("/{}", row.model)),
        owner: row.model.owner.clone(),
        name: row.model.name.clone(),
        description: Some(row.description.clone()).filter(|text| !text.is_empty()),
        visibility: row.visibility.name().to_owned(),
        is_official: row.is_official,
        github_url: row.links.github_url.clone(),
        paper_url: row.links.paper_url.clone(),
        license_url: row.links.license_url.clone(),
        weights_url: row.links.weights_url.clone(),
        run_count: row.run_count,
        cover_image_url: row.links.cover_image_url.clone(),
        default_example: example.map(|example| Box::new(render::prediction(gateway, origin, example))),
        latest_version: latest.as_deref().map(versions::shown),
        created_at: row.created_at,
        hardware: row.hardware.clone(),
        pricing: row.pricing,
        task: row.task.clone(),
        warm,
        measured: measured(sample),
    })
}

/// The middle and the slow end of a sample; nothing where there is none.
fn measured(mut sample: Vec<(u64, Credits)>) -> Option<Measured> {
    sample.sort_unstable_by_key(|(predict_us, _)| *predict_us);
    let at = |part: usize| sample.get((sample.len().checked_sub(1)?) * part / 100).copied();
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run stay far below 2^53")]
    let seconds = |us: u64| us as f64 / 1_000_000.0;
    let ((p50, _), (p95, _)) = (at(50)?, at(95)?);
    let mut costs: Vec<Credits> = sample.iter().map(|(_, cost)| *cost).collect();
    costs.sort_unstable();
    Some(Measured {
        runs: sample.len() as u64,
        predict_p50_seconds: seconds(p50),
        predict_p95_seconds: seconds(p95),
        cost_p50: costs[(costs.len() - 1) / 2],
    })
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    /// `model_created_at` or `latest_version_created_at`.
    sort_by: Option<String>,
    /// `asc` or `desc`.
    sort_direction: Option<String>,
    /// An account's name: only its models.
    owner: Option<String>,
}

/// List models.
///
/// Those that are public and have a version and an example; or, with `owner`, all of one owner's that you may see.
#[utoipa::path(get, path = "/models", tag = "models", params(ListQuery),
    responses((status = 200, body = Page<Model>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn list_models(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    origin: Origin,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<Model>>, Refused> {
    let sort = match query.sort_by.as_deref() {
        None | Some("latest_version_created_at") => ModelSort::LatestVersionCreatedAt,
        Some("model_created_at") => ModelSort::ModelCreatedAt,
        Some(_) => return Err(Refused::bad_request("sort_by must be `model_created_at` or `latest_version_created_at`")),
    };
    let direction = match query.sort_direction.as_deref() {
        None | Some("desc") => Direction::Descending,
        Some("asc") => Direction::Ascending,
        Some(_) => return Err(Refused::bad_request("sort_direction must be `asc` or `desc`")),
    };
    let which = query.owner.clone().map_or(ModelsOf::Catalogue, ModelsOf::Owner);
    let page = gateway.registry().list_models(which, sort, direction, query.cursor.as_deref(), &viewer.account_id).await?;
    let mut results = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        results.push(shown(&gateway, &origin, row).await?);
    }
    let kept = [("sort_by", query.sort_by), ("sort_direction", query.sort_direction), ("owner", query.owner)];
    let kept: Vec<(&str, String)> = kept.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let address = |cursor: String| {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        origin.url(&format!("/v1/models?{}", parameters.append_pair("cursor", &cursor).extend_pairs(&kept).finish()))
    };
    Ok(Json(Page { next: page.next.map(address), previous: page.previous.map(address), results }))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ModelBody {
    owner: String,
    name: String,
    /// `public` or `private`.
    visibility: String,
    #[schema(example = "cpu")]
    hardware: String,
    description: Option<String>,
    readme: Option<String>,
    github_url: Option<String>,
    paper_url: Option<String>,
    license_url: Option<String>,
    cover_image_url: Option<String>,
    task: Option<String>,
    pricing: Option<Pricing>,
}

/// Create a model.
#[utoipa::path(post, path = "/models", tag = "models",
    request_body(content = ModelBody, example = json!({"owner": "ada", "name": "echo", "visibility": "public", "hardware": "cpu"})),
    responses((status = 201, body = Model), (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create_model(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    body: JsonObject,
) -> Result<(StatusCode, Json<Model>), Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let body: ModelBody = body.read()?;
    let invalid = |detail: String| Refused::from(Problem::new(422, "Invalid", detail));
    let model = ModelRef::new(&body.owner, &body.name).map_err(|error| invalid(error.to_string()))?;
    let visibility = match body.visibility.as_str() {
        "public" => Visibility::Public,
        "private" => Visibility::Private,
        _ => return Err(invalid("visibility must be `public` or `private`".to_owned())),
    };
    if gateway.prices().find(&body.hardware).is_none() {
        return Err(invalid(format!("there is no hardware `{}`; GET /v1/hardware lists what there is", body.hardware)));
    }
    let new = NewModel {
        description: body.description.unwrap_or_default(),
        readme: body.readme.unwrap_or_default(),
        links: Links {
            github_url: body.github_url,
            paper_url: body.paper_url,
            license_url: body.license_url,
            weights_url: None,
            cover_image_url: body.cover_image_url,
        },
        task: body.task,
        pricing: body.pricing,
        ..NewModel::named(model, visibility, &body.hardware)
    };
    let row = gateway.registry().create_model(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(shown(&gateway, &origin, &row).await?)))
}

/// Get a model.
#[utoipa::path(get, path = "/models/{owner}/{name}", tag = "models", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Model), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_model(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    origin: Origin,
    Path(path): Path<(String, String)>,
) -> Result<Json<Model>, Refused> {
    let row = require_model(&gateway, &viewer, &path).await?;
    let mut model = shown(&gateway, &origin, &row).await?;
    if let (Some(version), Some(id)) = (&mut model.latest_version, &row.latest_version_id) {
        version.signatures = signatures::of(&gateway, &row, id).await?;
    }
    Ok(Json(model))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PatchBody {
    description: Option<String>,
    readme: Option<String>,
    github_url: Option<String>,
    paper_url: Option<String>,
    license_url: Option<String>,
    weights_url: Option<String>,
    cover_image_url: Option<String>,
    task: Option<String>,
    pricing: Option<Pricing>,
    /// The id of a prediction of this model that its page shows.
    default_example: Option<String>,
}

/// Change a model's page and price.
#[utoipa::path(patch, path = "/models/{owner}/{name}", tag = "models", request_body = PatchBody,
    params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Model), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch_model(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    origin: Origin,
    Path((owner, name)): Path<(String, String)>,
    body: JsonObject,
) -> Result<Json<Model>, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let body: PatchBody = body.read()?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    if let Some(example) = body.default_example {
        let row = require_row(&gateway, &caller, &example).await?;
        // The page shows it to everyone: it must be the owner's own, and a run of this model.
        if row.model != model {
            return Err(Refused::not_found("prediction"));
        }
        gateway.registry().set_default_example(&caller, &model, row.id).await?;
    }
    let patch = ModelPatch {
        description: body.description,
        readme: body.readme,
        links: Links {
            github_url: body.github_url,
            paper_url: body.paper_url,
            license_url: body.license_url,
            weights_url: body.weights_url,
            cover_image_url: body.cover_image_url,
        },
        task: body.task,
        pricing: body.pricing,
    };
    let row = gateway.registry().patch_model(&caller, &model, patch).await?;
    Ok(Json(shown(&gateway, &origin, &row).await?))
}

/// Delete a private model that has no versions.
#[utoipa::path(delete, path = "/models/{owner}/{name}", tag = "models", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn delete_model(
    State(gateway): State<Gateway>,
    caller: Authenticated,
    Path((owner, name)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    let caller = caller.require(Scope::ModelsWrite)?;
    let model = ModelRef::new(&owner, &name).map_err(|_| Refused::not_found("model"))?;
    gateway.registry().delete_model(&caller, &model).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a model's README.
#[utoipa::path(get, path = "/models/{owner}/{name}/readme", tag = "models", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get_readme(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
) -> Result<Response, Refused> {
    let row = require_model(&gateway, &viewer, &path).await?;
    let readme = gateway.registry().find_readme(&row.model, &viewer.account_id).await?;
    let readme = readme.filter(|text| !text.is_empty()).ok_or_else(|| Refused::not_found("README"))?;
    Ok(readme.into_response())
}

/// List a model's examples.
#[utoipa::path(get, path = "/models/{owner}/{name}/examples", tag = "models", params(("owner" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Page<Prediction>), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_examples(
    State(gateway): State<Gateway>,
    viewer: Viewer,
    origin: Origin,
    Path(path): Path<(String, String)>,
) -> Result<Json<Page<Prediction>>, Refused> {
    let row = require_model(&gateway, &viewer, &path).await?;
    let example = match row.default_example_id {
        Some(id) => gateway.db().read(move |tx| Box::pin(prediction::find_any(tx, id))).await?,
        None => None,
    };
    let results = example.into_iter().map(|example| render::prediction(&gateway, &origin, example)).collect();
    Ok(Json(Page { next: None, previous: None, results }))
}

/// The model at this path, if the viewer may know of it.
pub(super) async fn require_model(gateway: &Gateway, viewer: &Viewer, (owner, name): &(String, String)) -> Result<Arc<ModelRow>, Refused> {
    let model = ModelRef::new(owner, name).map_err(|_| Refused::not_found("model"))?;
    gateway.registry().find_model(&model, &viewer.account_id).await?.ok_or_else(|| Refused::not_found("model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_estimated_without_a_sample() {
        assert_eq!(measured(Vec::new()), None);
        let one = measured(vec![(2_000_000, Credits(7))]).unwrap();
        assert_eq!((one.runs, one.cost_p50), (1, Credits(7)));
        let hundred = measured((1..=101).map(|n| (n * 1_000_000, Credits(1))).collect()).unwrap();
        assert!((hundred.predict_p50_seconds - 51.0).abs() < f64::EPSILON);
        assert!((hundred.predict_p95_seconds - 96.0).abs() < f64::EPSILON);
    }
}
