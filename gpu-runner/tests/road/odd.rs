//! What a server that speaks Cog's contract may do wrong, each absorbed.

use std::sync::Arc;

use protocol::wire::{Bundle, FailCode, Outcome};
use serde_json::{Value, json};

use crate::house::{House, Ran, cancel, in_the_house};

const ODD: &[u8] = include_bytes!("fakes/odd_cog.py");

fn odd(house: &House, salt: &str, more: &Value) -> Arc<Bundle> {
    let mut config = json!({
        "protocol": "cog",
        "command": ["python3", "server.py"],
        "openapi_schema": {"components": {"schemas": {"Input": {"type": "object", "properties": {}}, "Output": {"type": "string"}}}},
    });
    config.as_object_mut().expect("it has one").extend(more.as_object().expect("it has one").clone());
    house.version(&[("server.py", ODD), ("salt", salt.as_bytes())], &config)
}

#[test]
fn a_slot_that_is_freed_late_is_asked_for_again() {
    in_the_house(|house| async move {
        let odd = odd(house, "conflicts", &json!({}));
        let ran = house.run(&odd, json!({"conflicts": 5})).await.succeeded();
        assert_eq!(ran.outputs, [json!("done")]);
    });
}

#[test]
fn a_process_that_ends_before_it_is_ready_leaves_its_last_words() {
    in_the_house(|house| async move {
        let quits = odd(house, "quits", &json!({"command": ["sh", "-c", "echo looking for weights; echo none found >&2; exit 3"]}));
        let ran = house.run(&quits, json!({})).await;
        assert_eq!(ran.failure(), (FailCode::SetupFailed, "the model's process was ended with code 3 before it was ready"));
        assert!(ran.logs.contains("looking for weights\n") && ran.logs.contains("none found\n"), "{:?}", ran.logs);
    });
}

#[test]
fn a_process_that_exits_fails_its_prediction_and_the_next_gets_another() {
    in_the_house(|house| async move {
        let odd = odd(house, "exits", &json!({}));
        let ran = house.run(&odd, json!({"do": "exit"})).await;
        assert_eq!(ran.failure(), (FailCode::Killed, "the model's process was ended with code 11"));
        house.run(&odd, json!({})).await.succeeded();
    });
}

#[test]
fn a_prediction_that_a_dead_worker_did_not_take_runs_in_another_instance() {
    in_the_house(|house| async move {
        let odd = odd(house, "dead worker", &json!({}));
        house.run(&odd, json!({})).await.succeeded();
        // The instance dies as it is asked; each instance after it does the same, so that it is given up in the end.
        let ran = house.run(&odd, json!({"die_first": true})).await;
        assert_eq!(ran.failure(), (FailCode::Killed, "the model's process died before it took the prediction"));
        assert!(ran.started.is_none());
        house.run(&odd, json!({})).await.succeeded();
    });
}

#[test]
fn a_server_that_hangs_is_ended_when_the_prediction_is_cancelled() {
    in_the_house(|house| async move {
        let odd = odd(house, "hangs", &json!({}));
        house.run(&odd, json!({})).await.succeeded();
        let mut line = house.call(&odd, "a", json!({"do": "hang"}));
        let mut ran = Ran::default();
        while ran.started.is_none() {
            ran.hear(&mut line).await.unwrap();
        }
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(took.as_millis() < 2_000, "{took:?}");
        assert!(ran.run_us() < 5_000_000, "the time until the stop is what is metered");
    });
}

#[test]
fn a_neighbour_of_one_that_hangs_is_not_ended_with_it() {
    in_the_house(|house| async move {
        let odd = odd(house, "neighbours", &json!({"concurrency": 2}));
        house.run(&odd, json!({})).await.succeeded();
        let mut hangs = house.call(&odd, "a", json!({"do": "hang"}));
        let mut neighbour = house.call(&odd, "b", json!({"do": "hang"}));
        for line in [&mut hangs, &mut neighbour] {
            Ran::default().hear(line).await.unwrap();
        }
        let (ran, _) = cancel(&mut hangs).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        let after = house.run(&odd, json!({})).await.succeeded();
        assert!(after.started.unwrap().cold.is_some(), "a new instance takes what comes");
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), neighbour.next()).await.is_err(), "the neighbour runs on");
        cancel(&mut neighbour).await;
    });
}

#[test]
fn output_that_is_too_large_fails_the_prediction() {
    in_the_house(|house| async move {
        let output = json!({"components": {"schemas": {"Output": {"type": "array", "items": {}, "x-cog-array-type": "iterator"}}}});
        let odd = odd(house, "huge", &json!({"openapi_schema": output}));
        assert_eq!(house.run(&odd, json!({"do": "huge"})).await.failure().0, FailCode::OutputTooLarge);
    });
}

#[test]
fn a_line_of_megabytes_is_left_out_and_what_follows_is_heard() {
    in_the_house(|house| async move {
        let odd = odd(house, "long line", &json!({}));
        let ran = house.run(&odd, json!({"do": "long line", "repeats": 30_000_000, "metrics": 7})).await.succeeded();
        assert!(ran.logs.contains("is left out") && ran.logs.ends_with("after\n"), "{}", ran.logs.len());
        assert_eq!(ran.metrics["tokens"], 7);
    });
}

#[test]
fn output_that_a_lost_stream_swallowed_is_told_from_the_summary() {
    in_the_house(|house| async move {
        let output = json!({"components": {"schemas": {"Output": {"type": "array", "items": {}, "x-cog-array-type": "iterator"}}}});
        let odd = odd(house, "lag", &json!({"openapi_schema": output}));
        let ran = house.run(&odd, json!({"do": "lag"})).await.succeeded();
        assert_eq!(ran.outputs, [json!("a"), json!("b"), json!("c")]);
        assert!(ran.logs.contains("2 events came too fast"));
    });
}
