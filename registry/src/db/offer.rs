//! The tables `model_offer` and `model_address`: models that change hands, and where they were before.

use protocol::{ModelRef, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::error::RegistryError;
use crate::transfers::Offer;

/// Offers that are listed.
const LISTED_MAX: i64 = 1_000;

macro_rules! select_offer {
    ($condition:literal) => {
        concat!(
            "select o.model_id, o.offered_at, m.owner, m.name, f.id as from_id, t.name as to_name from model_offer o \
             join model m on m.id = o.model_id join account f on f.name = m.owner join account t on t.id = o.to_account where ",
            $condition
        )
    };
}

/// An offer, and the ids of what it is about.
#[derive(Clone, Debug)]
pub(crate) struct StoredOffer {
    pub(crate) offer: Offer,
    pub(crate) model_id: String,
    pub(crate) from_id: String,
}

/// Offers a model to an account, in the place of any earlier offer.
pub(crate) async fn put(tx: &mut Tx, model_id: &str, to_account: &str, now: Timestamp) -> Result<(), RegistryError> {
    let statement = "insert into model_offer (model_id, to_account, offered_at) values ($1, $2, $3) \
                     on conflict (model_id) do update set to_account = excluded.to_account, offered_at = excluded.offered_at";
    sqlx::query(statement).bind(model_id).bind(to_account).bind(now.micros()).execute(tx).await?;
    Ok(())
}

/// The offer of a model to this account.
pub(crate) async fn find(tx: &mut Tx, model: &ModelRef, to_account: &str) -> Result<Option<StoredOffer>, RegistryError> {
    let statement = select_offer!("m.owner = $1 and m.name = $2 and o.to_account = $3");
    let row = sqlx::query(statement).bind(&model.owner).bind(&model.name).bind(to_account).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

/// What an account was offered, and what it offers, the newest first.
pub(crate) async fn list(tx: &mut Tx, account_id: &str) -> Result<Vec<Offer>, RegistryError> {
    let statement = select_offer!("o.to_account = $1 or f.id = $1 order by o.offered_at desc, o.model_id limit $2");
    let rows = sqlx::query(statement).bind(account_id).bind(LISTED_MAX).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(read(row)?.offer)).collect()
}

/// Ends an offer by the account that made it or that it was made to; false when there is no such offer.
pub(crate) async fn end(tx: &mut Tx, model: &ModelRef, account_id: &str) -> Result<bool, RegistryError> {
    let statement = "delete from model_offer where model_id in (select m.id from model m join account f on f.name = m.owner \
                     where m.owner = $1 and m.name = $2 and (f.id = $3 or model_offer.to_account = $3))";
    let result = sqlx::query(statement).bind(&model.owner).bind(&model.name).bind(account_id).execute(tx).await?;
    Ok(result.rows_affected() == 1)
}

/// Gives a model to another owner. The address that it had leads to it from now on. That the new one is free is for the caller to have seen.
pub(crate) async fn move_model(tx: &mut Tx, moved: &StoredOffer, owner: &str, now: Timestamp) -> Result<(), RegistryError> {
    let StoredOffer { offer, model_id, .. } = moved;
    sqlx::query("delete from model_offer where model_id = $1").bind(model_id).execute(&mut *tx).await?;
    sqlx::query("delete from model_address where owner = $1 and name = $2").bind(owner).bind(&offer.model.name).execute(&mut *tx).await?;
    let statement = "insert into model_address (owner, name, model_id, left_at) values ($1, $2, $3, $4)";
    let query = sqlx::query(statement).bind(&offer.model.owner).bind(&offer.model.name).bind(model_id).bind(now.micros());
    query.execute(&mut *tx).await?;
    // What the operators said of the model they said of its owner too.
    sqlx::query("update model set owner = $2, is_official = 0 where id = $1").bind(model_id).bind(owner).execute(tx).await?;
    Ok(())
}

/// Whether a model has left this address.
pub(crate) async fn was_left(tx: &mut Tx, address: &ModelRef) -> Result<bool, RegistryError> {
    let statement = "select 1 as one from model_address where owner = $1 and name = $2";
    Ok(sqlx::query(statement).bind(&address.owner).bind(&address.name).fetch_optional(tx).await?.is_some())
}

fn read(row: &AnyRow) -> Result<StoredOffer, RegistryError> {
    let model = ModelRef { owner: row.try_get("owner")?, name: row.try_get("name")? };
    let offered_at = Timestamp::from_micros(row.try_get("offered_at")?);
    Ok(StoredOffer {
        offer: Offer { from: model.owner.clone(), model, to: row.try_get("to_name")?, offered_at },
        model_id: row.try_get("model_id")?,
        from_id: row.try_get("from_id")?,
    })
}
