//! `feira ps`: the runners, and which versions stand ready on them (operators).

use protocol::prediction::Errand;
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
    show::table(&["MODEL", "VERSION", "RUNNER", "HARDWARE", "STATE", "SLOTS", "QUEUE", "MEMORY", "WARM UNTIL"], &rows)?;
    for runner in &answer.runners {
        let state = if runner.accepting { "accepting" } else { "draining" };
        let hardware = runner.hardware.join(" ");
        show::note(&format!("runner {} in {}: {state}, {hardware}; {}", runner.id, runner.region, runner.isolation));
    }
    Ok(())
}

fn row(runner: &RunnerCard, version: &VersionCard) -> Vec<String> {
    vec![
        whose(version),
        version.version.short(),
        runner.id.clone(),
        version.hardware.clone(),
        state(version),
        format!("{} of {} busy", version.slots_busy, version.slots_busy + version.slots_idle),
        version.queued.to_string(),
        indicatif::HumanBytes(version.memory_bytes).to_string(),
        version.warm_until.map_or_else(|| "-".to_owned(), |until| until.to_string()),
    ]
}

/// A deployment's instances, and those that train, are not everybody's.
fn whose(version: &VersionCard) -> String {
    match (&version.deployment, version.errand) {
        (Some(deployment), _) => format!("{} ({deployment})", version.model),
        (None, Errand::Train) => format!("{} (training)", version.model),
        (None, Errand::Predict) => version.model.to_string(),
    }
}

/// How many instances there are in each state.
fn state(version: &VersionCard) -> String {
    let states = [(version.instances_warm, "warm"), (version.instances_frozen, "frozen"), (version.instances_starting, "starting")];
    let there_are: Vec<String> = states.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}")).collect();
    if there_are.is_empty() { "cold".to_owned() } else { there_are.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_whose_the_instances_are_and_how_they_stand() {
        let card = json!({
            "version": "0".repeat(64), "deployment": "ada/prod", "model": "acme/echo", "hardware": "cpu", "instances_warm": 2,
            "instances_frozen": 1, "instances_starting": 0, "slots_idle": 1, "slots_busy": 2, "queued": 7, "memory_bytes": 1_048_576,
            "warm_until": null,
        });
        let mut version: VersionCard = serde_json::from_value(card).unwrap();
        assert_eq!((whose(&version).as_str(), state(&version).as_str()), ("acme/echo (ada/prod)", "2 warm, 1 frozen"));
        (version.instances_warm, version.instances_frozen, version.deployment) = (0, 0, None);
        assert_eq!((whose(&version).as_str(), state(&version).as_str()), ("acme/echo", "cold"));
    }
}
