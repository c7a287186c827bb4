//! One prediction in a busy slot: from the model's first word to its last, within its time, and stopped when it is told to.

use std::sync::Arc;
use std::time::Duration;

use fabric::Call;
use protocol::prediction::{ColdStart, Errand, Rung};
use protocol::wire::{Ended, FailCode, Outcome, Started, TokenUsage};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::Backlog;
use crate::instance::{Death, DeathCause, Instance};
use crate::micros;
use crate::model::{ModelEnd, Run};
use crate::slot::{BusySlot, IdleSlot};

/// For a model that was asked to stop. With the kill that follows, a cancel takes less than two seconds.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// For an instance whose process is gone to be declared dead.
const DEATH_WAIT: Duration = Duration::from_secs(1);

/// A prediction's turn.
#[derive(Debug)]
pub struct Turn {
    pub call: Arc<Call>,
    pub arrived_at: Instant,
    /// How many instances did not take it.
    pub refusals: u32,
}

/// What is left when a prediction's turn is over.
#[derive(Debug)]
pub struct Finished {
    pub instance: Arc<Instance>,
    /// `None` when the instance is not to be used again.
    pub slot: Option<IdleSlot>,
    pub fate: Fate,
}

#[derive(Debug)]
pub enum Fate {
    /// The model answered, in one way or another.
    Answered,
    /// The instance did not survive it, or is not used again.
    Lost,
    /// The model never had it.
    NotTaken(Turn),
}

/// Why the runner stops a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Canceled,
    Timeout,
    /// The runner itself stops.
    Halt,
}

/// Where a turn's other work is done.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Takes the events to the gateway after the slot is free again.
    pub forwarders: TaskTracker,
    /// Ends what runs: the runner stops.
    pub halt: CancellationToken,
}

pub async fn run(slot: BusySlot, turn: Turn, around: Surroundings) -> Finished {
    let instance = slot.instance().clone();
    let backlog = Arc::new(Backlog::default());
    let forwarder = around.forwarders.spawn(backlog.clone().forward(turn.call.clone()));
    let answer = match instance.wake().await {
        Ok(woken) => outcome(&instance, &turn, woken, &backlog, &around.halt).await,
        Err(error) => {
            tracing::warn!(instance = instance.id.0, %error, "an instance does not wake");
            None
        }
    };
    let fate = if let Some((outcome, usage)) = answer {
        let run_us = backlog.started_at().map_or(0, |started_at| micros(started_at.elapsed()));
        backlog.end(Ended { outcome, run_us, usage });
        instance.sweep().await;
        if instance.is_condemned() || instance.death().is_some() { Fate::Lost } else { Fate::Answered }
    } else {
        // It has said nothing yet.
        forwarder.abort();
        instance.condemn("it takes no predictions");
        Fate::NotTaken(turn)
    };
    Finished { slot: slot.vacate(), instance, fate }
}

/// `None` when the model never had it. `woken` is how long the instance took to wake, if it was frozen.
async fn outcome(
    instance: &Instance,
    turn: &Turn,
    woken: Option<Duration>,
    backlog: &Backlog,
    halt: &CancellationToken,
) -> Option<(Outcome, Option<TokenUsage>)> {
    let assignment = &turn.call.assignment;
    let config = &instance.bundle.config;
    let (files, input) = instance.desk.open(assignment);
    let run = Run {
        prediction: assignment.prediction,
        errand: assignment.errand,
        config,
        input,
        started: started(instance, turn.arrived_at, woken),
        desk: &instance.desk,
        files: &files,
        backlog,
        stop: CancellationToken::new(),
    };
    let outcome = match predict(instance, turn, run, halt).await {
        (ModelEnd::NotTaken | ModelEnd::Died, None) if backlog.started_at().is_none() => return None,
        // It was done before it heard the cancel.
        (ModelEnd::Succeeded { usage }, None | Some(Stop::Canceled)) => return Some((Outcome::Succeeded, usage)),
        (_, Some(Stop::Canceled)) => Outcome::Canceled,
        (_, Some(Stop::Timeout)) => {
            let seconds = config.limits.run_seconds_max;
            failed(FailCode::Timeout, format!("the {} ran longer than {seconds} s", noun(assignment.errand)))
        }
        (_, Some(Stop::Halt)) => failed(FailCode::RunnerLost, "the runner was stopped".to_owned()),
        (ModelEnd::Died | ModelEnd::NotTaken, None) => death(instance).await,
        (ModelEnd::Canceled, None) => failed(FailCode::ModelError, "the model ended the prediction without being asked to".to_owned()),
        (ModelEnd::GivenUp { code, message }, None) => {
            if !instance.model.stops_when_dropped() {
                give_up(instance).await;
            }
            failed(code, message)
        }
        (ModelEnd::Failed { message }, None) => match files.unfetched() {
            Some(why) => failed(FailCode::FetchFailed, why),
            None => failed(FailCode::ModelError, message),
        },
    };
    Some((outcome, None))
}

