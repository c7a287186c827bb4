//! What the plan does, and that it keeps its word whatever happens.

use super::*;
use crate::pool::fleet::{Needs, Terms, Waiting};
use proptest::prelude::*;
use protocol::prediction::Errand;
use protocol::{Digest, VersionId};

const IDLE_EXPIRY: Duration = Duration::from_mins(1);
/// Most tests are of what is awake.
const IDLENESS: Idleness = Idleness { freeze_after: IDLE_EXPIRY, expiry: IDLE_EXPIRY };
const CPU: Needs = Needs { concurrency: 1, gpu: false, gpu_memory_bytes: 0, memory_bytes: 0 };

type TestFloor = Floor<u32, ()>;

fn fleet(name: u8) -> FleetId {
    FleetId { version: VersionId::new(Digest::of(&[name])), errand: Errand::Predict, deployment: None }
}

/// A release of the one deployment.
fn release(name: u8) -> FleetId {
    FleetId { deployment: Some("acme/live".parse().unwrap()), ..fleet(name) }
}

fn wait(floor: &mut TestFloor, name: u8, needs: Needs, now: Instant) {
    floor.open(&fleet(name), needs, Terms::ON_DEMAND);
    wait_for(floor, &fleet(name), now);
}

fn wait_for(floor: &mut TestFloor, fleet: &FleetId, now: Instant) {
    floor.arrive(fleet, Waiting::since(now, 0)).unwrap();
}

fn ordered(instances_min: usize, instances_max: usize) -> Terms {
    Terms { instances_min, instances_max, ..Terms::ON_DEMAND }
}

fn starts(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Start { .. })).count()
}

/// Does what the plan says until it says nothing; starts stay under way.
fn settle(floor: &mut TestFloor, now: Instant) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(step) = next_step(floor, now, IDLENESS) {
        apply(floor, step.clone());
        steps.push(step);
        assert!(steps.len() < 10_000, "the plan does not come to rest: {:?}", &steps[..8]);
    }
    steps
}

fn apply(floor: &mut TestFloor, step: Step) {
    match step {
        Step::Run { instance } => assert!(floor.take(instance).is_some()),
        Step::Start { fleet, gpu } => drop(floor.start(fleet, gpu)),
        Step::Freeze { instance } => floor.lay(instance, Rest::Frozen),
        Step::PageOut { instance } => floor.lay(instance, Rest::PagedOut),
        Step::LetGo { instance } => floor.let_go(instance),
        Step::Cancel { fleet } => assert!(!floor.give_up(&fleet).is_empty()),
    }
}

fn make_ready(floor: &mut TestFloor, now: Instant) {
    let starting: Vec<_> = floor.instances.iter().filter(|(_, p)| matches!(p.stage, Stage::Starting)).map(|(id, _)| *id).collect();
    for id in starting {
        let slots = floor.fleets[&floor.instances[&id].fleet].needs.concurrency;
        floor.ready(id, vec![(); slots as usize], now);
    }
}

#[test]
fn the_first_prediction_starts_an_instance_and_runs_in_it() {
    let (mut floor, now) = (TestFloor::new(2, 0), Instant::now());
    wait(&mut floor, 1, CPU, now);
    assert_eq!(settle(&mut floor, now), vec![Step::Start { fleet: fleet(1), gpu: None }]);
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
    assert_eq!(settle(&mut floor, now), vec![Step::Start { fleet: fleet(3), gpu: None }]);
}

