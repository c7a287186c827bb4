//! Manifests of a repository: found by tag and digest, listed, deleted.

use bytes::Bytes;
use protocol::oci::MANIFEST_BYTES_MAX;
use protocol::{Digest, ModelRef, OciManifest, VersionId};

use crate::caller::Caller;
use crate::db::manifest::{self, NewManifestRow};
use crate::db::version::{self, Unlisted};
use crate::db::{blob, holding, tag};
use crate::models::ModelRow;
use crate::oci::{ManifestRef, ManifestRow, OciError};
use crate::{Registry, RegistryError};

/// Versions that one transaction lists.
const LISTED_AT_A_TIME: i64 = 50;

/// Which referrers to list.
#[derive(Clone, Debug)]
pub struct ReferrersOf {
    pub subject: Digest,
    /// Only those of this artefact type.
    pub kind: Option<String>,
    /// Past this digest.
    pub last: Option<Digest>,
    pub count: usize,
}

impl Registry {
    pub async fn find_manifest(&self, repository: &ModelRow, reference: &ManifestRef) -> Result<Option<ManifestRow>, RegistryError> {
        let (model_id, reference) = (repository.id.clone(), reference.clone());
        let find = self.db.read(move |tx| {
            Box::pin(async move {
                let digest = match reference {
                    ManifestRef::Digest(digest) => Some(digest),
                    ManifestRef::Tag(tag) => tag::resolve(tx, &model_id, &tag).await?,
                };
                match digest {
                    Some(digest) => manifest::find(tx, &model_id, &digest).await,
                    None => Ok(None),
                }
            })
        });
        find.await
    }

    /// The bytes as they were pushed.
    pub async fn read_manifest(&self, row: &ManifestRow) -> Result<Bytes, RegistryError> {
        let bytes = self.blobs.read(&row.digest, MANIFEST_BYTES_MAX as u64).await?;
        bytes.ok_or_else(|| RegistryError::Corrupt { what: "manifest", id: row.digest.to_string() })
    }

    /// The names of a repository's tags as the specification sorts them: by letter, whatever its case.
    pub async fn list_tag_names(&self, repository: &ModelRow) -> Result<Vec<String>, RegistryError> {
        let model_id = repository.id.clone();
        let mut names = self.db.read(move |tx| Box::pin(async move { tag::names(tx, &model_id).await })).await?;
        names.sort_by_cached_key(|name| (name.to_ascii_lowercase(), name.clone()));
        Ok(names)
    }

    /// Lists the manifests that are about another, by digest.
    pub async fn list_referrers(&self, repository: &ModelRow, of: ReferrersOf) -> Result<Vec<ManifestRow>, RegistryError> {
        let model_id = repository.id.clone();
        let list = self.db.read(move |tx| {
            Box::pin(async move {
                let last = of.last.map(|digest| digest.to_string()).unwrap_or_default();
                let rows_max = i64::try_from(of.count).unwrap_or(i64::MAX);
                manifest::referrers(tx, &model_id, &of.subject, of.kind.as_deref(), &last, rows_max).await
            })
        });
        list.await
    }

    /// Deletes a manifest; if it is a version, that is deleted for good. The tags that pointed at it point nowhere.
    pub async fn delete_manifest(&self, caller: &Caller, repository: &ModelRef, digest: &Digest) -> Result<(), OciError> {
        let row = self.require_own_model(caller, repository).await?;
        if self.delete_version(caller, repository, &VersionId::new(*digest)).await? {
            return Ok(());
        }
        let (model_id, digest, account_id, now) = (row.id.clone(), *digest, caller.account.id.clone(), self.clock.now());
        let deleted = self.db.write(move |tx| {
            Box::pin(async move {
                let parts = manifest::parts(tx, &model_id, &digest).await?;
                blob::touch(tx, &parts, now).await?;
                let deleted = manifest::delete(tx, &model_id, &digest).await?;
                holding::release(tx, &account_id, &parts).await?;
                Ok::<_, RegistryError>(deleted)
            })
        });
        if deleted.await? { Ok(()) } else { Err(OciError::ManifestUnknown) }
    }

    /// Lists versions that were published before there was a list of manifests.
    pub(crate) async fn list_old_versions(&self) -> Result<(), RegistryError> {
        let now = self.clock.now();
        // Mostly there are none, and then nothing is written.
        while !self.db.read(|tx| Box::pin(version::unlisted(tx, LISTED_AT_A_TIME))).await?.is_empty() {
            let list = self.db.write(move |tx| {
                Box::pin(async move {
                    let versions = version::unlisted(tx, LISTED_AT_A_TIME).await?;
                    for version in &versions {
                        let listed = row_of(version)?;
                        manifest::insert(tx, &listed).await?;
                        holding::add(tx, &version.owner_id, &listed.parts(), now).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            });
            list.await?;
        }
        Ok(())
    }
}

fn row_of(version: &Unlisted) -> Result<NewManifestRow, RegistryError> {
    let corrupt = |_| RegistryError::Corrupt { what: "version", id: version.id.to_string() };
    let parsed = OciManifest::parse(&version.manifest).map_err(corrupt)?;
    Ok(NewManifestRow {
        model_id: version.model_id.clone(),
        subject: parsed.subject.as_ref().map(|subject| subject.digest),
        depth: 0,
        blobs: parsed.blobs().map(|blob| (blob.digest, blob.size)).collect(),
        manifest: ManifestRow::of(*version.id.digest(), version.manifest.len(), &parsed),
        created_at: version.created_at,
    })
}

impl ManifestRow {
    pub(crate) fn of(digest: Digest, size: usize, manifest: &OciManifest) -> Self {
        Self {
            digest,
            media_type: manifest.kind().to_owned(),
            artifact_type: manifest.artifact_kind().to_owned(),
            annotations: manifest.annotations(),
            size: size as u64,
        }
    }
}
