//! Bulkheads: how many tries are under way, to each endpoint and of each account, so that a slow receiver holds up nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Tries to one scheme, host and port at a time.
const ENDPOINT_TRIES_MAX: usize = 8;
/// An account may name many endpoints.
const ACCOUNT_TRIES_MAX: usize = 64;
const TRIES_MAX: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    busy: Mutex<Busy>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Busy {
    endpoints: HashMap<String, usize>,
    accounts: HashMap<String, usize>,
    tries: usize,
}

/// A try's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lanes: Lanes,
    endpoint: String,
    account: String,
}

impl Lanes {
    /// A place for a try, where there is one.
    pub fn enter(&self, endpoint: &str, account: &str) -> Option<Place> {
        let mut busy = self.lock();
        let taken = |lanes: &HashMap<String, usize>, name: &str| lanes.get(name).copied().unwrap_or(0);
        if busy.tries >= TRIES_MAX
            || taken(&busy.endpoints, endpoint) >= ENDPOINT_TRIES_MAX
            || taken(&busy.accounts, account) >= ACCOUNT_TRIES_MAX
        {
            return None;
        }
        busy.tries += 1;
        *busy.endpoints.entry(endpoint.to_owned()).or_default() += 1;
        *busy.accounts.entry(account.to_owned()).or_default() += 1;
        Some(Place { lanes: self.clone(), endpoint: endpoint.to_owned(), account: account.to_owned() })
    }

    /// The endpoints and accounts that have no place left.
    pub fn full(&self) -> Vec<String> {
        let busy = self.lock();
        let endpoints = busy.endpoints.iter().filter(|(_, tries)| **tries >= ENDPOINT_TRIES_MAX);
        let accounts = busy.accounts.iter().filter(|(_, tries)| **tries >= ACCOUNT_TRIES_MAX);
        endpoints.chain(accounts).map(|(name, _)| name.clone()).collect()
    }

    pub fn places_left(&self) -> usize {
        TRIES_MAX - self.lock().tries
    }

    /// Ends once no try is under way.
    pub async fn empty(&self) {
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.lock().tries == 0 {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Busy> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.lanes.lock();
        busy.tries -= 1;
        leave(&mut busy.endpoints, &self.endpoint);
        leave(&mut busy.accounts, &self.account);
        drop(busy);
        self.lanes.0.left.notify_waiters();
    }
}

fn leave(lanes: &mut HashMap<String, usize>, name: &str) {
    if let Some(tries) = lanes.get_mut(name) {
        *tries -= 1;
        if *tries == 0 {
            lanes.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_endpoint_leaves_room_for_others_and_frees_its_own() {
        let lanes = Lanes::default();
        let mut places: Vec<Place> = (0..ENDPOINT_TRIES_MAX).map(|_| lanes.enter("https://slow", "ada").unwrap()).collect();
        assert!(lanes.enter("https://slow", "bob").is_none());
        assert_eq!(lanes.full(), ["https://slow"]);
        assert!(lanes.enter("https://fast", "ada").is_some());
        places.pop();
        assert!(lanes.full().is_empty());
        assert!(lanes.enter("https://slow", "bob").is_some());
        drop(places);
        assert_eq!(lanes.places_left(), TRIES_MAX);
        assert!(lanes.lock().endpoints.is_empty() && lanes.lock().accounts.is_empty());
    }

    #[test]
    fn an_account_with_many_endpoints_leaves_room_for_others() {
        let lanes = Lanes::default();
        let _places: Vec<Place> = (0..ACCOUNT_TRIES_MAX).map(|n| lanes.enter(&format!("https://{n}"), "ada").unwrap()).collect();
        assert!(lanes.enter("https://one-more", "ada").is_none());
        assert!(lanes.enter("https://one-more", "bob").is_some());
        assert_eq!(lanes.full(), ["ada"]);
    }

    #[tokio::test]
    async fn it_is_empty_once_the_last_try_has_left() {
        let lanes = Lanes::default();
        lanes.empty().await;
        let place = lanes.enter("https://a", "ada").unwrap();
        let waits = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.empty().await }
        });
        drop(place);
        waits.await.unwrap();
    }
}
