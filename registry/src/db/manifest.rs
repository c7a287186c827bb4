//! The table `manifest`: every manifest that a repository holds, versions and others. Bytes are in the object store.

use std::collections::BTreeMap;

use protocol::{Digest, ModelRef, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{Engine, Tx};

use crate::db::{json_list, named_blob};
use crate::error::RegistryError;
use crate::oci::ManifestRow;

/// A manifest as it is written.
#[derive(Clone, Debug)]
pub(crate) struct NewManifestRow {
    pub(crate) model_id: String,
    pub(crate) manifest: ManifestRow,
    pub(crate) subject: Option<Digest>,
    pub(crate) depth: u32,
    /// The blobs that it names and that are here, with their sizes.
    pub(crate) blobs: BTreeMap<Digest, u64>,
    pub(crate) created_at: Timestamp,
}

impl NewManifestRow {
    /// Itself and what it names, with their sizes.
    pub(crate) fn parts(&self) -> BTreeMap<Digest, u64> {
        let named = self.blobs.iter().map(|(digest, size)| (*digest, *size));
        named.chain([(self.manifest.digest, self.manifest.size)]).collect()
    }
}

/// A manifest that an index may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) depth: u32,
}

/// Adds a manifest and what it names. One that is there already stays as it is.
pub(crate) async fn insert(tx: &mut Tx, new: &NewManifestRow) -> Result<(), RegistryError> {
    let statement = "insert into manifest (model_id, digest, media_type, artifact_type, subject, annotations, size, depth, created_at) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (model_id, digest) do nothing";
    let ManifestRow { digest, media_type, artifact_type, annotations, size } = &new.manifest;
    sqlx::query(statement)
        .bind(&new.model_id)
        .bind(digest.to_string())
        .bind(media_type)
        .bind(artifact_type)
        .bind(new.subject.map(|subject| subject.to_string()))
        .bind(serde_json::to_string(annotations).expect("texts by name are JSON"))
        .bind(i64::try_from(*size).expect("a manifest is smaller than 2⁶³ bytes"))
        .bind(i64::from(new.depth))
        .bind(new.created_at.micros())
        .execute(&mut *tx)
        .await?;
    named_blob::name(tx, &new.model_id, digest, &new.blobs.keys().copied().collect::<Vec<_>>()).await
}

pub(crate) async fn find(tx: &mut Tx, model_id: &str, digest: &Digest) -> Result<Option<ManifestRow>, RegistryError> {
    let statement = "select digest, media_type, artifact_type, annotations, size from manifest where model_id = $1 and digest = $2";
    let row = sqlx::query(statement).bind(model_id).bind(digest.to_string()).fetch_optional(tx).await?;
    row.as_ref().map(read).transpose()
}

/// Those of the manifests that the repository holds.
pub(crate) async fn children(tx: &mut Tx, model_id: &str, digests: &[Digest]) -> Result<Vec<Child>, RegistryError> {
    let statement = match Engine::of(tx) {
        Engine::Sqlite => {
            "select digest, size, depth from manifest where model_id = $2 and digest in (select j.value from json_each($1) j)"
        }
        Engine::Postgres => {
            "select digest, size, depth from manifest where model_id = $2 and digest in (select json_array_elements_text($1::json))"
        }
    };
    let rows = sqlx::query(statement).bind(json_list(digests)).bind(model_id).fetch_all(tx).await?;
    let child = |row: &AnyRow| {
        let depth = u32::try_from(row.try_get::<i64, _>("depth")?).unwrap_or(u32::MAX);
        Ok(Child { digest: named_blob::read_digest(row)?, size: read_size(row)?, depth })
    };
    rows.iter().map(child).collect()
}

/// A manifest's own digest, and those of the blobs that it names.
pub(crate) async fn parts(tx: &mut Tx, model_id: &str, digest: &Digest) -> Result<Vec<Digest>, RegistryError> {
    let statement = "select digest from manifest where model_id = $1 and digest = $2 \
                     union select digest from named_blob where model_id = $1 and manifest = $2";
    let rows = sqlx::query(statement).bind(model_id).bind(digest.to_string()).fetch_all(tx).await?;
    rows.iter().map(named_blob::read_digest).collect()
}

/// Forgets a manifest and what it named; false when the repository has no such manifest.
pub(crate) async fn delete(tx: &mut Tx, model_id: &str, digest: &Digest) -> Result<bool, RegistryError> {
    let digest = digest.to_string();
    sqlx::query("delete from named_blob where model_id = $1 and manifest = $2").bind(model_id).bind(&digest).execute(&mut *tx).await?;
    let result = sqlx::query("delete from manifest where model_id = $1 and digest = $2").bind(model_id).bind(&digest).execute(tx).await?;
    Ok(result.rows_affected() == 1)
}

/// The manifests that are about a subject, by digest, past `last`; with a kind only those.
pub(crate) async fn referrers(
    tx: &mut Tx,
    model_id: &str,
    subject: &Digest,
    kind: Option<&str>,
    last: &str,
    rows_max: i64,
) -> Result<Vec<ManifestRow>, RegistryError> {
    let statement = "select digest, media_type, artifact_type, annotations, size from manifest \
                     where model_id = $1 and subject = $2 and digest > $3 and ($4 = '' or artifact_type = $4) order by digest limit $5";
    let query = sqlx::query(statement).bind(model_id).bind(subject.to_string()).bind(last).bind(kind.unwrap_or_default()).bind(rows_max);
    query.fetch_all(tx).await?.iter().map(read).collect()
}

/// The repositories that hold a manifest and that this account may see, by name, past `last`.
pub(crate) async fn repositories(tx: &mut Tx, viewer_id: &str, last: (&str, &str), rows_max: i64) -> Result<Vec<ModelRef>, RegistryError> {
    let statement = "select m.owner, m.name from model m join account a on a.name = m.owner \
                     where (m.visibility = 'public' or a.id = $1) and (m.owner, m.name) > ($2, $3) \
                     and exists (select 1 from manifest f where f.model_id = m.id) order by m.owner, m.name limit $4";
    let rows = sqlx::query(statement).bind(viewer_id).bind(last.0).bind(last.1).bind(rows_max).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(ModelRef { owner: row.try_get("owner")?, name: row.try_get("name")? })).collect()
}

fn read(row: &AnyRow) -> Result<ManifestRow, RegistryError> {
    let digest = named_blob::read_digest(row)?;
    let annotations: BTreeMap<String, String> = serde_json::from_str(&row.try_get::<String, _>("annotations")?)
        .map_err(|_| RegistryError::Corrupt { what: "manifest", id: digest.to_string() })?;
    Ok(ManifestRow {
        digest,
        media_type: row.try_get("media_type")?,
        artifact_type: row.try_get("artifact_type")?,
        annotations,
        size: read_size(row)?,
    })
}

fn read_size(row: &AnyRow) -> Result<u64, RegistryError> {
    let size: i64 = row.try_get("size")?;
    u64::try_from(size).map_err(|_| RegistryError::Corrupt { what: "manifest", id: size.to_string() })
}
