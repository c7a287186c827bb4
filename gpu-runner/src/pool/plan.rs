//! What the pool does next: a pure function of what it has, what waits, and the time.
//!
//! A free slot of the fleet comes first, then a new instance where there is room, then room made by the least recently used idle instance
//! of another fleet. An instance with work is never ended for another fleet's sake, and what a standing order keeps is never ended at all.

use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{Fleet, FleetId, Terms};
use super::floor::{Floor, InstanceId, Place, Rest, Stage};

/// A fleet with instances gets another once a prediction has waited this long.
const SCALE_UP_AFTER: Duration = Duration::from_millis(500);
/// A fleet without any instance is given the next idle one's room after this long, though that one's own queue is not empty.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Run {
        instance: InstanceId,
    },
    Start {
        fleet: FleetId,
        gpu: Option<usize>,
    },
    /// Its processes are stopped: it is idle.
    Freeze {
        instance: InstanceId,
    },
    /// The memory of a frozen instance is taken back.
    PageOut {
        instance: InstanceId,
    },
    LetGo {
        instance: InstanceId,
    },
    /// All that waits for it: it may not have an instance.
    Cancel {
        fleet: FleetId,
    },
}

/// What becomes of an instance that nobody uses: first its processes are stopped, then it is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idleness {
    pub freeze_after: Duration,
    pub expiry: Duration,
}

/// The next thing to do, or `None`: then nothing changes before [`next_wake`], unless something arrives or ends.
pub fn next_step<W, S>(floor: &Floor<W, S>, now: Instant, idleness: Idleness) -> Option<Step> {
    cancel(floor)
        .or_else(|| yield_to_the_starved(floor, now))
        .or_else(|| run(floor))
        .or_else(|| start(floor, now))
        .or_else(|| dismiss(floor))
        .or_else(|| make_room(floor, now))
        .or_else(|| expire(floor, now, idleness))
        .or_else(|| freeze(floor, now, idleness.freeze_after))
        .or_else(|| relieve(floor))
}

/// When to ask again although nothing happened.
pub fn next_wake<W, S>(floor: &Floor<W, S>, now: Instant, idleness: Idleness) -> Option<Instant> {
    let idle = || floor.instances.values().filter_map(|place| Some((place.idle_since()?, place)));
    let expiries = idle().map(|(since, place)| since + expiry_of(floor, place, idleness));
    let expiries = expiries.chain(idle().map(|(since, _)| since + idleness.freeze_after));
    let retriable = |fleet: &&Fleet<W>| has_demand(fleet) || fleet.terms.instances_min > 0;
    let retries = floor.fleets.values().filter(retriable).filter_map(|fleet| fleet.retry_at);
    let of_the_first = |after: Duration| floor.fleets.values().filter_map(move |fleet| Some(fleet.waiting_since()? + after));
    let waits = of_the_first(SCALE_UP_AFTER).chain(of_the_first(PATIENCE));
    expiries.chain(retries).chain(waits).filter(|at| *at > now).min()
}

fn cancel<W, S>(floor: &Floor<W, S>) -> Option<Step> {
    let mut fleets = floor.fleets.iter();
    let (id, _) = fleets.find(|(_, fleet)| fleet.terms.instances_max == 0 && !fleet.queue.is_empty())?;
    Some(Step::Cancel { fleet: id.clone() })
}

fn run<W, S>(floor: &Floor<W, S>) -> Option<Step> {
    floor.fleets.iter().filter(|(_, fleet)| !fleet.queue.is_empty()).find_map(|(id, _)| {
        // One that rests is woken only when no other has a slot: it takes longer, and then costs processor time again.
        let liveliness = |place: &Place<S>| (place.rest().is_none_or(|rest| rest == Rest::Awake), place.busy());
        let (instance, _) = floor.serving(id).filter(|(_, place)| place.has_idle_slot()).max_by_key(|(_, place)| liveliness(place))?;
        Some(Step::Run { instance })
    })
}

/// Fleets that want another instance, the most urgent first.
fn wanting<W, S>(floor: &Floor<W, S>, now: Instant) -> Vec<(&FleetId, &Fleet<W>)> {
    let mut wanting: Vec<_> = floor.fleets.iter().filter(|(id, fleet)| wants_instance(floor, id, fleet, now)).collect();
    wanting.sort_by_key(|(id, fleet)| (!lacks_kept(floor, id, fleet), fleet.waiting_since().unwrap_or(now)));
    wanting
}

fn start<W, S>(floor: &Floor<W, S>, now: Instant) -> Option<Step> {
    wanting(floor, now).into_iter().find_map(|(id, fleet)| match room_for(floor, fleet) {
        Room::Free { gpu } => Some(Step::Start { fleet: id.clone(), gpu }),
        Room::Coming | Room::Full => None,
    })
}

