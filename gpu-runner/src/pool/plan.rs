//! What the pool does next: a pure function of what it has, what waits, and the time.
//!
//! A free slot of the fleet comes first, then a new instance where there is room, then room made by the least recently used idle instance
//! of another fleet. An instance with work is never ended for another fleet's sake, and what a standing order keeps is never ended at all.

use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{Fleet, FleetId};
use super::floor::{Floor, InstanceId, Place, Stage};

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
    LetGo {
        instance: InstanceId,
    },
    /// All that waits for it: it may not have an instance.
    Cancel {
        fleet: FleetId,
    },
}

/// The next thing to do, or `None`: then nothing changes before [`next_wake`], unless something arrives or ends.
pub fn next_step<W, S>(floor: &Floor<W, S>, now: Instant, idle_expiry: Duration) -> Option<Step> {
    cancel(floor)
        .or_else(|| yield_to_the_starved(floor, now))
        .or_else(|| run(floor))
        .or_else(|| start(floor, now))
        .or_else(|| dismiss(floor))
        .or_else(|| make_room(floor, now))
        .or_else(|| expire(floor, now, idle_expiry))
}

/// When to ask again although nothing happened.
pub fn next_wake<W, S>(floor: &Floor<W, S>, now: Instant, idle_expiry: Duration) -> Option<Instant> {
    let expiries = floor.instances.values().filter_map(Place::idle_since).map(|since| since + idle_expiry);
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
        let (instance, _) = floor.serving(id).filter(|(_, place)| place.has_idle_slot()).max_by_key(|(_, place)| place.busy())?;
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
    wanting(floor, now).into_iter().find_map(|(id, fleet)| match room_for(floor, fleet) {
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

fn expire<W, S>(floor: &Floor<W, S>, now: Instant, idle_expiry: Duration) -> Option<Step> {
    let expired = |place: &Place<S>| place.idle_since().is_some_and(|since| since + idle_expiry <= now);
    let mut expired = floor.instances.iter().filter(|(_, place)| expired(place));
    expired.find(|(_, place)| !is_kept(floor, place)).map(|(instance, _)| Step::LetGo { instance: *instance })
}

fn has_demand<W>(fleet: &Fleet<W>) -> bool {
    fleet.replace || !fleet.queue.is_empty()
}

/// Whether fewer instances live, or come, than a standing order keeps.
fn lacks_kept<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>) -> bool {
    fleet.terms.instances_min > 0 && floor.serving(id).count() < fleet.terms.instances_min
}

/// Whether an idle instance is one of those that a standing order keeps.
fn is_kept<W, S>(floor: &Floor<W, S>, place: &Place<S>) -> bool {
    let Some(fleet) = floor.fleets.get(&place.fleet).filter(|fleet| fleet.terms.instances_min > 0) else { return false };
    let ready = floor.serving(&place.fleet).filter(|(_, place)| matches!(place.stage, Stage::Ready { .. }));
    ready.count() <= fleet.terms.instances_min
}

/// As many as a standing order keeps; without one an instance as soon as something waits, and further ones only while all slots are busy
/// and somebody has waited for a while. At most as many of these start at once as are ready, so that a burst of short predictions does not
/// fill the machine.
fn wants_instance<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>, now: Instant) -> bool {
    if fleet.retry_at.is_some_and(|at| at > now) {
        return false;
    }
    let starting = floor.serving(id).filter(|(_, place)| matches!(place.stage, Stage::Starting)).count();
    let ready = floor.serving(id).filter(|(_, place)| matches!(place.stage, Stage::Ready { .. })).count();
    if starting + ready >= fleet.terms.instances_max {
        return false;
    }
    if starting + ready < fleet.terms.instances_min {
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
    let gpu = floor.gpus.iter().position(|taken| !taken);
    let gpu_fits = !fleet.needs.gpu || gpu.is_some();
    if floor.instances.len() < floor.instances_max && gpu_fits {
        return Room::Free { gpu: gpu.filter(|_| fleet.needs.gpu) };
    }
    let coming = floor.instances.values().any(|place| !place.is_counted_on() && (gpu_fits || place.gpu.is_some()));
    if coming { Room::Coming } else { Room::Full }
}

/// The idle instance of another fleet whose going helps and that is missed least: of one that keeps none for later, else the least
/// recently used. A deployment's earlier release is not driven out by the next while anything waits for it.
fn evictable<W, S>(floor: &Floor<W, S>, id: &FleetId, fleet: &Fleet<W>, spares: impl Fn(&Fleet<W>) -> bool) -> Option<InstanceId> {
    let wants_gpu = fleet.needs.gpu && floor.gpus.iter().all(|taken| *taken);
    let missed_after = |(instance, place): (&InstanceId, &Place<S>)| {
        let since = place.idle_since()?;
        let other = floor.fleets.get(&place.fleet)?;
        let is_succeeded = id.deployment.is_some() && place.fleet.deployment == id.deployment;
        let helps = place.fleet != *id && (!wants_gpu || place.gpu.is_some());
        let goes = helps && !is_kept(floor, place) && spares(other) && (!is_succeeded || other.queue.is_empty());
        goes.then_some((other.terms.lingers, since, *instance))
    };
    floor.instances.iter().filter_map(missed_after).min().map(|(_, _, instance)| instance)
}

#[cfg(test)]
mod tests;
