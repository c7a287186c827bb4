//! Where a model's process runs: in namespaces of its own when the machine allows it, else as a plain process, and it says which.

mod calls;
mod cgroup;
mod confined;
mod doors;
mod fence;
mod fork;
mod heeded;
mod launcher;
mod line;
mod loopback;
mod mounts;
mod root;
mod scratch;
mod spare;
mod spec;
mod tree;
mod usage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::gpu::{self, Gpu};
use cgroup::Cgroups;
use spare::{Spare, Spares};
use spec::{Spec, Walls};

pub use confined::{Confined, Exit};
pub use doors::Doors;
pub use launcher::confine_main;
pub use scratch::wipe;

/// What the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationWish {
    /// The best that the machine allows; what is missing is said.
    #[default]
    Auto,
    /// Namespaces, a fence and a memory limit, or no model runs at all.
    Strict,
    /// Plain processes.
    Off,
}

/// Why the isolation asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    #[error("strict isolation was asked for and this machine gives none: {reason}")]
    NoNamespaces { reason: String },
    #[error("strict isolation was asked for and no memory control group is writable here")]
    NoMemoryLimit,
    #[error("strict isolation was asked for and this kernel has no Landlock")]
    NoFence,
    #[error("not even a plain process starts through the launcher")]
    Nothing(#[source] LaunchError),
    #[error("no temporary directory for the trial")]
    Trial(#[source] io::Error),
}

/// Why a process did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("a launch needs a program and absolute paths")]
    Incomplete,
    #[error("the scratch directory cannot be made")]
    Scratch(#[source] io::Error),
    #[error("the limits cannot be set")]
    Limits(#[source] io::Error),
    #[error("the launcher does not start")]
    Launcher(#[source] io::Error),
    /// Says at which step, and what the kernel said.
    #[error("the launcher gave up: {0}")]
    Refused(#[source] io::Error),
    #[error("the launcher said nothing for {} seconds", .0.as_secs())]
    Silent(Duration),
}

/// A process to start.
#[derive(Debug)]
pub struct Launch {
    pub argv: Vec<String>,
    /// All that the process gets, but `PORT` (see `doors`), `HOME` and `TMPDIR` (see `scratch`), which the sandbox sets. Nothing is inherited.
    pub env: Vec<(String, String)>,
    /// The working directory, read-only.
    pub project: PathBuf,
    /// What else it may read, at the same absolute paths: virtual environment, interpreter.
    pub read_only: Vec<PathBuf>,
    /// Becomes its private `/tmp`, home and only writable directory; made by [`Sandbox::launch`] when missing, removed with [`wipe`] after the end.
    pub scratch: PathBuf,
    /// 0 is no limit.
    pub memory_bytes_max: u64,
    /// What it may write to a disk: no file grows beyond, and [`Confined::disk_bytes`] tells of all of them together.
    pub scratch_bytes_max: u64,
    /// UUIDs of the GPUs whose devices it may open. The caller sets `CUDA_VISIBLE_DEVICES` in `env`.
    pub gpus: Vec<String>,
    /// Distinct among the instances that live at the same time: the process runs as a user of its own, `200000 + seat`.
    pub seat: u32,
    /// From [`Sandbox::doors`], known before the start so that `argv` and `env` can name them.
    pub doors: Doors,
    /// Whether its standard input is a socket to the runner, which has the other end from [`Confined::take_voice`]; else there is nothing to read.
    pub hears: bool,
}

/// How models are kept apart on this machine.
#[derive(Debug)]
pub struct Sandbox {
    walls: Walls,
    fenced: bool,
    spares: Spares,
    cgroups: Arc<Cgroups>,
    gpus: Vec<Gpu>,
    words: String,
}

/// The first user id of the seats: above what Debian and systemd give to people and services,
/// <https://systemd.io/UIDS-GIDS/>.
const SEAT_UID_FIRST: u32 = 200_000;

const TRIAL_BYTES_MAX: u64 = 1 << 20;

/// From the order to the model's `exec`, which takes milliseconds: this only ends what hangs.
const LAUNCH_WAIT: Duration = Duration::from_secs(20);

impl Sandbox {
    /// Tries what the machine allows, by starting a process in it. `feira_exe` is the binary whose `confine` subcommand is [`confine_main`].
    pub async fn probe(wish: IsolationWish, feira_exe: &Path) -> Result<Self, IsolationError> {
        let cgroups = if wish == IsolationWish::Off { Cgroups::none() } else { Cgroups::find() };
        let mut sandbox = Self::behind(Walls::None, feira_exe, cgroups);
        sandbox.gpus = gpu::inventory();
        let mut reasons = Vec::new();
        let candidates: &[Walls] = match (wish, nix::unistd::geteuid().is_root()) {
            (IsolationWish::Off, _) => &[],
            (_, true) => &[Walls::OwnUser, Walls::SameUser],
            (_, false) => &[Walls::SameUser],
        };
        sandbox.fenced = wish != IsolationWish::Off && sandbox.can_be_fenced().await?;
        for walls in candidates {
            sandbox.walls = *walls;
            match sandbox.try_out().await? {
                Ok(()) => return sandbox.checked(wish),
                Err(error) => reasons.push(chain(&error)),
            }
        }
        let reason = reasons.join("; ");
        if wish == IsolationWish::Strict {
            return Err(IsolationError::NoNamespaces { reason });
        }
        if wish == IsolationWish::Auto {
            tracing::warn!(reason, "models run without walls: this machine allows no namespaces");
        }
        sandbox.walls = Walls::None;
        sandbox.try_out().await?.map_err(IsolationError::Nothing)?;
        sandbox.checked(wish)
    }

    fn behind(walls: Walls, feira_exe: &Path, cgroups: Cgroups) -> Self {
        let cgroups = Arc::new(cgroups);
        let spares = Spares::new(feira_exe, Arc::clone(&cgroups));
        Self { walls, fenced: false, spares, cgroups, gpus: Vec::new(), words: String::new() }
    }

    /// Whether a plain process can be fenced in; that it can be started at all is tried later.
    async fn can_be_fenced(&mut self) -> Result<bool, IsolationError> {
        self.walls = Walls::None;
        self.fenced = true;
        Ok(self.try_out().await?.is_ok())
    }

    fn checked(mut self, wish: IsolationWish) -> Result<Self, IsolationError> {
        if wish == IsolationWish::Strict && !self.cgroups.limit_memory() {
            return Err(IsolationError::NoMemoryLimit);
        }
        if wish == IsolationWish::Strict && !self.fenced {
            return Err(IsolationError::NoFence);
        }
        self.words = words(self.walls, self.fenced, &self.cgroups);
        tracing::info!(isolation = self.words, "models run in");
        Ok(self)
    }

    /// Starts a shell that ends at once. The outer error is the trial's own, the inner one the answer.
    async fn try_out(&self) -> Result<Result<(), LaunchError>, IsolationError> {
        let trial = tempfile::tempdir().map_err(IsolationError::Trial)?;
        let (project, scratch) = (trial.path().join("project"), trial.path().join("scratch"));
        std::fs::create_dir(&project).map_err(IsolationError::Trial)?;
        let doors = self.doors().map_err(IsolationError::Trial)?;
        let launch = Launch {
            argv: ["/bin/sh", "-c", ":"].map(str::to_owned).to_vec(),
            env: Vec::new(),
            project,
            read_only: Vec::new(),
            scratch,
            memory_bytes_max: 0,
            scratch_bytes_max: TRIAL_BYTES_MAX,
            gpus: Vec::new(),
            seat: 0,
            doors,
            hears: false,
        };
        let confined = match self.launch(launch).await {
            Ok(confined) => confined,
            Err(error) => return Ok(Err(error)),
        };
        let exit = confined.exited().await;
        Ok(if exit == Exit(0) { Ok(()) } else { Err(LaunchError::Refused(io::Error::other(format!("a shell in it: {exit}")))) })
    }

    /// What protects models and runner from each other here, in words.
    pub fn describe(&self) -> &str {
        &self.words
    }

    /// Ports for a launch.
    pub fn doors(&self) -> io::Result<Doors> {
        if self.walls.have_own_network() { Ok(Doors::of_own_network()) } else { Doors::on_the_host() }
    }

    /// Starts the process and returns once its program runs.
    ///
    /// Cancel safe: a launch that is dropped ends what it had started.
    pub async fn launch(&self, launch: Launch) -> Result<Confined, LaunchError> {
        let spec = self.spec(&launch)?;
        scratch::make(&launch.scratch, spec.owner()).map_err(LaunchError::Scratch)?;
        let Spare { launcher, mut line, limits } = self.spares.take().await?;
        limits.limit_memory(spec.memory_bytes_max).map_err(LaunchError::Limits)?;
        let answer = timeout(LAUNCH_WAIT, async {
            line.order(&spec).await?;
            line.reply().await
        });
        let sockets = answer.await.map_err(|_| LaunchError::Silent(LAUNCH_WAIT))?.map_err(LaunchError::Refused)?;
        Confined::new(launcher, line, sockets, limits, launch.doors, &spec).map_err(LaunchError::Launcher)
    }

    fn spec(&self, launch: &Launch) -> Result<Spec, LaunchError> {
        let paths = || launch.read_only.iter().chain([&launch.project, &launch.scratch]);
        if launch.argv.is_empty() || !paths().all(|path| path.is_absolute()) {
            return Err(LaunchError::Incomplete);
        }
        let home = self.walls.scratch_inside(&launch.scratch).to_string_lossy().into_owned();
        let set = [("PORT", launch.doors.port().to_string()), ("HOME", home.clone()), ("TMPDIR", home)];
        let mut env = launch.env.clone();
        env.retain(|(name, _)| set.iter().all(|(ours, _)| ours != name));
        env.extend(set.map(|(name, value)| (name.to_owned(), value)));
        let devices = self.gpus.iter().filter(|gpu| launch.gpus.contains(&gpu.uuid)).map(|gpu| gpu.device.clone()).collect();
        Ok(Spec {
            walls: self.walls,
            argv: launch.argv.clone(),
            env,
            project: launch.project.clone(),
            read_only: launch.read_only.clone(),
            scratch: launch.scratch.clone(),
            user: SEAT_UID_FIRST + launch.seat,
            memory_bytes_max: launch.memory_bytes_max,
            memory_by_rlimit: !self.cgroups.limit_memory(),
            scratch_bytes_max: launch.scratch_bytes_max,
            fenced: self.fenced,
            gpus: devices,
            hears: launch.hears,
            port: launch.doors.port(),
            runner_port: launch.doors.runner().port(),
        })
    }
}

fn words(walls: Walls, fenced: bool, cgroups: &Cgroups) -> String {
    let fence = if fenced { "files held by Landlock" } else { "files not held by Landlock" };
    let walls = match walls {
        Walls::OwnUser => "own files, processes and network (namespaces), own user per instance",
        Walls::SameUser => "own files, processes and network (user namespace); all instances are the runner's user",
        Walls::None if fenced => "no namespaces: a model sees all processes, and reaches the network",
        Walls::None => "none: a model reads what the runner's user reads, and reaches the network",
    };
    let memory = if cgroups.limit_memory() {
        "memory limit by control group"
    } else {
        "no control group for memory: allocations over the limit fail, for each process by itself"
    };
    let processes = if cgroups.limit_processes() { "limited number of processes" } else { "no limit on the number of processes" };
    let processors = if cgroups.share_processors() { "processors shared between instances" } else { "processors not shared out" };
    format!("{walls}; {fence}; {memory}; {processes}; {processors}")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
