//! Pushing a manifest: it is read and checked, what it names is there, and then it is a version or something else that is kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::manifest::{CONFIG_TYPE, Driver, HOOK_TYPE, MANIFEST_TYPE};
use protocol::oci::{INDEX_TYPE, OciDescriptor};
use protocol::{Digest, ModelRef, OciManifest, Tag, VersionConfig, VersionId};

use crate::Registry;
use crate::caller::Caller;
use crate::claims::Claim;
use crate::db::manifest::{self, Child, NewManifestRow};
use crate::models::ModelRow;
use crate::oci::blobs::check_own;
use crate::oci::{ManifestRef, ManifestRow, OciError};
use crate::tags::{self, Pointing};
use crate::versions::{CONFIG_BYTES_MAX, Draft, Naming, PublishError, check_draft, check_image, json_text};

/// Indexes that may stand one under another.
const DEPTH_MAX: u32 = 4;
const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Blobs and manifests that one manifest may name.
const PARTS_MAX: usize = 20_000;

/// A manifest on its way in.
#[derive(Clone, Debug)]
pub struct NewManifest {
    pub reference: ManifestRef,
    /// What the sender says it is.
    pub media_type: Option<String>,
    pub bytes: Bytes,
}

/// A manifest that is no version.
struct Kept {
    listed: NewManifestRow,
    tag: Option<Tag>,
    bytes: Bytes,
    claim: Claim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    pub digest: Digest,
    pub subject: Option<Digest>,
}

impl Registry {
    /// Takes a manifest into the caller's own repository, which is made if it is not there. One whose config says how a version runs becomes
    /// a version, with the digest of exactly these bytes as its id.
    pub async fn push_manifest(&self, caller: &Caller, repository: &ModelRef, new: NewManifest) -> Result<PushedManifest, OciError> {
        check_own(caller, repository)?;
        let claim = self.begin_claim();
        let digest = Digest::of(&new.bytes);
        let tag = match &new.reference {
            ManifestRef::Digest(expected) if *expected != digest => {
                return Err(OciError::WrongDigest { expected: *expected, found: digest });
            }
            ManifestRef::Digest(_) => None,
            ManifestRef::Tag(tag) => Some(tag.clone()),
        };
        let text = str::from_utf8(&new.bytes).map_err(|_| invalid("is no UTF-8".to_owned()))?;
        let parsed = OciManifest::parse(text).map_err(|error| invalid(format!("cannot be read: {error}")))?;
        let media_type = check_media_type(&parsed, new.media_type.as_deref())?;
        let found = self.load_model(repository).await?;
        let blobs = self.require_blobs_in(caller, found.as_deref(), &parsed).await?;
        let depth = self.require_children_in(found.as_deref(), &parsed).await?;
        let config = match self.read_config(&parsed).await? {
            // The parts of an index come by digest, and are no versions each.
            None if tag.is_some() => self.read_image(&parsed).await?.map(|config| (json_text(config.to_bytes()), config)),
            read => read.map(|(config, text)| (text, config)),
        };

        match &config {
            Some((_, config)) if config.driver == Driver::Oci => check_image(config)?,
            Some((_, config)) => check_draft(config, &parsed.files())?,
            None => {}
        }
        let row = match found {
            Some(row) => row,
            None => self.require_repository(caller, repository).await?,
        };
        let subject = parsed.subject.as_ref().map(|subject| subject.digest);
        let listed = NewManifestRow {
            model_id: row.id.clone(),
            manifest: ManifestRow { media_type, ..ManifestRow::of(digest, new.bytes.len(), &parsed) },
            subject,
            depth,
            blobs,
            created_at: self.clock.now(),
        };
        match config {
            Some((config_text, config)) => {
                let (id, files, manifest_text) = (VersionId::new(digest), parsed.files(), text.to_owned());
                let draft = Draft { id, config, files, config_text, manifest_text, listed, claim };
                self.settle(caller, &row, draft, Naming::Pushed(tag)).await?;
            }
            None => self.keep(caller, &row, Kept { listed, tag, bytes: new.bytes, claim }).await?,
        }
        Ok(PushedManifest { digest, subject })
    }