fn make_room<W, S>(floor: &Floor<W, S>, now: Instant) -> Option<Step> {
    let mut wanting = wanting(floor, now).into_iter().filter(|(_, fleet)| !fleet.prewarm || !fleet.queue.is_empty());
    wanting.find_map(|(id, fleet)| match room_for(floor, fleet) {
        Room::Free { .. } | Room::Coming => None,
        Room::Full => evictable(floor, id, fleet, |other| other.queue.is_empty()).map(|instance| Step::LetGo { instance }),
    })
}

/// Without this, a fleet whose queue never empties would keep every instance for ever. Only who has waited longer is yielded to, else two
/// starved fleets would end each other's instances before they have run anything. What a standing order keeps has waited longest.
fn yield_to_the_starved<W, S>(floor: &Floor<W, S>, now: Instant) -> Option<Step> {
    floor.fleets.iter().find_map(|(id, fleet)| {
        let is_owed = lacks_kept(floor, id, fleet);
        let since = fleet.waiting_since().filter(|since| *since + PATIENCE <= now && floor.of(id).next().is_none());
        let is_starved = (is_owed || since.is_some()) && wants_instance(floor, id, fleet, now);
        if !is_starved || !matches!(room_for(floor, fleet), Room::Full) {
            return None;
        }
        let waits_less = |other: &Fleet<W>| is_owed || other.waiting_since().is_none_or(|own| since.is_some_and(|since| own > since));
        evictable(floor, id, fleet, waits_less).map(|instance| Step::LetGo { instance })
    })
}

/// Idle instances that their fleet is not to have: too many, of another hardware, or of a fleet that keeps none for later.
fn dismiss<W, S>(floor: &Floor<W, S>) -> Option<Step> {
    let is_surplus = |instance: InstanceId, place: &Place<S>| {
        let serves = floor.serving(&place.fleet).any(|(serving, _)| serving == instance);
        let fleet = floor.fleets.get(&place.fleet);
        !serves || fleet.is_some_and(|fleet| !fleet.terms.lingers && (fleet.queue.is_empty() || !place.has_idle_slot()))
    };
    let mut idle = floor.instances.iter().filter(|(_, place)| place.idle_since().is_some());
    idle.find(|(instance, place)| is_surplus(**instance, place)).map(|(instance, _)| Step::LetGo { instance: *instance })
}

/// How long the fleet's terms have an idle instance stay, or else all do.
pub fn expiry_of<W, S>(floor: &Floor<W, S>, place: &Place<S>, idleness: Idleness) -> Duration {
    floor.fleets.get(&place.fleet).and_then(|fleet| fleet.terms.idle_expiry).unwrap_or(idleness.expiry)
}

fn expire<W, S>(floor: &Floor<W, S>, now: Instant, idleness: Idleness) -> Option<Step> {
    let expired = |place: &Place<S>| place.idle_since().is_some_and(|since| since + expiry_of(floor, place, idleness) <= now);
    let mut expired = floor.instances.iter().filter(|(_, place)| expired(place));
    expired.find(|(_, place)| !is_kept(floor, place)).map(|(instance, _)| Step::LetGo { instance: *instance })
}

/// The one that was used longest ago first. What a standing order keeps stays awake.
fn freeze<W, S>(floor: &Floor<W, S>, now: Instant, freeze_after: Duration) -> Option<Step> {
    let may_freeze = |place: &Place<S>| {
        let rested = place.idle_since().filter(|since| *since + freeze_after <= now && place.rest() == Some(Rest::Awake));
        rested.filter(|_| !is_kept_awake(floor, place))
    };
    let idle = floor.instances.iter().filter_map(|(instance, place)| Some((may_freeze(place)?, *instance)));
    idle.min().map(|(_, instance)| Step::Freeze { instance })
}

/// What is done when the machine's memory is short: the memory of frozen instances goes before any of them, then idle ones freeze early, and
/// only then one is let go. Each time the one that was used longest ago.
fn relieve<W, S>(floor: &Floor<W, S>) -> Option<Step> {
    if !floor.memory_is_short {
        return None;
    }
    let longest_idle = |rest: Rest, is_kept: fn(&Floor<W, S>, &Place<S>) -> bool| {
        let idle = floor.instances.iter().filter(|(_, place)| place.rest() == Some(rest) && !is_kept(floor, place));
        idle.filter_map(|(instance, place)| Some((place.idle_since()?, *instance))).min().map(|(_, instance)| instance)
    };
    longest_idle(Rest::Frozen, |_, _| false)
        .map(|instance| Step::PageOut { instance })
        .or_else(|| longest_idle(Rest::Awake, is_kept_awake).map(|instance| Step::Freeze { instance }))
        .or_else(|| longest_idle(Rest::PagedOut, is_kept).map(|instance| Step::LetGo { instance }))
}

fn has_demand<W>(fleet: &Fleet<W>) -> bool {
    fleet.replace || fleet.prewarm || !fleet.queue.is_empty()
}

/// Whether fewer instances live, or come, than a standing order keeps.
fn lacks_kept<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>) -> bool {
    fleet.terms.instances_min > 0 && floor.serving(id).count() < fleet.terms.instances_min
}

