//! What the pool has and what waits for it: versions with their queues, instances with their free slots, GPUs. No process, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::VersionId;
use tokio::time::Instant;

use crate::queue::FairQueue;

/// Predictions that may wait for one version on one runner.
const WAITING_MAX: usize = 10_000;
/// The first wait after a failure; it doubles with each one in a row.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// A version that failed more often in a row is started again only when somebody waits for it.
const FAILURES_BEFORE_NO_REPLACEMENT: u32 = 3;

/// Never used twice in the life of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u32);

/// How an instance came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was let go.
    Asked,
    /// It was not to be used again.
    Condemned,
    /// Nobody asked for it.
    Crashed,
}

/// What an instance of a version takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub concurrency: u32,
    pub gpu: bool,
}

/// What waits, with what the floor must know of it.
#[derive(Debug)]
pub struct Waiting<W> {
    pub since: Instant,
    pub account: String,
    pub entry: W,
}

#[derive(Debug)]
pub struct Version<W> {
    pub needs: Needs,
    pub queue: FairQueue<Waiting<W>>,
    /// Failures in a row.
    pub failures: u32,
    /// No instance is started before.
    pub retry_at: Option<Instant>,
    /// An instance was lost that callers counted on: another takes its place though nothing waits.
    pub replace: bool,
}

impl<W> Version<W> {
    pub fn waiting_since(&self) -> Option<Instant> {
        self.queue.firsts().map(|waiting| waiting.since).min()
    }
}

#[derive(Debug)]
pub struct Place<S> {
    pub version: VersionId,
    pub gpu: Option<usize>,
    pub stage: Stage<S>,
}

#[derive(Debug)]
pub enum Stage<S> {
    Starting,
    Ready {
        idle: Vec<S>,
        busy: u32,
        /// When a slot of it was last given back.
        used_at: Instant,
    },
    /// Told to end; takes room until it has.
    Leaving {
        busy: u32,
    },
}

impl<S> Place<S> {
    pub const fn busy(&self) -> u32 {
        match &self.stage {
            Stage::Starting => 0,
            Stage::Ready { busy, .. } | Stage::Leaving { busy } => *busy,
        }
    }

    /// Since when nothing runs in it; `None` when it is not ready, or busy.
    pub const fn idle_since(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Ready { busy: 0, used_at, .. } => Some(*used_at),
            _ => None,
        }
    }

    /// Whether it is to serve on: it has not been told to end.
    pub const fn is_counted_on(&self) -> bool {
        !matches!(self.stage, Stage::Leaving { .. })
    }

    pub const fn has_idle_slot(&self) -> bool {
        matches!(&self.stage, Stage::Ready { idle, .. } if !idle.is_empty())
    }
}

/// `W` is what waits, `S` an idle slot.
#[derive(Debug)]
pub struct Floor<W, S> {
    pub instances_max: usize,
    /// Which of the machine's GPUs is taken.
    pub gpus: Vec<bool>,
    pub versions: BTreeMap<VersionId, Version<W>>,
    pub instances: BTreeMap<InstanceId, Place<S>>,
    instances_ever: u32,
}

impl<W, S> Floor<W, S> {
    pub fn new(instances_max: usize, gpus: usize) -> Self {
        Self { instances_max, gpus: vec![false; gpus], versions: BTreeMap::new(), instances: BTreeMap::new(), instances_ever: 0 }
    }

    /// Gives the entry back when too many wait already.
    pub fn arrive(&mut self, version: VersionId, needs: Needs, waiting: Waiting<W>) -> Result<(), Waiting<W>> {
        let account = waiting.account.clone();
        self.version(version, needs).queue.push(&account, waiting)
    }

    /// For a prediction that an instance did not take after all.
    pub fn put_back(&mut self, version: VersionId, needs: Needs, waiting: Waiting<W>) {
        let account = waiting.account.clone();
        self.version(version, needs).queue.put_back(&account, waiting);
    }

