//! `feira gc`: removes the blobs that nothing names, for operators.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use crate::show;

#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, Serialize)]
struct Collected {
    blobs: u64,
    bytes: u64,
}

impl Gc {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let order = client.slow_request(reqwest::Method::POST, "/v1/blobs/collect").json(&json!({"dry_run": self.dry_run}));
        let collected: Collected = client.answer(order).await?;
        if context.json {
            return show::json(&collected);
        }
        let done = if self.dry_run { "would be removed" } else { "removed" };
        show::line(&format!("{} blobs, {} {done}", collected.blobs, indicatif::HumanBytes(collected.bytes)))
    }
}
