//! From a project that was read to a version that can be run: first what it takes, then the model if it has to be made, the blobs the server
//! lacks, the manifest.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::Context as _;
use protocol::api::{Model, Version};
use protocol::{Digest, Manifest, ModelRef, VersionId};
use reqwest::Method;

use crate::breaks::{Break, breaks};
use crate::client::{Blob, Client, ClientError, Uploads, patiently};
use crate::command::models::{NewModel, model_path};
use crate::project::Project;
use crate::show::Bars;

/// A project on its way to a model.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'p> {
    pub client: &'p Client,
    /// Keeps the state of uploads that may be resumed.
    pub home: &'p Path,
    pub model: &'p ModelRef,
    pub project: &'p Project,
}

/// What publishing takes, and what it does to those who call the current version. Nothing is written yet.
#[derive(Debug)]
pub struct Plan {
    /// None when the model has to be created.
    pub page: Option<Model>,
    pub id: VersionId,
    /// What the server lacks.
    pub absent: Vec<Blob>,
    pub breaks: Vec<Break>,
}

/// What was published, and what had to be sent for it.
#[derive(Debug)]
pub struct Published {
    pub model: Model,
    pub version: Version,
    pub sent_files: usize,
    pub sent_bytes: u64,
}

impl Plan {
    pub fn absent_bytes(&self) -> u64 {
        self.absent.iter().map(|blob| blob.size).sum()
    }
}

impl Publication<'_> {
    pub async fn plan(&self) -> anyhow::Result<Plan> {
        let page = find_model(self.client, self.model).await?;
        let current = page.as_ref().and_then(|page| page.latest_version.as_ref());
        let breaks = current.map_or_else(Vec::new, |current| breaks(&current.openapi_schema, &self.project.config.openapi_schema));
        let absent = self.uploads().missing(&once_each(&self.project.blobs)).await?;
        Ok(Plan { id: self.id(), page, absent, breaks })
    }

    pub async fn carry_out(&self, plan: Plan, new: NewModel, bars: &Bars) -> anyhow::Result<Published> {
        let Self { client, model, project, .. } = self;
        let page = match plan.page {
            Some(page) => page,
            None => {
                create_model(client, model, NewModel { description: new.description.or_else(|| project.description.clone()), ..new })
                    .await?
            }
        };
        self.uploads().send(&plan.absent, bars).await?;
        let path = format!("{}/versions", model_path(model));
        let new_version = project.new_version();
        let version: Version = patiently(|| client.answer(client.slow_request(Method::POST, &path).json(&new_version))).await?;
        let sent_bytes = plan.absent.iter().map(|blob| blob.size).sum();
        Ok(Published { model: page, version, sent_files: plan.absent.len(), sent_bytes })
    }

    /// The id that the server will give the version, for it makes the same manifest of it.
    fn id(&self) -> VersionId {
        let sizes: BTreeMap<Digest, u64> = self.project.blobs.iter().map(|blob| (blob.digest, blob.size)).collect();
        let config = &self.project.config;
        let hook_sizes = config.hooks.iter().filter_map(|hook| Some((hook.digest, *sizes.get(&hook.digest)?))).collect();
        Manifest::new(config, &self.project.files, &hook_sizes).0.id()
    }

    fn uploads(&self) -> Uploads<'_> {
        Uploads::new(self.client, self.home)
    }
}

pub async fn ensure_model(client: &Client, model: &ModelRef, new: NewModel) -> anyhow::Result<Model> {
    match find_model(client, model).await? {
        Some(page) => Ok(page),
        None => create_model(client, model, new).await,
    }
}

async fn find_model(client: &Client, model: &ModelRef) -> anyhow::Result<Option<Model>> {
    let path = model_path(model);
    match patiently(|| client.get(&path)).await {
        Ok(page) => Ok(Some(page)),
        Err(ClientError::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn create_model(client: &Client, model: &ModelRef, new: NewModel) -> anyhow::Result<Model> {
    new.create(client, model).await.with_context(|| format!("{model} cannot be created"))
}

/// The same content under several names is sent once.
fn once_each(blobs: &[Blob]) -> Vec<Blob> {
    let mut seen = HashSet::new();
    blobs.iter().filter(|blob| seen.insert(blob.digest)).cloned().collect()
}
