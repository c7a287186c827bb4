//! Which entries a command makes. Pure: balances and commands in, postings out; `db` reads the one and writes the other.

use std::collections::BTreeMap;

use protocol::money::round_to_credits;
use protocol::{Credits, PredictionId, Timestamp};

use crate::ledger::{
    Account, GRANT_MAX, Grant, GrantSource, Hold, InstanceCharged, InstanceTime, InsufficientCredit, LedgerError, Refund, Settle, Settled,
};

/// One transaction of the ledger, before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) tx: String,
    pub(crate) kind: &'static str,
    pub(crate) prediction: Option<PredictionId>,
    pub(crate) memo: String,
    pub(crate) entries: Vec<(Account, Credits)>,
    pub(crate) at: Timestamp,
}

/// A hold as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) account: String,
    pub(crate) amount: Credits,
}

/// What a prediction has moved after its hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) payer: String,
    pub(crate) publisher: String,
    pub(crate) amount: Credits,
    /// The platform's part of the amount.
    pub(crate) fee: Credits,
    pub(crate) refunded: Credits,
}

pub(crate) fn hold_tx(prediction: PredictionId) -> String {
    format!("hold:{prediction}")
}

pub(crate) fn settle_tx(prediction: PredictionId) -> String {
    format!("settle:{prediction}")
}

/// Takes the holds in their order from the credit that is left; what one takes, the next has not.
pub(crate) fn hold_in_order(credit: &mut BTreeMap<Account, Credits>, holds: &[Hold]) -> Vec<Result<Posting, InsufficientCredit>> {
    holds.iter().map(|hold| hold_one(credit, hold)).collect()
}

fn hold_one(credit: &mut BTreeMap<Account, Credits>, hold: &Hold) -> Result<Posting, InsufficientCredit> {
    let needed = hold.amount.max(Credits::ZERO);
    let from = Account::Credit(hold.account.clone());
    let available = credit.get(&from).copied().unwrap_or_default();
    if available < needed {
        return Err(InsufficientCredit { available, needed });
    }
    credit.insert(from.clone(), available - needed);
    Ok(Posting {
        tx: hold_tx(hold.prediction),
        kind: "hold",
        prediction: Some(hold.prediction),
        memo: String::new(),
        entries: moved([(from, -needed), (Account::Held(hold.account.clone()), needed)]),
        at: hold.at,
    })
}

/// Captures the cost out of the hold, pays publisher and platform, and returns the rest.
pub(crate) fn settle_one(held: &Held, settle: &Settle) -> (Posting, Settled) {
    let captured = settle.cost.clamp(Credits::ZERO, held.amount);
    let returned = held.amount - captured;
    let earned = settle.fee.publisher_part(captured);
    let (kind, settled) = if captured == Credits::ZERO {
        ("void", Settled::Voided { returned })
    } else {
        ("capture", Settled::Captured { captured, returned })
    };
    let posting = Posting {
        tx: settle_tx(settle.prediction),
        kind,
        prediction: Some(settle.prediction),
        memo: String::new(),
        entries: moved([
            (Account::Held(held.account.clone()), -held.amount),
            (Account::Credit(held.account.clone()), returned),
            (Account::Payable(settle.publisher.clone()), earned),
            (Account::Fee, captured - earned),
        ]),
        at: settle.at,
    };
    (posting, settled)
}

/// Takes what the time since the last charge costs, as far as there is credit. All of it is the platform's, whose machine it is.
pub(crate) fn instance_posting(time: &InstanceTime, charged_us: u64, available: Credits) -> (Posting, InstanceCharged) {
    let cost = round_to_credits(time.per_second.of_micros(time.waited_us.saturating_sub(charged_us)));
    let charged = cost.min(available).max(Credits::ZERO);
    let posting = Posting {
        tx: format!("instance:{}:{}:{}:{}", time.boot, time.deployment, time.hardware, time.waited_us),
        kind: "instance",
        prediction: None,
        memo: format!("instances of {} waited on {}", time.deployment, time.hardware),
        entries: moved([(Account::Credit(time.account.clone()), -charged), (Account::Fee, charged)]),
        at: time.at,
    };
    (posting, InstanceCharged { charged, uncovered: cost - charged })
}

