//! `feira doctor`: what this machine has and lacks to run models, in plain words.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gpu_runner::IsolationWish;
use gpu_runner::sandbox::Sandbox;
use nix::sys::statvfs::statvfs;
use protocol::Entropy;
use registry::Blobs;
use serde::Serialize;
use tokio::process::Command;

use super::Context;
use crate::exit::Exit;
use crate::project::find_program;
use crate::settings;
use crate::show;

/// Less than this fills up with the first models: a torch environment alone has 5 GB.
const DISK_BYTES_WANTED: u64 = 10 << 30;

#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Where the server keeps everything
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Where the server would listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the server would keep files
    #[arg(long, env = "FEIRA_BLOBS", value_name = "URL")]
    blobs: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// The server runs without it; something is slower, weaker or not offered.
    Lacking,
    /// The server or its models do not run without it.
    Missing,
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    words: String,
}

impl Doctor {
    pub async fn execute(self, context: &Context) -> anyhow::Result<Exit> {
        let search_path = &context.settings.search_path;
        let home = self.home.unwrap_or_else(|| context.settings.home.clone());
        let blobs = blobs(self.blobs.as_deref(), &home).await;
        let findings =
            vec![python(search_path).await, uv(search_path).await, sandbox().await, gpu(), images(), disk(&home), blobs, port(self.listen)];
        let sound = findings.iter().all(|finding| finding.state != State::Missing);
        if context.json {
            show::json(&findings)?;
        } else {
            let row = |finding: &Finding| {
                let state = match finding.state {
                    State::Ok => "ok",
                    State::Lacking => "lacking",
                    State::Missing => "MISSING",
                };
                vec![finding.name.to_owned(), state.to_owned(), finding.words.clone()]
            };
            show::table(&["WHAT", "STATE", "IN WORDS"], &findings.iter().map(row).collect::<Vec<_>>())?;
        }
        Ok(if sound { Exit::Success } else { Exit::Failed })
    }
}

const fn finding(name: &'static str, state: State, words: String) -> Finding {
    Finding { name, state, words }
}

async fn python(search_path: &str) -> Finding {
    let name = "python";
    match version_of("python3", search_path).await {
        Some(version) => finding(name, State::Ok, format!("{version}; models in other versions need theirs as python3.N on the PATH")),
        None => {
            finding(name, State::Missing, "no python3 on the PATH: Cog models do not run, and their projects cannot be read".to_owned())
        }
    }
}

async fn uv(search_path: &str) -> Finding {
    match version_of("uv", search_path).await {
        Some(version) => finding("uv", State::Ok, version),
        None => finding("uv", State::Ok, "not on the PATH; a copy is installed from PyPI when the first environment is built".to_owned()),
    }
}

async fn version_of(program: &str, search_path: &str) -> Option<String> {
    let program = find_program(program, search_path)?;
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn sandbox() -> Finding {
    let Ok(exe) = std::env::current_exe() else {
        return finding("sandbox", State::Missing, "this program does not find itself".to_owned());
    };
    match Sandbox::probe(IsolationWish::Strict, &exe).await {
        Ok(sandbox) => finding("sandbox", State::Ok, sandbox.describe().to_owned()),
        Err(strict) => match Sandbox::probe(IsolationWish::Auto, &exe).await {
            Ok(sandbox) => finding("sandbox", State::Lacking, format!("{}; for more: {strict}", sandbox.describe())),
            Err(error) => finding("sandbox", State::Missing, error.to_string()),
        },
    }
}

fn gpu() -> Finding {
    let gpus = gpu_runner::inventory();
    if gpus.is_empty() {
        return finding("gpu", State::Lacking, "none answers: models that need one do not run here, the others do".to_owned());
    }
    let names: Vec<_> = gpus.iter().map(|gpu| format!("{} ({})", gpu.name, indicatif::HumanBytes(gpu.memory_bytes))).collect();
    finding("gpu", State::Ok, names.join(", "))
}

/// What the drivers of this program's runner can start.
fn images() -> Finding {
    let words = "the driver `process` runs what `feira push` publishes; images that `cog push` and `docker push` bring are kept and shown, and need a \
                 runner with the driver `oci`, which this program has not";
    finding("drivers", State::Lacking, words.to_owned())
}

fn disk(home: &Path) -> Finding {
    let existing = home.ancestors().find(|path| path.exists()).unwrap_or(home);
    match statvfs(existing) {
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let state = if free < DISK_BYTES_WANTED { State::Lacking } else { State::Ok };
            finding("disk", state, format!("{} free for {}", indicatif::HumanBytes(free), home.display()))
        }
        Err(error) => finding("disk", State::Missing, format!("{} cannot be looked at: {error}", home.display())),
    }
}

/// Asks the store that is named what [`Blobs::check`] asks; a folder in a home that may not be there yet is made by the first start.
async fn blobs(url: Option<&str>, home: &Path) -> Finding {
    let name = "blobs";
    let Some(url) = url else {
        return finding(name, State::Ok, format!("in {}; another store is named by --blobs", home.join("blobs").display()));
    };
    let checked = async {
        let blobs = Blobs::open_with(url, &settings::of_stores(), Entropy::system())?;
        blobs.check().await?;
        anyhow::Ok(blobs.place())
    };
    match checked.await {
        Ok(place) => finding(name, State::Ok, format!("{place} takes, gives and keeps what it is given")),
        Err(error) => finding(name, State::Missing, format!("{error:#}")),
    }
}

fn port(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => finding("port", State::Ok, format!("{listen} is free")),
        Err(error) => {
            finding("port", State::Lacking, format!("{listen}: {error}; a server may be up already, or choose another with --listen"))
        }
    }
}
