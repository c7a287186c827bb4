//! `feira cancel`: ends a prediction that waits or runs.

use protocol::Prediction;
use serde_json::json;

use super::{Context, prediction_path};
use crate::show;

#[derive(Debug, clap::Args)]
pub struct Cancel {
    id: String,
}

impl Cancel {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let path = format!("{}/cancel", prediction_path(&self.id)?);
        let prediction: Prediction = context.client()?.post(&path, &json!({})).await?;
        if context.json {
            return show::json(&prediction);
        }
        show::line(prediction.status.name())
    }
}
