//! `feira push`: reads a project, says what it breaks, sends what the server lacks of it, and publishes the version.

use std::path::PathBuf;

use protocol::ModelRef;
use protocol::api::FileWarning;
use serde_json::json;

use super::Context;
use super::models::NewModel;
use crate::exit::usage;
use crate::project::{Project, ProjectError, Tools};
use crate::publish::{Plan, Publication, Published};
use crate::show::{self, Bars};

#[derive(Debug, clap::Args)]
pub struct Push {
    /// The project's folder (the current one without it), then OWNER/MODEL
    #[arg(num_args = 1..=2, required = true, value_names = ["PATH", "OWNER/MODEL"])]
    what: Vec<String>,
    /// Say what would be sent, the id it would have and what it breaks; write nothing
    #[arg(long)]
    dry_run: bool,
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

        let publication = Publication { client: &client, home: &context.settings.home, model: &model, project: &project };
        let plan = publication.plan().await?;
        tell_breaks(&model, &plan);
        if self.dry_run {
            return tell_plan(&model, &project, &plan, context.json);
        }
        let breaks = plan.breaks.clone();
        let published = publication.carry_out(plan, self.new, &bars).await?;
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
                "breaks": breaks,
            });
            return show::json(&counted);
        }
        show::line(&format!("{model}:{}", version.id))?;
        let sent = match sent_files {
            0 => "already there".to_owned(),
            count => format!("{count} of {} files sent, {}", project.blobs.len(), indicatif::HumanBytes(sent_bytes)),
        };
        show::note(&format!("{sent}\n{}", page.url));
        version.warnings.iter().for_each(|warning| show::note(&told(warning)));
        Ok(())
    }
}

/// To the person, before anything is sent.
fn tell_breaks(model: &ModelRef, plan: &Plan) {
    if !plan.breaks.is_empty() {
        show::note(&format!("callers of {model} as it is now will notice:"));
        plan.breaks.iter().for_each(|each| show::note(&format!("  {each}")));
    }
}

fn tell_plan(model: &ModelRef, project: &Project, plan: &Plan, json: bool) -> anyhow::Result<()> {
    if json {
        let absent: Vec<_> = plan.absent.iter().map(|blob| json!({"path": blob.label, "digest": blob.digest, "size": blob.size})).collect();
        return show::json(&json!({
            "dry_run": true,
            "id": plan.id,
            "model": model,
            "creates_model": plan.page.is_none(),
            "files": project.files.len(),
            "absent": absent,
            "absent_bytes": plan.absent_bytes(),
            "breaks": plan.breaks,
        }));
    }
    show::line(&format!("{model}:{}", plan.id))?;
    if plan.page.is_none() {
        show::note(&format!("{model} would be created"));
    }
    for blob in &plan.absent {
        show::note(&format!("  {:>12}  {}", indicatif::HumanBytes(blob.size).to_string(), blob.label));
    }
    let (count, bytes) = (plan.absent.len(), indicatif::HumanBytes(plan.absent_bytes()));
    show::note(&format!("{count} of {} files would be sent, {bytes}; nothing was written", project.blobs.len()));
    Ok(())
}

/// A warning in a line.
fn told(warning: &FileWarning) -> String {
    let imports = if warning.imports.is_empty() { String::new() } else { format!(": {}", warning.imports.join(", ")) };
    format!("warning: {}: {}{imports}", warning.path, warning.detail)
}

/// What is wrong with a project is for its author to put right.
fn refused(error: ProjectError) -> anyhow::Error {
    match error {
        ProjectError::File { .. } | ProjectError::Lock(_) | ProjectError::Missing(_) | ProjectError::Uv(_) => error.into(),
        error => usage(error.to_string()),
    }
}
