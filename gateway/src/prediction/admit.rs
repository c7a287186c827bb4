//! Step 5: one transaction makes the prediction real: its row, the hold on the caller's credit, the idempotency key, this gateway's lease.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use billing::{Hold, InsufficientCredit, RunLimit};
use futures::future::BoxFuture;
use protocol::prediction::{Errand, State};
use protocol::{Credits, PredictionId, Pricing, Reference, Timestamp};
use registry::{Caller, Catalogued};
use serde_json::{Map, Value};
use store::{StoreError, Tx};
use tokio::time::Instant;

use crate::Gateway;
use crate::db::idempotency::{self, KeyUse, NewUse};
use crate::db::latest::{self, Latest};
use crate::db::prediction::{self, Lease, PredictionRow, Streams};
use crate::db::webhook::{self, NewDelivery};
use crate::live::Live;
use crate::prediction::Refusal;
use crate::prediction::prepare::Prepared;
use crate::prediction::resolve::Asked;
use crate::webhooks;

/// Tokens that a call without `max_tokens` is held for.
const COMPLETION_TOKENS_MAX: u64 = 8_192;

/// A prediction that is on disk and leased to this gateway.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub live: Arc<Live>,
    pub catalogued: Arc<Catalogued>,
    /// The SKU it needs.
    pub hardware: String,
    /// The output that a `before` hook gave in the model's place.
    pub answer: Option<Value>,
    /// When the caller wants it ended, wherever it stands.
    deadline: Option<Instant>,
}

impl Admitted {
    pub fn new(gateway: &Gateway, row: PredictionRow, catalogued: Arc<Catalogued>, answer: Option<Value>) -> Self {
        let left = |deadline: Timestamp| Duration::from_micros(deadline.micros_since(gateway.clock().now()));
        let deadline = row.deadline_at.map(|deadline| Instant::now() + left(deadline));
        Self { hardware: row.hardware.clone(), live: gateway.live().enter(row), catalogued, answer, deadline }
    }

