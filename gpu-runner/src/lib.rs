//! Runs a version in a slot of a GPU or CPU: warm pools, model processes, the cache of weights. Speaks only the wire, and holds no secret of
//! the platform but the short-lived grants that come with assignments.
//!
//! The road inside: the inbox and the standing orders → `pool` (a fair `queue` for each fleet, a `plan` of what to do next) → `instance` (files, environment,
//! sandbox, process) → `run` (one prediction in a `slot`) → `model` (Cog's or `OpenAI`'s protocol) → `backlog` → events on the call.

mod backlog;
mod card;
mod environment;
mod files;
mod flights;
mod gpu;
mod instance;
mod logs;
mod memory;
mod model;
mod outside;
mod pool;
mod prints;
mod queue;
mod run;
pub mod sandbox;
mod schema;
mod scratch;
mod sidecar;
mod slot;
mod supervise;
pub mod weights;
mod wiping;
mod zygote;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fabric::Fabric;
use protocol::{Clock, Entropy};
use tokio_util::sync::CancellationToken;

pub use gpu::{Gpu, inventory, sku};
pub use sandbox::{IsolationError, IsolationWish, confine_main};
pub use zygote::{cog_worker_main, is_cog_worker};

use environment::Environments;
use instance::start::Site;
use outside::Outside;
use pool::{Pool, Wishes};
use sandbox::Sandbox;
use weights::Weights;
use zygote::Zygotes;

/// For the platform to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For the platform to send the next bytes of a file.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// How one runner works.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// Its name in the directory, unique among runners.
    pub id: String,
    pub region: String,
    /// Where it keeps weights, environments, tools and scratch directories.
    pub home: PathBuf,
    /// The program itself: it starts models through its `confine` subcommand.
    pub feira_exe: PathBuf,
    /// Where `uv` and Python interpreters are looked for, as in `PATH`.
    pub search_path: String,
    /// The environment that uv and pip get beside it: proxies, certificates and index settings.
    pub tools: Vec<(String, String)>,
    pub isolation: IsolationWish,
    /// What the files of versions may take on the disk, in bytes; four fifths of the disk's free space when not given. The environments and
    /// scratch directories come on top.
    pub weights_bytes_max: Option<u64>,
    /// An instance that nobody used for so long has its processes stopped until it is needed again.
    pub freeze_after: Duration,
    /// An instance that nobody used for so long is let go.
    pub idle_expiry: Duration,
    /// Instances that live at one time.
    pub instances_max: usize,
    /// Ordinary memory that all of them may take together, by what their versions declare or were seen to take; seven eighths of the machine's
    /// when not given.
    pub memory_bytes_max: Option<u64>,
    /// Prepared seats that wait for a version at one time, beside the instances; 0 prepares none.
    pub zygotes_max: usize,
    /// Ordinary memory of an instance whose version asks for nothing else; 0 is no limit.
    pub memory_bytes_default: u64,
    /// What one instance may keep in its scratch directory, in bytes.
    pub scratch_bytes_max: u64,
    /// What runs may finish within this time when the runner stops.
    pub drain_grace: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("the runner's home cannot be written")]
    Home(#[source] io::Error),
    #[error("the HTTP client cannot be made")]
    Http(#[source] reqwest::Error),
}

/// Runs until `stop`, then drains: what runs may finish for a while, and when this returns no process that it started is left.
pub async fn serve(
    config: RunnerConfig,
    fabric: Fabric,
    clock: Clock,
    entropy: Entropy,
    stop: CancellationToken,
) -> Result<(), RunnerError> {
    let sandbox = Sandbox::probe(config.isolation, &config.feira_exe).await?;
    let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_MAX).read_timeout(SILENCE_MAX);
    let http = http.build().map_err(RunnerError::Http)?;
    let site = Site {
        weights: Weights::new(&config.home, http.clone(), config.weights_bytes_max).map_err(RunnerError::Home)?,
        environments: Environments::new(&config.home, config.search_path.clone(), config.tools.clone()),
        sandbox,
        zygotes: Zygotes::new(&config.home, &config.feira_exe, config.zygotes_max).map_err(RunnerError::Home)?,
        scratch: config.home.join("scratch"),
        feira_exe: config.feira_exe.clone(),
        memory_bytes_default: config.memory_bytes_default,
        scratch_bytes_max: config.scratch_bytes_max,
        gpus: inventory(),
        http,
        outside: Outside::new().map_err(RunnerError::Http)?,
        entropy,
    };
    site.clear_all().await;
    let inbox = fabric.listen(&config.id);
    tracing::info!(runner = config.id, isolation = site.sandbox.describe(), gpus = site.gpus.len(), "the runner takes assignments");
    let orders = Wishes { standing: fabric.orders().watch(), prewarms: fabric.orders().prewarms() };
    Pool::new(&config, site, &fabric, clock).serve(inbox, orders, stop).await;
    tracing::info!(runner = config.id, "the runner has stopped");
    Ok(())
}

/// Microseconds as they stand on the wire.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
