//! The OCI distribution API: models as repositories, for Docker, skopeo, ORAS and whatever else speaks it. Its contract is
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>, so `/openapi.json` leaves it out.

mod blobs;
mod caller;
mod catalog;
mod manifests;
mod page;
mod referrers;
mod tags;
mod token;
mod uploads;

use axum::Router;
use axum::routing::{any, get, post};
use protocol::{Digest, ModelRef};

use crate::Gateway;
use crate::problem::Refused;
use crate::problem::oci::{digest_invalid, name_invalid, unauthorized};
use caller::Who;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/v2", get(base))
        .route("/v2/", get(base))
        .route("/v2/token", get(token::issue))
        .route("/v2/_catalog", get(catalog::list))
        .route("/v2/{owner}/{name}/tags/list", get(tags::list))
        .route("/v2/{owner}/{name}/referrers/{digest}", get(referrers::list))
        .route("/v2/{owner}/{name}/manifests/{reference}", get(manifests::get).put(manifests::put).delete(manifests::delete))
        .route("/v2/{owner}/{name}/blobs/{digest}", get(blobs::get).delete(blobs::delete))
        .route("/v2/{owner}/{name}/blobs/uploads", post(uploads::begin))
        .route("/v2/{owner}/{name}/blobs/uploads/", post(uploads::begin))
        .route(
            "/v2/{owner}/{name}/blobs/uploads/{id}",
            get(uploads::status).patch(uploads::append).put(uploads::finish).delete(uploads::cancel),
        )
        // A catch-all directly below `/v2` would stand beside `{owner}`, which the router does not allow.
        .route("/v2/{owner}", any(strange))
        .route("/v2/{owner}/", any(strange))
        .route("/v2/{owner}/{name}", any(strange))
        .route("/v2/{owner}/{name}/", any(strange))
        .route("/v2/{owner}/{name}/{*rest}", any(strange))
}

/// Tells a client that it speaks with a registry, or that it needs a token.
async fn base(who: Who) -> Result<&'static str, Refused> {
    if who.is_nobody() { Err(unauthorized()) } else { Ok("{}") }
}

/// A repository here has two parts; nothing else has this form.
async fn strange() -> Refused {
    name_invalid()
}

fn repository(owner: &str, name: &str) -> Result<ModelRef, Refused> {
    ModelRef::new(owner, name).map_err(|_| name_invalid())
}

fn digest(text: &str) -> Result<Digest, Refused> {
    text.parse().map_err(|_| digest_invalid())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_route_stands_in_the_way_of_another() {
        // The router panics where one does.
        let _ = super::routes();
    }
}
