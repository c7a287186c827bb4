//! Cog's HTTP contract, as release 0.23 speaks it, and what has to be absorbed of it.

mod listen;
mod metrics;
mod outputs;
mod skim;

use std::time::Duration;

use ::http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use protocol::PredictionId;
use protocol::prediction::Errand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{ModelHttp, read};
use super::{Health, ModelEnd, Run};
use listen::Listening;

const EVENT_STREAM: &str = "text/event-stream";
/// How long a server may say that it is busy although the runner knows that it is not.
const CONFLICT_MAX: Duration = Duration::from_secs(2);
const CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(64);
const REFUSAL_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub struct Cog {
    http: ModelHttp,
}

impl Cog {
    pub const fn new(http: ModelHttp) -> Self {
        Self { http }
    }

    /// Absorbs that a dead worker leaves the server up and answering: it is `UNHEALTHY` for ever, unless a model's own health check said
    /// so, which passes.
    pub async fn health(&self) -> Health {
        let Ok((StatusCode::OK, body)) = self.http.call(Method::GET, "/health-check", None).await else { return Health::Silent };
        let Ok(report) = serde_json::from_slice::<HealthReport>(&body) else { return Health::Silent };
        match report.status.as_str() {
            "READY" | "BUSY" => Health::Ready,
            "SETUP_FAILED" => match why_setup_failed(&report.setup.unwrap_or_default().logs) {
                message if message == WORKER_GONE => Health::Dead,
                message => Health::SetupFailed { message },
            },
            "UNHEALTHY" if report.user_healthcheck_error.is_some() => Health::Ready,
            "UNHEALTHY" | "DEFUNCT" => Health::Dead,
            _ => Health::Starting,
        }
    }

    pub async fn predict(&self, run: Run<'_>) -> ModelEnd {
        let path = format!("/predictions/{}", run.prediction);
        match put(&self.http, &path, EVENT_STREAM, &run).await {
            Ok(answer) => Listening::new(&self.http, path, run).until_the_end(answer.into_body()).await,
            Err(end) => end,
        }
    }

    pub async fn cancel(&self, prediction: PredictionId) -> bool {
        let asked = self.http.call(Method::POST, &format!("/predictions/{prediction}/cancel"), None).await;
        matches!(asked, Ok((StatusCode::OK, _)))
    }
}

/// Begins a prediction. The error is how it ended instead.
async fn put(http: &ModelHttp, path: &str, accept: &str, run: &Run<'_>) -> Result<Response<Incoming>, ModelEnd> {
    let mut body = json!({"input": run.input});
    if run.errand == Errand::Train {
        // By it the trainer's files are known to be this training's.
        body["context"] = json!({"training": run.prediction});
    }
    let mut pause = Duration::from_millis(1);
    let mut waited = Duration::ZERO;
    loop {
        let answer = http.send(Method::PUT, path, accept, Some(&body)).await.map_err(|_| ModelEnd::NotTaken)?;
        match answer.status() {
            StatusCode::OK => return Ok(answer),
            // A slot is freed a moment after the answer was sent: back-to-back calls find it taken.
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE if waited < CONFLICT_MAX => {
                tokio::time::sleep(pause).await;
                waited += pause;
                pause = (pause * 2).min(CONFLICT_PAUSE_MAX);
            }
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => return Err(ModelEnd::NotTaken),
            status => {
                let body = read(answer.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
                return Err(ModelEnd::Failed { message: why_refused(status, &body) });
            }
        }
    }
}

#[derive(Deserialize)]
struct HealthReport {
    status: String,
    setup: Option<Setup>,
    user_healthcheck_error: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Setup {
    #[serde(default)]
    logs: String,
}

/// What Cog says of a worker that was gone before its setup had ended: no word of the model's.
const WORKER_GONE: &str = "worker crashed";

/// The last of the wrappings around the model's own error.
fn why_setup_failed(logs: &str) -> String {
    let innermost = logs.rsplit("etup failed: ").next().unwrap_or(logs).trim();
    if innermost.is_empty() { "setup failed".to_owned() } else { innermost.to_owned() }
}

/// Cog wraps a model's error once or twice in its own words.
fn unwrapped(error: &str) -> &str {
    let mut error = error;
    while let Some(inner) = error.strip_prefix("Prediction failed: ").or_else(|| error.strip_prefix("Training failed: ")) {
        error = inner;
    }
    error
}

fn why_refused(status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = body["detail"].as_array().map(|details| {
        let one = |detail: &Value| {
            let field = detail["loc"].as_array().and_then(|loc| loc.last()).and_then(Value::as_str).unwrap_or("input");
            format!("{field}: {}", detail["msg"].as_str().unwrap_or("is not valid"))
        };
        details.iter().map(one).collect::<Vec<_>>().join("; ")
    });
    let error = body["error"].as_str().map(|error| unwrapped(error).to_owned());
    detail.or(error).unwrap_or_else(|| format!("the model's server answered with status {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_own_error_is_taken_out_of_cogs_wrapping() {
        assert_eq!(unwrapped("Prediction failed: Prediction failed: ValueError: boom"), "ValueError: boom");
        assert_eq!(unwrapped("Prediction failed: Training failed: ValueError: boom"), "ValueError: boom");
        assert_eq!(
            why_setup_failed(
                "worker setup failed: worker setup failed (slot 1): Setup failed: setup failed: FileNotFoundError: weights/model.bin is missing"
            ),
            "FileNotFoundError: weights/model.bin is missing"
        );
        assert_eq!(why_setup_failed(""), "setup failed");
    }

    #[test]
    fn a_refused_input_names_the_field() {
        let body = br#"{"detail":[{"loc":["body","input","text"],"msg":"Field required","type":"value_error.missing"}]}"#;
        assert_eq!(why_refused(StatusCode::UNPROCESSABLE_ENTITY, body), "text: Field required");
    }
}
