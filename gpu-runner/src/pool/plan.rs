//! What the pool does next: a pure function of what it has, what waits, and the time.
//!
//! A free slot of the version comes first, then a new instance where there is room, then room made by the least recently used idle
//! instance of another version. An instance with work is never ended for another version's sake.

use std::time::Duration;

use protocol::VersionId;
use tokio::time::Instant;

use super::floor::{Floor, InstanceId, Place, Stage, Version};

/// A version with instances gets another once a prediction has waited this long.
const SCALE_UP_AFTER: Duration = Duration::from_millis(500);
/// A version without any instance is given the next idle one's room after this long, though that one's own queue is not empty.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Run { version: VersionId, instance: InstanceId },
    Start { version: VersionId, gpu: Option<usize> },
    LetGo { instance: InstanceId },
}

/// The next thing to do, or `None`: then nothing changes before [`next_wake`], unless something arrives or ends.
pub fn next_step<W, S>(floor: &Floor<W, S>, now: Instant, idle_expiry: Duration) -> Option<Step> {
    yield_to_the_starved(floor, now)
        .or_else(|| run(floor))
        .or_else(|| start_or_make_room(floor, now))
        .or_else(|| expire(floor, now, idle_expiry))
}

/// When to ask again although nothing happened.
pub fn next_wake<W, S>(floor: &Floor<W, S>, now: Instant, idle_expiry: Duration) -> Option<Instant> {
    let expiries = floor.instances.values().filter_map(Place::idle_since).map(|since| since + idle_expiry);
    let retries = floor.versions.values().filter(|version| has_demand(version)).filter_map(|version| version.retry_at);
    let scale_ups = floor.versions.values().filter_map(|version| Some(version.waiting_since()? + SCALE_UP_AFTER));
    expiries.chain(retries).chain(scale_ups).filter(|at| *at > now).min()
}

fn run<W, S>(floor: &Floor<W, S>) -> Option<Step> {
    floor.versions.iter().filter(|(_, version)| !version.queue.is_empty()).find_map(|(id, _)| {
        let (instance, _) = floor.of(*id).filter(|(_, place)| place.has_idle_slot()).max_by_key(|(_, place)| place.busy())?;
        Some(Step::Run { version: *id, instance: *instance })
    })
}

fn start_or_make_room<W, S>(floor: &Floor<W, S>, now: Instant) -> Option<Step> {
    let mut wanting: Vec<_> = floor.versions.iter().filter(|(id, version)| wants_instance(floor, **id, version, now)).collect();
    wanting.sort_by_key(|(_, version)| version.waiting_since().unwrap_or(now));
    wanting.into_iter().find_map(|(id, version)| match room_for(floor, version) {
        Room::Free { gpu } => Some(Step::Start { version: *id, gpu }),
        Room::Coming => None,
        Room::Full => {
            let spare = |place: &Place<S>| floor.versions.get(&place.version).is_none_or(|other| other.queue.is_empty());
            evictable(floor, *id, version, spare).map(|instance| Step::LetGo { instance })
        }
    })
}

/// Without this, a version whose queue never empties would keep every instance for ever. Only who has waited longer is yielded to, else two
/// starved versions would end each other's instances before they have run anything.
fn yield_to_the_starved<W, S>(floor: &Floor<W, S>, now: Instant) -> Option<Step> {
    floor.versions.iter().find_map(|(id, version)| {
        let since = version.waiting_since().filter(|since| *since + PATIENCE <= now)?;
        let starved =
            floor.of(*id).next().is_none() && wants_instance(floor, *id, version, now) && matches!(room_for(floor, version), Room::Full);
        let waits_less = |place: &Place<S>| {
            let own = floor.versions.get(&place.version).and_then(Version::waiting_since);
            own.is_none_or(|own| own > since)
        };
        starved.then(|| evictable(floor, *id, version, waits_less)).flatten().map(|instance| Step::LetGo { instance })
    })
}

fn expire<W, S>(floor: &Floor<W, S>, now: Instant, idle_expiry: Duration) -> Option<Step> {
    let expired = |place: &Place<S>| place.idle_since().is_some_and(|since| since + idle_expiry <= now);
    floor.instances.iter().find(|(_, place)| expired(place)).map(|(instance, _)| Step::LetGo { instance: *instance })
}

fn has_demand<W>(version: &Version<W>) -> bool {
    version.replace || !version.queue.is_empty()
}

