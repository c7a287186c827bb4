//! What a model's process prints itself: always drained, its tail kept for the case that it fails.
//!
//! Cog leaves what is printed before a failing `setup` out of its own answer, and a crash leaves nothing but this. Cog's worker hands its prints to
//! the server first, and when setup fails at once they are often lost between the two: what never comes out here cannot be kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::logs::Tail;

const TAIL_BYTES_MAX: usize = 64 * 1024;
/// A longer line is cut into several.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Together 10 MiB a second at most, and none of it kept but the end.
const BURST_BYTES: usize = 1024 * 1024;
const BURST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Prints(Arc<Mutex<Tail>>);

impl Default for Prints {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Tail::new(TAIL_BYTES_MAX))))
    }
}

impl Prints {
    /// Reads to the end, which comes with the end of the process. Who prints faster than is any use has to wait: reading it would take a
    /// processor from everybody else.
    pub async fn capture(self, output: impl AsyncRead + Unpin) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        let mut unpaid_bytes = 0;
        loop {
            if unpaid_bytes > BURST_BYTES {
                tokio::time::sleep(BURST_PAUSE).await;
                unpaid_bytes = 0;
            }
            line.clear();
            match (&mut output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => {
                    unpaid_bytes += bytes;
                    self.keep(&line);
                }
            }
        }
    }

    pub fn tail(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    fn keep(&self, line: &[u8]) {
        let text = match serde_json::from_slice::<CogLine>(line) {
            Ok(cog) if cog.is_the_models_own() => format!("{}\n", cog.fields.message.trim_end_matches('\n')),
            Ok(_) => return,
            Err(_) => String::from_utf8_lossy(line).into_owned(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(&text);
    }
}

/// Cog's server writes all it has to say as lines of JSON, what the model prints among it.
#[derive(Deserialize)]
struct CogLine {
    fields: Fields,
    target: String,
}

#[derive(Deserialize)]
struct Fields {
    message: String,
}

impl CogLine {
    fn is_the_models_own(&self) -> bool {
        matches!(self.target.as_str(), "coglet::setup" | "coglet::user") && !self.fields.message.contains("is deprecated; use run()")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_models_words_are_kept_and_the_servers_are_not() {
        let output = concat!(
            "{\"level\":\"INFO\",\"fields\":{\"message\":\"Spawning worker subprocess\"},\"target\":\"coglet\"}\n",
            "{\"level\":\"INFO\",\"fields\":{\"message\":\"looking for weights\",\"source\":\"Stdout\"},\"target\":\"coglet::setup\"}\n",
            "Segmentation fault\n",
            "no newline at the end",
        );
        let prints = Prints::default();
        prints.clone().capture(output.as_bytes()).await;
        assert_eq!(prints.tail(), "looking for weights\nSegmentation fault\nno newline at the end");
    }
}
