//! Owns everything that runs: takes calls in, gives them slots, starts and ends instances, and ends them all when the runner stops.
//!
//! One task; what to do next is decided by the pure functions of `plan` over the state in `floor`, and done here.

mod drain;
pub mod fleet;
pub mod floor;
pub mod kept;
mod orders;
pub mod plan;
mod rests;
mod waits;
mod wishes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fabric::{Call, Fabric, Inbox};
use protocol::Clock;
use protocol::wire::{Bundle, Ended, FailCode, Grant, Outcome};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::RunnerConfig;
use crate::backlog::Backlog;
use crate::card::{Cards, Standing};
use crate::instance::start::{Attendants, Order, Site, StartError};
use crate::instance::{DeathCause, Instance};
use crate::run::{Fate, Finished, Surroundings, Turn, run};
use crate::slot::IdleSlot;
use crate::supervise::supervise;
use crate::{memory, zygote};
use fleet::{FleetId, Needs, Waiting};
use floor::{End, Floor, InstanceId, Place};
use kept::Kept;
use orders::Orders;
use plan::{Idleness, Step, next_step, next_wake};
use waits::{Waits, Who};

pub use wishes::Wishes;

/// A prediction that so many instances did not take is given up.
const REFUSALS_MAX: u32 = 3;
/// Starts in a row that break before those who wait are told.
const STARTS_MAX: u32 = 4;

type Started = (InstanceId, Result<(Arc<Instance>, Attendants), StartError>);

#[derive(Debug)]
pub struct Pool {
    site: Arc<Site>,
    floor: Floor<Turn, IdleSlot>,
    /// What is needed to start an instance though nothing waits for it.
    known: HashMap<FleetId, (Arc<Bundle>, Grant)>,
    orders: Orders,
    kept: Kept,
    ready: HashMap<InstanceId, Arc<Instance>>,
    idleness: Idleness,
    drain_grace: Duration,
    cards: Cards,

    starts: JoinSet<Started>,
    runs: JoinSet<Finished>,
    supervisions: JoinSet<Arc<Instance>>,
    /// What has idle instances rest.
    rests: JoinSet<()>,
    memory_seen_at: Instant,
    /// Which instance a task works for, should it panic.
    works_for: HashMap<Id, InstanceId>,
    waits: Waits,
    around: Surroundings,
    /// Keeps zygotes ready; ends, with all of them, when it is told to.
    keeper: JoinSet<()>,
    keep: CancellationToken,
}

impl Pool {
    pub fn new(config: &RunnerConfig, site: Site, fabric: &Fabric, clock: Clock) -> Self {
        let mut floor = Floor::new(config.instances_max, site.gpus.len());
        floor.gpu_bytes = site.gpus.iter().map(|gpu| gpu.memory_bytes).collect();
        floor.memory_bytes_max = config.memory_bytes_max.or_else(memory::to_use).unwrap_or(u64::MAX);
        let cards = Cards::new(config, &site, fabric.directory().clone(), clock);
        let (site, keep) = (Arc::new(site), CancellationToken::new());
        let mut keeper = JoinSet::new();
        keeper.spawn(zygote::keep(site.clone(), keep.clone()));
        Self {
            site,
            floor,
            known: HashMap::new(),
            orders: Orders::default(),
            kept: Kept::new(Instant::now()),
            ready: HashMap::new(),
            idleness: Idleness { freeze_after: config.freeze_after, expiry: config.idle_expiry },
            drain_grace: config.drain_grace,
            cards,
            starts: JoinSet::new(),
            runs: JoinSet::new(),
            supervisions: JoinSet::new(),
            rests: JoinSet::new(),
            memory_seen_at: Instant::now(),
            works_for: HashMap::new(),
            waits: Waits::default(),
            around: Surroundings { forwarders: TaskTracker::new(), halt: CancellationToken::new() },
            keeper,
            keep,
        }
    }

