//! `feira ps`: the runners, and which versions stand ready on them (operators).

use protocol::wire::{RunnerCard, VersionCard};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::show;

#[derive(Debug, Serialize, Deserialize)]
struct Runners {
    runners: Vec<RunnerCard>,
}

pub async fn execute(context: &Context) -> anyhow::Result<()> {
    let answer: Runners = context.client()?.get("/v1/runners").await?;
    if context.json {
        return show::json(&answer);
    }
    let rows: Vec<_> = answer.runners.iter().flat_map(|runner| runner.versions.iter().map(|version| row(runner, version))).collect();
    show::table(&["MODEL", "VERSION", "RUNNER", "HARDWARE", "WARM", "STARTING", "BUSY", "IDLE", "QUEUED", "MEMORY"], &rows)?;
    for runner in &answer.runners {
        let state = if runner.accepting { "accepting" } else { "draining" };
        let hardware = runner.hardware.join(" ");
        show::note(&format!("runner {} in {}: {state}, {hardware}; {}", runner.id, runner.region, runner.isolation));
    }
    Ok(())
}

fn row(runner: &RunnerCard, version: &VersionCard) -> Vec<String> {
    vec![
        version.model.to_string(),
        version.version.short(),
        runner.id.clone(),
        version.hardware.clone(),
        version.instances_warm.to_string(),
        version.instances_starting.to_string(),
        version.slots_busy.to_string(),
        version.slots_idle.to_string(),
        version.queued.to_string(),
        indicatif::HumanBytes(version.memory_bytes).to_string(),
    ]
}
