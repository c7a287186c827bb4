//! The gateway itself: what every step of the road and every route reaches.

use std::sync::Arc;

use billing::{FeeRate, Hardware, PriceBook};
use fabric::Fabric;
use protocol::wire::Grant;
use protocol::{Clock, Entropy};
use registry::Registry;
use store::{Batch, Db};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::GatewayConfig;
use crate::claims::Claims;
use crate::cold_starts::ColdStarts;
use crate::db::prediction::{self, Lease, Progress};
use crate::keys::{GrantScope, Keys};
use crate::limits::Limits;
use crate::live::LiveSet;
use crate::paces::Paces;
use crate::prediction::admit::{self, Admit, AdmitOutcome};
use crate::prediction::finish::{self, Finish, FinishOutcome};
use crate::prediction::takeover;
use crate::retention;
use crate::webhooks::{self, Webhooks};
use crate::{kept, orders};

/// What a gateway is made of.
#[derive(Debug)]
pub struct GatewayParts {
    pub config: GatewayConfig,
    pub db: Db,
    pub registry: Registry,
    pub fabric: Fabric,
    pub prices: PriceBook,
    /// The platform's part of what runs cost; the rest is the publisher's.
    pub fee: FeeRate,
    pub keys: Keys,
    pub clock: Clock,
    pub entropy: Entropy,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: GatewayConfig,
    db: Db,
    registry: Registry,
    fabric: Fabric,
    prices: PriceBook,
    fee: FeeRate,
    cpu: Hardware,
    keys: Keys,
    limits: Limits,
    clock: Clock,
    entropy: Entropy,
    /// Names this run of the process: the driver of the predictions that it leases.
    boot: String,
    admits: Batch<Admit, AdmitOutcome>,
    progress: Batch<Progress, bool>,
    finishes: Batch<Finish, FinishOutcome>,
    live: LiveSet,
    deployments_changed: Notify,
    webhooks: Webhooks,
    claims: Claims,
    cold_starts: ColdStarts,
    paces: Paces,
    tasks: TaskTracker,
    stopping: CancellationToken,
    stopped: CancellationToken,
}

impl Gateway {
    /// Puts a gateway together and starts to tend its leases and the standing orders.
    ///
    /// # Panics
    /// When the price book has no `cpu`.
    pub fn start(parts: GatewayParts) -> Self {
        let GatewayParts { config, db, registry, fabric, prices, fee, keys, clock, entropy } = parts;
        let gateway = Self(Arc::new(Inner {
            boot: protocol::id::prefixed("boot", &clock, &entropy),
            admits: db.batch("admit", admit::apply),
            progress: db.batch("progress", |tx, progress: &[Progress]| {
                Box::pin(async move {
                    let held = prediction::advance_all(tx, progress).await?;
                    Ok(progress.iter().map(|one| held.contains(&one.id.to_string())).collect())
                })
            }),
            finishes: db.batch("finish", finish::apply),
            cpu: prices.find("cpu").expect("the price book has a rate for `cpu`").clone(),
            live: LiveSet::default(),
            limits: Limits::new(&config.limits),
            deployments_changed: Notify::new(),
            webhooks: Webhooks::default(),
            claims: Claims::default(),
            cold_starts: ColdStarts::default(),
            paces: Paces::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            config,
            db,
            registry,
            fabric,
            prices,
            fee,
            keys,
            clock,
            entropy,
        }));
        gateway.tasks().spawn(takeover::tend(gateway.clone()));
        gateway.tasks().spawn(retention::tend(gateway.clone()));
        gateway.tasks().spawn(orders::tend(gateway.clone()));
        gateway.tasks().spawn(kept::tend(gateway.clone()));
        webhooks::start(&gateway);
        gateway
    }

    /// Takes no new predictions, waits for those under way as long as the settings allow, and leaves the rest to the next start.
    pub async fn stop(&self) {
        self.0.stopping.cancel();
        if tokio::time::timeout(self.config().drain, self.live().emptied()).await.is_err() {
            tracing::warn!(predictions = self.live().len(), "left to the next start");
        }
        self.0.stopped.cancel();
        self.webhooks().drained().await;
    }

    /// Whether predictions are accepted.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping()
    }

    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Leave for a runner to fetch and upload what the scope says.
    pub(crate) fn grant(&self, scope: &GrantScope) -> Grant {
        Grant { base_url: self.config().internal_url.clone(), token: self.keys().sign_grant(scope) }
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn fabric(&self) -> &Fabric {
        &self.0.fabric
    }

    pub(crate) fn prices(&self) -> &PriceBook {
        &self.0.prices
    }

    /// The rate of a SKU; one that the price book no longer has is billed as a CPU.
    pub(crate) fn rate(&self, sku: &str) -> &Hardware {
        self.0.prices.find(sku).unwrap_or(&self.0.cpu)
    }

    pub(crate) fn fee(&self) -> FeeRate {
        self.0.fee
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    pub(crate) fn boot(&self) -> &str {
        &self.0.boot
    }

    pub(crate) fn admits(&self) -> &Batch<Admit, AdmitOutcome> {
        &self.0.admits
    }

    pub(crate) fn progress(&self) -> &Batch<Progress, bool> {
        &self.0.progress
    }

    pub(crate) fn finishes(&self) -> &Batch<Finish, FinishOutcome> {
        &self.0.finishes
    }

    pub(crate) fn live(&self) -> &LiveSet {
        &self.0.live
    }

    /// Wakes whoever tells the runners of deployments.
    pub(crate) fn note_deployments_changed(&self) {
        self.0.deployments_changed.notify_one();
    }

    pub(crate) async fn deployments_changed(&self) {
        self.0.deployments_changed.notified().await;
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.0.claims
    }

    pub(crate) fn paces(&self) -> &Paces {
        &self.0.paces
    }

    pub(crate) fn cold_starts(&self) -> &ColdStarts {
        &self.0.cold_starts
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    pub(crate) async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    pub(crate) async fn stopped(&self) {
        self.0.stopped.cancelled().await;
    }

    /// A lease of this boot from now on.
    pub(crate) fn lease(&self) -> Lease {
        let millis = i64::try_from(self.config().lease.as_millis()).unwrap_or(i64::MAX);
        Lease { driver: self.boot().to_owned(), until: self.clock().now().plus_millis(millis) }
    }
}
