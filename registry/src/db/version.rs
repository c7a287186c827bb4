//! The table `version`.

use protocol::api::FileWarning;
use protocol::manifest::{Driver, VersionFile};
use protocol::{ModelRef, OciManifest, Timestamp, VersionConfig, VersionId};
use serde::Deserialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::cursor::{Direction, SCAN_ROWS, Scan};
use crate::db::warning;
use crate::error::RegistryError;
use crate::versions::VersionSummary;

/// Models that one version id is looked for in.
const HOLDERS_MAX: i64 = 1_000;

/// A version as it is written.
#[derive(Clone, Debug)]
pub(crate) struct NewVersionRow {
    pub(crate) model_id: String,
    pub(crate) id: VersionId,
    pub(crate) manifest: String,
    pub(crate) config: String,
    pub(crate) openapi_schema: String,
    pub(crate) cog_version: String,
    pub(crate) created_by: String,
    pub(crate) created_at: Timestamp,
}

/// A version as it reads back.
#[derive(Clone, Debug)]
pub(crate) struct StoredVersion {
    pub(crate) files: Vec<VersionFile>,
    pub(crate) config: VersionConfig,
    pub(crate) warnings: Vec<FileWarning>,
    pub(crate) created_at: Timestamp,
}

/// Whether a model has, or had, a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Present,
    Deleted,
}

/// Adds a version; false when the model has, or had, it.
pub(crate) async fn insert(tx: &mut Tx, version: &NewVersionRow) -> Result<bool, RegistryError> {
    let statement = "insert into version (id, model_id, manifest, config, openapi_schema, cog_version, created_by, created_at) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (model_id, id) do nothing";
    let result = sqlx::query(statement)
        .bind(version.id.to_string())
        .bind(&version.model_id)
        .bind(&version.manifest)
        .bind(&version.config)
        .bind(&version.openapi_schema)
        .bind(&version.cog_version)
        .bind(&version.created_by)
        .bind(version.created_at.micros())
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn presence(tx: &mut Tx, model_id: &str, id: &VersionId) -> Result<Option<Presence>, RegistryError> {
    let statement = "select deleted_at from version where model_id = $1 and id = $2";
    let Some(row) = sqlx::query(statement).bind(model_id).bind(id.to_string()).fetch_optional(tx).await? else {
        return Ok(None);
    };
    let deleted_at: Option<i64> = row.try_get("deleted_at")?;
    Ok(Some(if deleted_at.is_some() { Presence::Deleted } else { Presence::Present }))
}

pub(crate) async fn find(tx: &mut Tx, model_id: &str, id: &VersionId) -> Result<Option<StoredVersion>, RegistryError> {
    let statement = "select manifest, config, created_at, (select warnings from version_warning where version_id = version.id) as warnings \
                     from version where model_id = $1 and id = $2 and deleted_at is null";
    let Some(row) = sqlx::query(statement).bind(model_id).bind(id.to_string()).fetch_optional(tx).await? else {
        return Ok(None);
    };
    let (manifest, config): (String, String) = (row.try_get("manifest")?, row.try_get("config")?);
    let corrupt = |_| RegistryError::Corrupt { what: "version", id: id.to_string() };
    Ok(Some(StoredVersion {
        files: OciManifest::parse(&manifest).map_err(corrupt)?.files(),
        config: serde_json::from_str(&config).map_err(corrupt)?,
        warnings: warning::read(id, row.try_get::<Option<String>, _>("warnings")?.as_deref())?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
    }))
}

/// The models that have a version with this id: the public ones first, and the oldest of them.
pub(crate) async fn holders(tx: &mut Tx, id: &VersionId) -> Result<Vec<ModelRef>, RegistryError> {
    let statement = "select m.owner, m.name from version v join model m on m.id = v.model_id \
                     where v.id = $1 and v.deleted_at is null order by m.visibility desc, v.created_at, m.id limit $2";
    let rows = sqlx::query(statement).bind(id.to_string()).bind(HOLDERS_MAX).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(ModelRef { owner: row.try_get("owner")?, name: row.try_get("name")? })).collect()
}

