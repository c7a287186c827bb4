//! Starts an instance: files, environment, process, setup; each phase is measured, and each can fail in its own way.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::manifest::ModelProtocol;
use protocol::prediction::{ColdStart, Errand, Rung};
use protocol::wire::{Bundle, FailCode, Grant};
use protocol::{Entropy, VersionConfig};
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Instance;
use super::cog::{CogDoor, cog_door, serves};
use super::command::{Places, command};
use super::freezer::Freezer;
use super::lodging::Lodging;
use crate::environment::{EnvironmentAt, EnvironmentError, Environments};
use crate::files::Desk;
use crate::gpu::{self, Gpu};
use crate::model::cog::Cog;
use crate::model::http::ModelHttp;
use crate::model::openai::Openai;
use crate::model::{Health, Model};
use crate::outside::Outside;
use crate::pool::floor::InstanceId;
use crate::prints::Prints;
use crate::sandbox::{Confined, Exit, Launch, LaunchError, Sandbox, wipe};
use crate::scratch::Scratch;
use crate::weights::{FetchError, Weights};
use crate::zygote::Zygotes;
use crate::{micros, sidecar};

/// How often it is looked whether Cog's worker died while it started.
const DEAD_CHILD_PERIOD: Duration = Duration::from_millis(500);
/// The first looks at a starting process are this close together, and later ones so much of the time that it has taken.
const HEALTH_PAUSE: Duration = Duration::from_millis(2);
const HEALTH_PAUSE_PART: u32 = 16;
const HEALTH_PAUSE_MAX: Duration = Duration::from_millis(50);
/// What a process that has ended printed last is in the pipe; reading it takes no longer.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(500);
/// Users that take turns; more than instances, and more than zygotes, live at one time.
const SEATS: u32 = 60_000;

