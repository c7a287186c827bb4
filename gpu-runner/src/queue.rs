//! The predictions that wait for one version: accounts take turns, and within an account the first that was accepted is the first to run.

use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
pub struct FairQueue<T> {
    accounts: HashMap<String, VecDeque<T>>,
    /// Accounts with entries, the next to be served first.
    turns: VecDeque<String>,
    entries: usize,
    entries_max: usize,
}

impl<T> FairQueue<T> {
    pub fn new(entries_max: usize) -> Self {
        Self { accounts: HashMap::new(), turns: VecDeque::new(), entries: 0, entries_max }
    }

    /// Gives the entry back when the queue is full. It goes behind all of its account's but those at the end that it is to precede: what was
    /// accepted together may arrive in any order.
    pub fn push(&mut self, account: &str, entry: T, precedes: impl Fn(&T, &T) -> bool) -> Result<(), T> {
        if self.entries == self.entries_max {
            return Err(entry);
        }
        let line = self.line_of(account);
        let later = line.iter().rev().take_while(|other| precedes(&entry, other)).count();
        line.insert(line.len() - later, entry);
        Ok(())
    }

    /// For an entry that was taken and could not run after all: it is its account's first again, and is not refused.
    pub fn put_back(&mut self, account: &str, entry: T) {
        self.line_of(account).push_front(entry);
    }

    pub fn pop(&mut self) -> Option<T> {
        let account = self.turns.pop_front()?;
        let line = self.accounts.get_mut(&account).expect("an account in turn has a line");
        let entry = line.pop_front().expect("an account in turn has an entry");
        if line.is_empty() {
            self.accounts.remove(&account);
        } else {
            self.turns.push_back(account);
        }
        self.entries -= 1;
        Some(entry)
    }

    /// Takes out the account's entry that is the one; `None` when it is not waiting any more.
    pub fn remove(&mut self, account: &str, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let line = self.accounts.get_mut(account)?;
        let place = line.iter().position(is_it)?;
        let entry = line.remove(place)?;
        if line.is_empty() {
            self.accounts.remove(account);
            self.turns.retain(|turn| turn != account);
        }
        self.entries -= 1;
        Some(entry)
    }

    /// The account's entry that is the one, while it waits; looks at the latest first.
    pub fn find(&self, account: &str, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.accounts.get(account)?.iter().rev().find(|entry| is_it(entry))
    }

    /// All that wait, in the order in which they would have been served.
    pub fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// The first of each account.
    pub fn firsts(&self) -> impl Iterator<Item = &T> {
        self.accounts.values().filter_map(VecDeque::front)
    }

    pub const fn len(&self) -> usize {
        self.entries
    }

    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The account's line, with a turn for it if it had none; counts one more entry.
    fn line_of(&mut self, account: &str) -> &mut VecDeque<T> {
        self.entries += 1;
        if !self.accounts.contains_key(account) {
            self.turns.push_back(account.to_owned());
        }
        self.accounts.entry(account.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every entry goes behind those that are there.
    fn behind<T>(_: &T, _: &T) -> bool {
        false
    }

    #[test]
    fn an_account_that_floods_does_not_delay_one_that_asks_once() {
        let mut queue = FairQueue::new(10_000);
        for n in 0..1_000 {
            queue.push("flood", ("flood", n), behind).unwrap();
        }
        queue.push("quiet", ("quiet", 0), behind).unwrap();
        let served: Vec<_> = (0..2).map(|_| queue.pop().unwrap().0).collect();
        assert!(served.contains(&"quiet"));
    }

    #[test]
    fn what_was_accepted_earlier_and_arrives_later_takes_its_place() {
        let mut queue = FairQueue::new(8);
        for entry in [3, 1, 2, 5, 4] {
            queue.push("a", entry, |one, other| one < other).unwrap();
        }
        assert_eq!(queue.drain(), vec![1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_full_queue_gives_the_entry_back() {
        let mut queue = FairQueue::new(1);
        queue.push("a", 1, behind).unwrap();
        assert_eq!(queue.push("b", 2, behind), Err(2));
        assert_eq!(queue.drain(), vec![1]);
    }

    #[test]
    fn what_is_put_back_is_its_accounts_first_again() {
        let mut queue = FairQueue::new(8);
        queue.push("a", 1, behind).unwrap();
        queue.push("a", 2, behind).unwrap();
        let first = queue.pop().unwrap();
        queue.put_back("a", first);
        assert_eq!(queue.drain(), vec![1, 2]);
    }

    proptest! {
        /// Between two turns of an account with entries, every other account gets at most one; and within an account the order stays.
        #[test]
        fn turns_are_fair_and_order_is_kept(arrivals in proptest::collection::vec(0_u8..5, 0..200), leaves in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
            let mut queue = FairQueue::new(1_000);
            let mut waiting: Vec<(String, usize)> = Vec::new();
            for (n, account) in arrivals.iter().enumerate() {
                let account = account.to_string();
                queue.push(&account, (account.clone(), n), behind).unwrap();
                waiting.push((account, n));
            }
            for leave in leaves {
                if !waiting.is_empty() {
                    let (account, n) = waiting.swap_remove(leave.index(waiting.len()));
                    prop_assert!(queue.find(&account, |entry| entry.1 == n).is_some());
                    prop_assert!(queue.remove(&account, |entry| entry.1 == n).is_some());
                    prop_assert!(queue.remove(&account, |entry| entry.1 == n).is_none());
                }
            }
            prop_assert_eq!(queue.len(), waiting.len());
            let mut left: HashMap<String, usize> = HashMap::new();
            for (account, _) in &waiting {
                *left.entry(account.clone()).or_default() += 1;
            }
            let mut since: HashMap<String, HashMap<String, usize>> = HashMap::new();
            let mut last: HashMap<String, usize> = HashMap::new();
            while let Some((account, n)) = queue.pop() {
                prop_assert!(last.insert(account.clone(), n).is_none_or(|before| before < n));
                *left.get_mut(&account).unwrap() -= 1;
                since.insert(account.clone(), HashMap::new());
                for (other, served) in since.iter_mut().filter(|(other, _)| **other != account && left[*other] > 0) {
                    let count = served.entry(account.clone()).or_default();
                    *count += 1;
                    prop_assert!(*count <= 1, "{account} was served twice while {other} waited");
                }
            }
            prop_assert!(queue.is_empty());
        }
    }
}
