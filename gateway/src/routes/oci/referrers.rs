//! The manifests that are about another one: signatures, attestations, notes.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};
use protocol::manifest::Descriptor;
use protocol::oci::{INDEX_TYPE, Referrer};
use registry::{ManifestRow, ReferrersOf};
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded::byte_serialize;

use crate::Gateway;
use crate::body::Parameters;
use crate::problem::Refused;
use crate::routes::oci::caller::Who;
use crate::routes::oci::page::answer;
use crate::routes::oci::{digest, repository};

/// Referrers of a page, each with its annotations.
const REFERRERS: usize = 100;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReferrersQuery {
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    last: String,
}

/// An index, empty when nothing is about the digest or nothing has it.
pub(super) async fn list(
    State(gateway): State<Gateway>,
    who: Who,
    Path((owner, name, subject)): Path<(String, String, String)>,
    Parameters(query): Parameters<ReferrersQuery>,
) -> Result<Response, Refused> {
    let repository = repository(&owner, &name)?;
    let subject = digest(&subject)?;
    let last = if query.last.is_empty() { None } else { Some(digest(&query.last)?) };
    let kind = Some(query.artifact_type.clone()).filter(|kind| !kind.is_empty());
    let row = who.require_readable(&gateway, &repository).await?;
    let of = ReferrersOf { subject, kind: kind.clone(), last, count: REFERRERS + 1 };
    let mut found = gateway.registry().list_referrers(&row, of).await?;
    let goes_on = found.len() > REFERRERS;
    found.truncate(REFERRERS);

    let filter: String = byte_serialize(query.artifact_type.as_bytes()).collect();
    let path = format!("/v2/{repository}/referrers/{subject}?artifactType={filter}");
    let last = found.last().filter(|_| goes_on).map(|last| last.digest.to_string());
    let manifests: Vec<Referrer> = found.into_iter().map(shown).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
    let mut response = answer(&index, last.as_deref().map(|last| (path, last)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(INDEX_TYPE));
    if kind.is_some() {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn shown(row: ManifestRow) -> Referrer {
    let ManifestRow { digest, media_type, artifact_type, annotations, size } = row;
    let annotations: BTreeMap<String, String> = annotations;
    Referrer { descriptor: Descriptor { media_type, digest, size, annotations }, artifact_type }
}
