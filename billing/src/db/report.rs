//! What the ledger says: an account's balances, and whether the books agree with themselves and with the predictions.

use protocol::Credits;
use sqlx::Row;
use store::{StoreError, Tx};

use super::balance::amount;
use crate::ledger::Account;

/// What an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountBalance {
    /// To spend.
    pub credit: Credits,
    /// Set aside for predictions that run.
    pub held: Credits,
    /// Earned as a publisher.
    pub payable: Credits,
}

/// The outcome of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerReport {
    pub transactions: u64,
    pub entries: u64,
    /// At most 100 of each law, so that a broken ledger gives a report and not another dump of itself.
    pub violations: Vec<Violation>,
}

impl LedgerReport {
    /// Tells whether every law holds.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

/// A law that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub law: &'static str,
    /// The transaction, account or prediction that breaks it.
    pub subject: String,
    /// By how much, where it is an amount.
    pub off_by: Credits,
}

/// Each selects what breaks a law: `subject` and `off_by`.
const LAWS: [(&str, &str); 8] = [
    (
        "every transaction sums to zero",
        "select tx as subject, cast(sum(amount) as bigint) as off_by from ledger_entry group by tx having sum(amount) <> 0 limit 100",
    ),
    (
        "every entry belongs to a transaction",
        "select e.tx as subject, e.amount as off_by from ledger_entry e left join ledger_tx t on t.id = e.tx where t.id is null limit 100",
    ),
    (
        "balances are the sum of their entries",
        "select account as subject, cast(sum(amount) as bigint) as off_by
         from (select account, amount from balance union all select account, -amount from ledger_entry) as both_sides
         group by account having sum(amount) <> 0 limit 100",
    ),
    (
        "a prediction has one hold and one settlement",
        "select id as subject, cast(0 as bigint) as off_by from ledger_tx
         where (kind = 'hold' and id <> 'hold:' || prediction_id) or (kind in ('capture', 'void') and id <> 'settle:' || prediction_id)
         or (kind in ('capture', 'void') and not exists (select 1 from ledger_tx h where h.id = 'hold:' || ledger_tx.prediction_id)) limit 100",
    ),
    (
        "a settlement ends the whole hold",
        "select t.prediction_id as subject, cast(sum(e.amount) as bigint) as off_by
         from ledger_tx t join ledger_entry e on e.tx = t.id
         where t.kind in ('hold', 'capture', 'void') and e.account like 'held:%'
         and exists (select 1 from ledger_tx s where s.id = 'settle:' || t.prediction_id)
         group by t.prediction_id having sum(e.amount) <> 0 limit 100",
    ),
    (
        "a capture is not more than its hold",
        "select t.id as subject, e.amount as off_by from ledger_tx t join ledger_entry e on e.tx = t.id
         where t.kind in ('capture', 'void') and e.account not like 'held:%' and e.amount < 0 limit 100",
    ),
    (
        "a prediction that was held for is settled when it ends and not before",
        "select p.id as subject, p.hold as off_by from prediction p
         join ledger_tx h on h.id = 'hold:' || p.id left join ledger_tx s on s.id = 'settle:' || p.id
         where (p.completed_at is null) <> (s.id is null) limit 100",
    ),
    (
        "a prediction costs what was captured",
        "select p.id as subject, cast(coalesce(p.cost, 0) - coalesce(sum(e.amount), 0) as bigint) as off_by
         from prediction p left join ledger_entry e on e.tx = 'settle:' || p.id and e.amount > 0 and e.account not like 'credit:%'
         where p.completed_at is not null group by p.id, p.cost having coalesce(p.cost, 0) <> coalesce(sum(e.amount), 0) limit 100",
    ),
];

const COUNTS: &str = "select (select count(*) from ledger_tx) as transactions, (select count(*) from ledger_entry) as entries";

const SUM: &str = "select cast(coalesce(sum(amount), 0) as bigint) as total from ledger_entry where account = $1";

/// Reads what an account has.
pub async fn balance(tx: &mut Tx, account: &str) -> Result<AccountBalance, StoreError> {
    Ok(AccountBalance {
        credit: amount(tx, &Account::Credit(account.to_owned())).await?,
        held: amount(tx, &Account::Held(account.to_owned())).await?,
        payable: amount(tx, &Account::Payable(account.to_owned())).await?,
    })
}

/// Sums the entries of one account of the ledger, which is what its balance must be.
pub async fn entries_sum(tx: &mut Tx, account: &Account) -> Result<Credits, StoreError> {
    let row = sqlx::query(SUM).bind(account.to_string()).fetch_one(tx).await?;
    Ok(Credits(row.try_get("total")?))
}