#[test]
fn an_instance_with_work_is_never_let_go_for_another_fleet() {
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
fn a_fleet_whose_queue_never_empties_makes_way_after_a_while() {
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
    assert_eq!(next_wake(&floor, now, IDLENESS), Some(now + SCALE_UP_AFTER));
    let later = now + SCALE_UP_AFTER;
    for expected in [1, 2, 4] {
        assert_eq!(starts(&settle(&mut floor, later)), expected);
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
    assert_eq!(next_wake(&floor, now, IDLENESS), Some(now + IDLE_EXPIRY));
    assert_eq!(settle(&mut floor, now + IDLE_EXPIRY - Duration::from_millis(1)), vec![]);
    assert_eq!(settle(&mut floor, now + IDLE_EXPIRY), vec![Step::LetGo { instance: InstanceId(1) }]);
}

/// One idle instance of each of the fleets, the first used longest ago.
fn idle(names: &[u8], now: Instant) -> TestFloor {
    let mut floor = TestFloor::new(8, 0);
    for name in names {
        wait(&mut floor, *name, CPU, now);
        settle(&mut floor, now);
        make_ready(&mut floor, now);
        settle(&mut floor, now);
        let last = *floor.instances.keys().last().unwrap();
        floor.release(last, Some(()), now + Duration::from_millis(u64::from(*name)));
    }
    floor
}

#[test]
fn an_idle_instance_freezes_after_a_while_and_is_woken_only_when_no_other_has_a_slot() {
    let now = Instant::now();
    let idleness = Idleness { freeze_after: Duration::from_secs(1), ..IDLENESS };
    let mut floor = idle(&[1], now);
    let later = now + Duration::from_secs(2);
    assert!(next_wake(&floor, now, idleness).is_some_and(|wake| wake < later));
    assert_eq!(next_step(&floor, now, idleness), None);
    assert_eq!(next_step(&floor, later, idleness), Some(Step::Freeze { instance: InstanceId(1) }));
    floor.lay(InstanceId(1), Rest::Frozen);
    assert_eq!(next_step(&floor, later, idleness), None);
    let awake = floor.start(fleet(1), None);
    floor.ready(awake, vec![()], later);
    for expected in [awake, InstanceId(1)] {
        wait(&mut floor, 1, CPU, later);
        assert_eq!(settle(&mut floor, later), vec![Step::Run { instance: expected }]);
    }
    floor.release(InstanceId(1), Some(()), later);
    assert_eq!(floor.instances[&InstanceId(1)].rest(), Some(Rest::Awake), "it is awake once it has run");
}

#[test]
fn what_an_order_keeps_stays_awake() {
    let (mut floor, now) = (TestFloor::new(4, 0), Instant::now());
    floor.open(&release(1), CPU, ordered(1, 3));
    settle(&mut floor, now);
    floor.start(release(1), None);
    make_ready(&mut floor, now);
    let (later, idleness) = (now + Duration::from_secs(2), Idleness { freeze_after: Duration::from_secs(1), ..IDLENESS });
    assert_eq!(next_step(&floor, later, idleness), Some(Step::Freeze { instance: InstanceId(1) }), "one more than is kept");
    floor.lay(InstanceId(1), Rest::Frozen);
    assert_eq!(next_step(&floor, later, idleness), None);
}

#[test]
fn when_memory_is_short_frozen_ones_are_paged_out_before_any_is_let_go() {
    let now = Instant::now();
    let mut floor = idle(&[1, 2], now);
    floor.lay(InstanceId(2), Rest::Frozen);
    assert_eq!(next_step(&floor, now, IDLENESS), None);
    floor.memory_is_short = true;
    let (one, two) = (InstanceId(1), InstanceId(2));
    let expected = [
        Step::PageOut { instance: two },
        Step::Freeze { instance: one },
        Step::PageOut { instance: one },
        Step::LetGo { instance: one },
        Step::LetGo { instance: two },
    ];
    assert_eq!(settle(&mut floor, now), expected);
}

#[test]
fn a_version_that_was_published_is_started_where_there_is_room_and_nobody_makes_any() {
    let now = Instant::now();
    let mut floor = idle(&[1], now);
    floor.open(&fleet(2), CPU, Terms::ON_DEMAND);
    floor.prewarm(&fleet(2));
    assert_eq!(settle(&mut floor, now), vec![Step::Start { fleet: fleet(2), gpu: None }]);
    floor.end_prewarms();
    floor.instances_max = 2;
    floor.open(&fleet(3), CPU, Terms::ON_DEMAND);
    floor.prewarm(&fleet(3));
    make_ready(&mut floor, now);
    assert_eq!(settle(&mut floor, now), vec![]);
    floor.end_prewarms();
    floor.forget_idle_fleets(now);
    assert!(!floor.fleets.contains_key(&fleet(3)));
}

#[test]
fn a_fleet_that_keeps_failing_is_tried_less_and_less_often() {
    let (mut floor, mut now) = (TestFloor::new(1, 0), Instant::now());
    wait(&mut floor, 1, CPU, now);
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert!(matches!(settle(&mut floor, now)[..], [Step::Start { .. }]));
        let instance = *floor.instances.keys().next().unwrap();
        floor.gone(instance);
        floor.back_off(&fleet(1), now);
        assert_eq!(settle(&mut floor, now), vec![]);
        let next = floor.fleets[&fleet(1)].retry_at.unwrap();
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
    let gpu = Needs { gpu: true, ..CPU };
    wait(&mut floor, 1, gpu, now);
    wait(&mut floor, 2, gpu, now);
    wait(&mut floor, 3, CPU, now);
    let starts = settle(&mut floor, now);
    assert_eq!(starts.len(), 2);
    assert_eq!(starts.iter().filter(|s| matches!(s, Step::Start { gpu: Some(0), .. })).count(), 1);
}

#[test]
fn the_least_recently_used_make_way_for_one_that_needs_their_memory() {
    let now = Instant::now();
    let mut floor = idle(&[1, 2, 3], now);
    floor.memory_bytes_max = 1 << 30;
    let large = Needs { memory_bytes: 700 << 20, ..CPU };
    wait(&mut floor, 4, large, now);
    for instance in [1, 2] {
        assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(instance) }], "each assumed to have 256 MiB");
        floor.gone(InstanceId(instance));
    }
    assert_eq!(starts(&settle(&mut floor, now)), 1);
    wait(&mut floor, 5, Needs { memory_bytes: 2 << 30, ..CPU }, now);
    assert_eq!(settle(&mut floor, now), vec![], "nobody makes way for what never fits");
}

