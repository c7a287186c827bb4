//! Deployments: a version with instances of its own. Every change is a release with the next number, and no release is ever changed.

mod scale;

use std::sync::Arc;

use protocol::name::check_name;
use protocol::{ModelRef, Timestamp, VersionId, id};
use store::Tx;

use crate::caller::Caller;
use crate::catalogue::Catalogued;
use crate::cursor::{Direction, Page, Scan};
use crate::db::{deployment, model, version_signature};
use crate::signatures::Signer;
use crate::{Registry, RegistryError};

pub use scale::{BadScale, Linger, Scale};

/// Each may keep instances warm that nobody else can use.
const DEPLOYMENTS_PER_ACCOUNT_MAX: i64 = 100;
/// Deployments that an instance of the cache remembers.
pub(crate) const DEPLOYMENTS_MAX: usize = 10_000;
/// How late another process may notice a release.
pub(crate) const DEPLOYMENTS_TTL_MS: i64 = 5_000;

/// A deployment as its latest release has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub id: String,
    /// The only account that sees it.
    pub account_id: String,
    /// `owner/name`, in the form of a model's name.
    pub name: ModelRef,
    pub created_at: Timestamp,
    pub release: Release,
}

/// What runs, on what, and how many of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// From 1.
    pub number: i64,
    pub model: ModelRef,
    pub version: VersionId,
    /// The SKU its instances run on, whatever the model's own is.
    pub hardware: String,
    pub scale: Scale,
    /// Whether the version has to be signed by its publisher.
    pub require_signature: bool,
    /// The account that made it.
    pub created_by: String,
    pub created_at: Timestamp,
}

/// A deployment that is wanted. Its version was resolved, so the caller may run it.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    pub name: String,
    pub catalogued: Arc<Catalogued>,
    pub hardware: String,
    pub scale: Scale,
    pub require_signature: bool,
}

/// What the next release has otherwise than the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseChange {
    /// Another version of the same model.
    pub version: Option<VersionId>,
    pub hardware: Option<String>,
    pub instances_min: Option<u32>,
    pub instances_max: Option<u32>,
    pub require_signature: Option<bool>,
    pub instances_buffer: Option<u32>,
    pub linger: Option<Linger>,
}

impl ReleaseChange {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The release that follows `before`; its number and its moment are the writer's.
    fn applied_to(self, before: &Release, created_by: String, now: Timestamp) -> Result<Release, BadScale> {
        let scale = Scale::new(self.instances_min.unwrap_or(before.scale.min()), self.instances_max.unwrap_or(before.scale.max()))?
            .with_buffer(self.instances_buffer.unwrap_or(before.scale.buffer()))?
            .with_linger(self.linger.unwrap_or(before.scale.linger()))?;
        Ok(Release {
            number: before.number + 1,
            model: before.model.clone(),
            version: self.version.unwrap_or(before.version),
            hardware: self.hardware.unwrap_or_else(|| before.hardware.clone()),
            scale,
            require_signature: self.require_signature.unwrap_or(before.require_signature),
            created_by,
            created_at: now,
        })
    }
}

