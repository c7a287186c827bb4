//! Idle instances are frozen, and go on when they are needed as if nothing had been.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::Clock;
use protocol::prediction::Rung;
use protocol::wire::{Bundle, Outcome, RunnerCard};
use serde_json::{Value, json};

use crate::house::{House, Ran, cancel, in_a_house};

/// Longer than two looks at the health of what is awake.
const LONG_FROZEN_MS: i64 = 3_000;

const TRIES_MAX: usize = 30;

/// No test waits for it.
const LONG: Duration = Duration::from_mins(10);

fn text() -> Value {
    json!({"type": "string"})
}

fn frozen(card: &RunnerCard) -> u32 {
    card.versions.iter().map(|on_it| on_it.instances_frozen).sum()
}

/// Runs once, which is a cold start, and waits until the instance is frozen.
async fn frozen_after_a_run(house: &House, bundle: &Arc<Bundle>, input: Value) -> Arc<RunnerCard> {
    house.run(bundle, input).await.succeeded();
    house.wait_for_card(|card| frozen(card) == 1).await
}

/// One after the other, in the home that they share, so that its environment is built once.
fn in_a_house_that_freezes<F: Future<Output = ()>>(idle_expiry: Duration, test: impl FnOnce(House) -> F) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    in_a_house("frozen", |config| (config.freeze_after, config.idle_expiry) = (Duration::from_millis(50), idle_expiry), test);
}

#[test]
fn a_frozen_instance_goes_on_and_the_prediction_says_so() {
    in_a_house_that_freezes(LONG, |house| async move {
        let echo = house.project("echo", "frozen", &json!({"text": text()}), &text());
        let card = frozen_after_a_run(&house, &echo, json!({"text": "x"})).await;
        assert_eq!((card.versions[0].instances_warm, card.versions[0].slots_idle), (0, 1));
        let mut from_frozen_us = Vec::new();
        for round in 0..TRIES_MAX {
            let word = round.to_string();
            let ran = house.run(&echo, json!({"text": word})).await.succeeded();
            assert_eq!(ran.outputs, [json!(word)]);
            // Who comes between the decision to freeze it and the signal finds it warm.
            if let Some(cold) = ran.started.expect("it started").cold {
                assert_eq!((cold.rung, cold.fetch_us, cold.setup_us), (Rung::Frozen, 0, 0));
                from_frozen_us.push(cold.start_us);
            }
            if from_frozen_us.len() == 10 {
                break;
            }
            let ended_at = Clock::system().now();
            house.wait_for_card(|card| card.seen_at > ended_at && frozen(card) == 1).await;
        }
        assert_eq!(from_frozen_us.len(), 10, "it was seldom frozen");
        let slowest_us = from_frozen_us.iter().max().expect("there are ten");
        eprintln!("slowest of ten from frozen: {slowest_us} µs");
        house.close().await;
    });
}

#[test]
fn a_frozen_instance_is_not_taken_for_dead_however_long_it_rests() {
    in_a_house_that_freezes(LONG, |house| async move {
        let echo = house.project("echo", "long", &json!({"text": text()}), &text());
        let card = frozen_after_a_run(&house, &echo, json!({"text": "x"})).await;
        let until = card.seen_at.plus_millis(LONG_FROZEN_MS);
        let later = house.wait_for_card(|card| card.seen_at > until).await;
        assert_eq!(frozen(&later), 1);
        let ran = house.run(&echo, json!({"text": "x"})).await.succeeded();
        assert_eq!(ran.started.and_then(|started| started.cold).map(|cold| cold.rung), Some(Rung::Frozen));
        house.close().await;
    });
}

#[test]
fn all_slots_of_a_frozen_instance_can_be_taken_at_once() {
    in_a_house_that_freezes(LONG, |house| async move {
        let script = b"import asyncio\nfrom cog import BasePredictor\n\nclass Predictor(BasePredictor):\n    async def predict(self, seconds: float) -> str:\n        await asyncio.sleep(seconds)\n        return 'awake'";
        let input = json!({"seconds": {"type": "number"}});
        let sleepers = house.predictor(&[("predict.py", script)], &json!({"concurrency": 3}), &input, &text());
        frozen_after_a_run(&house, &sleepers, json!({"seconds": 0})).await;
        let mut lines: Vec<_> = (0..3).map(|_| house.call(&sleepers, "a", json!({"seconds": 0.2}))).collect();
        for line in &mut lines {
            assert_eq!(Ran::listen(line).await.succeeded().outputs, [json!("awake")]);
        }
        house.close().await;
    });
}

#[test]
fn a_prediction_that_wakes_an_instance_can_be_cancelled() {
    in_a_house_that_freezes(LONG, |house| async move {
        let sleepy = house.project("sleepy", "frozen", &json!({"seconds": {"type": "number"}, "deaf": {"type": "boolean"}}), &text());
        frozen_after_a_run(&house, &sleepy, json!({"seconds": 0})).await;
        let mut line = house.call(&sleepy, "a", json!({"seconds": 60}));
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(took < Duration::from_secs(2), "{took:?}");
        house.run(&sleepy, json!({"seconds": 0})).await.succeeded();
        house.close().await;
    });
}

#[test]
fn a_frozen_instance_is_let_go_and_leaves_nothing() {
    in_a_house_that_freezes(Duration::from_secs(1), |house| async move {
        let echo = house.project("echo", "expiry", &json!({"text": text()}), &text());
        frozen_after_a_run(&house, &echo, json!({"text": "x"})).await;
        house.wait_for_card(|card| card.versions.is_empty()).await;
        let ran = house.run(&echo, json!({"text": "again"})).await.succeeded();
        assert_eq!(ran.started.and_then(|started| started.cold).map(|cold| cold.rung), Some(Rung::EnvironmentHit));
        house.wait_for_card(|card| frozen(card) == 1).await;
        // With one that is frozen.
        house.close().await;
    });
}
