//! `feira tag` and `feira rollback`: what a model's versions are called, and `latest` on an earlier one.

use protocol::api::TagMove;
use protocol::{ModelRef, Tag, VersionId};
use reqwest::Method;
use serde_json::json;

use super::Context;
use super::models::model_path;
use crate::client::Client;
use crate::show;

#[derive(Debug, clap::Args)]
pub struct TagVersion {
    model: ModelRef,
    /// Without it: where all of the model's tags point
    tag: Option<Tag>,
    /// Where the tag is to point; without it: where it has pointed
    version: Option<VersionId>,
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub struct Rollback {
    model: ModelRef,
    /// The version that `latest` is to point at; the one before the current one without it
    version: Option<VersionId>,
}

impl TagVersion {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let Self { model, tag, version, limit } = self;
        let moves = match (tag, version) {
            (None, _) => tags(&client, &model).await?,
            (Some(tag), None) => client.list(&format!("{}/history", tag_path(&model, &tag)), limit).await?,
            (Some(tag), Some(version)) => {
                let order = client.request(Method::PUT, &tag_path(&model, &tag)).json(&json!({"version": version}));
                return tell(&model, &client.answer(order).await?, context.json);
            }
        };
        if context.json {
            return show::json(&moves);
        }
        show::table(&["TAG", "MOVE", "VERSION", "SINCE", "BY"], &moves.iter().map(cells_of).collect::<Vec<_>>())
    }
}

impl Rollback {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let path = format!("{}/rollback", model_path(&self.model));
        let moved: TagMove = context.client()?.post(&path, &json!({"version": self.version})).await?;
        tell(&self.model, &moved, context.json)
    }
}

/// Where all of a model's tags point.
pub async fn tags(client: &Client, model: &ModelRef) -> anyhow::Result<Vec<TagMove>> {
    Ok(client.list(&format!("{}/tags", model_path(model)), usize::MAX).await?)
}

fn tag_path(model: &ModelRef, tag: &Tag) -> String {
    format!("{}/tags/{tag}", model_path(model))
}

fn cells_of(moved: &TagMove) -> Vec<String> {
    vec![
        moved.tag.clone(),
        moved.number.to_string(),
        moved.version.clone(),
        moved.moved_at.to_string(),
        moved.moved_by.clone().unwrap_or_default(),
    ]
}

fn tell(model: &ModelRef, moved: &TagMove, json: bool) -> anyhow::Result<()> {
    if json {
        return show::json(moved);
    }
    show::line(&format!("{model}:{}", moved.version))?;
    show::note(&format!("{} points there since {}", moved.tag, moved.moved_at));
    Ok(())
}
