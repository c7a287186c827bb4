//! The table `version_signature`, read with the keys that made what is in it.

use protocol::signing::{KeyId, PublicKey};
use protocol::{ModelRef, Timestamp, VersionId};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::error::RegistryError;
use crate::signatures::{Signer, Unsigned, VersionSignature};

/// A signature as it is written.
#[derive(Clone, Debug)]
pub(crate) struct NewSignature {
    pub(crate) model_id: String,
    pub(crate) version: VersionId,
    pub(crate) signer: Signer,
    pub(crate) key: KeyId,
    pub(crate) bundle: String,
    pub(crate) signed_at: Timestamp,
}

/// Adds a signature; one by the same key stays as it is.
pub(crate) async fn insert(tx: &mut Tx, new: &NewSignature) -> Result<(), RegistryError> {
    let statement = "insert into version_signature (model_id, version_id, signer, key_id, bundle, signed_at) \
                     values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
    sqlx::query(statement)
        .bind(&new.model_id)
        .bind(new.version.to_string())
        .bind(new.signer.name())
        .bind(new.key.to_string())
        .bind(&new.bundle)
        .bind(new.signed_at.micros())
        .execute(tx)
        .await?;
    Ok(())
}

/// The oldest first. A publisher's key is looked for among the owner's.
pub(crate) async fn list(tx: &mut Tx, model_id: &str, version: &VersionId) -> Result<Vec<VersionSignature>, RegistryError> {
    let statement = "select s.signer, s.key_id, s.signed_at, coalesce(k.name, '') as key_name, \
                     coalesce(k.public_key, o.public_key) as public_key, k.revoked_at \
                     from version_signature s join model m on m.id = s.model_id join account a on a.name = m.owner \
                     left join account_key k on s.signer = 'publisher' and k.account_id = a.id and k.id = s.key_id \
                     left join operator_key o on s.signer = 'operator' and o.id = s.key_id \
                     where s.model_id = $1 and s.version_id = $2 order by s.signed_at, s.signer, s.key_id";
    sqlx::query(statement).bind(model_id).bind(version.to_string()).fetch_all(tx).await?.iter().map(read).collect()
}

/// A signature as it was sent or made.
pub(crate) async fn find_bundle(tx: &mut Tx, model_id: &str, version: &VersionId, key: &KeyId) -> Result<Option<String>, RegistryError> {
    let statement = "select bundle from version_signature where model_id = $1 and version_id = $2 and key_id = $3";
    let query = sqlx::query(statement).bind(model_id).bind(version.to_string()).bind(key.to_string());
    Ok(query.fetch_optional(tx).await?.map(|row| row.try_get("bundle")).transpose()?)
}

/// Versions that no operator has signed, the oldest first.
pub(crate) async fn unsigned(tx: &mut Tx, rows_max: i64) -> Result<Vec<Unsigned>, RegistryError> {
    let statement = "select v.id, v.model_id, v.created_at, m.owner, m.name from version v join model m on m.id = v.model_id \
                     where v.deleted_at is null and not exists (select 1 from version_signature s \
                     where s.model_id = v.model_id and s.version_id = v.id and s.signer = 'operator') \
                     order by v.created_at, v.id limit $1";
    sqlx::query(statement).bind(rows_max).fetch_all(tx).await?.iter().map(read_unsigned).collect()
}

fn read(row: &AnyRow) -> Result<VersionSignature, RegistryError> {
    let (signer, key_id): (String, String) = (row.try_get("signer")?, row.try_get("key_id")?);
    let pem: Option<String> = row.try_get("public_key")?;
    let corrupt = || RegistryError::Corrupt { what: "signature", id: key_id.clone() };
    Ok(VersionSignature {
        signer: Signer::parse(&signer).ok_or_else(corrupt)?,
        key: pem.and_then(|pem| PublicKey::from_pem(&pem).ok()).ok_or_else(corrupt)?,
        key_name: row.try_get("key_name")?,
        signed_at: Timestamp::from_micros(row.try_get("signed_at")?),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(Timestamp::from_micros),
    })
}

fn read_unsigned(row: &AnyRow) -> Result<Unsigned, RegistryError> {
    let id: String = row.try_get("id")?;
    Ok(Unsigned {
        model_id: row.try_get("model_id")?,
        model: ModelRef { owner: row.try_get("owner")?, name: row.try_get("name")? },
        version: id.parse().map_err(|_| RegistryError::Corrupt { what: "version", id })?,
        published_at: Timestamp::from_micros(row.try_get("created_at")?),
    })
}
