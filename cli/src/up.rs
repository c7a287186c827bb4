//! `feira up`: every role of the house in one process, over one folder.

mod banner;
mod demo;
mod home;
mod house;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use gateway::LimitsConfig;
use gpu_runner::IsolationWish;
use registry::StorageRules;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::byte_size;
use crate::command::Context;
use crate::exit::{Exit, usage};
use crate::show::{self, Bars};
use home::Home;
use house::{House, Plan};

#[derive(Debug, clap::Args)]
pub struct Up {
    /// Where everything is kept
    #[arg(long, env = "FEIRA_HOME")]
    home: Option<PathBuf>,
    /// The address to serve at
    #[arg(long, env = "FEIRA_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The address that callers use, such as <https://feira.example>; needed to listen on a public address
    #[arg(long, env = "FEIRA_PUBLIC_URL")]
    public_url: Option<String>,
    /// Another database than the file in the home: postgres://…
    #[arg(long, env = "FEIRA_DATABASE_URL")]
    database_url: Option<String>,
    /// Another store of files than the folder in the home, such as `s3://BUCKET/PREFIX`; its settings come from the environment, such as
    /// `AWS_ACCESS_KEY_ID`
    #[arg(long, env = "FEIRA_BLOBS", value_name = "URL")]
    blobs: Option<String>,
    /// The private key with which this installation signs what is published, PEM; one in the home is made when not given
    #[arg(long, env = "FEIRA_SIGNING_KEY", value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// The region that predictions are shown in
    #[arg(long, env = "FEIRA_REGION", default_value = "local")]
    region: String,
    /// How models are kept apart: `auto` takes what this machine has, `strict` refuses to run with less than all, `off`
    #[arg(long, env = "FEIRA_ISOLATION", default_value = "auto", value_parser = isolation)]
    isolation: IsolationWish,
    /// Predictions and trainings that one token may create in a minute; 600 when not given, and a thousand times that for operators
    #[arg(long, env = "FEIRA_LIMIT_CREATES")]
    limit_creates: Option<NonZeroU32>,
    /// Other requests that one token may make in a minute; 3000 when not given, and a thousand times that for operators
    #[arg(long, env = "FEIRA_LIMIT_REQUESTS")]
    limit_requests: Option<NonZeroU32>,
    /// Seconds after its end for which a prediction keeps its input, output, logs and files; for ever when not given
    #[arg(long, env = "FEIRA_RETENTION")]
    retention: Option<u64>,
    /// Send webhooks to private addresses too: for a network whose callers are all trusted with it
    #[arg(long, env = "FEIRA_WEBHOOK_PRIVATE")]
    webhook_private: bool,
    /// What each account may keep in the registry, such as 500GB or 2TiB; as much as there is room for when not given
    #[arg(long, env = "FEIRA_STORAGE_QUOTA", value_name = "SIZE", value_parser = byte_size::parse)]
    storage_quota: Option<u64>,
    /// Seconds for which a file stays that no version names any more and nobody has asked for
    #[arg(long, env = "FEIRA_GC_GRACE", value_name = "SECONDS", default_value_t = 86_400)]
    gc_grace: u64,
    /// Start no version before somebody asks for it, not even when it is published
    #[arg(long, env = "FEIRA_NO_PREWARM")]
    no_prewarm: bool,
    /// Publish no demo models
    #[arg(long, env = "FEIRA_NO_DEMO")]
    no_demo: bool,
    /// An instance that nobody used for so many seconds is frozen: its processes stop until it is needed, which takes milliseconds
    #[arg(long, env = "FEIRA_FREEZE_SECONDS", default_value_t = 30)]
    freeze_seconds: u64,
    /// An instance that nobody used for so many seconds is let go
    #[arg(long, env = "FEIRA_IDLE_SECONDS", default_value_t = 300)]
    idle_seconds: u64,
    /// Instances that live at one time
    #[arg(long, env = "FEIRA_INSTANCES_MAX", default_value_t = 8)]
    instances_max: usize,
    /// Memory that instances may take together, such as 48GiB, by what their versions declare or were seen to take: the least recently used idle
    /// ones make room. Seven eighths of the machine's when not given
    #[arg(long, env = "FEIRA_MEMORY_BYTES_MAX", value_name = "SIZE", value_parser = byte_size::parse)]
    memory_bytes_max: Option<u64>,
    /// What the files of versions may take on this runner's disk, such as 500GB or 2TiB: the version used least recently is let go first.
    /// Four fifths of the free space when not given
    #[arg(long, env = "FEIRA_WEIGHTS_BYTES_MAX", value_parser = byte_size::parse)]
    weights_bytes_max: Option<u64>,
    /// Seats that are kept prepared for versions of lately used environments, so that they start in a fraction of the time; 0 keeps none
    #[arg(long, env = "FEIRA_ZYGOTES", default_value_t = 4)]
    zygotes: usize,
    /// What one instance may keep in its scratch directory on this runner's disk, such as 20GB
    #[arg(long, env = "FEIRA_SCRATCH_BYTES_MAX", value_name = "SIZE", default_value = "16GiB", value_parser = byte_size::parse)]
    scratch_bytes_max: u64,
}

