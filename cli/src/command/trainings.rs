//! `feira trainings`: a version is trained, and what comes of it is a version of a model of yours.

use protocol::api::Version;
use protocol::{Entropy, ModelRef, Prediction, Reference};
use reqwest::Method;
use serde_json::json;

use super::Context;
use super::run::input;
use super::versions::version_path;
use crate::client::{Client, patiently};
use crate::exit::usage;
use crate::show;

const PATH: &str = "/v1/trainings";

#[derive(Debug, clap::Subcommand)]
pub enum Trainings {
    /// List your trainings, the newest first
    List {
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one training
    Show { id: String },
    /// Train a version
    Create {
        /// OWNER/MODEL:VERSION
        version: Reference,
        /// The model of yours that gets the trained version
        #[arg(long, value_name = "OWNER/MODEL")]
        destination: ModelRef,
        /// Inputs: steps=100, images=@photos.zip
        #[arg(value_name = "KEY=VALUE")]
        inputs: Vec<String>,
    },
    /// Stop a training
    Cancel { id: String },
}

impl Trainings {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::List { limit } => list(&client, limit, context.json).await,
            Self::Show { id } => {
                let path = training_path(&id)?;
                let training: Prediction = patiently(|| client.get(&path)).await?;
                show::json(&training)?;
                show::note(&show::summary(&training));
                Ok(())
            }
            Self::Create { version: Reference::Exact(model, id), destination, inputs } => {
                let path = version_path(&model, &id);
                let version: Version = client.get(&path).await?;
                let input = input::read(&client, &version.openapi_schema, "TrainingInput", &inputs).await?;
                let order = json!({"destination": destination, "input": input});
                let key = hex::encode(Entropy::system().bytes::<16>());
                let path = format!("{path}/trainings");
                let training: Prediction =
                    patiently(|| client.answer(client.request(Method::POST, &path).header("idempotency-key", &key).json(&order))).await?;
                told(&training, context.json)
            }
            Self::Create { .. } => Err(usage("name the version as OWNER/MODEL:VERSION; `feira versions list` shows them")),
            Self::Cancel { id } => {
                let path = format!("{}/cancel", training_path(&id)?);
                let training: Prediction = client.post(&path, &json!({})).await?;
                if context.json { show::json(&training) } else { show::line(training.status.name()) }
            }
        }
    }
}

/// The path of a training, once its id is one.
fn training_path(id: &str) -> anyhow::Result<String> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(usage(format!("`{id}` is no training's id: 26 letters and digits")));
    }
    Ok(format!("{PATH}/{id}"))
}

fn told(training: &Prediction, json: bool) -> anyhow::Result<()> {
    if json {
        return show::json(training);
    }
    show::note(&format!("`feira logs -f {}` follows it", training.id));
    show::line(&training.id)
}

async fn list(client: &Client, limit: usize, json: bool) -> anyhow::Result<()> {
    let trainings: Vec<Prediction> = client.list(PATH, limit).await?;
    if json {
        return show::json(&trainings);
    }
    let row = |training: &Prediction| {
        vec![
            training.id.clone(),
            training.model.clone(),
            training.destination.clone().unwrap_or_default(),
            training.status.name().to_owned(),
            training.created_at.to_string(),
            training.cost.map(|cost| format!("${cost}")).unwrap_or_default(),
            show::excerpt(training.error.as_deref().unwrap_or_default(), 50),
        ]
    };
    show::table(&["ID", "MODEL", "DESTINATION", "STATUS", "CREATED", "COST", "ERROR"], &trainings.iter().map(row).collect::<Vec<_>>())
}
