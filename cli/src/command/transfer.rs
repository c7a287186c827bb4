//! `feira transfer`: models that change hands; both sides must say so.

use protocol::ModelRef;
use protocol::api::{Model, Transfer as Offer};
use serde_json::json;

use super::Context;
use super::models::model_path;
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Transfer {
    /// List what you were offered, and what you offer
    List,
    /// Offer a model of yours to another account
    Offer { model: ModelRef, account: String },
    /// Take a model that you were offered
    Accept { model: ModelRef },
    /// Refuse a model that you were offered, or take back your own offer
    Refuse { model: ModelRef },
}

impl Transfer {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::List => list(&client.list("/v1/account/transfers", usize::MAX).await?, context.json),
            Self::Offer { model, account } => {
                let offer: Offer = client.post(&transfer_path(&model), &json!({"to": account})).await?;
                if context.json {
                    return show::json(&offer);
                }
                show::line(&offer.model)?;
                show::note(&format!("offered to {}, who takes it with `feira transfer accept {}`", offer.to, offer.model));
                Ok(())
            }
            Self::Accept { model } => {
                let taken: Model = client.post(&format!("{}/accept", transfer_path(&model)), &json!({})).await?;
                if context.json {
                    return show::json(&taken);
                }
                show::line(&format!("{}/{}", taken.owner, taken.name))
            }
            Self::Refuse { model } => {
                client.delete(&transfer_path(&model)).await?;
                show::note(&format!("{model} is offered no longer"));
                Ok(())
            }
        }
    }
}

fn transfer_path(model: &ModelRef) -> String {
    format!("{}/transfer", model_path(model))
}

fn list(offers: &[Offer], json: bool) -> anyhow::Result<()> {
    if json {
        return show::json(&offers);
    }
    let row = |offer: &Offer| vec![offer.model.clone(), offer.from.clone(), offer.to.clone(), offer.offered_at.to_string()];
    show::table(&["MODEL", "FROM", "TO", "SINCE"], &offers.iter().map(row).collect::<Vec<_>>())
}
