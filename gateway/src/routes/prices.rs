//! What there is to run on, and what a second of it costs.

use axum::Json;
use axum::extract::State;
use protocol::Problem;
use protocol::api::{Hardware, HardwarePrice};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Viewer;
use crate::problem::Refused;

/// List the hardware.
#[utoipa::path(get, path = "/hardware", tag = "prices", responses((status = 200, body = Vec<Hardware>), (status = 401, body = Problem)))]
pub(super) async fn list_hardware(State(gateway): State<Gateway>, _viewer: Viewer) -> Result<Json<Vec<Hardware>>, Refused> {
    let hardware = gateway.prices().hardware().iter().map(|one| Hardware { sku: one.sku.clone(), name: one.name.clone() });
    Ok(Json(hardware.collect()))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Prices {
    hardware: Vec<HardwarePrice>,
}

/// List the price of a second of each kind of hardware.
#[utoipa::path(get, path = "/prices", tag = "prices", responses((status = 200, body = Prices), (status = 401, body = Problem)))]
pub(super) async fn list_prices(State(gateway): State<Gateway>, _viewer: Viewer) -> Result<Json<Prices>, Refused> {
    let price = |one: &billing::Hardware| HardwarePrice {
        sku: one.sku.clone(),
        name: one.name.clone(),
        per_second: one.per_second,
        active_per_second: one.active(),
    };
    Ok(Json(Prices { hardware: gateway.prices().hardware().iter().map(price).collect() }))
}
