//! `feira logs`: what a prediction printed, and with `-f` what it goes on printing.

use std::time::Duration;

use super::{Context, find_prediction};
use crate::show;

const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Logs {
    id: String,
    /// Go on until the prediction ends
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let mut shown = String::new();
        loop {
            let prediction = find_prediction(&client, &self.id).await?;
            show::piece(news(&shown, &prediction.logs))?;
            if !self.follow || prediction.status.is_terminal() {
                return Ok(());
            }
            shown = prediction.logs;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What is new since the last look; all of it when an attempt began anew.
fn news<'a>(shown: &str, logs: &'a str) -> &'a str {
    logs.strip_prefix(shown).unwrap_or(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_printed() {
        assert_eq!(news("", "a\n"), "a\n");
        assert_eq!(news("a\n", "a\nb\n"), "b\n");
        assert_eq!(news("a\n", "a\n"), "");
        assert_eq!(news("a\nb\n", "c\n"), "c\n");
    }
}