/// How many instances are to live though nothing waits: what a standing order keeps and, while any of them works, its spare ones beyond those
/// that have no slot free.
fn due<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>) -> usize {
    let Terms { instances_min, instances_max, instances_buffer, .. } = fleet.terms;
    if instances_buffer == 0 || !floor.serving(id).any(|(_, place)| place.busy() > 0) {
        return instances_min;
    }
    let full = floor.serving(id).filter(|(_, place)| place.busy() > 0 && !place.has_idle_slot()).count();
    instances_min.max(full + instances_buffer).min(instances_max)
}

/// Whether an idle instance is one of those that are due.
fn is_kept<W, S>(floor: &Floor<W, S>, place: &Place<S>) -> bool {
    let Some(due) = floor.fleets.get(&place.fleet).map(|fleet| due(floor, &place.fleet, fleet)).filter(|due| *due > 0) else {
        return false;
    };
    floor.serving(&place.fleet).filter(|(_, place)| matches!(place.stage, Stage::Ready { .. })).count() <= due
}

/// Whether an idle instance that is awake is one of those that a standing order keeps so.
fn is_kept_awake<W, S>(floor: &Floor<W, S>, place: &Place<S>) -> bool {
    let Some(fleet) = floor.fleets.get(&place.fleet) else { return false };
    let is_awake = |place: &Place<S>| matches!(place.stage, Stage::Ready { rest: Rest::Awake, .. });
    floor.serving(&place.fleet).filter(|(_, place)| is_awake(place)).count() <= due(floor, &place.fleet, fleet)
}

/// As many as are due; without an order an instance as soon as something waits, and further ones only while all slots are busy
/// and somebody has waited for a while. At most as many of these start at once as are ready, so that a burst of short predictions does not
/// fill the machine.
fn wants_instance<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>, now: Instant) -> bool {
    if fleet.retry_at.is_some_and(|at| at > now) || !floor.could_hold(fleet) {
        return false;
    }
    let starting = floor.serving(id).filter(|(_, place)| matches!(place.stage, Stage::Starting)).count();
    let ready = floor.serving(id).filter(|(_, place)| matches!(place.stage, Stage::Ready { .. })).count();
    if starting + ready >= fleet.terms.instances_max {
        return false;
    }
    if starting + ready < due(floor, id, fleet) {
        return true;
    }
    if starting + ready == 0 {
        return has_demand(fleet);
    }
    let coming = starting * fleet.needs.concurrency as usize;
    starting < ready
        && fleet.queue.len() > coming
        && fleet.waiting_since().is_some_and(|since| since + SCALE_UP_AFTER <= now)
        && !floor.serving(id).any(|(_, place)| place.has_idle_slot())
}

enum Room {
    Free {
        gpu: Option<usize>,
    },
    /// An instance is on its way out.
    Coming,
    Full,
}

fn room_for<W, S>(floor: &Floor<W, S>, fleet: &Fleet<W>) -> Room {
    let gpu = floor.gpu_for(fleet.needs);
    let gpu_fits = !fleet.needs.gpu || gpu.is_some();
    let memory_fits = floor.memory_bytes().saturating_add(fleet.memory_bytes()) <= floor.memory_bytes_max;
    if floor.instances.len() < floor.instances_max && gpu_fits && memory_fits {
        return Room::Free { gpu: gpu.filter(|_| fleet.needs.gpu) };
    }
    let helps = |place: &Place<S>| gpu_fits || has_gpu_for(floor, place, fleet);
    let coming = floor.instances.values().any(|place| !place.is_counted_on() && helps(place));
    if coming { Room::Coming } else { Room::Full }
}

/// Whether an instance has a GPU that would do for the fleet.
fn has_gpu_for<W, S>(floor: &Floor<W, S>, place: &Place<S>, fleet: &Fleet<W>) -> bool {
    place.gpu.is_some_and(|gpu| floor.gpu_bytes[gpu] >= fleet.needs.gpu_memory_bytes)
}

/// The idle instance of another fleet whose going helps and that is missed least: of one that keeps none for later, else the least
/// recently used. A deployment's earlier release is not driven out by the next while anything waits for it.
fn evictable<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>, spares: impl Fn(&Fleet<W>) -> bool) -> Option<InstanceId> {
    let wants_gpu = fleet.needs.gpu && floor.gpu_for(fleet.needs).is_none();
    let missed_after = |(instance, place): (&InstanceId, &Place<S>)| {
        let since = place.idle_since()?;
        let other = floor.fleets.get(&place.fleet)?;
        let is_succeeded = id.deployment.is_some() && place.fleet.deployment == id.deployment;
        let helps = place.fleet != *id && (!wants_gpu || has_gpu_for(floor, place, fleet));
        let goes = helps && !is_kept(floor, place) && spares(other) && (!is_succeeded || other.queue.is_empty());
        goes.then_some((other.terms.lingers, since, *instance))
    };
    floor.instances.iter().filter_map(missed_after).min().map(|(_, _, instance)| instance)
}

#[cfg(test)]
mod tests;