    pub fn leave(&mut self, version: VersionId, account: &str, is_it: impl Fn(&W) -> bool) -> Option<Waiting<W>> {
        self.versions.get_mut(&version)?.queue.remove(account, |waiting| is_it(&waiting.entry))
    }

    pub fn find(&self, version: VersionId, account: &str, is_it: impl Fn(&W) -> bool) -> Option<&W> {
        self.versions.get(&version)?.queue.find(account, |waiting| is_it(&waiting.entry)).map(|waiting| &waiting.entry)
    }

    /// All that wait for the version, which is not to be started for them.
    pub fn give_up(&mut self, version: VersionId) -> Vec<Waiting<W>> {
        let Some(version) = self.versions.get_mut(&version) else { return Vec::new() };
        version.replace = false;
        version.queue.drain()
    }

    /// Takes the next that waits and a slot for it.
    pub fn take(&mut self, version: VersionId, instance: InstanceId) -> Option<(Waiting<W>, S)> {
        let Some(Place { stage: Stage::Ready { idle, busy, .. }, .. }) = self.instances.get_mut(&instance) else { return None };
        let waiting = self.versions.get_mut(&version)?.queue.pop()?;
        let Some(slot) = idle.pop() else {
            unreachable!("a slot was seen idle by the step that led here");
        };
        *busy += 1;
        Some((waiting, slot))
    }

    pub fn start(&mut self, version: VersionId, gpu: Option<usize>) -> InstanceId {
        self.instances_ever += 1;
        let id = InstanceId(self.instances_ever);
        if let Some(gpu) = gpu {
            self.gpus[gpu] = true;
        }
        if let Some(version) = self.versions.get_mut(&version) {
            version.replace = false;
        }
        self.instances.insert(id, Place { version, gpu, stage: Stage::Starting });
        id
    }

    pub fn ready(&mut self, instance: InstanceId, slots: Vec<S>, now: Instant) {
        if let Some(place) = self.instances.get_mut(&instance) {
            place.stage = Stage::Ready { idle: slots, busy: 0, used_at: now };
        }
    }

    /// A slot's prediction ended. `None` when the slot is not fit for another.
    pub fn release(&mut self, instance: InstanceId, slot: Option<S>, now: Instant) {
        match self.instances.get_mut(&instance).map(|place| &mut place.stage) {
            Some(Stage::Ready { idle, busy, used_at }) => {
                *busy -= 1;
                *used_at = now;
                idle.extend(slot);
            }
            Some(Stage::Leaving { busy }) => *busy -= 1,
            Some(Stage::Starting) | None => {}
        }
    }

    /// It gets no more predictions, and keeps its room until [`Floor::gone`].
    pub fn let_go(&mut self, instance: InstanceId) {
        if let Some(place) = self.instances.get_mut(&instance) {
            place.stage = Stage::Leaving { busy: place.busy() };
        }
    }

    /// Like [`Floor::let_go`], and another takes its place, unless it has been let go before or is gone.
    pub fn condemn(&mut self, instance: InstanceId) {
        let Some(place) = self.instances.get(&instance).filter(|place| place.is_counted_on()) else { return };
        let version = place.version;
        self.let_go(instance);
        self.replace(version);
    }

    /// It is gone, and another takes its place if it was counted on to the last: of an instance that is condemned either its last
    /// prediction's end or its own is heard first, and it is replaced once.
    pub fn ended(&mut self, instance: InstanceId, end: End, now: Instant) {
        let Some(place) = self.gone(instance) else { return };
        if end == End::Crashed {
            self.back_off(place.version, now);
        }
        if end != End::Asked && place.is_counted_on() {
            self.replace(place.version);
        }
    }

    pub fn gone(&mut self, instance: InstanceId) -> Option<Place<S>> {
        let place = self.instances.remove(&instance)?;
        if let Some(gpu) = place.gpu {
            self.gpus[gpu] = false;
        }
        Some(place)
    }

