//! Wires the roles of one process: database, registry, gateway, pages and a runner, over the in-process fabric.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use billing::{FeeRate, Grant, GrantSource, LedgerError, PriceBook};
use fabric::Fabric;
use gateway::{Gateway, GatewayConfig, GatewayParts, Keys, LimitsConfig};
use gpu_runner::{IsolationWish, RunnerConfig};
use hooks::{CompileLimits, Compiler, Engine, EngineSettings, HostKey};
use protocol::{Clock, Credits, Digest, Entropy};
use registry::{AccountKind, Blobs, HookPublisher, Registry, RegistryParts, Role, Scopes, StorageRules};
use store::Db;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::settings::{self, Settings};
use crate::up::home::Home;

/// The account that runs an installation.
pub const OPERATOR: &str = "feira";
/// What it can spend on its own machine to begin with, in dollars.
const OPERATOR_CREDIT: i64 = 1_000;
/// The platform's part of what public models earn.
const FEE_BASIS_POINTS: u16 = 1_000;
/// Memory of one instance whose version asks for nothing else.
const INSTANCE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// What runs may take to end when the process is told to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// What the command line decided.
#[derive(Debug)]
pub struct Plan {
    pub listen: SocketAddr,
    pub public_url: Option<String>,
    pub database_url: Option<String>,
    pub blobs: Option<String>,
    pub signing_key: Option<PathBuf>,
    pub region: String,
    pub isolation: IsolationWish,
    pub limits: LimitsConfig,
    pub retention: Option<Duration>,
    pub prewarm: bool,
    pub webhook_private: bool,
    pub storage: StorageRules,
    pub freeze_seconds: u64,
    pub idle_seconds: u64,
    pub instances_max: usize,
    pub memory_bytes_max: Option<u64>,
    pub weights_bytes_max: Option<u64>,
    pub zygotes_max: usize,
    pub scratch_bytes_max: u64,
    pub settings: Settings,
}

/// All roles, running.
#[derive(Debug)]
pub struct House {
    pub url: String,
    pub token: String,
    pub settings: Settings,
    db: Db,
    gateway: Gateway,
    stop_runner: CancellationToken,
    stop_server: CancellationToken,
    runner: JoinHandle<()>,
    server: JoinHandle<()>,
    registry: JoinHandle<()>,
}

