//! `feira push`: reads a project, sends what the server lacks of it, and publishes the version.

use std::path::PathBuf;

use protocol::ModelRef;
use serde_json::json;

use super::Context;
use super::models::NewModel;
use crate::exit::usage;
use crate::project::{Project, ProjectError, Tools};
use crate::publish::{self, Published};
use crate::show::{self, Bars};

#[derive(Debug, clap::Args)]
pub struct Push {
    /// The project's folder (the current one without it), then OWNER/MODEL
    #[arg(num_args = 1..=2, required = true, value_names = ["PATH", "OWNER/MODEL"])]
    what: Vec<String>,
    /// What the model is given if it has to be created
    #[command(flatten)]
    new: NewModel,
}

impl Push {
    pub async fn execute(mut self, context: &Context) -> anyhow::Result<()> {
        let model: ModelRef =
            self.what.pop().unwrap_or_default().parse().map_err(|error: protocol::name::NotAName| usage(error.to_string()))?;
        let root = PathBuf::from(self.what.pop().unwrap_or_else(|| ".".to_owned()));
        let client = context.client()?;
        let bars = Bars::new(context.json);

        let tools = Tools { home: context.settings.home.clone(), search_path: context.settings.search_path.clone() };
        let reading = bars.count("reading");
        let project = Project::read(&root, &tools, &reading).await.map_err(refused)?;
        reading.finish_and_clear();
        project.notes.iter().for_each(|note| show::note(note));

        let published = publish::publish(&client, &context.settings.home, &model, self.new, &project, &bars).await?;
        let Published { model: page, version, sent_files, sent_bytes } = published;
        if context.json {
            let counted = json!({
                "id": version.id,
                "model": model,
                "url": page.url,
                "version": version,
                "files": project.files.len(),
                "sent_files": sent_files,
                "sent_bytes": sent_bytes,
            });
            return show::json(&counted);
        }
        show::line(&format!("{model}:{}", version.id))?;
        let sent = match sent_files {
            0 => "already there".to_owned(),
            count => format!("{count} of {} files sent, {}", project.blobs.len(), indicatif::HumanBytes(sent_bytes)),
        };
        show::note(&format!("{sent}\n{}", page.url));
        Ok(())
    }
}

/// What is wrong with a project is for its author to put right.
fn refused(error: ProjectError) -> anyhow::Error {
    match error {
        ProjectError::File { .. } | ProjectError::Lock(_) | ProjectError::Missing(_) | ProjectError::Uv(_) => error.into(),
        error => usage(error.to_string()),
    }
}
