//! `feira pull`: the files of a version, by digest, into a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::api::Model;
use protocol::manifest::VersionFile;
use protocol::{Digest, Manifest, ModelRef, Reference, VersionId};
use reqwest::Method;
use serde_json::json;

use super::Context;
use super::models::model_path;
use super::versions::version_path;
use crate::client::{Client, Wanted, fetch, patiently};
use crate::destination::{Destination, Existing};
use crate::exit::usage;
use crate::show::{self, Bars};

const DOWNLOADS_AT_ONCE: usize = 4;

#[derive(Debug, clap::Args)]
pub struct Pull {
    /// OWNER/MODEL is its latest version
    #[arg(value_name = "OWNER/MODEL[:VERSION]")]
    version: Reference,
    /// The folder that the files go to, made if it is not there; one of the model's name without it
    dir: Option<PathBuf>,
    /// Replace files that are there with another content
    #[arg(long)]
    force: bool,
}

impl Pull {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let (model, id) = exact(&client, self.version).await?;
        let manifest = manifest(&client, &model, &id).await?;
        let files = manifest.files();
        let dir = self.dir.unwrap_or_else(|| PathBuf::from(&model.name));
        let destination = Destination::open(&dir, &files)?;
        let existing = if self.force { Existing::Replace } else { Existing::Keep };

        let mut absent: BTreeMap<Digest, Vec<&VersionFile>> = BTreeMap::new();
        for file in &files {
            if !destination.has(file, existing)? {
                absent.entry(file.digest).or_default().push(file);
            }
        }
        let bars = Bars::new(context.json);
        let total = bars.bytes("total", absent.values().map(|files| files[0].size).sum());
        let (client, destination_ref) = (&client, &destination);
        stream::iter(&absent)
            .map(|(digest, files)| {
                let (bars, total, id) = (&bars, &total, &id);
                async move {
                    let part = destination_ref.part(digest);
                    let wanted = Wanted { digest: *digest, size: files[0].size, label: files[0].path.clone(), part };
                    let bar = bars.bytes(&wanted.label, wanted.size);
                    fetch(client, id, &wanted, &bar).await?;
                    bar.finish_and_clear();
                    total.inc(wanted.size);
                    destination_ref.place(files)?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(DOWNLOADS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        total.finish_and_clear();
        let fetched: (usize, u64) = (absent.len(), absent.values().map(|files| files[0].size).sum());
        destination.finish()?;
        if context.json {
            return show::json(&json!({
                "id": id,
                "model": model,
                "dir": dir,
                "files": files.len(),
                "received_files": fetched.0,
                "received_bytes": fetched.1,
            }));
        }
        show::line(&dir.display().to_string())?;
        show::note(&format!("{model}:{}: {} files, {} received", id.short(), files.len(), indicatif::HumanBytes(fetched.1)));
        Ok(())
    }
}

/// The version that a reference means now.
pub async fn exact(client: &Client, reference: Reference) -> anyhow::Result<(ModelRef, VersionId)> {
    match reference {
        Reference::Exact(model, id) => Ok((model, id)),
        Reference::Bare(_) => Err(usage("name the version as OWNER/MODEL:VERSION")),
        Reference::Latest(model) => {
            let path = model_path(&model);
            let page: Model = patiently(|| client.get(&path)).await?;
            let latest = page.latest_version.ok_or_else(|| usage(format!("{model} has no version yet; `feira push` publishes one")))?;
            let id = latest.id.parse().context("the server named a version by something that is no id")?;
            Ok((model, id))
        }
    }
}

/// The manifest, if its bytes are those that the id names.
pub async fn manifest(client: &Client, model: &ModelRef, id: &VersionId) -> anyhow::Result<Manifest> {
    let path = format!("{}/manifest", version_path(model, id));
    let response = patiently(|| client.send(client.request(Method::GET, &path))).await?;
    let bytes = response.bytes().await.map_err(|source| client.broken(source))?;
    anyhow::ensure!(Digest::of(&bytes) == *id.digest(), "the server sent another manifest than {id} names");
    serde_json::from_slice(&bytes).context("the manifest is none that this feira understands")
}
