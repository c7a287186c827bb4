//! `feira predictions`: what was run, how it ended, what it cost.

use protocol::Prediction;

use super::{Context, find_prediction};
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Predictions {
    /// List your predictions, the newest first
    List {
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one prediction
    Show { id: String },
}

impl Predictions {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::List { limit } => {
                let predictions: Vec<Prediction> = client.list("/v1/predictions", limit).await?;
                if context.json {
                    return show::json(&predictions);
                }
                let row = |prediction: &Prediction| {
                    vec![
                        prediction.id.clone(),
                        prediction.model.clone(),
                        prediction.status.name().to_owned(),
                        prediction.created_at.to_string(),
                        prediction.cost.map(|cost| format!("${cost}")).unwrap_or_default(),
                        show::excerpt(prediction.error.as_deref().unwrap_or_default(), 50),
                    ]
                };
                show::table(&["ID", "MODEL", "STATUS", "CREATED", "COST", "ERROR"], &predictions.iter().map(row).collect::<Vec<_>>())
            }
            Self::Show { id } => {
                let prediction = find_prediction(&client, &id).await?;
                show::json(&prediction)?;
                show::note(&show::summary(&prediction));
                Ok(())
            }
        }
    }
}
