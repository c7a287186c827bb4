//! `feira models`: what can be run.

use protocol::ModelRef;
use protocol::api::Model;
use protocol::money::Pricing;
use serde_json::json;

use super::Context;
use crate::client::{Client, ClientError};
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Models {
    /// List the catalogue, or one owner's models, the newest first
    List {
        #[arg(long)]
        owner: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one model
    Show { model: ModelRef },
    /// Create a model without a version
    Create {
        model: ModelRef,
        #[command(flatten)]
        new: NewModel,
    },
}

/// What a model is given when it is created.
#[derive(Clone, Debug, clap::Args)]
pub struct NewModel {
    /// Hide it from everyone but its owner
    #[arg(long)]
    pub private: bool,
    /// What its instances run on; `feira models show` of another says what there is
    #[arg(long, default_value = "cpu", value_name = "SKU")]
    pub hardware: String,
    /// What it is, in a sentence
    #[arg(long)]
    pub description: Option<String>,
}

impl NewModel {
    /// A public model on a CPU.
    pub fn public(description: &str) -> Self {
        Self { private: false, hardware: "cpu".to_owned(), description: Some(description.to_owned()) }
    }

    pub async fn create(&self, client: &Client, model: &ModelRef) -> Result<Model, ClientError> {
        let visibility = if self.private { "private" } else { "public" };
        let mut order = json!({"owner": model.owner, "name": model.name, "visibility": visibility, "hardware": self.hardware});
        if let Some(description) = &self.description {
            order["description"] = description.as_str().into();
        }
        client.post("/v1/models", &order).await
    }
}

impl Models {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let model = match self {
            Self::List { owner, limit } => return list(&client, owner.as_deref(), limit, context.json).await,
            Self::Show { model } => client.get::<Model>(&model_path(&model)).await?,
            Self::Create { model, new } => new.create(&client, &model).await?,
        };
        if context.json { show::json(&model) } else { show_one(&model) }
    }
}

pub fn model_path(model: &ModelRef) -> String {
    format!("/v1/models/{}/{}", model.owner, model.name)
}

async fn list(client: &Client, owner: Option<&str>, limit: usize, json: bool) -> anyhow::Result<()> {
    let path = owner.map_or("/v1/models".to_owned(), |owner| format!("/v1/models?owner={owner}"));
    let models: Vec<Model> = client.list(&path, limit).await?;
    if json {
        return show::json(&models);
    }
    let row = |model: &Model| {
        vec![
            format!("{}/{}", model.owner, model.name),
            price(&model.pricing),
            model.hardware.clone(),
            model.run_count.to_string(),
            model.warm.to_string(),
            show::excerpt(model.description.as_deref().unwrap_or_default(), 60),
        ]
    };
    show::table(&["MODEL", "PRICE", "HARDWARE", "RUNS", "WARM", "DESCRIPTION"], &models.iter().map(row).collect::<Vec<_>>())
}

fn show_one(model: &Model) -> anyhow::Result<()> {
    show::line(&format!("{}/{}", model.owner, model.name))?;
    let version = model.latest_version.as_ref().map_or("none yet", |version| version.id.as_str());
    let runs = model.run_count.to_string();
    let price = price(&model.pricing);
    let rows = [
        ("page", model.url.as_str()),
        ("description", model.description.as_deref().unwrap_or_default()),
        ("visibility", &model.visibility),
        ("price", &price),
        ("hardware", &model.hardware),
        ("runs", &runs),
        ("version", version),
    ];
    rows.iter().filter(|(_, value)| !value.is_empty()).try_for_each(|(name, value)| show::line(&format!("  {name:12} {value}")))
}

fn price(pricing: &Pricing) -> String {
    match pricing {
        Pricing::Second => "by the second".to_owned(),
        Pricing::Token { prompt, completion, .. } => format!("${prompt} in, ${completion} out a token"),
        Pricing::Free => "free".to_owned(),
    }
}
