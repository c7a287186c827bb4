//! A runner's own life: room that is made, instances that are let go, and an end that leaves nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::wire::{Bundle, FailCode, Outcome};
use serde_json::json;

use crate::house::{House, Ran, cancel, in_a_house};

const ODD: &[u8] = include_bytes!("fakes/odd_cog.py");

fn version(house: &House, salt: &str) -> Arc<Bundle> {
    let config = json!({
        "protocol": "cog",
        "command": ["python3", "server.py"],
        "openapi_schema": {"components": {"schemas": {"Output": {"type": "string"}}}},
    });
    house.version(&[("server.py", ODD), ("salt", salt.as_bytes())], &config)
}

/// Waits until the prediction has begun.
async fn begin(line: &mut fabric::Line) {
    let mut ran = Ran::default();
    while ran.started.is_none() {
        ran.hear(line).await.expect("it has one");
    }
}

#[test]
fn a_full_runner_makes_room_for_another_version() {
    in_a_house(
        "room",
        |config| config.instances_max = 1,
        |house| async move {
            let (one, two) = (version(&house, "1"), version(&house, "2"));
            for bundle in [&one, &two, &one] {
                let ran = house.run(bundle, json!({})).await.succeeded();
                assert!(ran.started.unwrap().cold.is_some());
            }
            house.close().await;
        },
    );
}

#[test]
fn an_idle_instance_is_let_go_and_the_card_says_until_when_it_is_warm() {
    in_a_house(
        "idle",
        |config| config.idle_expiry = Duration::from_millis(300),
        |house| async move {
            let bundle = version(&house, "idle");
            house.run(&bundle, json!({})).await.succeeded();
            let card = house.wait_for_card(|card| card.versions.iter().any(|on_it| on_it.slots_idle == 1)).await;
            assert!(card.versions[0].warm_until.is_some_and(|until| until > card.seen_at) && card.versions[0].instances_warm == 1);
            house.wait_for_card(|card| card.versions.is_empty()).await;
            house.close().await;
        },
    );
}

#[test]
fn a_prediction_that_waits_can_be_cancelled_and_costs_nothing() {
    in_a_house(
        "waits",
        |config| config.instances_max = 1,
        |house| async move {
            let bundle = version(&house, "waits");
            let mut runs = house.call(&bundle, "a", json!({"do": "hang"}));
            begin(&mut runs).await;
            let mut waits = house.call(&bundle, "a", json!({}));
            house.wait_for_card(|card| card.versions.iter().any(|on_it| on_it.queued == 1)).await;
            let (ran, took) = cancel(&mut waits).await;
            assert_eq!((ran.outcome(), ran.run_us(), ran.started.is_none()), (&Outcome::Canceled, 0, true));
            assert!(took < Duration::from_secs(1));
            cancel(&mut runs).await;
            house.close().await;
        },
    );
}

#[test]
fn a_gateway_that_is_gone_stops_its_prediction() {
    in_a_house(
        "gone",
        |_| {},
        |house| async move {
            let bundle = version(&house, "gone");
            let mut line = house.call(&bundle, "a", json!({"do": "hang"}));
            begin(&mut line).await;
            drop(line);
            house.wait_for_card(|card| card.versions.iter().all(|on_it| on_it.slots_busy == 0)).await;
            house.close().await;
        },
    );
}

#[test]
fn accounts_take_turns() {
    in_a_house(
        "turns",
        |config| config.instances_max = 1,
        |house| async move {
            let bundle = version(&house, "turns");
            let mut runs = house.call(&bundle, "flood", json!({"do": "hang"}));
            begin(&mut runs).await;
            let flood: Vec<_> = (0..50).map(|_| house.call(&bundle, "flood", json!({}))).collect();
            let mut quiet = house.call(&bundle, "quiet", json!({}));
            house.wait_for_card(|card| card.versions.iter().any(|on_it| on_it.queued == 51)).await;
            cancel(&mut runs).await;
            Ran::listen(&mut quiet).await.succeeded();
            house.wait_for_card(|card| card.versions.iter().all(|on_it| on_it.queued == 0)).await;
            drop(flood);
            house.close().await;
        },
    );
}

#[test]
fn a_runner_that_stops_finishes_what_runs_hands_back_what_waits_and_leaves_no_process() {
    in_a_house(
        "drains",
        |config| config.instances_max = 1,
        |house| async move {
            let marker = "drains-leaves-nothing";
            let bundle = version(&house, marker);
            let mut hangs = house.call(&bundle, "a", json!({"do": "hang"}));
            begin(&mut hangs).await;
            let mut waits = house.call(&bundle, "a", json!({}));
            house.wait_for_card(|card| card.versions.iter().any(|on_it| on_it.queued == 1)).await;
            assert!(processes_of(&house.runner) > 0);
            let (fabric, runner) = (house.fabric.clone(), house.runner.clone());
            let stopped_at = Instant::now();
            house.stop();
            assert!(waits.next().await.is_none(), "its line ends, so that its gateway places it elsewhere");
            assert_eq!(Ran::listen(&mut hangs).await.failure(), (FailCode::RunnerLost, "the runner was stopped"));
            house.close().await;
            assert!(stopped_at.elapsed() < Duration::from_secs(10));
            assert!(fabric.directory().cards().is_empty());
            assert_eq!(processes_of(&runner), 0);
        },
    );
}

/// Processes of this machine that name the runner's home.
fn processes_of(runner: &str) -> usize {
    let home = format!("homes/{runner}/");
    let names_it = |entry: std::io::Result<std::fs::DirEntry>| {
        let cwd = entry.ok().and_then(|entry| std::fs::read_link(entry.path().join("cwd")).ok());
        cwd.is_some_and(|cwd| cwd.to_string_lossy().contains(&home))
    };
    std::fs::read_dir("/proc").expect("the machine tells").map(names_it).filter(|found| *found).count()
}