pub(crate) fn grant_posting(grant: &Grant) -> Result<Posting, LedgerError> {
    require_in_range(grant.amount, GRANT_MAX)?;
    let (kind, source) = match grant.source {
        GrantSource::Promo => ("grant", Account::Promo),
        GrantSource::External => ("payment", Account::External),
    };
    Ok(Posting {
        tx: format!("{kind}:{}", grant.key),
        kind,
        prediction: None,
        memo: grant.memo.clone(),
        entries: moved([(source, -grant.amount), (Account::Credit(grant.account.clone()), grant.amount)]),
        at: grant.at,
    })
}

/// Takes the refund from publisher and platform in proportion to what each has of the capture (law L12). The platform's part is rounded
/// down over all refunds together, so that a full refund takes from each exactly what it got.
pub(crate) fn refund_posting(captured: &Captured, refund: &Refund) -> Result<Posting, LedgerError> {
    require_in_range(refund.amount, GRANT_MAX)?;
    let refunded = captured.refunded + refund.amount;
    if refunded > captured.amount {
        let Captured { amount: captured, refunded, .. } = *captured;
        return Err(LedgerError::RefundExceedsCapture { captured, refunded, asked: refund.amount });
    }
    let fee_of = |part: Credits| {
        let fee = i128::from(part.nanos()) * i128::from(captured.fee.nanos()) / i128::from(captured.amount.nanos());
        Credits(i64::try_from(fee).expect("a part is not larger than the whole"))
    };
    let from_fee = fee_of(refunded) - fee_of(captured.refunded);
    Ok(Posting {
        tx: refund_tx(refund),
        kind: "refund",
        prediction: Some(refund.prediction),
        memo: refund.memo.clone(),
        entries: moved([
            (Account::Payable(captured.publisher.clone()), from_fee - refund.amount),
            (Account::Fee, -from_fee),
            (Account::Credit(captured.payer.clone()), refund.amount),
        ]),
        at: refund.at,
    })
}

pub(crate) fn refund_tx(refund: &Refund) -> String {
    format!("refund:{}:{}", refund.prediction, refund.key)
}

/// By how much the postings change each balance.
pub(crate) fn deltas(postings: &[Posting]) -> BTreeMap<Account, Credits> {
    let mut deltas = BTreeMap::new();
    for (account, amount) in postings.iter().flat_map(|posting| &posting.entries) {
        *deltas.entry(account.clone()).or_default() += *amount;
    }
    deltas
}

fn require_in_range(amount: Credits, max: Credits) -> Result<(), LedgerError> {
    if amount > Credits::ZERO && amount <= max { Ok(()) } else { Err(LedgerError::AmountOutOfRange { max }) }
}