    /// Keeps what is no version.
    async fn keep(&self, caller: &Caller, repository: &ModelRow, kept: Kept) -> Result<(), OciError> {
        let Kept { listed, tag, bytes, claim } = kept;
        self.claim_blobs(&[listed.manifest.digest]).await?;
        self.blobs.put(bytes).await?;
        let (moved_by_id, now) = (caller.account.id.clone(), listed.created_at);
        let keep = self.db.write(move |tx| {
            Box::pin(async move {
                claim.list(tx, &listed, &moved_by_id).await?;
                if let Some(tag) = tag {
                    let version = VersionId::new(listed.manifest.digest);
                    tags::name(tx, &listed.model_id, Pointing { tag, version, moved_by_id, moved_at: now }).await?;
                }
                Ok::<_, OciError>(())
            })
        });
        keep.await?;
        self.catalogue.forget_model(&repository.model);
        Ok(())
    }

    /// Sees to it that the blobs a manifest names were brought into this repository and are as large as stated.
    async fn require_blobs_in(
        &self,
        caller: &Caller,
        repository: Option<&ModelRow>,
        manifest: &OciManifest,
    ) -> Result<BTreeMap<Digest, u64>, OciError> {
        let stated = stated(manifest.blobs())?;
        let named: Vec<Digest> = stated.keys().copied().collect();
        let readable = match repository {
            Some(row) if !named.is_empty() => self.readable(&row.id, &caller.account.id, named.clone()).await?,
            _ => Vec::new(),
        };
        let readable: BTreeSet<Digest> = readable.into_iter().collect();
        let absent: Vec<Digest> = named.iter().filter(|digest| !readable.contains(digest)).copied().collect();
        if !absent.is_empty() {
            return Err(OciError::AbsentParts { digests: absent });
        }
        let sizes = self.require_present(named.iter().copied().collect()).await?;
        match stated.iter().find(|(digest, stated)| sizes[digest] != **stated) {
            Some((digest, wrong)) => Err(OciError::WrongSize { digest: *digest, stated: *wrong, found: sizes[digest] }),
            None => Ok(stated),
        }
    }

    /// Sees to it that the manifests an index names are in this repository, and tells how deep they stand.
    async fn require_children_in(&self, repository: Option<&ModelRow>, manifest: &OciManifest) -> Result<u32, OciError> {
        let stated = stated(manifest.manifests().iter())?;
        if stated.is_empty() {
            return Ok(0);
        }
        let digests: Vec<Digest> = stated.keys().copied().collect();
        let children = match repository {
            Some(row) => {
                let (model_id, sought) = (row.id.clone(), digests.clone());
                self.db.read(move |tx| Box::pin(async move { manifest::children(tx, &model_id, &sought).await })).await?
            }
            None => Vec::new(),
        };
        let found: BTreeMap<Digest, Child> = children.into_iter().map(|child| (child.digest, child)).collect();
        let absent: Vec<Digest> = digests.into_iter().filter(|digest| !found.contains_key(digest)).collect();
        if !absent.is_empty() {
            return Err(OciError::AbsentParts { digests: absent });
        }
        if let Some((digest, stated)) = stated.into_iter().find(|(digest, stated)| found[digest].size != *stated) {
            return Err(OciError::WrongSize { digest, stated, found: found[&digest].size });
        }
        let depth = 1 + found.values().map(|child| child.depth).max().unwrap_or(0);
        if depth > DEPTH_MAX {
            return Err(invalid(format!("is an index of indexes more than {DEPTH_MAX} deep")));
        }
        Ok(depth)
    }

