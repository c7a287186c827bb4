//! Listens to one prediction of Cog's: its event stream, told on as it comes, until it says that it completed.
//!
//! Cog drops events for a listener that falls a thousand behind, ends the stream, and then cancels the prediction because nobody listens:
//! a model that prints a hundred megabytes does it to the fastest reader. So a prediction that says much gets a second stream, which is
//! never read and only keeps it alive; when the first is ended, it is joined again, and what was missed is taken from the end's summary.
//! Where even the end was missed, it is run once more with nobody listening, for that answer cannot be dropped; it counts if it agrees with
//! the output that has been shown.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use protocol::wire::FailCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::super::http::{CallError, ModelHttp};
use super::super::lines::{Fields, StreamError};
use super::super::{ModelEnd, Run};
use super::metrics::Metrics;
use super::outputs::Outputs;
use super::skim::Skim;
use super::{EVENT_STREAM, put, unwrapped};
use crate::backlog::OUTPUT_BYTES_MAX;
use crate::files::FileError;

/// After this many events a prediction is one that says much: a small part of what Cog buffers.
const EVENTS_UNTIL_HELD: u32 = 32;
const EVENT_NAME_BYTES_MAX: usize = 64;
/// One print.
const LOG_BYTES_MAX: usize = 2 * 1024 * 1024;
const METRIC_BYTES_MAX: usize = 64 * 1024;
/// How its words begin for a prediction that it could not hand to its worker.
const WORKER_GONE: &str = "Failed to send request: ";
const ERROR_BYTES_MAX: usize = 1024 * 1024;

pub struct Listening<'a> {
    http: &'a ModelHttp,
    path: String,
    run: Run<'a>,
    outputs: Outputs,
    metrics: Metrics,
    events: u32,
    /// The stream that only keeps the prediction alive.
    holder: Option<AbortOnDropHandle<Result<Response<Incoming>, CallError>>>,
    lagged: bool,
}

/// Why a stream is not listened to any more.
enum Left {
    Ended(ModelEnd),
    /// Cog dropped this many events and ended the stream.
    Lagged(u64),
    /// It ended unheard, or Cog cancelled it because nobody listened.
    Missed,
}

impl<'a> Listening<'a> {
    pub fn new(http: &'a ModelHttp, path: String, run: Run<'a>) -> Self {
        let outputs = Outputs::new(run.config.output_schema_of(run.errand));
        Self { http, path, run, outputs, metrics: Metrics::default(), events: 0, holder: None, lagged: false }
    }

    pub async fn until_the_end(mut self, stream: Incoming) -> ModelEnd {
        self.run.backlog.start(self.run.started.clone());
        let mut stream = stream;
        loop {
            match self.listen(stream).await {
                Left::Ended(end) => return end,
                Left::Missed => return self.once_more().await,
                Left::Lagged(dropped) => {
                    self.lagged = true;
                    self.run.backlog.log(&format!("\n[{dropped} events came too fast to be read, and are left out here]\n"));
                    match join(self.http.clone(), self.path.clone()).await {
                        Ok(answer) if answer.status() == StatusCode::OK => stream = answer.into_body(),
                        _ => return self.once_more().await,
                    }
                }
            }
        }
    }

