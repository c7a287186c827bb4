//! Which stream items are handed to a filter together: a call costs a microsecond or more, a token is a few bytes.
//!
//! Pure: the caller has the clock and waits until [`Batch::due_at`].

use std::time::{Duration, Instant};

use crate::answer::Item;

/// The contract's own figures, see `stream-filter` in `wit/hook.wit`.
const ITEMS_MAX: usize = 32;
const BYTES_MAX: usize = 4 * 1024;
const DELAY_MAX: Duration = Duration::from_millis(20);

/// Items that wait for the next push.
#[derive(Debug, Default)]
pub struct Batch {
    items: Vec<Item>,
    bytes: usize,
    first_at: Option<Instant>,
}

impl Batch {
    /// Adds an item. Returns all of them when they should be pushed now: 32 items, or 4 KiB.
    #[must_use]
    pub fn add(&mut self, item: Item, now: Instant) -> Option<Vec<Item>> {
        self.first_at.get_or_insert(now);
        self.bytes += item.as_str().len();
        self.items.push(item);
        (self.items.len() >= ITEMS_MAX || self.bytes >= BYTES_MAX).then(|| self.take())
    }

    /// When what waits must be pushed, 20 ms after its first item came; `None` while nothing waits.
    pub fn due_at(&self) -> Option<Instant> {
        self.first_at.map(|first_at| first_at + DELAY_MAX)
    }

    /// Takes what waits, perhaps nothing: when it is due, or when the stream ends.
    #[must_use]
    pub fn take(&mut self) -> Vec<Item> {
        self.first_at = None;
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> Item {
        Item::Text("x".repeat(len))
    }

    #[test]
    fn a_batch_is_pushed_at_its_32nd_item() {
        let mut batch = Batch::default();
        let now = Instant::now();
        assert!((1..32).all(|_| batch.add(text(1), now).is_none()));
        assert_eq!(batch.add(text(1), now).map(|items| items.len()), Some(32));
        assert_eq!((batch.due_at(), batch.take()), (None, Vec::new()));
    }

    #[test]
    fn a_batch_is_pushed_when_it_reaches_4_kib() {
        let mut batch = Batch::default();
        let now = Instant::now();
        assert_eq!(batch.add(text(4_095), now), None);
        assert_eq!(batch.add(text(1), now).map(|items| items.len()), Some(2));
        assert_eq!(batch.add(text(10_000), now).map(|items| items.len()), Some(1));
    }

    #[test]
    fn a_batch_is_due_20_ms_after_its_first_item() {
        let mut batch = Batch::default();
        let first_at = Instant::now();
        assert_eq!(batch.add(text(1), first_at), None);
        assert_eq!(batch.add(text(1), first_at + Duration::from_millis(15)), None);
        assert_eq!(batch.due_at(), Some(first_at + Duration::from_millis(20)));
        assert_eq!(batch.take().len(), 2);
        assert_eq!(batch.due_at(), None);
    }
}
