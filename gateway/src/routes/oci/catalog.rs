//! The repositories that hold something and that the caller may see.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::Gateway;
use crate::body::Parameters;
use crate::problem::Refused;
use crate::routes::oci::caller::Who;
use crate::routes::oci::page::{PageQuery, answer};

pub(super) async fn list(State(gateway): State<Gateway>, who: Who, Parameters(query): Parameters<PageQuery>) -> Result<Response, Refused> {
    let count = query.count();
    let found = gateway.registry().list_repositories(who.viewer_id(), &query.last, count + 1).await?;
    let names: Vec<String> = found.iter().take(count).map(ToString::to_string).collect();
    let next = names.last().filter(|_| found.len() > count);
    let next = next.map(|last| (format!("/v2/_catalog?n={count}"), last.as_str()));
    Ok(answer(&json!({"repositories": names}), next))
}
