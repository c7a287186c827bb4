//! A place for one prediction in an instance: idle or busy, never both, and never given out twice.

use std::sync::Arc;

use protocol::prediction::Errand;

use crate::instance::Instance;

#[derive(Debug)]
pub struct IdleSlot(Arc<Instance>);

#[derive(Debug)]
pub struct BusySlot(Arc<Instance>);

impl IdleSlot {
    /// As many as the instance runs predictions at a time.
    pub fn of(instance: &Arc<Instance>) -> Vec<Self> {
        (0..instance.concurrency()).map(|_| Self(instance.clone())).collect()
    }

    pub fn occupy(self) -> BusySlot {
        BusySlot(self.0)
    }
}

impl BusySlot {
    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }

    /// `None` when its instance is not to be used again: a training's never is.
    pub fn vacate(self) -> Option<IdleSlot> {
        let usable = self.0.errand == Errand::Predict && !self.0.is_condemned() && self.0.death().is_none();
        usable.then(|| IdleSlot(self.0))
    }
}