#[test]
fn what_was_seen_of_a_fleet_is_counted_when_it_declares_nothing() {
    let now = Instant::now();
    let mut floor = idle(&[1], now);
    floor.fleets.get_mut(&fleet(1)).unwrap().memory_bytes_seen = 900 << 20;
    floor.memory_bytes_max = 1 << 30;
    wait(&mut floor, 2, CPU, now);
    assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(1) }]);
}

#[test]
fn a_gpu_that_is_large_enough_is_given_and_the_smallest_of_those() {
    let (mut floor, now) = (TestFloor::new(8, 3), Instant::now());
    floor.gpu_bytes = vec![80, 24, 16];
    let gpu = |gpu_memory_bytes| Needs { gpu: true, gpu_memory_bytes, ..CPU };
    wait(&mut floor, 1, gpu(20), now);
    wait(&mut floor, 2, gpu(10), now);
    wait(&mut floor, 3, gpu(81), now);
    let expected = [Step::Start { fleet: fleet(1), gpu: Some(1) }, Step::Start { fleet: fleet(2), gpu: Some(2) }];
    let mut steps = settle(&mut floor, now);
    steps.sort_by_key(|step| format!("{step:?}").contains("Some(2)"));
    assert_eq!(steps, expected);
}

#[test]
fn spare_instances_come_with_work_and_go_after_it() {
    let (mut floor, now) = (TestFloor::new(8, 0), Instant::now());
    let expiry = Duration::from_secs(5);
    floor.open(&release(1), CPU, Terms { instances_buffer: 2, idle_expiry: Some(expiry), ..ordered(0, 4) });
    assert_eq!(settle(&mut floor, now), vec![], "none while nobody asks");
    wait_for(&mut floor, &release(1), now);
    assert_eq!(starts(&settle(&mut floor, now)), 1);
    make_ready(&mut floor, now);
    assert_eq!(starts(&settle(&mut floor, now)), 2, "two beyond the busy one");
    make_ready(&mut floor, now);
    for _ in 0..2 {
        wait_for(&mut floor, &release(1), now);
    }
    assert_eq!(starts(&settle(&mut floor, now)), 1, "no more than the maximum");
    make_ready(&mut floor, now);
    let all: Vec<_> = floor.instances.keys().copied().collect();
    assert_eq!(settle(&mut floor, now + expiry), vec![], "the spare one is kept while others work");
    for id in &all {
        if floor.instances[id].busy() > 0 {
            floor.release(*id, Some(()), now + expiry);
        }
    }
    assert_eq!(next_wake(&floor, now + expiry, IDLENESS), Some(now + expiry + expiry));
    assert_eq!(settle(&mut floor, now + expiry + expiry).len(), 4);
}