/// One instance as soon as something waits; further ones only while all slots are busy and somebody has waited for a while. At most as
/// many start at once as are ready, so that a burst of short predictions does not fill the machine.
fn wants_instance<W, S>(floor: &Floor<W, S>, id: VersionId, version: &Version<W>, now: Instant) -> bool {
    if !has_demand(version) || version.retry_at.is_some_and(|at| at > now) {
        return false;
    }
    let starting = floor.of(id).filter(|(_, place)| matches!(place.stage, Stage::Starting)).count();
    let ready = floor.of(id).filter(|(_, place)| matches!(place.stage, Stage::Ready { .. })).count();
    if starting + ready == 0 {
        return true;
    }
    let coming = starting * version.needs.concurrency as usize;
    starting < ready
        && version.queue.len() > coming
        && version.waiting_since().is_some_and(|since| since + SCALE_UP_AFTER <= now)
        && !floor.of(id).any(|(_, place)| place.has_idle_slot())
}

enum Room {
    Free {
        gpu: Option<usize>,
    },
    /// An instance is on its way out.
    Coming,
    Full,
}

fn room_for<W, S>(floor: &Floor<W, S>, version: &Version<W>) -> Room {
    let gpu = floor.gpus.iter().position(|taken| !taken);
    let gpu_fits = !version.needs.gpu || gpu.is_some();
    if floor.instances.len() < floor.instances_max && gpu_fits {
        return Room::Free { gpu: gpu.filter(|_| version.needs.gpu) };
    }
    let coming = floor.instances.values().any(|place| matches!(place.stage, Stage::Leaving { .. }) && (gpu_fits || place.gpu.is_some()));
    if coming { Room::Coming } else { Room::Full }
}