    /// The answer of a call that is not streamed comes whole, and only at the end.
    async fn once_more(&mut self) -> ModelEnd {
        self.holder = None;
        if self.run.stop.is_cancelled() {
            return ModelEnd::Canceled;
        }
        if self.outputs.are_whole() {
            return ModelEnd::Succeeded { usage: None };
        }
        self.lagged = true;
        self.run.backlog.log("\n[its end was missed; it runs again, and what it prints is left out]\n");
        let mut answer = match put(self.http, &self.path, "application/json", &self.run).await {
            Ok(answer) => answer.into_body(),
            Err(end) => return end,
        };
        let mut skim = Skim::new(&["error", "output", "status"], OUTPUT_BYTES_MAX);
        while let Some(frame) = answer.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => skim.push(&data),
                Ok(Err(_)) => {}
                Err(_) => return ModelEnd::Died,
            }
        }
        match self.end_of(&skim).await {
            Left::Ended(end) => end,
            Left::Lagged(_) | Left::Missed => ModelEnd::Canceled,
        }
    }

    async fn listen(&mut self, stream: Incoming) -> Left {
        let mut fields = Fields::new(stream);
        let mut event = String::new();
        loop {
            match fields.name().await.as_ref().map(Option::as_deref) {
                Ok(Some("event")) => match fields.value(EVENT_NAME_BYTES_MAX).await {
                    Ok(name) => event = String::from_utf8_lossy(&name).into_owned(),
                    Err(_) => return Left::Ended(ModelEnd::Died),
                },
                Ok(Some("data")) => match self.hear(&event, &mut fields).await {
                    Ok(()) => self.hold_if_it_says_much(),
                    Err(left) => return left,
                },
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Left::Ended(ModelEnd::Died),
            }
        }
    }

    /// Takes one event's data.
    async fn hear(&mut self, event: &str, fields: &mut Fields) -> Result<(), Left> {
        match event {
            "log" => match fields.value(LOG_BYTES_MAX).await {
                Ok(data) => self.log(&data),
                Err(StreamError::TooLong(_)) => self.run.backlog.log(&format!("[a line of more than {LOG_BYTES_MAX} bytes is left out]\n")),
                Err(StreamError::BrokenOff(_)) => return Err(Left::Ended(ModelEnd::Died)),
            },
            "output" => match fields.value(OUTPUT_BYTES_MAX).await {
                Ok(data) => self.output(&data).await?,
                Err(StreamError::TooLong(_)) => return Err(too_large()),
                Err(StreamError::BrokenOff(_)) => return Err(Left::Ended(ModelEnd::Died)),
            },
            "metric" => {
                if let Ok(data) = fields.value(METRIC_BYTES_MAX).await
                    && let Some((name, value)) = self.metrics.record(&data)
                {
                    self.run.backlog.metric(&name, value);
                }
            }
            "error" => {
                let data = fields.value(METRIC_BYTES_MAX).await.unwrap_or_default();
                let dropped = serde_json::from_slice::<Value>(&data).ok().and_then(|data| data["skipped"].as_u64());
                return Err(Left::Lagged(dropped.unwrap_or_default()));
            }
            "completed" => return Err(self.completed(fields).await),
            _ => {}
        }
        Ok(())
    }

    fn log(&self, data: &[u8]) {
        if let Ok(log) = serde_json::from_slice::<Log>(data) {
            self.run.backlog.log(&log.data);
        }
    }

    async fn output(&mut self, data: &Bytes) -> Result<(), Left> {
        let Ok(output) = serde_json::from_slice::<Output>(data) else { return Ok(()) };
        if self.outputs.is_next(output.index) {
            self.tell(output.chunk).await.map_err(Left::Ended)?;
        }
        Ok(())
    }

    /// Tells a chunk on, its files in place.
    async fn tell(&mut self, chunk: Value) -> Result<(), ModelEnd> {
        self.outputs.note(&chunk);
        let Run { config, errand, desk, files, backlog, .. } = &self.run;
        let schema = self.outputs.schema(config.output_schema_of(*errand));
        let chunk = desk.publish(files, config, schema, "output", chunk).await.map_err(|error| not_kept(&error))?;
        self.outputs
            .tell(backlog, chunk)
            .map_err(|too_large| ModelEnd::GivenUp { code: FailCode::OutputTooLarge, message: too_large.to_string() })
    }

    async fn completed(&mut self, fields: &mut Fields) -> Left {
        let (wanted, bytes_max): (&'static [&'static str], usize) =
            if self.lagged { (&["error", "output", "status"], OUTPUT_BYTES_MAX) } else { (&["error", "status"], ERROR_BYTES_MAX) };
        let mut skim = Skim::new(wanted, bytes_max);
        loop {
            match fields.piece().await {
                Ok(Some(piece)) => skim.push(&piece),
                Ok(None) => break,
                Err(_) => return Left::Ended(ModelEnd::Died),
            }
        }
        self.end_of(&skim).await
    }

    async fn end_of(&mut self, skim: &Skim) -> Left {
        let error = skim.field("error");
        Left::Ended(match skim.field("status").as_ref().and_then(Value::as_str) {
            Some("succeeded") => self.succeeded(skim).await,
            // Perhaps nobody asked: Cog does it when the last stream is lost.
            Some("canceled") if self.lagged && !self.run.stop.is_cancelled() => return Left::Missed,
            Some("canceled") => ModelEnd::Canceled,
            Some(_) => match error.as_ref().and_then(Value::as_str) {
                Some("Worker crashed") => ModelEnd::Died,
                // The server lives on, and found its worker gone.
                Some(error) if unwrapped(error).starts_with(WORKER_GONE) => ModelEnd::NotTaken,
                Some(error) => ModelEnd::Failed { message: unwrapped(error).to_owned() },
                None if skim.overflowed() => {
                    ModelEnd::Failed { message: format!("the model failed with more than {ERROR_BYTES_MAX} bytes of words") }
                }
                None => ModelEnd::Failed { message: "the model failed without a word".to_owned() },
            },
            None => ModelEnd::Died,
        })
    }

    async fn succeeded(&mut self, skim: &Skim) -> ModelEnd {
        if self.lagged {
            if skim.overflowed() {
                return ModelEnd::GivenUp { code: FailCode::OutputTooLarge, message: crate::backlog::OutputTooLarge.to_string() };
            }
            let Some(missed) = self.outputs.missed(skim.field("output")) else {
                let message = "the model spoke faster than it could be heard, and did not say the same again".to_owned();
                return ModelEnd::GivenUp { code: FailCode::RunnerLost, message };
            };
            for chunk in missed {
                if let Err(end) = self.tell(chunk).await {
                    return end;
                }
            }
        }
        match self.outputs.finish(self.run.backlog) {
            Ok(()) => ModelEnd::Succeeded { usage: None },
            Err(too_large) => ModelEnd::GivenUp { code: FailCode::OutputTooLarge, message: too_large.to_string() },
        }
    }

    fn hold_if_it_says_much(&mut self) {
        self.events += 1;
        if self.events == EVENTS_UNTIL_HELD {
            self.holder = Some(AbortOnDropHandle::new(tokio::spawn(join(self.http.clone(), self.path.clone()))));
        }
    }
}

/// Another stream of a prediction that runs. An input that is no object is refused, so that this never starts one.
async fn join(http: ModelHttp, path: String) -> Result<Response<Incoming>, CallError> {
    http.send(Method::PUT, &path, EVENT_STREAM, Some(&json!({"input": 0}))).await
}

fn too_large() -> Left {
    Left::Ended(ModelEnd::GivenUp { code: FailCode::OutputTooLarge, message: crate::backlog::OutputTooLarge.to_string() })
}

fn not_kept(error: &FileError) -> ModelEnd {
    ModelEnd::GivenUp { code: FailCode::RunnerLost, message: format!("an output file could not be kept: {error}") }
}

#[derive(Deserialize)]
struct Log {
    data: String,
}

#[derive(Deserialize)]
struct Output {
    chunk: Value,
    index: Option<u64>,
}
