//! The runner's card in the directory: what it has and how busy it is, republished when that changes, a few times a second at most.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fabric::Directory;
use protocol::manifest::Driver;
use protocol::wire::{Bundle, Grant, RunnerCard, VersionCard};
use protocol::{Clock, Timestamp};
use tokio::time::Instant;

use crate::RunnerConfig;
use crate::gpu;
use crate::instance::start::Site;
use crate::pool::fleet::FleetId;
use crate::pool::floor::{Floor, Rest, Stage};
use crate::pool::kept::Kept;
use crate::pool::plan::{Idleness, expiry_of};

/// Changes within this time are published together.
const CHANGES_TOGETHER: Duration = Duration::from_millis(20);
/// How often a card is renewed though nothing changes.
const RENEWED_EVERY: Duration = Duration::from_secs(2);

/// What a card is made from.
#[derive(Debug)]
pub struct Standing<'a, W, S> {
    pub floor: &'a Floor<W, S>,
    pub known: &'a HashMap<FleetId, (Arc<Bundle>, Grant)>,
    pub idleness: Idleness,
    pub kept: &'a Kept,
    pub zygotes: usize,
}

#[derive(Debug)]
pub struct Cards {
    blank: RunnerCard,
    gpu_sku: String,
    directory: Directory,
    clock: Clock,
    published_at: Option<Instant>,
    changed: bool,
}

impl Cards {
    pub fn new(config: &RunnerConfig, site: &Site, directory: Directory, clock: Clock) -> Self {
        let skus: BTreeSet<String> = std::iter::once("cpu".to_owned()).chain(site.gpus.chunks(1).map(gpu::sku)).collect();
        let blank = RunnerCard {
            id: config.id.clone(),
            boot: protocol::id::prefixed("run", &clock, &site.entropy),
            region: config.region.clone(),
            hardware: skus.into_iter().collect(),
            accepting: true,
            drivers: vec![Driver::Process],
            isolation: site.sandbox.describe().to_owned(),
            versions: Vec::new(),
            kept: Vec::new(),
            zygotes: 0,
            seen_at: clock.now(),
        };
        Self { blank, gpu_sku: gpu::sku(&site.gpus[..site.gpus.len().min(1)]), directory, clock, published_at: None, changed: true }
    }

    pub fn runner(&self) -> &str {
        &self.blank.id
    }

    /// SKUs that this machine has.
    pub fn hardware(&self) -> &[String] {
        &self.blank.hardware
    }

    pub const fn note_change(&mut self) {
        self.changed = true;
    }

    /// Publishes what has changed, if it is time. Returns when it next will be.
    pub fn publish_when_due<W, S>(&mut self, standing: &Standing<'_, W, S>) -> Instant {
        let now = Instant::now();
        if let Some(due_at) = self.due_at()
            && due_at > now
        {
            return due_at;
        }
        let versions = standing.known.iter().filter_map(|(fleet, (bundle, _))| self.version_card(fleet, bundle, standing, now));
        let mut versions: Vec<VersionCard> = versions.collect();
        versions.sort_by(|a, b| (a.version, a.errand, &a.deployment).cmp(&(b.version, b.errand, &b.deployment)));
        let (kept, zygotes) = (standing.kept.cards(), count(standing.zygotes));
        self.directory.publish(RunnerCard { versions, kept, zygotes, seen_at: self.clock.now(), ..self.blank.clone() });
        self.published_at = Some(now);
        self.changed = false;
        now + RENEWED_EVERY
    }

    pub fn withdraw(&self) {
        self.directory.withdraw(&self.blank.id);
    }

    fn due_at(&self) -> Option<Instant> {
        Some(self.published_at? + if self.changed { CHANGES_TOGETHER } else { RENEWED_EVERY })
    }

    fn version_card<W, S>(&self, id: &FleetId, bundle: &Bundle, standing: &Standing<'_, W, S>, now: Instant) -> Option<VersionCard> {
        let Standing { floor, idleness, .. } = standing;
        let fleet = floor.fleets.get(id)?;
        let mut card = VersionCard {
            version: id.version,
            errand: id.errand,
            deployment: id.deployment.clone(),
            model: bundle.model.clone(),
            hardware: if fleet.needs.gpu { self.gpu_sku.clone() } else { "cpu".to_owned() },
            instances_warm: 0,
            instances_frozen: 0,
            instances_starting: 0,
            slots_idle: 0,
            slots_busy: 0,
            queued: count(fleet.queue.len()),
            memory_bytes: 0,
            warm_until: None,
        };
        let mut idle_until = None;
        for (_, place) in floor.of(id) {
            card.slots_busy += place.busy();
            card.memory_bytes += place.memory_bytes;
            match &place.stage {
                Stage::Starting => card.instances_starting += 1,
                Stage::Ready { idle, rest, .. } => {
                    match rest {
                        Rest::Awake => card.instances_warm += 1,
                        Rest::Frozen | Rest::PagedOut => card.instances_frozen += 1,
                    }
                    card.slots_idle += count(idle.len());
                }
                Stage::Leaving { .. } => {}
            }
            idle_until = idle_until.max(place.idle_since().map(|since| since + expiry_of(floor, place, *idleness)));
        }
        // What an order keeps has no such end.
        card.warm_until = idle_until.filter(|_| fleet.terms.instances_min == 0).map(|until| self.at(until, now));
        Some(card)
    }

    /// A moment of the monotonic clock by the wall clock.
    fn at(&self, moment: Instant, now: Instant) -> Timestamp {
        self.clock.now().plus_millis(i64::try_from(moment.saturating_duration_since(now).as_millis()).unwrap_or(i64::MAX))
    }
}

fn count(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}