/// The idle instance of another version that was used least recently, among those whose going helps.
fn evictable<W, S>(floor: &Floor<W, S>, id: VersionId, version: &Version<W>, spare: impl Fn(&Place<S>) -> bool) -> Option<InstanceId> {
    let wants_gpu = version.needs.gpu && floor.gpus.iter().all(|taken| *taken);
    floor
        .instances
        .iter()
        .filter(|(_, place)| place.version != id && (!wants_gpu || place.gpu.is_some()) && spare(place))
        .filter_map(|(instance, place)| Some((place.idle_since()?, *instance)))
        .min()
        .map(|(_, instance)| instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::floor::{Needs, Waiting};
    use proptest::prelude::*;
    use protocol::Digest;

    const IDLE_EXPIRY: Duration = Duration::from_mins(1);
    const CPU: Needs = Needs { concurrency: 1, gpu: false };

    type TestFloor = Floor<u32, ()>;

    fn version(name: u8) -> VersionId {
        VersionId::new(Digest::of(&[name]))
    }

    fn wait(floor: &mut TestFloor, name: u8, needs: Needs, now: Instant) {
        floor.arrive(version(name), needs, Waiting { since: now, account: "a".to_owned(), entry: 0 }).unwrap();
    }

    /// Does what the plan says until it says nothing; starts stay under way.
    fn settle(floor: &mut TestFloor, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(step) = next_step(floor, now, IDLE_EXPIRY) {
            apply(floor, step);
            steps.push(step);
            assert!(steps.len() < 10_000, "the plan does not come to rest: {:?}", &steps[..8]);
        }
        steps
    }

    fn apply(floor: &mut TestFloor, step: Step) {
        match step {
            Step::Run { version, instance } => assert!(floor.take(version, instance).is_some()),
            Step::Start { version, gpu } => drop(floor.start(version, gpu)),
            Step::LetGo { instance } => floor.let_go(instance),
        }
    }

    fn make_ready(floor: &mut TestFloor, now: Instant) {
        let starting: Vec<_> = floor.instances.iter().filter(|(_, p)| matches!(p.stage, Stage::Starting)).map(|(id, _)| *id).collect();
        for id in starting {
            let slots = floor.versions.get(&floor.instances[&id].version).map_or(1, |v| v.needs.concurrency);
            floor.ready(id, vec![(); slots as usize], now);
        }
    }

    #[test]
    fn the_first_prediction_starts_an_instance_and_runs_in_it() {
        let (mut floor, now) = (TestFloor::new(2, 0), Instant::now());
        wait(&mut floor, 1, CPU, now);
        assert_eq!(settle(&mut floor, now), vec![Step::Start { version: version(1), gpu: None }]);
        make_ready(&mut floor, now);
        assert!(matches!(settle(&mut floor, now)[..], [Step::Run { .. }]));
    }

    #[test]
    fn a_full_runner_lets_the_least_recently_used_idle_instance_go() {
        let (mut floor, start) = (TestFloor::new(2, 0), Instant::now());
        for (name, at) in [(1, 0), (2, 1)] {
            let now = start + Duration::from_secs(at);
            wait(&mut floor, name, CPU, now);
            settle(&mut floor, now);
            make_ready(&mut floor, now);
            settle(&mut floor, now);
            floor.release(InstanceId(u32::from(name)), Some(()), now);
        }
        let now = start + Duration::from_secs(2);
        wait(&mut floor, 3, CPU, now);
        assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(1) }]);
        floor.gone(InstanceId(1));
        assert_eq!(settle(&mut floor, now), vec![Step::Start { version: version(3), gpu: None }]);
    }

    #[test]
    fn an_instance_with_work_is_never_let_go_for_another_version() {
        let (mut floor, now) = (TestFloor::new(1, 0), Instant::now());
        wait(&mut floor, 1, CPU, now);
        settle(&mut floor, now);
        make_ready(&mut floor, now);
        settle(&mut floor, now);
        wait(&mut floor, 2, CPU, now);
        let much_later = now + Duration::from_hours(1);
        assert_eq!(settle(&mut floor, much_later), vec![]);
        floor.release(InstanceId(1), Some(()), much_later);
        assert_eq!(settle(&mut floor, much_later), vec![Step::LetGo { instance: InstanceId(1) }]);
    }

    #[test]
    fn a_version_whose_queue_never_empties_makes_way_after_a_while() {
        let (mut floor, now) = (TestFloor::new(1, 0), Instant::now());
        wait(&mut floor, 1, CPU, now);
        settle(&mut floor, now);
        make_ready(&mut floor, now);
        settle(&mut floor, now);
        wait(&mut floor, 2, CPU, now);
        for _ in 0..100 {
            wait(&mut floor, 1, CPU, now + Duration::from_secs(1));
        }
        floor.release(InstanceId(1), Some(()), now + Duration::from_secs(1));
        assert!(matches!(settle(&mut floor, now + Duration::from_secs(1))[..], [Step::Run { .. }]), "not yet");
        floor.release(InstanceId(1), Some(()), now + PATIENCE);
        assert_eq!(settle(&mut floor, now + PATIENCE), vec![Step::LetGo { instance: InstanceId(1) }]);
        floor.gone(InstanceId(1));
        let steps = settle(&mut floor, now + PATIENCE);
        assert!(steps.len() == 1 && matches!(steps[0], Step::Start { .. }));
    }

    #[test]
    fn more_instances_come_only_while_predictions_wait() {
        let (mut floor, now) = (TestFloor::new(8, 0), Instant::now());
        for _ in 0..20 {
            wait(&mut floor, 1, CPU, now);
        }
        assert_eq!(settle(&mut floor, now).len(), 1, "one to begin with");
        make_ready(&mut floor, now);
        assert!(matches!(settle(&mut floor, now)[..], [Step::Run { .. }]), "no second one at once");
        assert_eq!(next_wake(&floor, now, IDLE_EXPIRY), Some(now + SCALE_UP_AFTER));
        let later = now + SCALE_UP_AFTER;
        for expected in [1, 2, 4] {
            assert_eq!(settle(&mut floor, later).iter().filter(|s| matches!(s, Step::Start { .. })).count(), expected);
            make_ready(&mut floor, later);
        }
        settle(&mut floor, later);
        assert_eq!(floor.instances.len(), 8);
    }

    #[test]
    fn an_idle_instance_is_let_go_when_its_time_is_over() {
        let (mut floor, now) = (TestFloor::new(1, 0), Instant::now());
        wait(&mut floor, 1, CPU, now);
        settle(&mut floor, now);
        make_ready(&mut floor, now);
        settle(&mut floor, now);
        floor.release(InstanceId(1), Some(()), now);
        assert_eq!(next_wake(&floor, now, IDLE_EXPIRY), Some(now + IDLE_EXPIRY));
        assert_eq!(settle(&mut floor, now + IDLE_EXPIRY - Duration::from_millis(1)), vec![]);
        assert_eq!(settle(&mut floor, now + IDLE_EXPIRY), vec![Step::LetGo { instance: InstanceId(1) }]);
    }

    #[test]
    fn a_version_that_keeps_failing_is_tried_less_and_less_often() {
        let (mut floor, mut now) = (TestFloor::new(1, 0), Instant::now());
        wait(&mut floor, 1, CPU, now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert!(matches!(settle(&mut floor, now)[..], [Step::Start { .. }]));
            let instance = *floor.instances.keys().next().unwrap();
            floor.gone(instance);
            floor.back_off(version(1), now);
            assert_eq!(settle(&mut floor, now), vec![]);
            let next = floor.versions[&version(1)].retry_at.unwrap();
            waits.push(next - now);
            now = next;
        }
        assert_eq!(waits[0], Duration::from_millis(200));
        assert_eq!(waits[11], Duration::from_secs(30));
        assert!(waits.is_sorted());
    }

    #[test]
    fn each_gpu_has_one_process() {
        let (mut floor, now) = (TestFloor::new(8, 1), Instant::now());
        let gpu = Needs { concurrency: 1, gpu: true };
        wait(&mut floor, 1, gpu, now);
        wait(&mut floor, 2, gpu, now);
        wait(&mut floor, 3, CPU, now);
        let starts = settle(&mut floor, now);
        assert_eq!(starts.len(), 2);
        assert_eq!(starts.iter().filter(|s| matches!(s, Step::Start { gpu: Some(0), .. })).count(), 1);
    }

    #[derive(Clone, Debug)]
    enum Happening {
        Arrive(u8),
        Ready,
        Finish(prop::sample::Index),
        Crash(prop::sample::Index),
        Gone(prop::sample::Index),
        Pass(u16),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => (0_u8..6).prop_map(Happening::Arrive),
            2 => Just(Happening::Ready),
            4 => any::<prop::sample::Index>().prop_map(Happening::Finish),
            1 => any::<prop::sample::Index>().prop_map(Happening::Crash),
            2 => any::<prop::sample::Index>().prop_map(Happening::Gone),
            2 => (0_u16..20_000).prop_map(Happening::Pass),
        ]
    }

    /// Versions 0 and 1 need a GPU; version 2 has two slots an instance.
    fn needs(name: u8) -> Needs {
        Needs { concurrency: if name == 2 { 2 } else { 1 }, gpu: name < 2 }
    }

    proptest! {
        #[test]
        fn whatever_happens_the_room_is_kept_and_work_goes_on(happenings in proptest::collection::vec(happening(), 1..120), instances_max in 1_usize..4) {
            let start = Instant::now();
            let (mut floor, mut now) = (TestFloor::new(instances_max, 1), start);
            for happening in happenings {
                match happening {
                    Happening::Arrive(name) => wait(&mut floor, name, needs(name), now),
                    Happening::Ready => make_ready(&mut floor, now),
                    Happening::Pass(millis) => now += Duration::from_millis(u64::from(millis)),
                    Happening::Finish(pick) => {
                        let busy: Vec<_> = floor.instances.iter().filter(|(_, p)| p.busy() > 0).map(|(id, _)| *id).collect();
                        if !busy.is_empty() {
                            floor.release(busy[pick.index(busy.len())], Some(()), now);
                        }
                    }
                    Happening::Crash(pick) => {
                        let all: Vec<_> = floor.instances.keys().copied().collect();
                        if !all.is_empty() {
                            let place = floor.gone(all[pick.index(all.len())]).unwrap();
                            floor.back_off(place.version, now);
                        }
                    }
                    Happening::Gone(pick) => {
                        let leaving: Vec<_> = floor.instances.iter().filter(|(_, p)| matches!(p.stage, Stage::Leaving { busy: 0 })).map(|(id, _)| *id).collect();
                        if !leaving.is_empty() {
                            floor.gone(leaving[pick.index(leaving.len())]);
                        }
                    }
                }
                while let Some(step) = next_step(&floor, now, IDLE_EXPIRY) {
                    if let Step::LetGo { instance } = step {
                        prop_assert_eq!(floor.instances[&instance].busy(), 0, "an instance with work was ended");
                    }
                    apply(&mut floor, step);
                }
                floor.forget_idle_versions(now);
                prop_assert!(floor.instances.len() <= instances_max);
                let on_gpu = floor.instances.values().filter(|p| p.gpu.is_some()).count();
                prop_assert!(on_gpu <= 1 && floor.gpus[0] == (on_gpu == 1));
                for (id, version) in &floor.versions {
                    let idle_slot = floor.of(*id).any(|(_, p)| p.has_idle_slot());
                    prop_assert!(version.queue.is_empty() || !idle_slot, "a prediction waits beside a free slot of its version");
                }
            }
            // Once nothing fails any more, all that waits is served.
            for _ in 0..5_000 {
                if floor.versions.values().all(|version| version.queue.is_empty()) {
                    break;
                }
                now += Duration::from_millis(500);
                make_ready(&mut floor, now);
                settle(&mut floor, now);
                let all: Vec<_> = floor.instances.keys().copied().collect();
                for id in all {
                    while floor.instances[&id].busy() > 0 {
                        floor.release(id, Some(()), now);
                    }
                    if matches!(floor.instances[&id].stage, Stage::Leaving { .. }) {
                        floor.gone(id);
                    }
                }
                settle(&mut floor, now);
            }
            prop_assert!(floor.versions.values().all(|version| version.queue.is_empty()), "a prediction waits for ever");
        }
    }
}