#[test]
fn what_an_order_keeps_is_started_at_once_and_outlives_idleness_and_others_demand() {
    let (mut floor, now) = (TestFloor::new(2, 0), Instant::now());
    floor.open(&release(1), CPU, ordered(2, 3));
    assert_eq!(starts(&settle(&mut floor, now)), 2);
    make_ready(&mut floor, now);
    let much_later = now + Duration::from_hours(1);
    assert_eq!(settle(&mut floor, much_later), vec![]);
    wait(&mut floor, 2, CPU, now);
    assert_eq!(settle(&mut floor, much_later), vec![], "there is no room that is not kept");
    floor.gone(InstanceId(1));
    assert_eq!(settle(&mut floor, much_later), vec![Step::Start { fleet: release(1), gpu: None }], "what is lost is owed first");
}

#[test]
fn an_order_takes_the_next_idle_instance_of_a_fleet_whose_queue_never_empties() {
    let (mut floor, now) = (TestFloor::new(1, 0), Instant::now());
    wait(&mut floor, 1, CPU, now);
    settle(&mut floor, now);
    make_ready(&mut floor, now);
    settle(&mut floor, now);
    wait(&mut floor, 1, CPU, now);
    floor.open(&release(2), CPU, ordered(1, 1));
    assert_eq!(settle(&mut floor, now), vec![], "an instance with work is not ended");
    floor.release(InstanceId(1), Some(()), now);
    assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(1) }]);
}

#[test]
fn an_order_never_gets_more_than_its_maximum() {
    let (mut floor, now) = (TestFloor::new(8, 0), Instant::now());
    floor.open(&release(1), CPU, ordered(0, 2));
    for _ in 0..20 {
        wait_for(&mut floor, &release(1), now);
    }
    for seconds in 0..10 {
        settle(&mut floor, now + Duration::from_secs(seconds));
        make_ready(&mut floor, now);
    }
    assert_eq!(floor.instances.len(), 2);
    floor.open(&release(1), CPU, ordered(0, 1));
    let later = now + Duration::from_secs(10);
    for instance in [InstanceId(1), InstanceId(2)] {
        floor.release(instance, Some(()), later);
    }
    let steps = settle(&mut floor, later);
    assert_eq!(steps, vec![Step::Run { instance: InstanceId(1) }, Step::LetGo { instance: InstanceId(2) }]);
}

#[test]
fn an_order_of_none_cancels_what_waits_and_ends_what_is_idle() {
    let (mut floor, now) = (TestFloor::new(8, 0), Instant::now());
    floor.open(&release(1), CPU, ordered(1, 1));
    settle(&mut floor, now);
    make_ready(&mut floor, now);
    wait_for(&mut floor, &release(1), now);
    wait_for(&mut floor, &release(1), now);
    settle(&mut floor, now);
    floor.open(&release(1), CPU, ordered(0, 0));
    assert_eq!(settle(&mut floor, now), vec![Step::Cancel { fleet: release(1) }], "what runs may finish");
    floor.release(InstanceId(1), Some(()), now);
    assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(1) }]);
}

#[test]
fn the_next_release_is_started_before_the_last_one_goes_if_there_is_room() {
    for (instances_max, expected) in [
        (2, vec![Step::Start { fleet: release(2), gpu: None }, Step::LetGo { instance: InstanceId(1) }]),
        (1, vec![Step::LetGo { instance: InstanceId(1) }]),
    ] {
        let (mut floor, now) = (TestFloor::new(instances_max, 0), Instant::now());
        floor.open(&release(1), CPU, ordered(1, 1));
        settle(&mut floor, now);
        make_ready(&mut floor, now);
        floor.open(&release(1), CPU, Terms { instances_max: 1, ..Terms::WHILE_ASKED });
        floor.open(&release(2), CPU, ordered(1, 1));
        assert_eq!(settle(&mut floor, now), expected);
        floor.gone(InstanceId(1));
        settle(&mut floor, now);
        make_ready(&mut floor, now);
        assert!(floor.of(&release(2)).all(|(_, place)| place.has_idle_slot()));
    }
}

