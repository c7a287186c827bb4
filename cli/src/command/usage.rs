//! `feira usage`: what the account used and what it cost.

use protocol::api::{Usage as Used, UsageRow};

use super::Context;
use crate::show;

#[derive(Debug, clap::Args)]
pub struct Usage {
    /// What to add up by
    #[arg(long, default_value = "day", value_parser = ["day", "model", "token", "hardware"])]
    by: String,
    /// From when on, such as 2026-11-01T00:00:00Z; 30 days ago when not given
    #[arg(long)]
    from: Option<String>,
    /// Until when; now when not given
    #[arg(long)]
    to: Option<String>,
    /// As a table for spreadsheets
    #[arg(long)]
    csv: bool,
}

impl Usage {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let moments = [("from", self.from), ("to", self.to)].into_iter().filter_map(|(name, moment)| Some((name, moment?)));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("group_by", &self.by).extend_pairs(moments);
        if self.csv {
            query.append_pair("format", "csv");
        }
        let path = format!("/v1/account/usage?{}", query.finish());
        if self.csv {
            let answer = client.send(client.request(reqwest::Method::GET, &path)).await?;
            return show::piece(&answer.text().await?);
        }
        let used: Used = client.get(&path).await?;
        if context.json {
            return show::json(&used);
        }
        let row = |row: &UsageRow| {
            let seconds = format!("{}.{:03}", row.run_us / 1_000_000, row.run_us % 1_000_000 / 1_000);
            vec![row.key.clone(), row.predictions.to_string(), row.succeeded.to_string(), seconds, format!("${}", row.cost)]
        };
        show::table(&[&self.by.to_uppercase(), "RUNS", "SUCCEEDED", "SECONDS", "COST"], &used.rows.iter().map(row).collect::<Vec<_>>())?;
        show::line(&format!("${} in all", used.cost))
    }
}