/// Audits the whole ledger. It reads every entry; run it in [`store::Db::read`], whose snapshot no writer changes meanwhile.
pub async fn verify(tx: &mut Tx) -> Result<LedgerReport, StoreError> {
    let counts = sqlx::query(COUNTS).fetch_one(&mut *tx).await?;
    let count = |name| counts.try_get::<i64, _>(name).map(i64::unsigned_abs);
    let mut violations = Vec::new();
    for (law, broken) in LAWS {
        for row in sqlx::query(broken).fetch_all(&mut *tx).await? {
            violations.push(Violation { law, subject: row.try_get("subject")?, off_by: Credits(row.try_get("off_by")?) });
        }
    }
    Ok(LedgerReport { transactions: count("transactions")?, entries: count("entries")?, violations })
}

#[cfg(test)]
mod tests {
    use store::Db;
    use store::testing::on_both_engines;

    use super::*;

    async fn run(db: &Db, statement: &'static str) {
        db.write(move |tx| {
            Box::pin(async move {
                sqlx::query(statement).execute(tx).await?;
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    }

    async fn laws_broken(db: &Db) -> Vec<&'static str> {
        let report = db.read(|tx| Box::pin(verify(tx))).await.unwrap();
        report.violations.iter().map(|violation| violation.law).collect()
    }

    /// An audit that finds nothing in a broken ledger is worth nothing: each law is broken once, and found.
    #[tokio::test]
    async fn the_audit_finds_each_law_that_is_broken() {
        on_both_engines(|db| async move {
            assert!(laws_broken(&db).await.is_empty());
            run(&db, "insert into ledger_tx (id, kind, created_at) values ('grant:x', 'grant', 0)").await;
            run(&db, "insert into ledger_entry (tx, account, amount, created_at) values ('grant:x', 'credit:u', 5, 0)").await;
            assert_eq!(laws_broken(&db).await, ["every transaction sums to zero", "balances are the sum of their entries"]);
            run(&db, "insert into ledger_entry (tx, account, amount, created_at) values ('grant:x', 'promo', -5, 0)").await;
            run(&db, "insert into balance (account, amount) values ('credit:u', 5), ('promo', -5)").await;
            assert!(laws_broken(&db).await.is_empty());

            run(&db, "insert into ledger_tx (id, kind, prediction_id, created_at) values ('settle:p', 'void', 'p', 0)").await;
            assert_eq!(laws_broken(&db).await, ["a prediction has one hold and one settlement"]);
            run(&db, "insert into ledger_tx (id, kind, prediction_id, created_at) values ('hold:p', 'hold', 'p', 0)").await;
            assert!(laws_broken(&db).await.is_empty());
            run(&db, "insert into ledger_entry (tx, account, amount, created_at) values ('hold:p', 'credit:u', -2, 0), ('hold:p', 'held:u', 2, 0)").await;
            run(&db, "update balance set amount = 3 where account = 'credit:u'").await;
            run(&db, "insert into balance (account, amount) values ('held:u', 2)").await;
            assert_eq!(laws_broken(&db).await, ["a settlement ends the whole hold"]);
            run(&db, "insert into ledger_entry (tx, account, amount, created_at) values ('settle:p', 'held:u', -2, 0), ('settle:p', 'credit:u', -1, 0), ('settle:p', 'fee', 3, 0)").await;
            run(&db, "update balance set amount = amount - 1 where account = 'credit:u'").await;
            run(&db, "update balance set amount = amount - 2 where account = 'held:u'").await;
            run(&db, "insert into balance (account, amount) values ('fee', 3)").await;
            assert_eq!(laws_broken(&db).await, ["a capture is not more than its hold"]);
            run(&db, "insert into ledger_entry (tx, account, amount, created_at) values ('lost', 'credit:v', 1, 0), ('lost', 'promo', -1, 0)").await;
            run(&db, "update balance set amount = amount - 1 where account = 'promo'").await;
            run(&db, "insert into balance (account, amount) values ('credit:v', 1)").await;
            assert!(laws_broken(&db).await.contains(&"every entry belongs to a transaction"));
        })
        .await;
    }

    #[tokio::test]
    async fn the_audit_holds_predictions_against_the_ledger() {
        on_both_engines(|db| async move {
            // What else a row needs is not the audit's business.
            run(&db, "drop table prediction").await;
            run(&db, "create table prediction (id text, cost bigint, hold bigint, completed_at bigint)").await;
            run(&db, "insert into prediction values ('p', 7, 2, 1)").await;
            run(&db, "insert into ledger_tx (id, kind, prediction_id, created_at) values ('hold:p', 'hold', 'p', 0)").await;
            let both = ["a prediction that was held for is settled when it ends and not before", "a prediction costs what was captured"];
            assert_eq!(laws_broken(&db).await, both);
        })
        .await;
    }
}
