//! Runs the programs that find, fetch and build: in an environment that is named, with a time limit, and with their words in the log.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::EnvironmentError;

/// What all of them get.
#[derive(Debug)]
pub(super) struct Tools {
    /// Where uv is put when the search path has none, and where it keeps its cache.
    pub(super) directory: PathBuf,
    pub(super) search_path: String,
    pub(super) variables: Vec<(String, String)>,
}

/// A few lines tell what went wrong; a resolver's whole story is in the log.
const LINES_TOLD: usize = 12;
const LINE_BYTES_MAX: usize = 400;
/// Numbers and paths; nothing that is run prints more to its standard output.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

impl Tools {
    /// Every file of this name on the search path, in its order.
    pub(super) fn candidates(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let files: Vec<PathBuf> =
            self.search_path.split(':').filter(|directory| !directory.is_empty()).map(|d| Path::new(d).join(name)).collect();
        files.into_iter().filter(|file| file.is_file())
    }

    /// What the program prints. It is killed when it takes too long, or when nobody waits for it any more.
    pub(super) async fn run<I, S>(&self, tool: &'static str, program: &Path, args: I, limit: Duration) -> Result<String, EnvironmentError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut running = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", &self.search_path)
            .env("HOME", &self.directory)
            .env("UV_CACHE_DIR", self.directory.join("uv-cache"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdout, stderr) = running.stdout.take().zip(running.stderr.take()).expect("both were piped");
        let mut printed = String::new();
        let mut said = VecDeque::new();
        let finish = async {
            let read = async { stdout.take(OUTPUT_BYTES_MAX).read_to_string(&mut printed).await };
            let listen = async {
                let mut lines = BufReader::new(stderr).lines();
                while let Some(line) = lines.next_line().await? {
                    tracing::info!(tool, "{line}");
                    said.push_back(line.chars().take(LINE_BYTES_MAX).collect::<String>());
                    if said.len() > LINES_TOLD {
                        said.pop_front();
                    }
                }
                Ok(())
            };
            tokio::try_join!(read, listen)?;
            running.wait().await
        };
        let status = timeout(limit, finish).await.map_err(|_| EnvironmentError::Slow { tool, seconds: limit.as_secs() })??;
        if status.success() {
            return Ok(printed);
        }
        Err(EnvironmentError::Tool { tool, said: Vec::from(said).join("\n") })
    }
}