    /// Comes when the caller's deadline does; never, without one.
    pub async fn overdue(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// What became of a request to admit.
#[derive(Debug)]
pub(crate) enum Admission<T> {
    New(T),
    /// The same request came before under the same key.
    Replayed(PredictionId),
}

impl<T> Admission<T> {
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Admission<U> {
        match self {
            Self::New(new) => Admission::New(with(new)),
            Self::Replayed(id) => Admission::Replayed(id),
        }
    }
}

/// What came of one attempt to admit.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    Settled(Admission<T>),
    /// Another gateway moved the model's `latest` since it was resolved: nothing was written, and it is to be resolved again.
    Outdated(Caller, Box<Asked>),
}

/// The hot command: everything that one transaction needs to admit one prediction.
#[derive(Clone, Debug)]
pub(crate) struct Admit {
    row: PredictionRow,
    key: Option<KeyUse>,
    /// Where `latest` must still point, if that was asked for and others may move it.
    latest: Option<Latest>,
    lease: Lease,
    /// What a webhook is told of it.
    event: Option<NewDelivery>,
}

#[derive(Debug)]
pub(crate) enum AdmitOutcome {
    Admitted,
    Replayed(PredictionId),
    KeyReused,
    Outdated,
    InsufficientCredit(InsufficientCredit),
}

pub(super) async fn admit(gateway: &Gateway, prepared: Prepared) -> Result<Attempt<Admitted>, Refusal> {
    let row = new_row(gateway, &prepared);
    let event = webhooks::started(gateway, &row);
    let has_event = event.is_some();
    let key = prepared.asked.idempotency.clone();
    let command = Admit { row: row.clone(), key, latest: latest_of(gateway, &prepared), lease: gateway.lease(), event };
    match gateway.admits().send(command).await? {
        AdmitOutcome::Admitted => {
            if has_event {
                gateway.webhooks().wake();
            }
            Ok(Attempt::Settled(Admission::New(Admitted::new(gateway, row, prepared.catalogued, prepared.answer))))
        }
        AdmitOutcome::Replayed(id) => Ok(Attempt::Settled(Admission::Replayed(id))),
        AdmitOutcome::Outdated => Ok(Attempt::Outdated(prepared.caller, Box::new(prepared.asked))),
        AdmitOutcome::KeyReused => Err(Refusal::KeyReused),
        AdmitOutcome::InsufficientCredit(InsufficientCredit { available, needed }) => {
            Err(Refusal::InsufficientCredit { available, needed })
        }
    }
}

/// Where `latest` was found to point. A gateway that is the only one knows of every move, and need not look again.
fn latest_of(gateway: &Gateway, prepared: &Prepared) -> Option<Latest> {
    let is_latest = matches!(prepared.asked.reference, Reference::Latest(_));
    let catalogued = &prepared.catalogued;
    let found = || Latest { model_id: catalogued.model.id.clone(), version: catalogued.version.id.to_string() };
    (is_latest && !gateway.config().sole).then(found)
}

fn new_row(gateway: &Gateway, prepared: &Prepared) -> PredictionRow {
    let model = &prepared.catalogued.model;
    let deployment = prepared.asked.deployment.as_deref();
    let hardware = deployment.map_or(&model.hardware, |deployment| &deployment.release.hardware);
    let config = &prepared.catalogued.version.config;
    // A training is hardware time, whatever the model's predictions cost.
    let pricing = if prepared.asked.errand == Errand::Train { Pricing::Second } else { model.pricing };
    let hold = match prepared.answer {
        Some(_) => Credits::ZERO,
        None => billing::hold_amount(pricing, gateway.rate(hardware), &limit_of(&prepared.model_input, config)),
    };
    let created_at = gateway.clock().now();
    let replaced = prepared.model_input != prepared.input;
    PredictionRow {
        id: PredictionId::new(gateway.clock(), gateway.entropy()),
        account_id: prepared.caller.account.id.clone(),
        token_id: prepared.caller.token_id.clone(),
        model: model.model.clone(),
        version: prepared.catalogued.version.id,
        source: prepared.asked.source,
        errand: prepared.asked.errand,
        deployment: deployment.map(|deployment| deployment.name.clone()),
        destination: prepared.asked.destination.clone(),
        webhook: prepared.asked.webhook.clone(),
        streams: if config.streams_files() { Streams::Files } else { Streams::Values },
        origin: prepared.asked.webhook.is_some().then(|| prepared.asked.origin.base().to_owned()),
        input: prepared.input.clone(),
        model_input: replaced.then(|| prepared.model_input.clone()),
        pricing,
        output: Value::Null,
        logs: String::new(),
        error: None,
        code: None,
        state: State::Leased,
        metrics: Map::new(),
        hooks: prepared.hook_runs.clone(),
        cost: None,
        cost_lines: Vec::new(),
        hold,
        data_removed: false,
        cancel_requested: false,
        created_at,
        started_at: None,
        completed_at: None,
        deadline_at: prepared.asked.cancel_after.map(|after| created_at.plus_millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))),
        fence: 1,
        attempt: 1,
        emitted: false,
        hardware: hardware.clone(),
        region: gateway.config().region.clone(),
        runner: None,
        timings: None,
        event_log: None,
    }
}

/// The most that this call can use: the run limit, and for tokens what its input and `max_tokens` allow.
fn limit_of(input: &Value, config: &protocol::VersionConfig) -> RunLimit {
    RunLimit {
        run_us_max: u64::from(config.limits.run_seconds_max) * 1_000_000,
        prompt_tokens_max: prompt_tokens_max(input),
        completion_tokens_max: input["max_tokens"].as_u64().unwrap_or(COMPLETION_TOKENS_MAX),
        cost_max: None,
    }
}

/// The most tokens that an input can become: one a byte, and some for the chat template around it.
pub(super) fn prompt_tokens_max(input: &Value) -> u64 {
    const TEMPLATE_TOKENS: u64 = 64;
    input.to_string().len() as u64 + TEMPLATE_TOKENS
}