    /// The config of a manifest that is a version's.
    async fn read_config(&self, manifest: &OciManifest) -> Result<Option<(VersionConfig, String)>, OciError> {
        let Some(descriptor) = manifest.config.as_ref().filter(|config| config.media_type == CONFIG_TYPE) else { return Ok(None) };
        if manifest.kind() != MANIFEST_TYPE {
            return Err(invalid(format!("of a version has the media type {MANIFEST_TYPE}")));
        }
        if manifest.strange_layers() > 0 {
            let files = "application/vnd.feira.file.v1 with its path in the annotation org.opencontainers.image.title";
            return Err(invalid(format!("of a version has layers of the type {files}, and hooks of the type {HOOK_TYPE}")));
        }
        let absent = || OciError::AbsentParts { digests: vec![descriptor.digest] };
        let bad = |why: String| PublishError::BadConfig { field: "config", why };
        if descriptor.size > CONFIG_BYTES_MAX as u64 {
            return Err(bad("must have at most 1 MiB".to_owned()).into());
        }
        let bytes = self.blobs.read(&descriptor.digest, CONFIG_BYTES_MAX as u64).await?.ok_or_else(absent)?;
        let text = String::from_utf8(bytes.into()).map_err(|_| bad("is no UTF-8".to_owned()))?;
        let config: VersionConfig = serde_json::from_str(&text).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let layers: BTreeSet<Digest> = manifest.layers().iter().map(|layer| layer.digest).collect();
        if config.hooks.iter().any(|hook| !layers.contains(&hook.digest)) {
            return Err(PublishError::BadConfig { field: "hooks.digest", why: "must be among the manifest's layers".to_owned() }.into());
        }
        Ok(Some((config, text)))
    }
}

/// The stated sizes; one digest has one.
fn stated<'d>(descriptors: impl Iterator<Item = &'d OciDescriptor>) -> Result<BTreeMap<Digest, u64>, OciError> {
    let mut sizes = BTreeMap::new();
    for descriptor in descriptors {
        match sizes.insert(descriptor.digest, descriptor.size) {
            Some(other) if other != descriptor.size => {
                return Err(invalid(format!("states two sizes of {}", descriptor.digest)));
            }
            _ if sizes.len() > PARTS_MAX => return Err(invalid(format!("names more than {PARTS_MAX} blobs"))),
            _ => {}
        }
    }
    Ok(sizes)
}

/// What the sender and the manifest say it is must be one thing, and something that can stand in a header.
fn check_media_type(manifest: &OciManifest, sent: Option<&str>) -> Result<String, OciError> {
    let sent = sent.map(|sent| sent.split(';').next().unwrap_or_default().trim()).filter(|sent| !sent.is_empty());
    let is_unsaid = manifest.media_type.is_none();
    let media_type = match sent {
        Some(sent) if is_unsaid => sent,
        Some(sent) if sent != manifest.kind() => return Err(invalid("is sent as another media type than it has".to_owned())),
        _ => manifest.kind(),
    };
    let is_confused =
        (media_type == MANIFEST_TYPE && !manifest.manifests().is_empty()) || (media_type == INDEX_TYPE && manifest.config.is_some());
    let kind = manifest.artifact_kind();
    // It is served as what it is said to be, and must be nothing that a browser shows.
    if !media_type.starts_with("application/") || !is_media_type(media_type) || !(kind.is_empty() || is_media_type(kind)) {
        return Err(invalid("has a media type that is none".to_owned()));
    }
    if is_confused {
        return Err(invalid("has fields of another media type".to_owned()));
    }
    Ok(media_type.to_owned())
}

/// A type and a subtype (RFC 6838, 4.2), which can stand in a header and in every database.
fn is_media_type(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+/".contains(&byte);
    text.len() <= MEDIA_TYPE_BYTES_MAX && text.contains('/') && text.bytes().all(is_word)
}

const fn invalid(why: String) -> OciError {
    OciError::ManifestInvalid { why }
}
