//! `feira ledger verify`: every law of the ledger, checked in its entries. Reads the database itself, beside a running server or without.

use std::path::PathBuf;

use serde_json::json;
use store::{Db, StoreError};

use super::Context;
use crate::exit::Exit;
use crate::show;

#[derive(Debug, clap::Subcommand)]
pub enum Ledger {
    /// Check that transactions sum to zero and balances to their entries, and that each prediction was held for and settled once
    Verify {
        /// The home of the server whose file is checked
        #[arg(long)]
        home: Option<PathBuf>,
        /// Another database: postgres://…
        #[arg(long, conflicts_with = "home")]
        database_url: Option<String>,
    },
}

impl Ledger {
    pub async fn execute(self, context: &Context) -> anyhow::Result<Exit> {
        let Self::Verify { home, database_url } = self;
        let file = home.unwrap_or_else(|| context.settings.home.clone()).join("feira.db");
        if database_url.is_none() && !file.exists() {
            anyhow::bail!("there is no ledger at {}; name the server's --home or its --database-url", file.display());
        }
        let db = Db::open(&database_url.unwrap_or_else(|| format!("sqlite://{}", file.display()))).await?;
        let report =
            db.read(|tx| Box::pin(async move { billing::verify(tx).await })).await.map_err(|error: StoreError| anyhow::anyhow!(error))?;
        db.close().await;
        let broken: Vec<_> = report
            .violations
            .iter()
            .map(|violation| json!({"law": violation.law, "subject": violation.subject, "off_by": violation.off_by}))
            .collect();
        if context.json {
            show::json(&json!({"transactions": report.transactions, "entries": report.entries, "violations": broken}))?;
        } else {
            show::line(&format!("{} transactions, {} entries, {} violations", report.transactions, report.entries, broken.len()))?;
            for violation in &report.violations {
                show::line(&format!("{}: {} is off by ${}", violation.law, violation.subject, violation.off_by))?;
            }
        }
        Ok(if report.is_sound() { Exit::Success } else { Exit::Failed })
    }
}
