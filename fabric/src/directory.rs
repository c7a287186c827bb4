//! Who is alive and what is warm where: each runner's card, held in memory so that placing a prediction asks nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::wire::RunnerCard;
use tokio::sync::watch;

type Cards = BTreeMap<String, Arc<RunnerCard>>;

#[derive(Clone, Debug)]
pub struct Directory {
    cards: Arc<RwLock<Cards>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Default for Directory {
    fn default() -> Self {
        Self { cards: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }
}

impl Directory {
    /// Puts a runner's card in place of the one before it.
    pub fn publish(&self, card: RunnerCard) {
        let mut cards = self.cards.write().unwrap_or_else(PoisonError::into_inner);
        cards.insert(card.id.clone(), Arc::new(card));
        self.changed.send_modify(|epoch| *epoch += 1);
    }

    /// Takes a runner that leaves out of the directory.
    pub fn withdraw(&self, runner: &str) {
        let mut cards = self.cards.write().unwrap_or_else(PoisonError::into_inner);
        cards.remove(runner);
        self.changed.send_modify(|epoch| *epoch += 1);
    }

    /// Every runner's card, by id.
    pub fn cards(&self) -> Vec<Arc<RunnerCard>> {
        self.cards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Changes whenever a card does.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