    /// Runs until `stop`, then drains.
    pub async fn serve(mut self, mut inbox: Inbox, wishes: Wishes, stop: CancellationToken) {
        let Wishes { standing: mut orders, mut prewarms } = wishes;
        orders.mark_changed();
        loop {
            self.advance();
            let wake_at = self.publish_and_look_ahead();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(finished) = self.runs.join_next_with_id(), if !self.runs.is_empty() => self.finished(finished),
                Some(instance) = self.supervisions.join_next(), if !self.supervisions.is_empty() => self.gone(instance),
                Some(started) = self.starts.join_next_with_id(), if !self.starts.is_empty() => self.started(started),
                Some(rested) = self.rests.join_next(), if !self.rests.is_empty() => {
                    if let Err(error) = rested {
                        tracing::error!(%error, "an instance's rest broke");
                    }
                }
                who = self.waits.cancelled() => self.cancelled(&who),
                Ok(()) = orders.changed() => {
                    let list = orders.borrow_and_update().clone();
                    self.follow(list);
                }
                Ok(prewarm) = prewarms.recv() => self.prewarm(prewarm),
                call = inbox.next() => match call {
                    Some(call) => self.arrive(call),
                    None => break,
                },
                () = sleep_until(wake_at) => continue,
            }
            self.cards.note_change();
        }
        drop(inbox);
        self.drain().await;
    }

    /// Returns when there will be something to do though nothing happens.
    fn publish_and_look_ahead(&mut self) -> Instant {
        let standing = Standing {
            floor: &self.floor,
            known: &self.known,
            idleness: self.idleness,
            kept: &self.kept,
            zygotes: self.site.zygotes.ready(),
        };
        let publish_at = self.cards.publish_when_due(&standing);
        next_wake(&self.floor, Instant::now(), self.idleness).map_or(publish_at, |wake_at| wake_at.min(publish_at))
    }

    fn arrive(&mut self, call: Call) {
        let who = Who::of(&call.assignment);
        self.open(&who.fleet, &call);
        let turn = Turn { call: Arc::new(call), arrived_at: Instant::now(), refusals: 0 };
        if let Some(why) = self.why_never(&who.fleet) {
            return self.refuse(turn, FailCode::NoCapacity, &why, "");
        }
        let waiting = Waiting { since: turn.arrived_at, account: who.account.clone(), rank: who.attempt.0, entry: turn };
        if let Err(refused) = self.floor.arrive(&who.fleet, waiting) {
            return self.refuse(refused.entry, FailCode::NoCapacity, "too many predictions wait for this version", "");
        }
        self.advance();
        self.watch_for_cancel(who);
    }

    /// What an instance of the fleet needs and this machine has not, whatever else runs here.
    fn why_never(&self, fleet: &FleetId) -> Option<String> {
        let fleet = self.floor.fleets.get(fleet).filter(|fleet| !self.floor.could_hold(fleet))?;
        let Needs { gpu, gpu_memory_bytes, .. } = fleet.needs;
        let most = self.floor.gpu_bytes.iter().copied().max();
        Some(match most {
            None if gpu => "this runner has no GPU".to_owned(),
            Some(most) if gpu && most < gpu_memory_bytes => {
                format!("the model needs {gpu_memory_bytes} bytes of a GPU's memory, and this runner's have {most}")
            }
            _ => format!("the model needs {} bytes of memory, and this runner has {}", fleet.memory_bytes(), self.floor.memory_bytes_max),
        })
    }

    /// Makes the call's fleet known. Of what is ordered, the order's own grant is kept: it opens the version's blobs for longer.
    fn open(&mut self, fleet: &FleetId, call: &Call) {
        let bundle = &call.assignment.bundle;
        if self.orders.order_of(fleet).is_none() || !self.known.contains_key(fleet) {
            self.known.insert(fleet.clone(), (bundle.clone(), call.assignment.grant.clone()));
        }
        self.floor.open(fleet, self.orders.needs(fleet, &bundle.config), self.orders.terms(fleet));
    }

    /// A prediction that still waits is taken out of the queue when it is cancelled.
    fn watch_for_cancel(&mut self, who: Who) {
        let waiting = self.floor.find(&who.fleet, &who.account, |turn| who.is(turn));
        if let Some(call) = waiting.map(|turn| turn.call.clone()) {
            self.waits.begin(who, call);
        }
    }

    fn cancelled(&mut self, who: &Who) {
        if let Some(waiting) = self.floor.leave(&who.fleet, &who.account, |turn| who.is(turn)) {
            self.conclude(waiting.entry, Outcome::Canceled, "");
        }
    }

    /// Does whatever there is to do now.
    fn advance(&mut self) {
        let now = Instant::now();
        self.look_at_memory(now);
        while let Some(step) = next_step(&self.floor, now, self.idleness) {
            match step {
                Step::Run { instance } => self.run(instance),
                Step::Start { fleet, gpu } => self.start(fleet, gpu),
                Step::Freeze { instance } => self.freeze(instance),
                Step::PageOut { instance } => self.page_out(instance),
                Step::LetGo { instance } => self.let_go(instance),
                Step::Cancel { fleet } => {
                    for waiting in self.floor.give_up(&fleet) {
                        self.conclude(waiting.entry, Outcome::Canceled, "");
                    }
                }
            }
            self.cards.note_change();
        }
        self.floor.end_prewarms();
        self.floor.forget_idle_fleets(now);
        self.known.retain(|fleet, _| self.floor.fleets.contains_key(fleet));
        self.kept.look(&self.floor, self.orders.fleets(), now);
    }

    fn run(&mut self, instance: InstanceId) {
        let Some((waiting, slot)) = self.floor.take(instance) else { return };
        self.waits.end(&waiting.entry);
        let task = self.runs.spawn(run(slot.occupy(), waiting.entry, self.around.clone()));
        self.works_for.insert(task.id(), instance);
    }

    fn start(&mut self, fleet: FleetId, gpu: Option<usize>) {
        let (bundle, grant) = self.known.get(&fleet).cloned().expect("what the floor has, was brought by an assignment or an order");
        let (version, errand) = (fleet.version.short(), fleet.errand);
        let id = self.floor.start(fleet, gpu);
        tracing::info!(instance = id.0, %version, errand = errand.name(), model = %bundle.model, "an instance starts");
        let site = self.site.clone();
        let task = self.starts.spawn(async move { (id, site.start(Order { id, errand, bundle, grant, gpu }).await) });
        self.works_for.insert(task.id(), id);
    }

    fn let_go(&mut self, id: InstanceId) {
        self.floor.let_go(id);
        self.floor.memory_is_short = false;
        if let Some(instance) = self.ready.get(&id) {
            instance.retire();
        }
    }

    fn started(&mut self, started: Result<(Id, Started), JoinError>) {
        let (id, started) = match started {
            Ok((task, (id, started))) => {
                self.works_for.remove(&task);
                (id, started)
            }
            Err(error) => {
                tracing::error!(%error, "a start broke");
                let Some(id) = self.works_for.remove(&error.id()) else { return };
                (id, Err(StartError::Broke))
            }
        };
        match started {
            Ok((instance, attendants)) => self.is_ready(instance, attendants),
            Err(error) => self.failed_to_start(id, &error),
        }
    }

    fn is_ready(&mut self, instance: Arc<Instance>, attendants: Attendants) {
        let cold = instance.cold;
        tracing::info!(
            instance = instance.id.0,
            version = %instance.bundle.version.short(),
            cold.fetch_us = cold.fetch_us,
            cold.environment_us = cold.environment_us,
            cold.start_us = cold.start_us,
            cold.setup_us = cold.setup_us,
            "an instance is ready"
        );
        self.floor.ready(instance.id, IdleSlot::of(&instance), Instant::now());
        self.floor.saw_memory(instance.id, instance.resident_bytes());
        if let Some(place) = self.floor.instances.get(&instance.id)
            && let Some(order) = self.orders.order_of(&place.fleet)
        {
            self.kept.started(&self.floor, &place.fleet, order, Duration::from_micros(cold.start_us + cold.setup_us));
        }
        self.ready.insert(instance.id, instance.clone());
        self.supervisions.spawn(supervise(instance, attendants));
    }

    /// All that wait are told, instead of trying again for ever: what failed once for want of a file or a package fails again. Of what was
    /// killed nobody knows, and it is tried a few times.
    fn failed_to_start(&mut self, id: InstanceId, error: &StartError) {
        let Some(Place { fleet, .. }) = self.floor.gone(id) else { return };
        tracing::warn!(instance = id.0, version = %fleet.version.short(), error = error as &dyn std::error::Error, "an instance did not start");
        let failures = self.floor.back_off(&fleet, Instant::now());
        if error.may_pass() && failures < STARTS_MAX {
            return;
        }
        for waiting in self.floor.give_up(&fleet) {
            self.refuse(waiting.entry, error.code(), &error.message(), error.prints());
        }
    }

    fn finished(&mut self, finished: Result<(Id, Finished), JoinError>) {
        let now = Instant::now();
        let Finished { instance, slot, fate } = match finished {
            Ok((task, finished)) => {
                self.works_for.remove(&task);
                finished
            }
            Err(error) => {
                tracing::error!(%error, "a prediction's task broke, and its instance is ended");
                if let Some(id) = self.works_for.remove(&error.id()) {
                    self.floor.release(id, None, now);
                    self.let_go(id);
                }
                return;
            }
        };
        self.floor.release(instance.id, slot, now);
        match fate {
            Fate::Answered => {
                if let Some(place) = self.floor.instances.get(&instance.id) {
                    let fleet = place.fleet.clone();
                    self.floor.worked(&fleet);
                }
            }
            Fate::Lost => {}
            Fate::NotTaken(turn) => self.offer_again(turn),
        }
        if instance.is_condemned() {
            self.end_condemned(&instance);
        }
    }

    fn offer_again(&mut self, mut turn: Turn) {
        turn.refusals += 1;
        if turn.refusals == REFUSALS_MAX {
            return self.refuse(turn, FailCode::Killed, "the model's process died before it took the prediction", "");
        }
        let who = Who::of(&turn.call.assignment);
        self.open(&who.fleet, &turn.call);
        let waiting = Waiting { since: turn.arrived_at, account: who.account.clone(), rank: who.attempt.0, entry: turn };
        self.floor.put_back(&who.fleet, waiting);
        self.watch_for_cancel(who);
    }

    /// It ends with the last that runs in it.
    fn end_condemned(&mut self, instance: &Instance) {
        self.floor.condemn(instance.id);
        if self.floor.instances.get(&instance.id).is_some_and(|place| place.busy() == 0) {
            instance.retire();
        }
    }

    fn gone(&mut self, instance: Result<Arc<Instance>, JoinError>) {
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => return tracing::error!(%error, "a supervision broke"),
        };
        self.ready.remove(&instance.id);
        let death = instance.death().expect("an instance is supervised until it is dead");
        let version = instance.bundle.version.short();
        tracing::info!(instance = instance.id.0, %version, cause = ?death.cause, oom = death.oom, "an instance is gone");
        let end = match death.cause {
            DeathCause::Retired if instance.is_condemned() => End::Condemned,
            DeathCause::Retired => End::Asked,
            DeathCause::Exited(_) | DeathCause::WorkerDied | DeathCause::WroteTooMuch { .. } => End::Crashed,
        };
        self.floor.ended(instance.id, end, Instant::now());
    }

    fn refuse(&mut self, turn: Turn, code: FailCode, message: &str, prints: &str) {
        self.conclude(turn, Outcome::Failed { code, message: message.to_owned() }, prints);
    }

    /// Ends a prediction that never started.
    fn conclude(&mut self, turn: Turn, outcome: Outcome, prints: &str) {
        self.waits.end(&turn);
        let backlog = Arc::new(Backlog::default());
        backlog.log(prints);
        backlog.end(Ended { outcome, run_us: 0, usage: None });
        self.around.forwarders.spawn(backlog.forward(turn.call));
    }
}