fn isolation(text: &str) -> Result<IsolationWish, String> {
    match text {
        "auto" => Ok(IsolationWish::Auto),
        "strict" => Ok(IsolationWish::Strict),
        "off" => Ok(IsolationWish::Off),
        _ => Err("auto, strict or off".to_owned()),
    }
}

impl Up {
    pub async fn execute(self, context: &Context) -> anyhow::Result<Exit> {
        if !self.listen.ip().is_loopback() && self.public_url.is_none() {
            let said = format!("{} can be reached by others: say with --public-url which address they use", self.listen.ip());
            return Err(usage(said));
        }
        log_to_stderr(context.settings.log.as_deref().unwrap_or("info"));
        let limits = self.limits();
        let home = Home::open(&self.home.unwrap_or_else(|| context.settings.home.clone()))?;
        let stop = CancellationToken::new();
        let stopping = stop_on_signal(stop.clone())?;
        let plan = Plan {
            listen: self.listen,
            public_url: self.public_url,
            database_url: self.database_url,
            blobs: self.blobs,
            signing_key: self.signing_key,
            region: self.region,
            isolation: self.isolation,
            limits,
            retention: self.retention.map(Duration::from_secs),
            prewarm: !self.no_prewarm,
            webhook_private: self.webhook_private,
            storage: StorageRules { limit: self.storage_quota, grace: Duration::from_secs(self.gc_grace) },
            freeze_seconds: self.freeze_seconds,
            idle_seconds: self.idle_seconds,
            instances_max: self.instances_max,
            memory_bytes_max: self.memory_bytes_max,
            weights_bytes_max: self.weights_bytes_max,
            zygotes_max: self.zygotes,
            scratch_bytes_max: self.scratch_bytes_max,
            settings: context.settings.clone(),
        };
        let house = House::open(&home, plan).await?;
        let demo_models = if self.no_demo { None } else { Some(demo::Shop::new(&house, &home, Bars::new(context.json))) };
        if let Some(shop) = &demo_models {
            shop.open_hello_world().await?;
        }
        banner::print(&house, &home, context.json)?;
        if let Some(shop) = &demo_models {
            shop.open_the_rest(&stop).await;
        }
        stop.cancelled().await;
        show::note("stopping: what runs may finish; a second signal stops at once");
        tokio::select! {
            () = house.close() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stopping.abort();
        Ok(Exit::Success)
    }

    /// A limit that was named holds for operators as well.
    fn limits(&self) -> LimitsConfig {
        let usual = LimitsConfig::default();
        LimitsConfig {
            creates: self.limit_creates.unwrap_or(usual.creates),
            others: self.limit_requests.unwrap_or(usual.others),
            operator_factor: if self.limit_creates.or(self.limit_requests).is_some() { NonZeroU32::MIN } else { usual.operator_factor },
            ..usual
        }
    }
}

/// Cancels `stop` at SIGTERM and at Ctrl-C.
fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    }))
}

fn log_to_stderr(filter: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).compact().init();
}