/// Leaves out the accounts whose balance stays.
fn moved<const N: usize>(entries: [(Account, Credits); N]) -> Vec<(Account, Credits)> {
    entries.into_iter().filter(|(_, amount)| *amount != Credits::ZERO).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::{Clock, Entropy};

    use super::*;
    use crate::ledger::FeeRate;

    const AT: Timestamp = Timestamp::from_micros(1);

    fn prediction(n: usize) -> PredictionId {
        PredictionId::new(&Clock::fixed(AT), &Entropy::seeded(n as u64))
    }

    fn fee(basis_points: u16) -> FeeRate {
        FeeRate::from_basis_points(basis_points).unwrap()
    }

    fn sum(posting: &Posting) -> Credits {
        posting.entries.iter().map(|(_, amount)| *amount).sum()
    }

    #[test]
    fn l6_publisher_and_platform_get_the_capture_exactly_and_the_crumb_is_the_platforms() {
        let held = Held { account: "caller".to_owned(), amount: Credits(100) };
        let settle = Settle { prediction: prediction(1), publisher: "publisher".to_owned(), cost: Credits(99), fee: fee(2_000), at: AT };
        let (posting, _) = settle_one(&held, &settle);
        assert!(posting.entries.contains(&(Account::Payable("publisher".to_owned()), Credits(79))), "99 × 80 % = 79.2");
        assert!(posting.entries.contains(&(Account::Fee, Credits(20))));
    }

    #[test]
    fn a_hold_below_zero_gives_no_credit() {
        let mut credit = BTreeMap::new();
        let hold = Hold { prediction: prediction(1), account: "caller".to_owned(), amount: Credits(-5), at: AT };
        let decided = hold_in_order(&mut credit, &[hold]);
        assert!(decided[0].as_ref().unwrap().entries.is_empty());
    }

    proptest! {
        #[test]
        fn l6_any_capture_is_split_exactly(cost in 0..i64::MAX, basis_points in 0..=10_000_u16) {
            let held = Held { account: "caller".to_owned(), amount: Credits(cost) };
            let settle = Settle { prediction: prediction(1), publisher: "publisher".to_owned(), cost: Credits(cost), fee: fee(basis_points), at: AT };
            let (posting, _) = settle_one(&held, &settle);
            prop_assert_eq!(sum(&posting), Credits::ZERO);
            prop_assert!(posting.entries.iter().skip(1).all(|(_, amount)| *amount > Credits::ZERO));
        }

        #[test]
        fn l12_refunds_up_to_the_capture_take_from_each_at_most_what_it_got(captured in 2..1_000_000_i64, basis_points in 0..=10_000_u16, parts in prop::collection::vec(1..400_000_i64, 1..8)) {
            let whole = Credits(captured);
            let earned = fee(basis_points).publisher_part(whole);
            let mut state = Captured { payer: "caller".to_owned(), publisher: "publisher".to_owned(), amount: whole, fee: whole - earned, refunded: Credits::ZERO };
            let (mut from_publisher, mut from_fee) = (Credits::ZERO, Credits::ZERO);
            for (n, part) in parts.into_iter().enumerate() {
                let refund = Refund { key: n.to_string(), prediction: prediction(1), amount: Credits(part), memo: String::new(), at: AT };
                match refund_posting(&state, &refund) {
                    Ok(posting) => {
                        prop_assert_eq!(sum(&posting), Credits::ZERO);
                        state.refunded += refund.amount;
                        for (account, amount) in posting.entries {
                            match account {
                                Account::Payable(_) => from_publisher -= amount,
                                Account::Fee => from_fee -= amount,
                                _ => {}
                            }
                        }
                    }
                    Err(error) => {
                        let is_too_much = matches!(error, LedgerError::RefundExceedsCapture { .. });
                        prop_assert!(is_too_much);
                        prop_assert!(state.refunded + refund.amount > whole);
                    }
                }
            }
            prop_assert!(from_fee <= state.fee && from_fee >= Credits::ZERO);
            prop_assert!(from_publisher <= earned + Credits(1) && from_publisher + from_fee == state.refunded);
            if state.refunded == whole {
                prop_assert_eq!(from_fee, state.fee);
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Command {
        Grant { user: usize, amount: i64 },
        Hold { user: usize, amount: i64 },
        Settle { hold: usize, cost: i64 },
    }

    fn commands() -> impl Strategy<Value = Vec<Command>> {
        let command = prop_oneof![
            (0..3_usize, 1..1_000_i64).prop_map(|(user, amount)| Command::Grant { user, amount }),
            (0..3_usize, 0..500_i64).prop_map(|(user, amount)| Command::Hold { user, amount }),
            (0..30_usize, 0..600_i64).prop_map(|(hold, cost)| Command::Settle { hold, cost }),
        ];
        prop::collection::vec(command, 1..60)
    }

    /// The ledger as one would explain it: purses, and no entries.
    #[derive(Default)]
    struct Purses {
        credit: [i64; 3],
        held: [i64; 3],
        earned: i64,
        /// User and amount of each hold that was given; settled ones are taken out.
        holds: Vec<Option<(usize, i64)>>,
    }

    impl Purses {
        fn follow(&mut self, command: &Command) -> bool {
            match *command {
                Command::Grant { user, amount } => self.credit[user] += amount,
                Command::Hold { user, amount } if self.credit[user] < amount => return false,
                Command::Hold { user, amount } => {
                    self.credit[user] -= amount;
                    self.held[user] += amount;
                    self.holds.push(Some((user, amount)));
                }
                Command::Settle { hold, cost } => {
                    let Some((user, amount)) = self.holds.get_mut(hold).and_then(Option::take) else { return false };
                    self.held[user] -= amount;
                    self.earned += cost.min(amount);
                    self.credit[user] += amount - cost.min(amount);
                }
            }
            true
        }
    }

    #[derive(Default)]
    struct Books {
        balances: BTreeMap<Account, Credits>,
        holds: Vec<Option<(PredictionId, Held)>>,
    }

    impl Books {
        fn follow(&mut self, command: &Command) -> Option<Posting> {
            let posting = match *command {
                Command::Grant { user, amount } => {
                    let (key, account, memo) = (String::new(), user.to_string(), String::new());
                    grant_posting(&Grant { key, account, source: GrantSource::Promo, amount: Credits(amount), memo, at: AT }).ok()?
                }
                Command::Hold { user, amount } => {
                    let (account, amount, prediction) = (user.to_string(), Credits(amount), prediction(self.holds.len()));
                    let mut credit = self.balances.clone();
                    let hold = Hold { prediction, account: account.clone(), amount, at: AT };
                    let posting = hold_in_order(&mut credit, &[hold]).pop()?.ok()?;
                    self.holds.push(Some((prediction, Held { account, amount })));
                    posting
                }
                Command::Settle { hold, cost } => {
                    let (prediction, held) = self.holds.get_mut(hold)?.take()?;
                    let settle = Settle { prediction, publisher: "publisher".to_owned(), cost: Credits(cost), fee: fee(1_500), at: AT };
                    settle_one(&held, &settle).0
                }
            };
            for (account, delta) in deltas(std::slice::from_ref(&posting)) {
                *self.balances.entry(account).or_default() += delta;
            }
            Some(posting)
        }

        fn amount(&self, account: &Account) -> i64 {
            self.balances.get(account).map_or(0, |amount| amount.nanos())
        }
    }

    proptest! {
        #[test]
        fn l1_l5_the_books_say_what_the_purses_hold(commands in commands()) {
            let (mut purses, mut books) = (Purses::default(), Books::default());
            for command in &commands {
                let posting = books.follow(command);
                prop_assert_eq!(purses.follow(command), posting.is_some(), "{:?}", command);
                prop_assert_eq!(posting.as_ref().map_or(Credits::ZERO, sum), Credits::ZERO);
            }
            for user in 0..3 {
                prop_assert_eq!(books.amount(&Account::Credit(user.to_string())), purses.credit[user]);
                prop_assert_eq!(books.amount(&Account::Held(user.to_string())), purses.held[user]);
            }
            let earned = books.amount(&Account::Payable("publisher".to_owned())) + books.amount(&Account::Fee);
            prop_assert_eq!(earned, purses.earned);
        }

        #[test]
        fn holds_together_are_decided_as_one_after_the_other(credit in 0..2_000_i64, amounts in prop::collection::vec(0..500_i64, 1..40)) {
            let account = Account::Credit("caller".to_owned());
            let holds: Vec<Hold> = amounts.iter().enumerate().map(|(n, amount)| Hold { prediction: prediction(n), account: "caller".to_owned(), amount: Credits(*amount), at: AT }).collect();
            let mut left = credit;
            let expected: Vec<bool> = amounts.iter().map(|amount| { let covered = *amount <= left; if covered { left -= amount; } covered }).collect();
            let mut balances = BTreeMap::from([(account.clone(), Credits(credit))]);
            let decided: Vec<bool> = hold_in_order(&mut balances, &holds).iter().map(Result::is_ok).collect();
            prop_assert_eq!(decided, expected);
            prop_assert_eq!(balances[&account], Credits(left));
        }
    }
}
