//! What the pool has and what waits for it: fleets with their queues, instances with their free slots, GPUs. No process, no clock.

mod place;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{Fleet, FleetId, Needs, Terms, Waiting};

pub use place::{Place, Rest, Stage};

/// The first wait after a failure; it doubles with each one in a row.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// A fleet that failed more often in a row is started again only when somebody waits for it.
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

/// `W` is what waits, `S` an idle slot.
#[derive(Debug)]
pub struct Floor<W, S> {
    pub instances_max: usize,
    /// Which of the machine's GPUs is taken.
    pub gpus: Vec<bool>,
    /// What memory each of them has.
    pub gpu_bytes: Vec<u64>,
    /// What instances may take of the ordinary memory together.
    pub memory_bytes_max: u64,
    /// Whether this machine's memory was short when it was last looked at, and nothing has been done about it since.
    pub memory_is_short: bool,
    pub fleets: BTreeMap<FleetId, Fleet<W>>,
    pub instances: BTreeMap<InstanceId, Place<S>>,
    instances_ever: u32,
}

impl<W, S> Floor<W, S> {
    pub fn new(instances_max: usize, gpus: usize) -> Self {
        Self {
            instances_max,
            gpus: vec![false; gpus],
            gpu_bytes: vec![u64::MAX; gpus],
            memory_bytes_max: u64::MAX,
            memory_is_short: false,
            fleets: BTreeMap::new(),
            instances: BTreeMap::new(),
            instances_ever: 0,
        }
    }

    /// Makes a fleet known, or changes what is known of it.
    pub fn open(&mut self, id: &FleetId, needs: Needs, terms: Terms) {
        let fleet = self.fleets.entry(id.clone()).or_insert_with(|| Fleet::new(needs, terms));
        (fleet.needs, fleet.terms) = (needs, terms);
    }

    /// The next step may start an instance of it, at nobody's cost.
    pub fn prewarm(&mut self, id: &FleetId) {
        self.opened(id).prewarm = true;
    }

    /// For what no room was found, none is made.
    pub fn end_prewarms(&mut self) {
        for fleet in self.fleets.values_mut() {
            fleet.prewarm = false;
        }
    }

    /// Gives the entry back when too many wait already.
    pub fn arrive(&mut self, id: &FleetId, waiting: Waiting<W>) -> Result<(), Waiting<W>> {
        let account = waiting.account.clone();
        self.opened(id).queue.push(&account, waiting, |one, other| one.rank < other.rank)
    }

    /// For a prediction that an instance did not take after all.
    pub fn put_back(&mut self, id: &FleetId, waiting: Waiting<W>) {
        let account = waiting.account.clone();
        self.opened(id).queue.put_back(&account, waiting);
    }

    pub fn leave(&mut self, id: &FleetId, account: &str, is_it: impl Fn(&W) -> bool) -> Option<Waiting<W>> {
        self.fleets.get_mut(id)?.queue.remove(account, |waiting| is_it(&waiting.entry))
    }

    pub fn find(&self, id: &FleetId, account: &str, is_it: impl Fn(&W) -> bool) -> Option<&W> {
        self.fleets.get(id)?.queue.find(account, |waiting| is_it(&waiting.entry)).map(|waiting| &waiting.entry)
    }

    /// All that wait for the fleet, which is not to be started for them.
    pub fn give_up(&mut self, id: &FleetId) -> Vec<Waiting<W>> {
        let Some(fleet) = self.fleets.get_mut(id) else { return Vec::new() };
        fleet.replace = false;
        fleet.queue.drain()
    }

    /// Takes the next that waits and a slot for it.
    pub fn take(&mut self, instance: InstanceId) -> Option<(Waiting<W>, S)> {
        let place = self.instances.get_mut(&instance)?;
        let Place { fleet, stage: Stage::Ready { idle, busy, rest, .. }, .. } = place else { return None };
        let waiting = self.fleets.get_mut(fleet)?.queue.pop()?;
        let Some(slot) = idle.pop() else {
            unreachable!("a slot was seen idle by the step that led here");
        };
        *busy += 1;
        *rest = Rest::Awake;
        Some((waiting, slot))
    }

    pub fn start(&mut self, fleet: FleetId, gpu: Option<usize>) -> InstanceId {
        self.instances_ever += 1;
        let id = InstanceId(self.instances_ever);
        if let Some(gpu) = gpu {
            self.gpus[gpu] = true;
        }
        if let Some(fleet) = self.fleets.get_mut(&fleet) {
            fleet.replace = false;
        }
        self.instances.insert(id, Place { fleet, gpu, memory_bytes: 0, stage: Stage::Starting });
        id
    }

