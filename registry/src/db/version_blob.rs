//! The table `version_blob`: what the manifests of versions name.

use protocol::{Digest, Manifest, VersionId};
use sqlx::Row;
use store::{Engine, Tx};

use crate::error::RegistryError;

/// Versions that are noted in one transaction.
pub(crate) const UNNOTED_MAX: i64 = 50;

/// A version of which is not noted yet what it names.
#[derive(Debug)]
pub(crate) struct Unnoted {
    pub(crate) model_id: String,
    pub(crate) version_id: VersionId,
    pub(crate) owner_id: String,
    pub(crate) manifest: Manifest,
}

pub(crate) async fn insert_all(tx: &mut Tx, model_id: &str, version_id: &VersionId, digests: &[Digest]) -> Result<(), RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            "insert into version_blob (model_id, version_id, digest) select $1, $2, j.value from json_each($3) j where true on conflict do nothing"
        }
        Engine::Postgres => {
            "insert into version_blob (model_id, version_id, digest) \
             select $1, $2, j.value from json_array_elements_text($3::json) as j(value) on conflict do nothing"
        }
    };
    let digests = serde_json::to_string(digests).expect("digests are plain text");
    sqlx::query(statement).bind(model_id).bind(version_id.to_string()).bind(digests).execute(tx).await?;
    Ok(())
}

/// Versions that an earlier release published.
pub(crate) async fn unnoted(tx: &mut Tx) -> Result<Vec<Unnoted>, RegistryError> {
    let statement = "select v.model_id, v.id, v.manifest, a.id as owner_id from version v join model m on m.id = v.model_id \
                     join account a on a.name = m.owner where v.deleted_at is null and not exists \
                     (select 1 from version_blob n where n.model_id = v.model_id and n.version_id = v.id) limit $1";
    let rows = sqlx::query(statement).bind(UNNOTED_MAX).fetch_all(tx).await?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            let corrupt = || RegistryError::Corrupt { what: "version", id: id.clone() };
            let manifest: String = row.try_get("manifest")?;
            Ok(Unnoted {
                model_id: row.try_get("model_id")?,
                version_id: id.parse().map_err(|_| corrupt())?,
                owner_id: row.try_get("owner_id")?,
                manifest: serde_json::from_str(&manifest).map_err(|_| corrupt())?,
            })
        })
        .collect()
}
