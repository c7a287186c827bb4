//! The tables `collection` and `collection_model`.

use protocol::{ModelRef, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::collections::Collection;
use crate::cursor::{Direction, SCAN_ROWS, Scan};
use crate::error::RegistryError;

macro_rules! select_collection {
    ($rest:literal) => {
        concat!("select id, slug, name, description, full_description, created_at from collection ", $rest)
    };
}

/// Adds a collection; false when its slug is taken.
pub(crate) async fn insert(tx: &mut Tx, collection: &Collection) -> Result<bool, RegistryError> {
    let statement = "insert into collection (id, slug, name, description, full_description, created_at) \
                     values ($1, $2, $3, $4, $5, $6) on conflict (slug) do nothing";
    let result = sqlx::query(statement)
        .bind(&collection.id)
        .bind(&collection.slug)
        .bind(&collection.name)
        .bind(&collection.description)
        .bind(&collection.full_description)
        .bind(collection.created_at.micros())
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn update(tx: &mut Tx, collection: &Collection) -> Result<(), RegistryError> {
    sqlx::query("update collection set name = $2, description = $3, full_description = $4 where id = $1")
        .bind(&collection.id)
        .bind(&collection.name)
        .bind(&collection.description)
        .bind(&collection.full_description)
        .execute(tx)
        .await?;
    Ok(())
}

/// Puts these models, in this order, in the place of those that were there.
pub(crate) async fn set_models(tx: &mut Tx, id: &str, models: &[ModelRef]) -> Result<(), RegistryError> {
    sqlx::query("delete from collection_model where collection_id = $1").bind(id).execute(&mut *tx).await?;
    let statement = "insert into collection_model (collection_id, position, model_owner, model_name) values ($1, $2, $3, $4)";
    for (position, model) in (0_i64..).zip(models) {
        sqlx::query(statement).bind(id).bind(position).bind(&model.owner).bind(&model.name).execute(&mut *tx).await?;
    }
    Ok(())
}

pub(crate) async fn models(tx: &mut Tx, id: &str) -> Result<Vec<ModelRef>, RegistryError> {
    let statement = "select model_owner, model_name from collection_model where collection_id = $1 order by position";
    let rows = sqlx::query(statement).bind(id).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(ModelRef { owner: row.try_get("model_owner")?, name: row.try_get("model_name")? })).collect()
}

pub(crate) async fn find(tx: &mut Tx, slug: &str) -> Result<Option<Collection>, RegistryError> {
    let row = sqlx::query(select_collection!("where slug = $1")).bind(slug).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn list(tx: &mut Tx, scan: &Scan) -> Result<Vec<Collection>, RegistryError> {
    let statement = match scan.direction {
        Direction::Descending => select_collection!("where (created_at, id) < ($1, $2) order by created_at desc, id desc limit $3"),
        Direction::Ascending => select_collection!("where (created_at, id) > ($1, $2) order by created_at, id limit $3"),
    };
    let rows = sqlx::query(statement).bind(scan.key).bind(&scan.id).bind(SCAN_ROWS).fetch_all(tx).await?;
    rows.iter().map(read).collect()
}

/// Finds collections in which a word occurs. The word is in lower case.
pub(crate) async fn search(tx: &mut Tx, pattern: &str, most: i64) -> Result<Vec<Collection>, RegistryError> {
    let statement = select_collection!(
        "where slug like $1 escape '!' or lower(name) like $1 escape '!' or lower(description) like $1 escape '!' \
         order by created_at desc, id limit $2"
    );
    let rows = sqlx::query(statement).bind(pattern).bind(most).fetch_all(tx).await?;
    rows.iter().map(read).collect()
}

/// Deletes a collection; its models stay.
pub(crate) async fn delete(tx: &mut Tx, id: &str) -> Result<(), RegistryError> {
    sqlx::query("delete from collection_model where collection_id = $1").bind(id).execute(&mut *tx).await?;
    sqlx::query("delete from collection where id = $1").bind(id).execute(tx).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Collection, RegistryError> {
    Ok(Collection {
        id: row.try_get("id")?,
        slug: row.try_get("slug")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        full_description: row.try_get("full_description")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
    })
}
