//! `feira:hook/cache`: values that a hook keeps between calls, in memory, one shelf per account and hook.
//!
//! Bounded everywhere: a value, a shelf, the number of shelves. A full shelf loses its oldest values, a full cache the shelf
//! that was longest unused. Not a place for anything that must last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Digest;

use super::Sandbox;
use crate::bindings::feira::hook::cache::{self, CacheError};

const KEY_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 64 * 1024;
const SHELF_BYTES_MAX: usize = 256 * 1024;
/// With the size of a shelf: 64 MiB in all.
const SHELVES_MAX: usize = 256;
/// What an entry costs beside its key and value.
const ENTRY_BYTES: usize = 64;

/// The shelves of all accounts and hooks.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    shelves: Mutex<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    by_owner: HashMap<Owner, Entries>,
    /// Counts uses, to know what is oldest.
    uses: u64,
}

type Owner = (u64, Digest);

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<String, Entry>,
    bytes: usize,
    used: u64,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    expires_ms: u64,
    stored: u64,
}

/// One account's shelf of one hook.
#[derive(Debug)]
pub(crate) struct Shelf {
    cache: Arc<Cache>,
    owner: Owner,
}

impl Shelf {
    pub(crate) const fn new(cache: Arc<Cache>, tenant_key: u64, hook: Digest) -> Self {
        Self { cache, owner: (tenant_key, hook) }
    }

    fn get(&self, key: &str, now_ms: u64) -> Option<Vec<u8>> {
        let mut shelves = self.cache.lock();
        shelves.uses += 1;
        let used = shelves.uses;
        let entries = shelves.by_owner.get_mut(&self.owner)?;
        entries.used = used;
        entries.by_key.get(key).filter(|entry| entry.expires_ms > now_ms).map(|entry| entry.value.clone())
    }

    fn set(&self, key: String, value: Vec<u8>, expires_ms: u64, now_ms: u64) -> Result<(), CacheError> {
        if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(CacheError::TooLarge);
        }
        let mut shelves = self.cache.lock();
        shelves.uses += 1;
        let used = shelves.uses;
        shelves.make_room_for(self.owner);
        let entries = shelves.by_owner.entry(self.owner).or_default();
        entries.used = used;
        entries.remove(&key);
        entries.make_room(size(&key, &value), now_ms);
        entries.bytes += size(&key, &value);
        entries.by_key.insert(key, Entry { value, expires_ms, stored: used });
        Ok(())
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // A panic between two steps could only leave a count too high, and a shelf too small by it.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn make_room_for(&mut self, owner: Owner) {
        if self.by_owner.len() < SHELVES_MAX || self.by_owner.contains_key(&owner) {
            return;
        }
        if let Some(oldest) = self.by_owner.iter().min_by_key(|(_, entries)| entries.used).map(|(owner, _)| *owner) {
            self.by_owner.remove(&oldest);
        }
    }
}

impl Entries {
    fn make_room(&mut self, bytes: usize, now_ms: u64) {
        if self.bytes + bytes <= SHELF_BYTES_MAX {
            return;
        }
        let expired: Vec<String> = self.by_key.iter().filter(|(_, entry)| entry.expires_ms <= now_ms).map(|(key, _)| key.clone()).collect();
        for key in expired {
            self.remove(&key);
        }
        while self.bytes + bytes > SHELF_BYTES_MAX
            && let Some(oldest) = self.by_key.iter().min_by_key(|(_, entry)| entry.stored).map(|(key, _)| key.clone())
        {
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.by_key.remove(key) {
            self.bytes -= size(key, &entry.value);
        }
    }
}

fn size(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

impl Sandbox {
    /// The shelf, if it was granted and the guest has lookups left.
    fn shelf(&mut self) -> Result<&Shelf, CacheError> {
        self.cache_calls += 1;
        if self.cache_calls > self.limits.cache_calls_max {
            return Err(CacheError::OverBudget);
        }
        self.shelf.as_ref().ok_or(CacheError::Unavailable)
    }
}

impl cache::Host for Sandbox {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, CacheError>> {
        let now_ms = self.now_ms;
        Ok(self.shelf().map(|shelf| shelf.get(&key, now_ms)))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_seconds: u32) -> wasmtime::Result<Result<(), CacheError>> {
        let now_ms = self.now_ms;
        let expires_ms = now_ms.saturating_add(u64::from(ttl_seconds) * 1_000);
        Ok(self.shelf().and_then(|shelf| shelf.set(key, value, expires_ms, now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(cache: &Arc<Cache>, tenant_key: u64) -> Shelf {
        Shelf::new(cache.clone(), tenant_key, Digest::of(b"a hook"))
    }

    #[test]
    fn a_value_lives_until_it_expires() {
        let shelf = shelf(&Arc::default(), 1);
        shelf.set("k".to_owned(), b"v".to_vec(), 1_000, 0).expect("a small value");
        assert_eq!(shelf.get("k", 999), Some(b"v".to_vec()));
        assert_eq!(shelf.get("k", 1_000), None);
    }

    #[test]
    fn an_account_never_sees_the_values_of_another() {
        let cache = Arc::default();
        shelf(&cache, 1).set("k".to_owned(), b"v".to_vec(), 1_000, 0).expect("a small value");
        assert_eq!(shelf(&cache, 2).get("k", 0), None);
        assert_eq!(Shelf::new(cache.clone(), 1, Digest::of(b"another hook")).get("k", 0), None);
    }

    #[test]
    fn a_full_shelf_loses_its_oldest_values_and_stays_in_its_bounds() {
        let cache = Arc::<Cache>::default();
        let shelf = shelf(&cache, 1);
        for n in 0..20 {
            shelf.set(format!("{n}"), vec![0; 60_000], u64::MAX, 0).expect("a value of a size that is taken");
        }
        assert_eq!(shelf.get("0", 0), None);
        assert!(shelf.get("19", 0).is_some());
        assert!(cache.lock().by_owner.values().all(|entries| entries.bytes <= SHELF_BYTES_MAX));
        let too_large = shelf.set("k".to_owned(), vec![0; VALUE_BYTES_MAX + 1], u64::MAX, 0);
        assert_eq!(too_large, Err(CacheError::TooLarge));
    }

    #[test]
    fn a_full_cache_loses_the_shelf_that_was_longest_unused() {
        let cache = Arc::<Cache>::default();
        for tenant_key in 0..=SHELVES_MAX as u64 {
            shelf(&cache, tenant_key).set("k".to_owned(), b"v".to_vec(), 1, 0).expect("a small value");
        }
        assert_eq!(cache.lock().by_owner.len(), SHELVES_MAX);
        assert_eq!(shelf(&cache, 0).get("k", 0), None);
        assert!(shelf(&cache, 1).get("k", 0).is_some());
    }
}