impl Registry {
    /// Makes a deployment of the caller's, with its first release.
    pub async fn create_deployment(&self, caller: &Caller, new: NewDeployment) -> Result<Arc<Deployment>, RegistryError> {
        let now = self.clock.now();
        let row = Deployment {
            id: id::prefixed("dep", &self.clock, &self.entropy),
            account_id: caller.account.id.clone(),
            name: ModelRef { owner: caller.account.name.clone(), name: check_name(&new.name)?.to_owned() },
            created_at: now,
            release: Release {
                number: 1,
                model: new.catalogued.model.model.clone(),
                version: new.catalogued.version.id,
                hardware: new.hardware,
                scale: new.scale,
                require_signature: new.require_signature,
                created_by: caller.account.id.clone(),
                created_at: now,
            },
        };
        let created = Arc::new(row.clone());
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    require_signed(tx, &row.release).await?;
                    if deployment::count(tx, &row.account_id).await? >= DEPLOYMENTS_PER_ACCOUNT_MAX {
                        return Err(RegistryError::TooManyDeployments { max: DEPLOYMENTS_PER_ACCOUNT_MAX });
                    }
                    if !deployment::insert(tx, &row).await? {
                        return Err(RegistryError::DeploymentTaken { deployment: row.name });
                    }
                    deployment::insert_release(tx, &row.id, &row.release).await.map(|_| ())
                })
            })
            .await?;
        self.deployments.forget(&created.name);
        Ok(created)
    }

    /// Finds an account's deployment, mostly in memory; another account's is as absent as one that never was.
    pub async fn find_deployment(&self, name: &ModelRef, account_id: &str) -> Result<Option<Arc<Deployment>>, RegistryError> {
        let load = async {
            let name = name.clone();
            let row = self.db.read(move |tx| Box::pin(async move { deployment::find(tx, &name).await })).await?;
            Ok::<_, RegistryError>(row.map(Arc::new))
        };
        let found = self.deployments.find_or_load(name, &self.clock, load).await?;
        Ok(found.filter(|deployment| deployment.account_id == account_id))
    }

    /// Lists an account's deployments, newest first.
    pub async fn list_deployments(&self, account_id: &str, cursor: Option<&str>) -> Result<Page<Deployment>, RegistryError> {
        let scan = Scan::of(Direction::Descending, cursor)?;
        let (account_id, fetched) = (account_id.to_owned(), scan.clone());
        let rows = self.db.read(move |tx| Box::pin(async move { deployment::list(tx, &account_id, &fetched).await })).await?;
        Ok(scan.page(rows, |row| (row.created_at.micros(), row.id.clone())))
    }

    /// Lists what a deployment was and is, the latest release first.
    pub async fn list_releases(&self, deployment: &Deployment, cursor: Option<&str>) -> Result<Page<Release>, RegistryError> {
        let scan = Scan::of(Direction::Descending, cursor)?;
        let (id, fetched) = (deployment.id.clone(), scan.clone());
        let rows = self.db.read(move |tx| Box::pin(async move { deployment::list_releases(tx, &id, &fetched).await })).await?;
        Ok(scan.page(rows, |row| (row.number, deployment.id.clone())))
    }

    /// Every account's deployments: what the runners are to know of.
    pub async fn deployments_in_force(&self) -> Result<Vec<Deployment>, RegistryError> {
        self.db.read(move |tx| Box::pin(deployment::list_all(tx))).await
    }

    /// Makes the next release of a deployment of the caller's. A change of nothing makes none.
    pub async fn release(&self, caller: &Caller, name: &ModelRef, change: ReleaseChange) -> Result<Arc<Deployment>, RegistryError> {
        let unchanged = change.is_empty();
        let (sought, account_id, now) = (name.clone(), caller.account.id.clone(), self.clock.now());
        let released = self.db.write(move |tx| {
            let (sought, account_id, change) = (sought.clone(), account_id.clone(), change.clone());
            Box::pin(async move {
                let found = deployment::find(tx, &sought).await?.filter(|row| row.account_id == account_id);
                let before = found.ok_or(RegistryError::DeploymentUnknown)?;
                if unchanged {
                    return Ok(before);
                }
                let release = change.applied_to(&before.release, account_id, now)?;
                require_signed(tx, &release).await?;
                let first = deployment::insert_release(tx, &before.id, &release).await?;
                let next = Deployment { release, ..before };
                first.then_some(next).ok_or(RegistryError::DeploymentChanged)
            })
        });
        let released = released.await?;
        self.deployments.forget(name);
        Ok(Arc::new(released))
    }

    /// Deletes a deployment of the caller's. Its name may then be used again; its releases stay on record.
    pub async fn delete_deployment(&self, caller: &Caller, name: &ModelRef) -> Result<(), RegistryError> {
        let (sought, account_id, now) = (name.clone(), caller.account.id.clone(), self.clock.now());
        let deleted = self.db.write(move |tx| Box::pin(async move { deployment::delete(tx, &sought, &account_id, now).await })).await?;
        self.deployments.forget(name);
        deleted.then_some(()).ok_or(RegistryError::DeploymentUnknown)
    }
}

/// A release that requires a signature is made only of a version that its publisher vouches for at that moment.
async fn require_signed(tx: &mut Tx, release: &Release) -> Result<(), RegistryError> {
    if !release.require_signature {
        return Ok(());
    }
    let model = model::find(tx, &release.model).await?.ok_or(RegistryError::ModelUnknown)?;
    let signatures = version_signature::list(tx, &model.id, &release.version).await?;
    let is_signed = signatures.iter().any(|signature| signature.signer == Signer::Publisher && signature.stood_at(release.created_at));
    is_signed.then_some(()).ok_or(RegistryError::Unsigned { version: release.version })
}

#[cfg(test)]
mod tests;
