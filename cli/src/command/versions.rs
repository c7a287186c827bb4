//! `feira versions`: what was published of a model.

use protocol::api::Version;
use protocol::{ModelRef, Reference, VersionId};

use super::Context;
use super::models::model_path;
use super::tag::tags;
use crate::exit::usage;
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Versions {
    /// List a model's versions, the newest first
    List {
        model: ModelRef,
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one version, OWNER/MODEL:VERSION, with the schema of its input and output
    Show { version: Reference },
}

impl Versions {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::List { model, limit } => {
                let versions: Vec<Version> = client.list(&format!("{}/versions", model_path(&model)), limit).await?;
                if context.json {
                    return show::json(&versions);
                }
                let tags = tags(&client, &model).await?;
                let tagged = |id: &str| {
                    let names: Vec<&str> = tags.iter().filter(|each| each.version == id).map(|each| each.tag.as_str()).collect();
                    names.join(", ")
                };
                let row = |version: &Version| {
                    vec![version.id.clone(), version.created_at.to_string(), version.cog_version.clone(), tagged(&version.id)]
                };
                show::table(&["VERSION", "CREATED", "COG", "TAGS"], &versions.iter().map(row).collect::<Vec<_>>())
            }
            Self::Show { version: Reference::Exact(model, id) } => show::json(&client.get::<Version>(&version_path(&model, &id)).await?),
            Self::Show { .. } => Err(usage("name the version as OWNER/MODEL:VERSION")),
        }
    }
}

pub fn version_path(model: &ModelRef, id: &VersionId) -> String {
    format!("{}/versions/{id}", model_path(model))
}
