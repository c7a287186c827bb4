//! The greeting itself: its input, its places, and how one is cancelled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::DELAY_MS_MAX;

/// Longer names are refused: nobody's is.
const NAME_BYTES_MAX: usize = 4_096;

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Input {
    name: String,
    delay_ms: u64,
}

impl Default for Input {
    fn default() -> Self {
        Self { name: "world".to_owned(), delay_ms: 0 }
    }
}

impl Input {
    /// Reads an input, or says which of its values is wrong and why.
    pub fn read(input: &Value) -> Result<Self, (&'static str, String)> {
        let input = if input.is_null() { &Value::Object(serde_json::Map::new()) } else { input };
        let wrong = |name, kind: &str| (name, format!("{} is not of type \"{kind}\"", input[name]));
        let Some(fields) = input.as_object() else { return Err(("input", "the input is no object".to_owned())) };
        if fields.get("name").is_some_and(|name| !name.is_string()) {
            return Err(wrong("name", "string"));
        }
        if fields.get("delay_ms").is_some_and(|delay| !delay.is_u64()) {
            return Err(wrong("delay_ms", "integer"));
        }
        let read = Self::deserialize(input).map_err(|error| ("input", error.to_string()))?;
        if read.delay_ms > DELAY_MS_MAX {
            return Err(("delay_ms", format!("{} is greater than the maximum of {DELAY_MS_MAX}", read.delay_ms)));
        }
        if read.name.len() > NAME_BYTES_MAX {
            return Err(("name", format!("a name has at most {NAME_BYTES_MAX} bytes")));
        }
        Ok(read)
    }
}

/// How a greeting ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Greeted(String),
    Canceled,
}

/// The places of this process, and the greetings in them.
#[derive(Debug)]
pub(super) struct Greeter {
    places: Arc<Semaphore>,
    running: Mutex<HashMap<String, CancellationToken>>,
    stop: CancellationToken,
}

impl Greeter {
    pub fn new(places: u32) -> Self {
        let places = Arc::new(Semaphore::new(usize::try_from(places).expect("a place count fits in memory")));
        Self { places, running: Mutex::default(), stop: CancellationToken::new() }
    }

    /// Told when the process is to end.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Takes a place for a greeting; `None` when all are taken or this one is being given already.
    pub fn begin(self: &Arc<Self>, id: String) -> Option<Greeting> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let cancel = CancellationToken::new();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(&id) {
            return None;
        }
        running.insert(id.clone(), cancel.clone());
        Some(Greeting { greeter: Arc::clone(self), id, cancel, started: Instant::now(), _place: place })
    }

    /// Whether there was such a greeting to cancel.
    pub fn cancel(&self, id: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(id).map(CancellationToken::cancel).is_some()
    }
}

/// A greeting in its place. Dropping it, as when the caller hangs up, frees the place.
#[derive(Debug)]
pub(super) struct Greeting {
    greeter: Arc<Greeter>,
    pub id: String,
    cancel: CancellationToken,
    started: Instant,
    _place: OwnedSemaphorePermit,
}

impl Greeting {
    pub async fn give(&self, input: &Input) -> Outcome {
        if input.delay_ms > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(input.delay_ms)) => {}
                () = self.cancel.cancelled() => return Outcome::Canceled,
            }
        }
        Outcome::Greeted(format!("hello {}", input.name))
    }

    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.greeter.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
