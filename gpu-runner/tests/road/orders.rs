//! Standing orders: what a deployment keeps warm is there before anybody asks, and serves that deployment alone.

use std::sync::Arc;
use std::time::Duration;

use protocol::prediction::Errand;
use protocol::wire::{Bundle, Outcome, RunnerCard, StandingOrder, VersionCard};
use serde_json::json;

use crate::house::{House, Ran, in_a_house};

const ODD: &[u8] = include_bytes!("fakes/odd_cog.py");
const DEPLOYMENT: &str = "acme/live";

fn version(house: &House, salt: &str) -> Arc<Bundle> {
    let config = json!({
        "protocol": "cog",
        "command": ["python3", "server.py"],
        "openapi_schema": {"components": {"schemas": {"Output": {"type": "string"}}}},
    });
    house.version(&[("server.py", ODD), ("salt", salt.as_bytes())], &config)
}

fn order(house: &House, bundle: &Arc<Bundle>, instances_min: u32, instances_max: u32) {
    house.fabric.orders().replace(vec![StandingOrder {
        deployment: DEPLOYMENT.parse().expect("it is a name"),
        bundle: bundle.clone(),
        hardware: "cpu".to_owned(),
        instances_min,
        instances_max,
        instances_buffer: 0,
        idle_seconds: None,
        grant: house.grant(),
    }]);
}

fn line(house: &House, bundle: &Arc<Bundle>, input: serde_json::Value) -> fabric::Line {
    house.call_for(bundle, Errand::Predict, Some(DEPLOYMENT), input)
}

fn deployed<'a>(card: &'a RunnerCard, bundle: &Bundle) -> Option<&'a VersionCard> {
    card.versions.iter().find(|on_it| on_it.version == bundle.version && on_it.deployment.is_some())
}

#[test]
fn an_ordered_instance_is_warm_before_anybody_asks_and_serves_its_deployment_alone() {
    in_a_house(
        "ordered",
        |config| config.idle_expiry = Duration::from_millis(100),
        |house| async move {
            let bundle = version(&house, "ordered");
            order(&house, &bundle, 1, 1);
            house.wait_for_card(|card| deployed(card, &bundle).is_some_and(|on_it| on_it.slots_idle == 1)).await;
            let ran = house.run(&bundle, json!({})).await.succeeded();
            assert!(ran.started.expect("it ran").cold.is_some(), "what is everybody's has an instance of its own");
            house.wait_for_card(|card| card.versions.iter().all(|on_it| on_it.deployment.is_some())).await;
            let ran = Ran::listen(&mut line(&house, &bundle, json!({}))).await.succeeded();
            assert_eq!(ran.started.expect("it ran").cold, None, "idleness does not end it");
            house.close().await;
        },
    );
}

#[test]
fn a_new_release_takes_the_place_of_the_last_one_which_finishes_what_it_runs() {
    in_a_house(
        "released",
        |_| {},
        |house| async move {
            let (first, second) = (version(&house, "first"), version(&house, "second"));
            order(&house, &first, 1, 1);
            let mut hangs = line(&house, &first, json!({"do": "hang"}));
            let mut ran = Ran::default();
            while ran.started.is_none() {
                ran.hear(&mut hangs).await.expect("it begins");
            }
            order(&house, &second, 1, 1);
            house.wait_for_card(|card| deployed(card, &second).is_some_and(|on_it| on_it.slots_idle == 1)).await;
            assert_eq!(deployed(&house.card().expect("it has one"), &first).map(|on_it| on_it.slots_busy), Some(1));
            crate::house::cancel(&mut hangs).await;
            house.wait_for_card(|card| deployed(card, &first).is_none_or(|on_it| on_it.instances_warm == 0)).await;
            house.fabric.orders().replace(Vec::new());
            house.wait_for_card(|card| card.versions.iter().all(|on_it| on_it.instances_warm == 0)).await;
            house.close().await;
        },
    );
}

#[test]
fn what_waits_for_a_deployment_of_no_instances_is_cancelled() {
    in_a_house(
        "none-ordered",
        |_| {},
        |house| async move {
            let bundle = version(&house, "none ordered");
            order(&house, &bundle, 0, 0);
            let ran = Ran::listen(&mut line(&house, &bundle, json!({}))).await;
            assert_eq!((ran.outcome(), ran.run_us()), (&Outcome::Canceled, 0));
            house.close().await;
        },
    );
}
