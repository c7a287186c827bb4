//! Cog's HTTP contract around the greeting: health, predictions as JSON or server-sent events, cancel, shutdown.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::stream::{self, StreamExt};
use protocol::Entropy;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Greeter, Greeting, Input, Outcome};
use crate::project::COG_VERSION;

#[derive(Debug, Deserialize)]
struct Request {
    id: Option<String>,
    #[serde(default)]
    input: Value,
}

pub(super) fn router(greeter: Arc<Greeter>) -> Router {
    Router::new()
        .route("/health-check", get(health))
        .route("/predictions", post(predict))
        .route("/predictions/{id}", put(predict_named))
        .route("/predictions/{id}/cancel", post(cancel))
        .route("/shutdown", post(shut_down))
        .with_state(greeter)
}

async fn health(State(greeter): State<Arc<Greeter>>) -> Json<Value> {
    let status = if greeter.is_full() { "BUSY" } else { "READY" };
    Json(json!({"status": status, "setup": {"status": "succeeded", "logs": ""}, "version": {"coglet": COG_VERSION}}))
}

async fn predict(greeter: State<Arc<Greeter>>, headers: HeaderMap, request: Json<Request>) -> Response {
    let id = request.id.clone().unwrap_or_else(|| hex::encode(Entropy::system().bytes::<8>()));
    predict_named(greeter, Path(id), headers, request).await
}

async fn predict_named(
    State(greeter): State<Arc<Greeter>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Json<Request>,
) -> Response {
    let input = match Input::read(&request.input) {
        Ok(input) => input,
        Err((field, reason)) => {
            let detail = json!([{"loc": ["body", "input", field], "msg": reason, "type": "value_error"}]);
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": detail}))).into_response();
        }
    };
    let Some(greeting) = greeter.begin(id) else {
        let busy = json!({"error": "At capacity - all prediction slots busy", "status": "failed"});
        return (StatusCode::CONFLICT, Json(busy)).into_response();
    };
    let streams = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream"));
    if streams {
        return events(greeting, input);
    }
    let outcome = greeting.give(&input).await;
    Json(completed(&greeting, &outcome)).into_response()
}

fn events(greeting: Greeting, input: Input) -> Response {
    let event = |name: &str, data: Value| Ok::<_, Infallible>(Event::default().event(name).data(data.to_string()));
    let start = event("start", json!({"id": greeting.id, "status": "processing"}));
    let rest = stream::once(async move {
        let outcome = greeting.give(&input).await;
        let mut events = Vec::with_capacity(2);
        if let Outcome::Greeted(text) = &outcome {
            events.push(event("output", json!({"chunk": text, "index": 0})));
        }
        events.push(event("completed", completed(&greeting, &outcome)));
        stream::iter(events)
    });
    Sse::new(stream::iter([start]).chain(rest.flatten())).keep_alive(KeepAlive::default()).into_response()
}

fn completed(greeting: &Greeting, outcome: &Outcome) -> Value {
    let mut document = json!({"id": greeting.id, "logs": "", "metrics": {"predict_time": greeting.seconds()}});
    match outcome {
        Outcome::Greeted(text) => {
            document["output"] = text.as_str().into();
            document["status"] = "succeeded".into();
        }
        Outcome::Canceled => document["status"] = "canceled".into(),
    }
    document
}

async fn cancel(State(greeter): State<Arc<Greeter>>, Path(id): Path<String>) -> (StatusCode, Json<Value>) {
    let status = if greeter.cancel(&id) { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (status, Json(json!({})))
}

async fn shut_down(State(greeter): State<Arc<Greeter>>) -> Json<Value> {
    greeter.stop().cancel();
    Json(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::Client;

    async fn start(places: u32) -> (String, Client) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = router(Arc::new(Greeter::new(places)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (base, Client::builder().no_proxy().build().unwrap())
    }

    #[tokio::test]
    async fn it_greets_in_json_and_says_how_long_it_took() {
        let (base, http) = start(2).await;
        let health: Value = http.get(format!("{base}/health-check")).send().await.unwrap().json().await.unwrap();
        assert_eq!((health["status"].as_str(), health["setup"]["status"].as_str()), (Some("READY"), Some("succeeded")));
        let request = json!({"input": {"name": "Ada", "unknown": 1}});
        let answer: Value = http.post(format!("{base}/predictions")).json(&request).send().await.unwrap().json().await.unwrap();
        assert_eq!((answer["output"].as_str(), answer["status"].as_str()), (Some("hello Ada"), Some("succeeded")));
        assert!(answer["metrics"]["predict_time"].as_f64().is_some());
    }

    #[tokio::test]
    async fn it_greets_in_events() {
        let (base, http) = start(2).await;
        let put = http.put(format!("{base}/predictions/p1")).header(ACCEPT, "text/event-stream").json(&json!({"input": {}}));
        let text = put.send().await.unwrap().text().await.unwrap();
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(names, ["start", "output", "completed"]);
        assert!(text.contains(r#"data: {"chunk":"hello world","index":0}"#));
    }

    #[tokio::test]
    async fn a_wrong_input_is_refused_as_cog_refuses_it() {
        let (base, http) = start(1).await;
        for (input, at) in [
            (json!({"name": 3}), "name"),
            (json!({"delay_ms": 60_001}), "delay_ms"),
            (json!({"delay_ms": -1}), "delay_ms"),
            (json!(5), "input"),
        ] {
            let response = http.post(format!("{base}/predictions")).json(&json!({"input": input})).send().await.unwrap();
            assert_eq!(response.status(), 422);
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["detail"][0]["loc"], json!(["body", "input", at]));
        }
    }

    #[tokio::test]
    async fn a_long_greeting_is_cancelled_and_its_place_is_free_again() {
        let (base, http) = start(1).await;
        let slow = json!({"input": {"delay_ms": 60_000}});
        let put = http.put(format!("{base}/predictions/p1")).header(ACCEPT, "text/event-stream").json(&slow);
        let mut events = put.send().await.unwrap();
        assert!(events.chunk().await.unwrap().unwrap().starts_with(b"event: start"));
        let refused = http.post(format!("{base}/predictions")).json(&json!({"input": {}})).send().await.unwrap();
        assert_eq!(refused.status(), 409);
        assert_eq!(http.post(format!("{base}/predictions/p1/cancel")).send().await.unwrap().status(), 200);
        let rest = events.text().await.unwrap();
        assert!(rest.contains("event: completed") && rest.contains(r#""status":"canceled""#) && !rest.contains("event: output"));
        assert_eq!(http.post(format!("{base}/predictions/p1/cancel")).send().await.unwrap().status(), 404);
        let again = http.post(format!("{base}/predictions")).json(&json!({"input": {}})).send().await.unwrap();
        assert_eq!(again.status(), 200);
    }

    #[tokio::test]
    async fn its_version_names_what_it_answers_to() {
        let version = super::super::version();
        let input = version.config.input_schema();
        for name in input["properties"].as_object().unwrap().keys() {
            let default = &input["properties"][name]["default"];
            assert!(Input::read(&json!({name: default})).is_ok(), "{name}");
        }
        assert_eq!(version.config.output_schema()["type"], "string");
    }
}
