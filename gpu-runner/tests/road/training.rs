//! Trainings: the real Cog runs a version's `train`, each in a process of its own, and a version with the weights predicts by them.

use std::sync::Arc;
use std::time::Duration;

use protocol::prediction::Errand;
use protocol::wire::{Bundle, FailCode, Outcome};
use serde_json::{Value, json};

use crate::house::{House, Ran, cancel, in_the_house, projects};

fn trainable(house: &House, more: &[(&str, &[u8])]) -> Arc<Bundle> {
    let read = |name: &str| std::fs::read(projects().join("trainable").join(name)).expect("the project has it");
    let (predict, train) = (read("predict.py"), read("train.py"));
    let mut files: Vec<(&str, &[u8])> = vec![("predict.py", &predict), ("train.py", &train)];
    files.extend_from_slice(more);
    let (file, text) = (json!({"type": "string", "format": "uri"}), json!({"type": "string"}));
    let training = json!({"text": file, "epochs": {"type": "integer", "minimum": 1}, "pause": {"type": "number"}});
    let schemas = json!({
        "Input": {"type": "object", "properties": {"letter": text}},
        "Output": text,
        "TrainingInput": {"type": "object", "properties": training, "required": ["text"]},
        "TrainingOutput": {"type": "object", "properties": {"weights": file}},
    });
    let more = json!({"trainer": "train.py:train", "openapi_schema": {"components": {"schemas": schemas}}});
    house.predictor(&files, &more, &json!({}), &text)
}

async fn train(house: &House, bundle: &Arc<Bundle>, input: Value) -> Ran {
    Ran::listen(&mut house.call_for(bundle, Errand::Train, None, input)).await
}

#[test]
fn a_training_makes_weights_that_the_predictor_gets_as_a_path() {
    in_the_house(|house| async move {
        house.platform.keep_input("t1/text.txt", b"abababac");
        let base = trainable(house, &[]);
        let ran = train(house, &base, json!({"text": "/runner/inputs/t1/text.txt", "epochs": 2})).await.succeeded();
        assert_eq!(ran.logs, "epoch 1 of 2: 2 letters\nepoch 2 of 2: 2 letters\n");
        assert_eq!(ran.metrics["epochs"], 2);
        let (name, weights) = house.platform.upload(&ran.outputs[0]["weights"]);
        assert_eq!(name, "weights.json");
        assert_eq!(serde_json::from_slice::<Value>(&weights).expect("it is JSON"), json!({"a": {"b": 6, "c": 2}, "b": {"a": 6}}));
        let trained = trainable(house, &[("weights", &weights)]);
        for (bundle, follower) in [(&base, "c"), (&trained, "a")] {
            assert_eq!(house.run(bundle, json!({"letter": "b"})).await.succeeded().outputs, [json!(follower)]);
        }
    });
}

#[test]
fn each_training_has_a_process_of_its_own_which_ends_with_it() {
    in_the_house(|house| async move {
        let bundle = trainable(house, &[("salt", b"fresh")]);
        let version = bundle.version;
        for _ in 0..2 {
            let ran = train(house, &bundle, json!({"text": "data:text/plain;base64,YWI="})).await.succeeded();
            assert!(ran.started.expect("it ran").cold.is_some());
        }
        let trains = |card: &protocol::wire::RunnerCard| {
            card.versions.iter().any(|on_it| on_it.version == version && on_it.errand == Errand::Train && on_it.instances_warm > 0)
        };
        house.wait_for_card(|card| !trains(card)).await;
    });
}

#[test]
fn a_training_is_cancelled_and_refused_as_a_prediction_is() {
    in_the_house(|house| async move {
        let bundle = trainable(house, &[("salt", b"cancel")]);
        let slow = json!({"text": "data:text/plain;base64,YWI=", "epochs": 1_000, "pause": 0.05});
        let mut line = house.call_for(&bundle, Errand::Train, None, slow);
        Ran::until_logged(&mut line, "epoch 1 ").await;
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(took < Duration::from_secs(2), "{took:?}");
        let ran = train(house, &bundle, json!({"text": "data:text/plain;base64,YWI=", "epochs": 0})).await;
        assert_eq!(ran.failure(), (FailCode::ModelError, "epochs: 0 is less than the minimum of 1"));
        let echo = house.project("echo", "untrained", &json!({}), &json!({"type": "string"}));
        let ran = train(house, &echo, json!({})).await;
        assert_eq!(ran.failure(), (FailCode::SetupFailed, "the version has no train function"));
    });
}