#[test]
fn what_waits_for_the_last_release_is_served_before_its_instance_goes() {
    let (mut floor, now) = (TestFloor::new(1, 0), Instant::now());
    floor.open(&release(1), CPU, ordered(1, 1));
    settle(&mut floor, now);
    make_ready(&mut floor, now);
    for _ in 0..2 {
        wait_for(&mut floor, &release(1), now);
    }
    settle(&mut floor, now);
    floor.open(&release(1), CPU, Terms { instances_max: 1, ..Terms::WHILE_ASKED });
    floor.open(&release(2), CPU, ordered(1, 1));
    floor.release(InstanceId(1), Some(()), now);
    assert_eq!(settle(&mut floor, now), vec![Step::Run { instance: InstanceId(1) }]);
    floor.release(InstanceId(1), Some(()), now);
    assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(1) }]);
}

#[test]
fn a_release_on_other_hardware_gets_other_instances() {
    let (mut floor, now) = (TestFloor::new(4, 1), Instant::now());
    floor.open(&release(1), CPU, ordered(1, 1));
    settle(&mut floor, now);
    make_ready(&mut floor, now);
    floor.open(&release(1), Needs { gpu: true, ..CPU }, ordered(1, 1));
    assert_eq!(settle(&mut floor, now), vec![Step::Start { fleet: release(1), gpu: Some(0) }, Step::LetGo { instance: InstanceId(1) }]);
}

#[test]
fn an_instance_whose_only_slot_is_used_up_goes_though_others_wait() {
    let (mut floor, now) = (TestFloor::new(1, 0), Instant::now());
    let training = FleetId { errand: Errand::Train, ..fleet(1) };
    floor.open(&training, CPU, Terms::WHILE_ASKED);
    wait_for(&mut floor, &training, now);
    wait_for(&mut floor, &training, now);
    settle(&mut floor, now);
    make_ready(&mut floor, now);
    settle(&mut floor, now);
    floor.release(InstanceId(1), None, now);
    assert_eq!(settle(&mut floor, now), vec![Step::LetGo { instance: InstanceId(1) }]);
    floor.gone(InstanceId(1));
    assert_eq!(starts(&settle(&mut floor, now)), 1, "each training has a process of its own");
}

#[derive(Clone, Debug)]
enum Happening {
    Arrive(u8),
    Ask(u8),
    Order { release: u8, instances_min: usize, instances_max: usize },
    Ready,
    Finish(prop::sample::Index),
    Crash(prop::sample::Index),
    Gone(prop::sample::Index),
    Pass(u16),
    RunShort,
}

fn happening() -> impl Strategy<Value = Happening> {
    let order = (0_u8..3, 0_usize..3, 0_usize..3);
    prop_oneof![
        4 => (0_u8..6).prop_map(Happening::Arrive),
        2 => (0_u8..3).prop_map(Happening::Ask),
        1 => order.prop_map(|(release, instances_min, more)| Happening::Order { release, instances_min, instances_max: instances_min + more }),
        2 => Just(Happening::Ready),
        4 => any::<prop::sample::Index>().prop_map(Happening::Finish),
        1 => any::<prop::sample::Index>().prop_map(Happening::Crash),
        2 => any::<prop::sample::Index>().prop_map(Happening::Gone),
        2 => (0_u16..20_000).prop_map(Happening::Pass),
        1 => Just(Happening::RunShort),
    ]
}

/// Fleets 0 and 1 need a GPU; fleet 2 has two slots an instance.
fn needs(name: u8) -> Needs {
    Needs { concurrency: if name == 2 { 2 } else { 1 }, gpu: name < 2, ..CPU }
}

/// What the one deployment's order says of each of its releases.
fn order(floor: &mut TestFloor, current: u8, terms: Terms) {
    for name in 0..3 {
        let of_it = if name == current { terms } else { Terms { instances_max: terms.instances_max, ..Terms::WHILE_ASKED } };
        floor.open(&release(name), needs(name), of_it);
    }
}

fn one_of(floor: &TestFloor, pick: prop::sample::Index, is_it: impl Fn(&Place<()>) -> bool) -> Option<InstanceId> {
    let those: Vec<_> = floor.instances.iter().filter(|(_, place)| is_it(place)).map(|(id, _)| *id).collect();
    (!those.is_empty()).then(|| those[pick.index(those.len())])
}