/// What all instances of a runner share.
#[derive(Debug)]
pub struct Site {
    pub weights: Weights,
    pub environments: Environments,
    pub sandbox: Sandbox,
    pub zygotes: Zygotes,
    /// The instances' scratch directories lie in it.
    pub scratch: PathBuf,
    pub feira_exe: PathBuf,
    /// For a version that asks for nothing else; 0 is no limit.
    pub memory_bytes_default: u64,
    /// What one instance may keep on the disk.
    pub scratch_bytes_max: u64,
    pub gpus: Vec<Gpu>,
    pub http: reqwest::Client,
    pub outside: Outside,
    pub entropy: Entropy,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub id: InstanceId,
    pub errand: Errand,
    pub bundle: Arc<Bundle>,
    pub grant: Grant,
    pub gpu: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the version's files could not be fetched")]
    Fetch(#[from] FetchError),
    #[error("the version's environment could not be made")]
    Environment(#[from] EnvironmentError),
    #[error("the version's lock file is not among its files")]
    NoLock,
    #[error("the version names nothing that could be started")]
    NoCommand,
    #[error("the version has no train function")]
    NoTrainer,
    #[error("the model's process could not be started")]
    Launch(#[from] LaunchError),
    #[error("the model's sandbox is not usable")]
    Sandbox(#[source] std::io::Error),
    #[error("the model's setup failed: {message}")]
    Setup { message: String, prints: String },
    #[error("the model's process was {exit} before it was ready")]
    Exited { exit: Exit, prints: String },
    #[error("the model's process died before it was ready")]
    Died { prints: String },
    #[error("the model ran out of memory before it was ready")]
    Oom { prints: String },
    #[error("the start of the model broke off")]
    Broke,
    #[error("the model was not ready after {seconds} s")]
    TooSlow { seconds: u32, prints: String },
}

impl StartError {
    pub const fn code(&self) -> FailCode {
        match self {
            Self::Fetch(_) => FailCode::FetchFailed,
            Self::Environment(_) | Self::NoLock => FailCode::EnvironmentFailed,
            Self::Exited { exit: Exit::KILLED, .. } | Self::Died { .. } => FailCode::Killed,
            Self::NoCommand | Self::NoTrainer | Self::Setup { .. } | Self::Exited { .. } | Self::TooSlow { .. } => FailCode::SetupFailed,
            Self::Launch(_) | Self::Sandbox(_) | Self::Broke => FailCode::RunnerLost,
            Self::Oom { .. } => FailCode::Oom,
        }
    }

    /// Whether another try may end otherwise: nothing of the version's own is to blame.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Exited { exit: Exit::KILLED, .. } | Self::Died { .. } | Self::Launch(_) | Self::Sandbox(_) | Self::Broke)
    }

    /// What the process printed last.
    pub fn prints(&self) -> &str {
        match self {
            Self::Setup { prints, .. }
            | Self::Exited { prints, .. }
            | Self::Died { prints }
            | Self::Oom { prints }
            | Self::TooSlow { prints, .. } => prints,
            Self::Fetch(_)
            | Self::Environment(_)
            | Self::NoLock
            | Self::NoCommand
            | Self::NoTrainer
            | Self::Launch(_)
            | Self::Sandbox(_)
            | Self::Broke => "",
        }
    }

    /// For the caller: what failed and, where the publisher can change it, why.
    pub fn message(&self) -> String {
        match self {
            Self::Fetch(why) => format!("{self}: {why}"),
            Self::Environment(why) => format!("{self}: {why}"),
            _ => self.to_string(),
        }
    }
}

/// The tasks that serve an instance: its sidecar, and the readers of what it prints. They end with it.
pub type Attendants = JoinSet<()>;

/// A process under way, before it is an instance.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) confined: Arc<Confined>,
    pub(super) desk: Arc<Desk>,
    pub(super) prints: Prints,
    pub(super) attendants: Attendants,
    pub(super) rung: Rung,
}

impl Site {
    /// Cancel safe: what a start that is dropped had begun ends with it.
    pub async fn start(self: Arc<Self>, order: Order) -> Result<(Arc<Instance>, Attendants), StartError> {
        let mut lodging = self.lodging(order.id);
        let started = self.try_start(order, &mut lodging).await;
        if started.is_err() {
            lodging.clear().await;
        }
        started
    }

    async fn try_start(&self, order: Order, lodging: &mut Lodging) -> Result<(Arc<Instance>, Attendants), StartError> {
        let config = &order.bundle.config;
        let ordered_at = Instant::now();
        if !serves(config, order.errand) {
            return Err(StartError::NoTrainer);
        }
        let cog = match config.protocol {
            ModelProtocol::Cog => cog_door(&order.bundle, order.errand),
            ModelProtocol::Openai => CogDoor::default(),
        };
        let project = self.weights.project(&order.bundle, order.errand, &order.grant, &cog.made).await?;
        let fetched_at = Instant::now();
        let environment = self.environment(&order, &project.path).await?;
        let environment_at = Instant::now();
        let wanted = self.wanted(&order, &project.path, environment.as_ref()).await;
        let mut launched = match self.take_zygote(&order, &project.path, environment.as_ref(), &cog, wanted.as_ref()).await {
            Some((taken, taken_lodging)) => {
                *lodging = taken_lodging;
                taken
            }
            None => self.launch(&order, project.path.clone(), environment.as_ref(), &cog).await?,
        };
        let model = model_of(config, &launched.confined);
        let seconds = config.limits.setup_seconds_max;
        let is_cogs_server = config.protocol == ModelProtocol::Cog && config.command.is_empty();
        let becoming_ready = become_ready(&model, &launched.confined, is_cogs_server);
        let answered_at = match timeout(Duration::from_secs(seconds.into()), becoming_ready).await.unwrap_or(Err(Unready::TooSlow(seconds)))
        {
            Ok(answered_at) => answered_at,
            Err(unready) => {
                if launched.rung == Rung::Zygote {
                    self.zygotes.distrust(order.bundle.version);
                }
                return Err(launched.failed(unready).await);
            }
        };
        let ready_at = Instant::now();
        if let Some(wanted) = wanted {
            self.zygotes.want(wanted.kind);
        }
        let writable = [lodging.scratch.clone()].into_iter().chain(launched.confined.shared_memory());
        let scratch = Scratch::keep_what_is_in(writable).await.map_err(StartError::Sandbox)?;
        let cold = ColdStart {
            rung: launched.rung,
            fetch_us: micros(fetched_at - ordered_at),
            environment_us: micros(environment_at - fetched_at),
            start_us: micros(answered_at - environment_at),
            setup_us: micros(ready_at - answered_at),
        };
        let instance = Instance {
            id: order.id,
            errand: order.errand,
            hardware: gpu::sku(order.gpu.map_or(&[], |gpu| &self.gpus[gpu..=gpu])),
            model,
            desk: launched.desk,
            cold,
            ordered_at,
            ready_at,
            confined: launched.confined,
            scratch,
            _files: project.lease,
            lodging: lodging.clone(),
            freezer: Freezer::default(),
            needed: Mutex::default(),
            retire: CancellationToken::new(),
            death: SetOnce::new(),
            condemned: AtomicBool::new(false),
            bundle: order.bundle,
        };
        Ok((Arc::new(instance), launched.attendants))
    }

    async fn environment(&self, order: &Order, project: &Path) -> Result<Option<EnvironmentAt>, StartError> {
        let Some(wanted) = &order.bundle.config.environment else { return Ok(None) };
        if !order.bundle.files.iter().any(|file| file.path == wanted.lock) {
            return Err(StartError::NoLock);
        }
        Ok(Some(self.environments.ensure(&wanted.python, &project.join(&wanted.lock)).await?))
    }

    async fn launch(
        &self,
        order: &Order,
        project: PathBuf,
        environment: Option<&EnvironmentAt>,
        cog: &CogDoor,
    ) -> Result<Launched, StartError> {
        let config = &order.bundle.config;
        let doors = self.sandbox.doors().map_err(StartError::Sandbox)?;
        let desk = Arc::new(Desk::new(doors.runner(), &self.entropy.bytes(), self.http.clone(), self.outside.clone()));
        let gpu = order.gpu.map(|gpu| self.gpus[gpu].uuid.clone());
        let places = Places { environment, feira_exe: &self.feira_exe, upload_url: &desk.upload_url(), cog, gpu: gpu.as_deref() };
        let command = command(config, &places).ok_or(StartError::NoCommand)?;
        let of_the_environment = environment.into_iter().flat_map(|at| [at.path.clone(), at.python_prefix.clone()]);
        let own_program = Some(self.feira_exe.clone()).filter(|exe| command.argv[0] == exe.to_string_lossy());
        let launch = Launch {
            read_only: of_the_environment.chain(own_program).collect(),
            argv: command.argv,
            env: command.env,
            project,
            scratch: self.lodging(order.id).scratch,
            memory_bytes_max: self.memory_bytes_max(config),
            scratch_bytes_max: self.scratch_bytes_max,
            gpus: gpu.into_iter().collect(),
            seat: order.id.0 % SEATS,
            doors,
            hears: false,
        };
        let confined = Arc::new(self.sandbox.launch(launch).await?);
        let (listener, _) = confined.listen().map_err(StartError::Sandbox)?;
        let prints = Prints::default();
        let mut attendants = JoinSet::new();
        attendants.spawn(sidecar::serve(listener, desk.clone()));
        if let Some((stdout, stderr)) = confined.take_output() {
            attendants.spawn(prints.clone().capture(stdout));
            attendants.spawn(prints.clone().capture(stderr));
        }
        let built = environment.is_some_and(|environment| environment.built);
        let rung = if built { Rung::EnvironmentBuild } else { Rung::EnvironmentHit };
        Ok(Launched { confined, desk, prints, attendants, rung })
    }

    pub(super) fn memory_bytes_max(&self, config: &VersionConfig) -> u64 {
        Some(config.resources.memory_bytes).filter(|bytes| *bytes > 0).unwrap_or(self.memory_bytes_default)
    }

    /// Removes what an earlier life of this runner left.
    pub async fn clear_all(&self) {
        if let Err(error) = wipe(&self.scratch).await {
            tracing::warn!(%error, "scratch directories were not removed");
        }
    }

    fn lodging(&self, id: InstanceId) -> Lodging {
        Lodging { scratch: self.scratch.join(id.0.to_string()), project: None }
    }

    /// Files of a version become links in its project, so that lies where theirs do.
    pub fn lodging_of_zygote(&self, number: u32) -> Lodging {
        let of = |what: &str| self.scratch.join(format!("zygote-{number}{what}"));
        Lodging { scratch: of(""), project: Some(of("-project")) }
    }

    /// Of the users that instances do not take.
    pub const fn seat_of_zygote(number: u32) -> u32 {
        SEATS + number % SEATS
    }
}

fn model_of(config: &VersionConfig, confined: &Arc<Confined>) -> Model {
    let http = ModelHttp::new(confined.clone());
    let ready = || config.openai.as_ref().map_or_else(|| "/health".to_owned(), |spec| spec.ready.clone());
    match config.protocol {
        ModelProtocol::Cog => Model::Cog(Cog::new(http)),
        ModelProtocol::Openai => Model::Openai(Openai::new(http, ready())),
    }
}

enum Unready {
    Setup(String),
    Exited(Exit),
    Died,
    TooSlow(u32),
}

/// Returns when the process first answered, once it is ready.
async fn become_ready(model: &Model, confined: &Confined, is_cogs_server: bool) -> Result<Instant, Unready> {
    let mut answered_at = None;
    let began = Instant::now();
    let (mut looked_at, mut had_dead_child) = (began, false);
    loop {
        let health = tokio::select! {
            health = model.health() => health,
            exit = confined.exited() => return Err(Unready::Exited(exit)),
        };
        match health {
            Health::Silent => {}
            Health::Starting => drop(answered_at.get_or_insert_with(Instant::now)),
            Health::Ready => return Ok(answered_at.unwrap_or_else(Instant::now)),
            Health::SetupFailed { message } => return Err(Unready::Setup(message)),
            Health::Dead => return Err(Unready::Died),
        }
        // Of a worker that died before it said its first word Cog's server waits to hear for ever. One that it reaps is gone at the next look.
        if is_cogs_server && looked_at.elapsed() >= DEAD_CHILD_PERIOD {
            let seen = confined.has_dead_child();
            if seen && had_dead_child {
                return Err(Unready::Died);
            }
            (looked_at, had_dead_child) = (Instant::now(), seen);
        }
        tokio::time::sleep((began.elapsed() / HEALTH_PAUSE_PART).clamp(HEALTH_PAUSE, HEALTH_PAUSE_MAX)).await;
    }
}

impl Launched {
    /// Ends it, and tells why it did not become ready with what it printed last.
    async fn failed(&mut self, unready: Unready) -> StartError {
        self.confined.kill_all().await;
        // The sidecar never ends by itself; the readers do when the pipes close.
        let read_out = async { while self.attendants.len() > 1 && self.attendants.join_next().await.is_some() {} };
        timeout(LAST_WORDS_WAIT, read_out).await.ok();
        self.attendants.shutdown().await;
        let prints = self.prints.tail();
        match unready {
            _ if self.confined.ended_by_oom() => StartError::Oom { prints },
            Unready::Setup(message) => StartError::Setup { message, prints },
            Unready::Exited(exit) => StartError::Exited { exit, prints },
            Unready::Died => StartError::Died { prints },
            Unready::TooSlow(seconds) => StartError::TooSlow { seconds, prints },
        }
    }
}