pub(crate) async fn list(tx: &mut Tx, model_id: &str, scan: &Scan) -> Result<Vec<VersionSummary>, RegistryError> {
    let statement = match scan.direction {
        Direction::Descending => {
            "select id, created_at, cog_version, openapi_schema, config, \
             (select warnings from version_warning where version_id = version.id) as warnings from version \
             where model_id = $1 and deleted_at is null and (created_at, id) < ($2, $3) order by created_at desc, id desc limit $4"
        }
        Direction::Ascending => {
            "select id, created_at, cog_version, openapi_schema, config, \
             (select warnings from version_warning where version_id = version.id) as warnings from version \
             where model_id = $1 and deleted_at is null and (created_at, id) > ($2, $3) order by created_at, id limit $4"
        }
    };
    let query = sqlx::query(statement).bind(model_id).bind(scan.key).bind(&scan.id).bind(SCAN_ROWS);
    query.fetch_all(tx).await?.iter().map(read_summary).collect()
}

/// Marks a version as deleted; false when the model has no such version. Its row stays, so that the id is never used again.
pub(crate) async fn delete(tx: &mut Tx, model_id: &str, id: &VersionId, now: Timestamp) -> Result<bool, RegistryError> {
    let statement = "update version set deleted_at = $3 where model_id = $1 and id = $2 and deleted_at is null";
    let result = sqlx::query(statement).bind(model_id).bind(id.to_string()).bind(now.micros()).execute(tx).await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn newest(tx: &mut Tx, model_id: &str) -> Result<Option<VersionId>, RegistryError> {
    let statement = "select id from version where model_id = $1 and deleted_at is null order by created_at desc, id desc limit 1";
    let row = sqlx::query(statement).bind(model_id).fetch_optional(tx).await?;
    row.as_ref().map(read_id).transpose()
}

/// A version of which the table `manifest` does not know, for it was published before that table was there.
#[derive(Clone, Debug)]
pub(crate) struct Unlisted {
    pub(crate) model_id: String,
    pub(crate) id: VersionId,
    /// Whose the model is now.
    pub(crate) owner_id: String,
    pub(crate) manifest: String,
    pub(crate) created_at: Timestamp,
}

pub(crate) async fn unlisted(tx: &mut Tx, rows_max: i64) -> Result<Vec<Unlisted>, RegistryError> {
    let statement = "select v.model_id, v.id, v.manifest, v.created_at, a.id as owner_id from version v join model o on o.id = v.model_id \
                     join account a on a.name = o.owner where v.deleted_at is null \
                     and not exists (select 1 from manifest m where m.model_id = v.model_id and m.digest = 'sha256:' || v.id) limit $1";
    let rows = sqlx::query(statement).bind(rows_max).fetch_all(tx).await?;
    let unlisted = |row: &AnyRow| {
        Ok(Unlisted {
            model_id: row.try_get("model_id")?,
            id: read_id(row)?,
            owner_id: row.try_get("owner_id")?,
            manifest: row.try_get("manifest")?,
            created_at: Timestamp::from_micros(row.try_get("created_at")?),
        })
    };
    rows.iter().map(unlisted).collect()
}

/// What a list tells of a config.
#[derive(Debug, Deserialize)]
struct Started {
    #[serde(default)]
    driver: Driver,
}

fn read_summary(row: &AnyRow) -> Result<VersionSummary, RegistryError> {
    let id = read_id(row)?;
    let schema: String = row.try_get("openapi_schema")?;
    let openapi_schema: Value =
        serde_json::from_str(&schema).map_err(|_| RegistryError::Corrupt { what: "version", id: id.to_string() })?;
    let config: Started = serde_json::from_str(&row.try_get::<String, _>("config")?)
        .map_err(|_| RegistryError::Corrupt { what: "version", id: id.to_string() })?;
    Ok(VersionSummary {
        id,
        driver: config.driver,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        cog_version: row.try_get("cog_version")?,
        openapi_schema,
        warnings: warning::read(&id, row.try_get::<Option<String>, _>("warnings")?.as_deref())?,
    })
}

fn read_id(row: &AnyRow) -> Result<VersionId, RegistryError> {
    let text: String = row.try_get("id")?;
    text.parse().map_err(|_| RegistryError::Corrupt { what: "version", id: text })
}