    /// The version works: a failure after this is the first again.
    pub fn worked(&mut self, version: VersionId) {
        if let Some(version) = self.versions.get_mut(&version) {
            version.failures = 0;
            version.retry_at = None;
        }
    }

    /// The next instance of the version has to wait, longer with each failure in a row.
    pub fn back_off(&mut self, version: VersionId, now: Instant) {
        if let Some(version) = self.versions.get_mut(&version) {
            let wait = RETRY_AFTER.saturating_mul(1 << version.failures.min(16)).min(RETRY_AFTER_MAX);
            version.failures += 1;
            version.retry_at = Some(now + wait);
        }
    }

    fn replace(&mut self, version: VersionId) {
        if let Some(version) = self.versions.get_mut(&version) {
            version.replace = version.failures < FAILURES_BEFORE_NO_REPLACEMENT;
        }
    }

    /// Drops what is known of versions that have nothing here any more.
    pub fn forget_idle_versions(&mut self, now: Instant) {
        let here: Vec<VersionId> = self.instances.values().map(|place| place.version).collect();
        self.versions.retain(|id, version| {
            !version.queue.is_empty() || version.replace || version.retry_at.is_some_and(|at| at > now) || here.contains(id)
        });
    }

    pub fn of(&self, version: VersionId) -> impl Iterator<Item = (&InstanceId, &Place<S>)> {
        self.instances.iter().filter(move |(_, place)| place.version == version)
    }

    fn version(&mut self, version: VersionId, needs: Needs) -> &mut Version<W> {
        self.versions.entry(version).or_insert_with(|| Version {
            needs,
            queue: FairQueue::new(WAITING_MAX),
            failures: 0,
            retry_at: None,
            replace: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Digest;

    const NEEDS: Needs = Needs { concurrency: 1, gpu: false };

    /// A floor with one instance that runs a prediction.
    fn busy() -> (Floor<u32, ()>, VersionId, InstanceId, Instant) {
        let (mut floor, version, now) = (Floor::new(4, 0), VersionId::new(Digest::of(b"v")), Instant::now());
        floor.arrive(version, NEEDS, Waiting { since: now, account: "a".to_owned(), entry: 0 }).unwrap();
        let instance = floor.start(version, None);
        floor.ready(instance, vec![()], now);
        floor.take(version, instance).unwrap();
        (floor, version, instance, now)
    }

    #[test]
    fn a_condemned_instance_is_replaced_once_whichever_end_is_heard_first() {
        for gone_first in [true, false] {
            for end in [End::Condemned, End::Crashed] {
                let (mut floor, version, instance, now) = busy();
                let mut replacements = 0;
                for its_own in [gone_first, !gone_first] {
                    if its_own {
                        floor.ended(instance, end, now);
                    } else {
                        floor.release(instance, None, now);
                        floor.condemn(instance);
                    }
                    floor.forget_idle_versions(now);
                    if floor.versions.get(&version).is_some_and(|version| version.replace) {
                        floor.start(version, None);
                        replacements += 1;
                    }
                }
                assert_eq!(replacements, 1, "{end:?}, gone first: {gone_first}");
            }
        }
    }

    #[test]
    fn an_instance_that_was_let_go_is_not_replaced_however_it_ends() {
        for end in [End::Asked, End::Condemned, End::Crashed] {
            let (mut floor, version, instance, now) = busy();
            floor.let_go(instance);
            floor.release(instance, None, now);
            floor.ended(instance, end, now);
            assert!(!floor.versions[&version].replace, "{end:?}");
        }
    }

    #[test]
    fn a_version_that_fails_again_and_again_is_not_replaced_for_nobody() {
        let (mut floor, version, instance, now) = busy();
        for _ in 1..FAILURES_BEFORE_NO_REPLACEMENT {
            floor.back_off(version, now);
        }
        floor.ended(instance, End::Crashed, now);
        assert!(!floor.versions[&version].replace);
    }
}
