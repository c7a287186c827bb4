//! A server with the HTTP API of `OpenAI` behind a runner.

use std::sync::Arc;

use protocol::wire::{Bundle, FailCode, Outcome, TokenUsage};
use serde_json::json;

use crate::house::{House, Ran, cancel, in_the_house};

const SERVER: &[u8] = include_bytes!("fakes/openai_server.py");

fn server(house: &House, endpoint: &str) -> Arc<Bundle> {
    let config = json!({
        "protocol": "openai",
        "command": ["python3", "server.py"],
        "concurrency": 4,
        "openai": {"endpoint": endpoint, "ready": "/health", "model": "m"},
        "openapi_schema": {"components": {"schemas": {"Output": {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"}}}},
    });
    house.version(&[("server.py", SERVER)], &config)
}

#[test]
fn a_chat_is_streamed_token_by_token_and_its_usage_is_told() {
    in_the_house(|house| async move {
        for endpoint in ["/v1/chat/completions", "/v1/completions"] {
            let ran = house.run(&server(house, endpoint), json!({"prompt": "one two three"})).await.succeeded();
            assert_eq!(ran.outputs, [json!("one"), json!(" two"), json!(" three")]);
            assert_eq!(ran.ended.as_ref().unwrap().usage, Some(TokenUsage { prompt: 5, completion: 3 }));
            assert_eq!((&ran.metrics["input_token_count"], &ran.metrics["output_token_count"]), (&json!(5), &json!(3)));
            assert_eq!(ran.metrics["finish_reason"], "stop");
            assert!(ran.metrics["time_to_first_token"].as_f64().unwrap() > 0.0 && ran.metrics["tokens_per_second"].as_f64().unwrap() > 0.0);
        }
    });
}

#[test]
fn texts_become_vectors() {
    in_the_house(|house| async move {
        let ran = house.run(&server(house, "/v1/embeddings"), json!({"input": ["a", "bcd"]})).await.succeeded();
        assert_eq!(ran.outputs, [json!([[1, 0.5], [3, 0.5]])]);
        assert_eq!(ran.ended.unwrap().usage, Some(TokenUsage { prompt: 3, completion: 0 }));
    });
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    in_the_house(|house| async move {
        let ran = house.run(&server(house, "/v1/chat/completions"), json!({"prompt": "x", "temperature": 3})).await;
        assert_eq!(ran.failure(), (FailCode::InputRefused, "temperature must be at most 2"));
    });
}

#[test]
fn a_cancel_drops_the_request_and_leaves_the_server_warm() {
    in_the_house(|house| async move {
        let server = server(house, "/v1/chat/completions");
        house.run(&server, json!({"prompt": "warm"})).await.succeeded();
        let mut line = house.call(&server, "a", json!({"prompt": "very slowly now and for a long time"}));
        let mut ran = Ran::default();
        while ran.outputs.is_empty() {
            ran.hear(&mut line).await.unwrap();
        }
        let (ran, took) = cancel(&mut line).await;
        assert_eq!(ran.outcome(), &Outcome::Canceled);
        assert!(took.as_millis() < 1_000, "{took:?}");
        assert_eq!(house.run(&server, json!({"prompt": "after"})).await.succeeded().started.unwrap().cold, None);
    });
}