    pub fn ready(&mut self, instance: InstanceId, slots: Vec<S>, now: Instant) {
        if let Some(place) = self.instances.get_mut(&instance) {
            place.stage = Stage::Ready { idle: slots, busy: 0, used_at: now, rest: Rest::Awake };
        }
    }

    /// A slot's prediction ended. `None` when the slot is not fit for another.
    pub fn release(&mut self, instance: InstanceId, slot: Option<S>, now: Instant) {
        match self.instances.get_mut(&instance).map(|place| &mut place.stage) {
            Some(Stage::Ready { idle, busy, used_at, .. }) => {
                *busy -= 1;
                *used_at = now;
                idle.extend(slot);
            }
            Some(Stage::Leaving { busy }) => *busy -= 1,
            Some(Stage::Starting) | None => {}
        }
    }

    /// What an instance takes, where it is known; its fleet's next ones are expected to take as much.
    pub fn saw_memory(&mut self, instance: InstanceId, resident_bytes: Option<u64>) {
        let Some((place, bytes)) = self.instances.get_mut(&instance).zip(resident_bytes) else { return };
        place.memory_bytes = bytes;
        if let Some(fleet) = self.fleets.get_mut(&place.fleet) {
            fleet.memory_bytes_seen = fleet.memory_bytes_seen.max(bytes);
        }
    }

    /// An idle instance rests until the next prediction takes a slot of it.
    pub fn lay(&mut self, instance: InstanceId, how: Rest) {
        if let Some(Place { stage: Stage::Ready { busy: 0, rest, .. }, .. }) = self.instances.get_mut(&instance) {
            *rest = how;
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
        let fleet = place.fleet.clone();
        self.let_go(instance);
        self.replace(&fleet);
    }

    /// It is gone, and another takes its place if it was counted on to the last: of an instance that is condemned either its last
    /// prediction's end or its own is heard first, and it is replaced once.
    pub fn ended(&mut self, instance: InstanceId, end: End, now: Instant) {
        let Some(place) = self.gone(instance) else { return };
        if end == End::Crashed {
            self.back_off(&place.fleet, now);
        }
        if end != End::Asked && place.is_counted_on() {
            self.replace(&place.fleet);
        }
    }

    pub fn gone(&mut self, instance: InstanceId) -> Option<Place<S>> {
        let place = self.instances.remove(&instance)?;
        if let Some(gpu) = place.gpu {
            self.gpus[gpu] = false;
        }
        Some(place)
    }

    /// The fleet works: a failure after this is the first again.
    pub fn worked(&mut self, id: &FleetId) {
        if let Some(fleet) = self.fleets.get_mut(id) {
            fleet.failures = 0;
            fleet.retry_at = None;
        }
    }

    /// The next instance of the fleet has to wait, longer with each failure in a row. Returns how many they are.
    pub fn back_off(&mut self, id: &FleetId, now: Instant) -> u32 {
        let Some(fleet) = self.fleets.get_mut(id) else { return 0 };
        let wait = RETRY_AFTER.saturating_mul(1 << fleet.failures.min(16)).min(RETRY_AFTER_MAX);
        fleet.failures += 1;
        fleet.retry_at = Some(now + wait);
        fleet.failures
    }

    /// Drops what is known of fleets that have nothing here any more and are not to have.
    pub fn forget_idle_fleets(&mut self, now: Instant) {
        let instances = &self.instances;
        self.fleets.retain(|id, fleet| {
            let has_plans = fleet.terms.instances_min > 0 || fleet.replace || fleet.retry_at.is_some_and(|at| at > now);
            has_plans || !fleet.queue.is_empty() || instances.values().any(|place| place.fleet == *id)
        });
    }

    /// The memory that all instances are counted as.
    pub fn memory_bytes(&self) -> u64 {
        self.instances.values().filter_map(|place| self.fleets.get(&place.fleet)).map(Fleet::memory_bytes).sum()
    }

    /// Whether an instance of the fleet would fit here were it alone.
    pub fn could_hold(&self, fleet: &Fleet<W>) -> bool {
        let gpu_fits = !fleet.needs.gpu || self.gpu_bytes.iter().any(|bytes| *bytes >= fleet.needs.gpu_memory_bytes);
        gpu_fits && fleet.memory_bytes() <= self.memory_bytes_max
    }

    /// The free GPU that has enough memory, and of those the smallest.
    pub fn gpu_for(&self, needs: Needs) -> Option<usize> {
        let free = (0..self.gpus.len()).filter(|gpu| !self.gpus[*gpu] && self.gpu_bytes[*gpu] >= needs.gpu_memory_bytes);
        free.min_by_key(|gpu| self.gpu_bytes[*gpu])
    }

    /// All instances of the fleet, the oldest first.
    pub fn of<'a>(&'a self, id: &'a FleetId) -> impl Iterator<Item = (InstanceId, &'a Place<S>)> {
        self.instances.iter().filter(move |(_, place)| place.fleet == *id).map(|(instance, place)| (*instance, place))
    }

