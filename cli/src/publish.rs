//! From a project that was read to a version that can be run: the model if it has to be made, the blobs the server lacks, the manifest.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context as _;
use protocol::ModelRef;
use protocol::api::{Model, Version};
use reqwest::Method;

use crate::client::{Blob, Client, ClientError, Uploads, patiently};
use crate::command::models::{NewModel, model_path};
use crate::project::Project;
use crate::show::Bars;

/// What was published, and what had to be sent for it.
#[derive(Debug)]
pub struct Published {
    pub model: Model,
    pub version: Version,
    pub sent_files: usize,
    pub sent_bytes: u64,
}

/// `home` keeps the state of uploads that may be resumed.
pub async fn publish(
    client: &Client,
    home: &Path,
    model: &ModelRef,
    new: NewModel,
    project: &Project,
    bars: &Bars,
) -> anyhow::Result<Published> {
    let new = NewModel { description: new.description.or_else(|| project.description.clone()), ..new };
    let page = ensure_model(client, model, new).await?;
    let uploads = Uploads::new(client, home);
    let missing = uploads.missing(&once_each(&project.blobs)).await?;
    uploads.send(&missing, bars).await?;
    let path = format!("{}/versions", model_path(model));
    let new_version = project.new_version();
    let version: Version = patiently(|| client.answer(client.slow_request(Method::POST, &path).json(&new_version))).await?;
    let sent_bytes = missing.iter().map(|blob| blob.size).sum();
    Ok(Published { model: page, version, sent_files: missing.len(), sent_bytes })
}

pub async fn ensure_model(client: &Client, model: &ModelRef, new: NewModel) -> anyhow::Result<Model> {
    match client.get(&model_path(model)).await {
        Ok(model) => Ok(model),
        Err(ClientError::Refused(problem)) if problem.status == 404 => {
            new.create(client, model).await.with_context(|| format!("{model} cannot be created"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The same content under several names is sent once.
fn once_each(blobs: &[Blob]) -> Vec<Blob> {
    let mut seen = HashSet::new();
    blobs.iter().filter(|blob| seen.insert(blob.digest)).cloned().collect()
}