/// Applies what has queued in one transaction: keys first, then what is still the latest, then holds, then the rows of those who may.
pub(crate) fn apply<'t>(tx: &'t mut Tx, commands: &'t [Admit]) -> BoxFuture<'t, Result<Vec<AdmitOutcome>, StoreError>> {
    Box::pin(async move {
        let mut outcomes = settled_by_key(tx, commands).await?;
        settle_outdated(tx, commands, &mut outcomes).await?;
        let open: Vec<usize> = (0..commands.len()).filter(|&at| outcomes[at].is_none()).collect();
        let holds: Vec<Hold> = open.iter().map(|&at| hold_of(&commands[at].row)).collect();
        let held = billing::hold_all(tx, &holds).await?;
        for (&at, held) in open.iter().zip(held) {
            outcomes[at] = Some(match held {
                Ok(()) => AdmitOutcome::Admitted,
                Err(short) => AdmitOutcome::InsufficientCredit(short),
            });
        }
        let admitted: Vec<&Admit> = commands
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, Some(AdmitOutcome::Admitted)))
            .map(|(command, _)| command)
            .collect();
        if let Some(first) = admitted.first() {
            prediction::insert_all(tx, &admitted.iter().map(|command| &command.row).collect::<Vec<_>>(), &first.lease).await?;
            let uses: Vec<NewUse<'_>> = admitted
                .iter()
                .filter_map(|command| {
                    let key = command.key.as_ref()?;
                    Some(NewUse { key, prediction_id: command.row.id.to_string(), created_at: command.row.created_at.micros() })
                })
                .collect();
            if !uses.is_empty() {
                idempotency::insert_all(tx, &uses).await?;
            }
            let events: Vec<&NewDelivery> = admitted.iter().filter_map(|command| command.event.as_ref()).collect();
            if !events.is_empty() {
                webhook::insert_all(tx, &events).await?;
            }
        }
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.expect("every command was settled by its key, by its version or by its hold"))
            .collect())
    })
}

/// The outcomes of commands whose key is taken: by an earlier prediction, or by an earlier command of the same batch.
async fn settled_by_key(tx: &mut Tx, commands: &[Admit]) -> Result<Vec<Option<AdmitOutcome>>, StoreError> {
    let keys: Vec<&KeyUse> = commands.iter().filter_map(|command| command.key.as_ref()).collect();
    let earlier = if keys.is_empty() { HashMap::new() } else { idempotency::find_all(tx, &keys).await? };
    let mut first_in_batch = HashSet::new();
    let settle = |command: &Admit| -> Option<AdmitOutcome> {
        let key = command.key.as_ref()?;
        let named = (key.account_id.clone(), key.key.clone());
        match earlier.get(&named) {
            Some(earlier) if earlier.body_hash == key.body_hash => earlier.prediction_id.parse().ok().map(AdmitOutcome::Replayed),
            Some(_) => Some(AdmitOutcome::KeyReused),
            // Two at once under one key: the later is told to ask again, and then finds the earlier.
            None if !first_in_batch.insert(named) => Some(AdmitOutcome::KeyReused),
            None => None,
        }
    };
    Ok(commands.iter().map(settle).collect())
}

/// Settles the commands whose version is no longer their model's latest.
async fn settle_outdated(tx: &mut Tx, commands: &[Admit], outcomes: &mut [Option<AdmitOutcome>]) -> Result<(), StoreError> {
    let resolved: Vec<&Latest> = commands.iter().filter_map(|command| command.latest.as_ref()).collect();
    if resolved.is_empty() {
        return Ok(());
    }
    let outdated = latest::outdated(tx, &resolved).await?;
    for (command, outcome) in commands.iter().zip(outcomes) {
        if outcome.is_none() && command.latest.as_ref().is_some_and(|latest| outdated.contains(latest)) {
            *outcome = Some(AdmitOutcome::Outdated);
        }
    }
    Ok(())
}

fn hold_of(row: &PredictionRow) -> Hold {
    Hold { prediction: row.id, account: row.account_id.clone(), amount: row.hold, at: row.created_at }
}