    /// The instances that are to serve on: as many as the fleet's terms allow, on the hardware that it needs now.
    pub fn serving<'a>(&'a self, id: &'a FleetId) -> impl Iterator<Item = (InstanceId, &'a Place<S>)> {
        let (gpu, instances_max) = self.fleets.get(id).map_or((false, 0), |fleet| (fleet.needs.gpu, fleet.terms.instances_max));
        self.of(id).filter(move |(_, place)| place.is_counted_on() && place.gpu.is_some() == gpu).take(instances_max)
    }

    fn replace(&mut self, id: &FleetId) {
        let has_others = self.of(id).any(|(_, place)| place.is_counted_on());
        if let Some(fleet) = self.fleets.get_mut(id) {
            fleet.replace = !has_others && fleet.terms.lingers && fleet.failures < FAILURES_BEFORE_NO_REPLACEMENT;
        }
    }

    fn opened(&mut self, id: &FleetId) -> &mut Fleet<W> {
        self.fleets.get_mut(id).expect("a fleet is opened before anything waits for it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::prediction::Errand;
    use protocol::{Digest, VersionId};

    /// A floor with one instance that runs a prediction.
    fn busy() -> (Floor<u32, ()>, FleetId, InstanceId, Instant) {
        let fleet = FleetId { version: VersionId::new(Digest::of(b"v")), errand: Errand::Predict, deployment: None };
        let (mut floor, now) = (Floor::new(4, 0), Instant::now());
        floor.open(&fleet, Needs { concurrency: 1, gpu: false, gpu_memory_bytes: 0, memory_bytes: 0 }, Terms::ON_DEMAND);
        floor.arrive(&fleet, Waiting::since(now, 0)).unwrap();
        let instance = floor.start(fleet.clone(), None);
        floor.ready(instance, vec![()], now);
        floor.take(instance).unwrap();
        (floor, fleet, instance, now)
    }

    #[test]
    fn a_condemned_instance_is_replaced_once_whichever_end_is_heard_first() {
        for gone_first in [true, false] {
            for end in [End::Condemned, End::Crashed] {
                let (mut floor, fleet, instance, now) = busy();
                let mut replacements = 0;
                for its_own in [gone_first, !gone_first] {
                    if its_own {
                        floor.ended(instance, end, now);
                    } else {
                        floor.release(instance, None, now);
                        floor.condemn(instance);
                    }
                    floor.forget_idle_fleets(now);
                    if floor.fleets.get(&fleet).is_some_and(|fleet| fleet.replace) {
                        floor.start(fleet.clone(), None);
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
            let (mut floor, fleet, instance, now) = busy();
            floor.let_go(instance);
            floor.release(instance, None, now);
            floor.ended(instance, end, now);
            assert!(!floor.fleets[&fleet].replace, "{end:?}");
        }
    }

    #[test]
    fn a_fleet_that_fails_again_and_again_is_not_replaced_for_nobody() {
        let (mut floor, fleet, instance, now) = busy();
        for _ in 1..FAILURES_BEFORE_NO_REPLACEMENT {
            floor.back_off(&fleet, now);
        }
        floor.ended(instance, End::Crashed, now);
        assert!(!floor.fleets[&fleet].replace);
    }

    #[test]
    fn an_instance_that_others_stand_in_for_is_replaced_by_demand_alone() {
        let (mut floor, fleet, instance, now) = busy();
        floor.start(fleet.clone(), None);
        floor.ended(instance, End::Crashed, now);
        assert!(!floor.fleets[&fleet].replace);
    }
}
