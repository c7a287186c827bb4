//! The table `file`.

use protocol::{Digest, Timestamp};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::cursor::{Direction, SCAN_ROWS, Scan};
use crate::error::RegistryError;
use crate::files::FileRow;

macro_rules! select_file {
    ($condition:literal) => {
        concat!(
            "select id, account_id, prediction_id, name, content_type, size, digest, md5, metadata, created_at, expires_at from file where ",
            $condition
        )
    };
}

pub(crate) async fn insert(tx: &mut Tx, file: &FileRow) -> Result<(), RegistryError> {
    let statement = "insert into file (id, account_id, prediction_id, name, content_type, size, digest, metadata, created_at, expires_at, md5) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    sqlx::query(statement)
        .bind(&file.id)
        .bind(&file.account_id)
        .bind(file.prediction.map(|id| id.to_string()))
        .bind(&file.name)
        .bind(&file.content_type)
        .bind(i64::try_from(file.size).expect("a file is smaller than 2⁶³ bytes"))
        .bind(file.digest.to_string())
        .bind(Value::Object(file.metadata.clone()).to_string())
        .bind(file.created_at.micros())
        .bind(file.expires_at.map(Timestamp::micros))
        .bind(&file.md5)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn find(tx: &mut Tx, id: &str, now: Timestamp) -> Result<Option<FileRow>, RegistryError> {
    let statement = select_file!("id = $1 and deleted_at is null and (expires_at is null or expires_at > $2)");
    let row = sqlx::query(statement).bind(id).bind(now.micros()).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn list(tx: &mut Tx, account_id: &str, now: Timestamp, scan: &Scan) -> Result<Vec<FileRow>, RegistryError> {
    let statement = match scan.direction {
        Direction::Descending => select_file!(
            "account_id = $1 and deleted_at is null and (expires_at is null or expires_at > $2) and (created_at, id) < ($3, $4) \
             order by created_at desc, id desc limit $5"
        ),
        Direction::Ascending => select_file!(
            "account_id = $1 and deleted_at is null and (expires_at is null or expires_at > $2) and (created_at, id) > ($3, $4) \
             order by created_at, id limit $5"
        ),
    };
    let query = sqlx::query(statement).bind(account_id).bind(now.micros()).bind(scan.key).bind(&scan.id).bind(SCAN_ROWS);
    query.fetch_all(tx).await?.iter().map(read).collect()
}

/// Marks one of the account's files as deleted; false when it has no such file.
pub(crate) async fn delete(tx: &mut Tx, account_id: &str, id: &str, now: Timestamp) -> Result<bool, RegistryError> {
    let statement = "update file set deleted_at = $3 where id = $1 and account_id = $2 and deleted_at is null";
    let result = sqlx::query(statement).bind(id).bind(account_id).bind(now.micros()).execute(tx).await?;
    Ok(result.rows_affected() == 1)
}

/// Marks as deleted what has expired.
pub(crate) async fn expire(tx: &mut Tx, now: Timestamp) -> Result<(), RegistryError> {
    let statement = "update file set deleted_at = $1 where deleted_at is null and expires_at is not null and expires_at <= $1";
    sqlx::query(statement).bind(now.micros()).execute(tx).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<FileRow, RegistryError> {
    let id: String = row.try_get("id")?;
    let corrupt = || RegistryError::Corrupt { what: "file", id: id.clone() };
    let prediction: Option<String> = row.try_get("prediction_id")?;
    let digest: Digest = row.try_get::<String, _>("digest")?.parse().map_err(|_| corrupt())?;
    Ok(FileRow {
        account_id: row.try_get("account_id")?,
        prediction: prediction.map(|text| text.parse()).transpose().map_err(|_| corrupt())?,
        name: row.try_get("name")?,
        content_type: row.try_get("content_type")?,
        size: u64::try_from(row.try_get::<i64, _>("size")?).map_err(|_| corrupt())?,
        digest,
        md5: row.try_get("md5")?,
        metadata: serde_json::from_str(&row.try_get::<String, _>("metadata")?).map_err(|_| corrupt())?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_micros),
        id,
    })
}
