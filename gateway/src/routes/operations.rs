//! What operators look at: whether the process lives, whether it takes work, and its runners.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use protocol::Problem;
use protocol::wire::RunnerCard;
use registry::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Gateway;
use crate::auth::Authenticated;
use crate::problem::Refused;

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(gateway): State<Gateway>) -> (StatusCode, &'static str) {
    if gateway.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "stopping\n") }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runners {
    /// Each with its hardware and how every version stands on it.
    #[schema(value_type = Vec<Object>)]
    runners: Vec<RunnerCard>,
}

/// List the runners. Operators only.
#[utoipa::path(get, path = "/runners", tag = "operation",
    responses((status = 200, body = Runners), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list_runners(State(gateway): State<Gateway>, caller: Authenticated) -> Result<Json<Runners>, Refused> {
    caller.require(Scope::Operator)?;
    let cards = gateway.fabric().directory().cards();
    Ok(Json(Runners { runners: cards.iter().map(|card| (**card).clone()).collect() }))
}

/// Figures in the Prometheus text format.
pub(super) async fn metrics(State(gateway): State<Gateway>) -> String {
    let cards = gateway.fabric().directory().cards();
    let versions = || cards.iter().flat_map(|card| card.versions.iter());
    let sum = |of: fn(&protocol::wire::VersionCard) -> u32| versions().map(|version| u64::from(of(version))).sum::<u64>();
    let zygotes = cards.iter().map(|card| u64::from(card.zygotes)).sum();
    let lines: [(&str, &str, u64); 9] = [
        (concat!("feira_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), "The running build", 1),
        ("feira_predictions_live", "Predictions that this gateway drives", gateway.live().len() as u64),
        ("feira_instances{state=\"warm\"}", "Instances by state", sum(|version| version.instances_warm)),
        ("feira_instances{state=\"frozen\"}", "", sum(|version| version.instances_frozen)),
        ("feira_instances{state=\"starting\"}", "", sum(|version| version.instances_starting)),
        ("feira_zygotes", "Seats that are prepared for a version of a lately used environment", zygotes),
        ("feira_slots{state=\"idle\"}", "Slots of warm instances by state", sum(|version| version.slots_idle)),
        ("feira_slots{state=\"busy\"}", "", sum(|version| version.slots_busy)),
        ("feira_queue_depth", "Predictions that wait in runners' queues", sum(|version| version.queued)),
    ];
    let written = lines.into_iter().map(|(series, help, value)| {
        let name = series.split('{').next().unwrap_or(series);
        let heading = if help.is_empty() { String::new() } else { format!("# HELP {name} {help}\n# TYPE {name} gauge\n") };
        format!("{heading}{series} {value}\n")
    });
    let deliveries =
        gateway.webhooks().counts().map(|(outcome, count)| format!("feira_webhook_deliveries_total{{outcome=\"{outcome}\"}} {count}\n"));
    let deliveries = format!(
        "# HELP feira_webhook_deliveries_total Tries to deliver webhooks, by what became of the delivery\n\
                              # TYPE feira_webhook_deliveries_total counter\n{}",
        deliveries.concat()
    );
    written.chain([deliveries, gateway.claims().text(), gateway.cold_starts().text()]).collect()
}