/// The model's end and, when it was the runner that ended it, why.
async fn predict(instance: &Instance, turn: &Turn, run: Run<'_>, halt: &CancellationToken) -> (ModelEnd, Option<Stop>) {
    let (prediction, backlog, asked_to_stop) = (run.prediction, run.backlog, run.stop.clone());
    let limit = Duration::from_secs(run.config.limits.run_seconds_max.into());
    let mut predicting = Box::pin(instance.model.predict(run));
    let stop = tokio::select! {
        biased;
        end = &mut predicting => return (end, None),
        _ = instance.died() => return (ModelEnd::Died, None),
        () = turn.call.cancelled() => Stop::Canceled,
        () = run_out(backlog, limit) => Stop::Timeout,
        () = halt.cancelled() => Stop::Halt,
    };
    asked_to_stop.cancel();
    let stopping = async { if instance.model.cancel(prediction).await { Some(predicting.as_mut().await) } else { None } };
    let stopped = tokio::select! {
        stopped = timeout(STOP_GRACE, stopping) => stopped,
        _ = instance.died() => Ok(Some(ModelEnd::Died)),
    };
    let end = match stopped {
        Ok(Some(end)) => end,
        // Dropping the request is how it is stopped.
        Ok(None) if instance.model.stops_when_dropped() => ModelEnd::Canceled,
        Ok(None) | Err(_) => {
            give_up(instance).await;
            ModelEnd::Canceled
        }
    };
    (end, Some(stop))
}

/// Absorbs that a cancel does nothing while native code blocks: the process is ended. Its neighbours in an instance that runs several at a
/// time are not made to pay for it: they finish, within their own limits, and then it is ended; until then the deaf one burns on unseen.
async fn give_up(instance: &Instance) {
    instance.condemn("a prediction in it does not stop");
    if instance.concurrency() == 1 {
        instance.retire();
        instance.died().await;
    }
}

async fn run_out(backlog: &Backlog, limit: Duration) {
    backlog.started().await;
    sleep(limit).await;
}

async fn death(instance: &Instance) -> Outcome {
    // The end of the stream is seen before the end of the process; if that does not come, it is brought about.
    instance.condemn("its process broke off");
    let died = timeout(DEATH_WAIT, instance.died()).await;
    let died = match died {
        Ok(died) => died,
        Err(_) if instance.concurrency() == 1 => {
            instance.retire();
            instance.died().await
        }
        Err(_) => Death { cause: DeathCause::WorkerDied, oom: false },
    };
    let (code, message) = died.failure();
    failed(code, message)
}

const fn noun(errand: Errand) -> &'static str {
    match errand {
        Errand::Predict => "prediction",
        Errand::Train => "training",
    }
}

fn failed(code: FailCode, message: String) -> Outcome {
    Outcome::Failed { code, message }
}

fn started(instance: &Instance, arrived_at: Instant, woken: Option<Duration>) -> Started {
    let now = Instant::now();
    let (cold_wait, cold) = if let Some(woken) = woken {
        (woken, Some(ColdStart { rung: Rung::Frozen, start_us: micros(woken), ..ColdStart::default() }))
    } else if arrived_at < instance.ready_at {
        (instance.ready_at - arrived_at.max(instance.ordered_at), Some(instance.cold))
    } else {
        (Duration::ZERO, None)
    };
    Started { queue_us: micros((now - arrived_at).saturating_sub(cold_wait)), cold, hardware: instance.hardware.clone() }
}