proptest! {
    #[test]
    fn whatever_happens_the_room_is_kept_and_work_goes_on(happenings in proptest::collection::vec(happening(), 1..120), instances_max in 1_usize..4) {
        let (mut floor, mut now) = (TestFloor::new(instances_max, 1), Instant::now());
        let (mut current, mut terms) = (0, ordered(0, 1));
        for happening in happenings {
            match happening {
                Happening::Arrive(name) => wait(&mut floor, name, needs(name), now),
                Happening::Ask(name) => {
                    order(&mut floor, current, terms);
                    wait_for(&mut floor, &release(name), now);
                }
                Happening::Order { release, instances_min, instances_max } => {
                    (current, terms) = (release, ordered(instances_min, instances_max));
                    order(&mut floor, current, terms);
                }
                Happening::Ready => make_ready(&mut floor, now),
                Happening::RunShort => floor.memory_is_short = true,
                Happening::Pass(millis) => now += Duration::from_millis(u64::from(millis)),
                Happening::Finish(pick) => if let Some(busy) = one_of(&floor, pick, |place| place.busy() > 0) {
                    floor.release(busy, Some(()), now);
                },
                Happening::Crash(pick) => if let Some(any) = one_of(&floor, pick, |_| true) {
                    floor.ended(any, super::super::floor::End::Crashed, now);
                },
                Happening::Gone(pick) => if let Some(gone) = one_of(&floor, pick, |place| !place.is_counted_on() && place.busy() == 0) {
                    floor.ended(gone, super::super::floor::End::Asked, now);
                },
            }
            while let Some(step) = next_step(&floor, now, Idleness { freeze_after: Duration::from_secs(5), ..IDLENESS }) {
                match &step {
                    Step::LetGo { instance } => {
                        let place = &floor.instances[instance];
                        prop_assert_eq!(place.busy(), 0, "an instance with work was ended");
                        let terms = floor.fleets[&place.fleet].terms;
                        let others = floor.serving(&place.fleet).filter(|(other, _)| other != instance).count();
                        prop_assert!(others >= terms.instances_min, "an instance was ended that an order keeps");
                    }
                    Step::Start { fleet, .. } => {
                        prop_assert!(floor.serving(fleet).count() < floor.fleets[fleet].terms.instances_max, "more were started than an order allows");
                    }
                    Step::Freeze { instance } | Step::PageOut { instance } => {
                        prop_assert!(floor.instances[instance].rest().is_some(), "an instance with work was stopped");
                    }
                    Step::Cancel { fleet } => prop_assert_eq!(floor.fleets[fleet].terms.instances_max, 0),
                    Step::Run { .. } => {}
                }
                apply(&mut floor, step);
            }
            floor.forget_idle_fleets(now);
            prop_assert!(floor.instances.len() <= instances_max);
            let on_gpu = floor.instances.values().filter(|place| place.gpu.is_some()).count();
            prop_assert!(on_gpu <= 1 && floor.gpus[0] == (on_gpu == 1));
            for (id, fleet) in &floor.fleets {
                let idle_slot = floor.serving(id).any(|(_, place)| place.has_idle_slot());
                prop_assert!(fleet.queue.is_empty() || !idle_slot, "a prediction waits beside a free slot of its fleet");
                prop_assert!(fleet.queue.is_empty() || fleet.terms.instances_max > 0, "a prediction waits for what never comes");
            }
        }
        // Once nothing fails any more an order has what it keeps, as far as there is room; and when it leaves room, all that waits is served.
        let run_on = |floor: &mut TestFloor, now: &mut Instant| {
            for _ in 0..500 {
                *now += Duration::from_millis(500);
                make_ready(floor, *now);
                settle(floor, *now);
                let all: Vec<_> = floor.instances.keys().copied().collect();
                for id in all {
                    while floor.instances[&id].busy() > 0 {
                        floor.release(id, Some(()), *now);
                    }
                    if !floor.instances[&id].is_counted_on() {
                        floor.gone(id);
                    }
                }
                settle(floor, *now);
            }
        };
        run_on(&mut floor, &mut now);
        let possible = if needs(current).gpu { 1 } else { instances_max };
        let kept = floor.serving(&release(current)).filter(|(_, place)| matches!(place.stage, Stage::Ready { .. })).count();
        prop_assert!(kept >= terms.instances_min.min(possible), "an order that could be kept is not");
        order(&mut floor, current, ordered(0, 1));
        run_on(&mut floor, &mut now);
        prop_assert!(floor.fleets.values().all(|fleet| fleet.queue.is_empty()), "a prediction waits for ever");
    }
}
