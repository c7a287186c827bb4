//! What every fabric must do, whatever carries it.

use std::sync::Arc;

use fabric::{Fabric, FabricError};
use protocol::manifest::Driver;
use protocol::prediction::Errand;
use protocol::wire::{Assignment, Bundle, Ended, Event, Grant, Outcome, RunnerCard};
use protocol::{Clock, Entropy, PredictionId, Timestamp};
use serde_json::json;

fn assignment() -> Assignment {
    let config = serde_json::from_value(json!({"protocol": "cog", "openapi_schema": {}})).expect("plain data");
    Assignment {
        prediction: PredictionId::new(&Clock::system(), &Entropy::system()),
        attempt: 1,
        account: "acc".to_owned(),
        errand: Errand::Predict,
        deployment: None,
        bundle: Arc::new(Bundle {
            model: "feira/hello-world".parse().expect("plain data"),
            version: "00".repeat(32).parse().expect("plain data"),
            config,
            files: Vec::new(),
        }),
        input: json!({}),
        grant: Grant { base_url: String::new(), token: "secret".to_owned() },
    }
}

fn ended() -> Event {
    Event::Ended(Ended { outcome: Outcome::Succeeded, run_us: 1, usage: None })
}

#[tokio::test]
async fn events_arrive_in_the_order_they_were_sent() {
    let fabric = Fabric::in_process();
    let mut inbox = fabric.listen("r1");
    let mut line = fabric.open("r1", assignment()).unwrap();
    let call = inbox.next().await.unwrap();
    for n in 0..10 {
        assert!(call.send(Event::Output { chunk: json!(n) }).await);
    }
    assert!(call.send(ended()).await);
    for n in 0..10 {
        assert_eq!(line.next().await, Some(Event::Output { chunk: json!(n) }));
    }
    assert_eq!(line.next().await, Some(ended()));
}

#[tokio::test]
async fn a_runner_that_is_not_there_is_an_error_not_a_wait() {
    let fabric = Fabric::in_process();
    assert_eq!(fabric.open("r1", assignment()).err(), Some(FabricError::NoSuchRunner("r1".to_owned())));
    drop(fabric.listen("r1"));
    assert_eq!(fabric.open("r1", assignment()).err(), Some(FabricError::NoSuchRunner("r1".to_owned())));
}

#[tokio::test]
async fn a_dropped_line_cancels_the_call() {
    let fabric = Fabric::in_process();
    let mut inbox = fabric.listen("r1");
    let line = fabric.open("r1", assignment()).unwrap();
    let call = inbox.next().await.unwrap();
    assert!(!call.is_cancelled());
    drop(line);
    call.cancelled().await;
    assert!(!call.send(ended()).await);
}

#[tokio::test]
async fn a_cancelled_line_still_carries_the_end() {
    let fabric = Fabric::in_process();
    let mut inbox = fabric.listen("r1");
    let mut line = fabric.open("r1", assignment()).unwrap();
    let call = inbox.next().await.unwrap();
    line.cancel();
    call.cancelled().await;
    assert!(call.send(ended()).await);
    assert_eq!(line.next().await, Some(ended()));
}

#[tokio::test]
async fn a_lost_runner_ends_the_line_without_a_result() {
    let fabric = Fabric::in_process();
    let mut inbox = fabric.listen("r1");
    let mut line = fabric.open("r1", assignment()).unwrap();
    drop(inbox.next().await.unwrap());
    assert_eq!(line.next().await, None);
}

#[test]
fn a_card_stands_until_its_runner_leaves() {
    let fabric = Fabric::in_process();
    let card = RunnerCard {
        boot: String::new(),
        kept: Vec::new(),
        id: "r1".to_owned(),
        region: "local".to_owned(),
        hardware: vec!["cpu".to_owned()],
        accepting: true,
        drivers: vec![Driver::Process],
        isolation: "none".to_owned(),
        versions: Vec::new(),
        zygotes: 0,
        seen_at: Timestamp::default(),
    };
    let changes = fabric.directory().watch();
    fabric.directory().publish(card.clone());
    assert_eq!(fabric.directory().cards(), vec![Arc::new(card)]);
    assert!(changes.has_changed().unwrap());
    fabric.directory().withdraw("r1");
    assert!(fabric.directory().cards().is_empty());
}

#[test]
fn a_grant_does_not_print_its_token() {
    assert!(!format!("{:?}", assignment()).contains("secret"));
}