impl House {
    pub async fn open(home: &Home, plan: Plan) -> anyhow::Result<Self> {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let secret = home.secret(&entropy)?;
        let exe = std::env::current_exe().context("the program cannot find itself")?;
        let listener =
            TcpListener::bind(plan.listen).await.with_context(|| format!("{} is not free; choose another with --listen", plan.listen))?;
        let url = format!("http://{}", listener.local_addr()?);

        let sole = plan.database_url.is_none();
        let database = plan.database_url.unwrap_or_else(|| format!("sqlite://{}", home.join("feira.db").display()));
        let db = Db::open(&database).await.context("the database cannot be opened")?;
        let blobs = plan.blobs.unwrap_or_else(|| format!("file://{}", home.join("blobs").display()));
        let blobs = Blobs::open_with(&blobs, &settings::of_stores(), entropy.clone()).context("--blobs")?;
        blobs.check().await?;
        let hook_key = HostKey::new(*Digest::of(&[b"feira hook artefacts".as_slice(), &secret].concat()).as_bytes());
        let engine = Engine::new(&EngineSettings::default(), hook_key)?;
        let compiler = Compiler::new(exe.clone(), vec!["hook-compile".into()], CompileLimits::default());
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            blobs,
            spool: home.join("uploads"),
            clock: clock.clone(),
            entropy: entropy.clone(),
            hooks: HookPublisher::new(engine, compiler),
            signing_key: home.signing_key(plan.signing_key.as_deref(), &entropy)?,
        })
        .with_storage(plan.storage);
        let token = first_start(home, &db, &registry, &clock).await?;

        let fabric = Fabric::in_process();
        let gateway = Gateway::start(GatewayParts {
            config: GatewayConfig {
                public_url: plan.public_url.clone(),
                internal_url: url.clone(),
                region: plan.region.clone(),
                sole,
                drain: DRAIN,
                limits: plan.limits,
                retention: plan.retention,
                prewarm: plan.prewarm,
                webhook_private: plan.webhook_private,
                ..GatewayConfig::default()
            },
            db: db.clone(),
            registry: registry.clone(),
            fabric: fabric.clone(),
            prices: PriceBook::default(),
            fee: FeeRate::from_basis_points(FEE_BASIS_POINTS).expect("a tenth is a part of the whole"),
            keys: Keys::new(&secret, clock.clone()),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let api = web::Api::new(gateway::api_service(gateway.clone()), &gateway.keys().visitor());
        let web_config = web::Config { public_url: plan.public_url, clock: clock.clone(), entropy: entropy.clone() };
        let router = gateway::router(gateway.clone(), Some(web::router(api, web_config)));

        let (stop_runner, stop_server) = (CancellationToken::new(), CancellationToken::new());
        let connections_max = GatewayConfig::default().connections_max;
        let server = tokio::spawn(gateway::serve(listener, router, connections_max, stop_server.clone()));
        let tending = registry.clone();
        let stop_registry = stop_server.clone();
        let registry_task = tokio::spawn(async move { tending.tend(stop_registry).await });
        let runner_config = RunnerConfig {
            id: "r1".to_owned(),
            region: plan.region,
            home: home.join("runner"),
            feira_exe: exe,
            search_path: plan.settings.search_path.clone(),
            tools: plan.settings.tools.clone(),
            isolation: plan.isolation,
            weights_bytes_max: plan.weights_bytes_max,
            freeze_after: Duration::from_secs(plan.freeze_seconds),
            idle_expiry: Duration::from_secs(plan.idle_seconds),
            instances_max: plan.instances_max,
            memory_bytes_max: plan.memory_bytes_max,
            zygotes_max: plan.zygotes_max,
            memory_bytes_default: INSTANCE_BYTES,
            scratch_bytes_max: plan.scratch_bytes_max,
            drain_grace: DRAIN,
        };
        let runner_stop = stop_runner.clone();
        let runner = tokio::spawn(async move {
            if let Err(error) = gpu_runner::serve(runner_config, fabric, clock, entropy, runner_stop).await {
                tracing::error!(%error, "the runner does not run: predictions will wait");
            }
        });
        Ok(Self { url, token, settings: plan.settings, db, gateway, stop_runner, stop_server, runner, server, registry: registry_task })
    }

    /// Takes no new work, lets what runs end, and closes everything in the order of the road.
    pub async fn close(self) {
        self.gateway.stop().await;
        self.stop_runner.cancel();
        let _ = self.runner.await;
        self.stop_server.cancel();
        let _ = self.server.await;
        let _ = self.registry.await;
        self.db.close().await;
    }
}

/// Makes the operator's account, its credit and its token, once; later starts find them. Returns the token.
async fn first_start(home: &Home, db: &Db, registry: &Registry, clock: &Clock) -> anyhow::Result<String> {
    let account = match registry.find_account(OPERATOR).await? {
        Some(account) => account,
        None => std::sync::Arc::new(registry.create_account(OPERATOR, AccountKind::Organization, Role::Operator).await?),
    };
    let grant = Grant {
        key: format!("first-start:{}", account.id),
        account: account.id.clone(),
        source: GrantSource::Promo,
        amount: Credits::from_dollars(OPERATOR_CREDIT),
        memo: "credit of the first start".to_owned(),
        at: clock.now(),
    };
    db.write(move |tx| {
        let grant = grant.clone();
        Box::pin(async move { billing::grant(tx, &grant).await.map(|_| ()) })
    })
    .await
    .map_err(|error: LedgerError| anyhow::anyhow!(error))?;
    if let Some(token) = home.token()
        && registry.authenticate(&token).await?.is_some_and(|caller| caller.account.id == account.id)
    {
        return Ok(token);
    }
    let token = registry.create_token(&account, "first start", Scopes::ALL).await?.secret;
    home.keep_token(&token)?;
    Ok(token)
}
