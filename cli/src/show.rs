//! What people and scripts see: data to standard output, everything else to standard error, bars only on a terminal.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::Prediction;
use protocol::api::Storage;
use serde::Serialize;

/// Prints one document as JSON.
pub fn json(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    line(&text)
}

/// Prints one document as one line of JSON.
pub fn json_line(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(document)?;
    line(&text)
}

pub fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints a piece of text as it is, at once.
pub fn piece(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Says something to the person, never to the pipe.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(column, title)| rows.iter().map(|row| console::measure_text_width(&row[column])).chain([title.len()]).max().unwrap_or(0))
        .collect();
    let heading: Vec<String> = heading.iter().map(|title| (*title).to_owned()).collect();
    let mut out = io::stdout().lock();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<_> =
            row.iter().zip(&widths).map(|(cell, width)| console::pad_str(cell, *width, console::Alignment::Left, None)).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// The last line of a run: how it ended, how long it took and what it cost.
pub fn summary(prediction: &Prediction) -> String {
    let mut parts = vec![prediction.status.name().to_owned()];
    if let Some(seconds) = prediction.metrics.get("predict_time").and_then(serde_json::Value::as_f64) {
        parts.push(format!("{} running", self::seconds(seconds)));
    }
    if let Some(timings) = &prediction.timings {
        if timings.queue_us >= 1_000 {
            parts.push(format!("{} queued", micros(timings.queue_us)));
        }
        if let Some(cold) = timings.cold {
            parts.push(format!("{} cold start {}", micros(cold.total_us()), cold.rung.words()));
        }
    }
    if let Some(cost) = prediction.cost {
        parts.push(format!("${cost}"));
    }
    parts.push(prediction.id.clone());
    parts.join(" · ")
}

fn micros(micros: u64) -> String {
    seconds(Duration::from_micros(micros).as_secs_f64())
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// What an account keeps, and how much it may.
pub fn storage(storage: &Storage) -> String {
    let kept = indicatif::HumanBytes(storage.kept_bytes + storage.reserved_bytes);
    match storage.limit_bytes {
        Some(limit) => format!("keeps {kept} of {}", indicatif::HumanBytes(limit)),
        None => format!("keeps {kept}"),
    }
}

/// The first line of a text, cut to what fits a row.
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    console::truncate_str(line, chars_max, "…").into_owned()
}

/// Progress bars under each other; none where standard error is no terminal.
#[derive(Debug)]
pub struct Bars(MultiProgress);

impl Bars {
    pub fn new(json: bool) -> Self {
        let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }

    /// A count of bytes whose total nobody knows yet.
    pub fn count(&self, label: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg:32!} {bytes:>10} {bytes_per_sec:>12}").expect("the template is well formed");
        self.0.add(ProgressBar::no_length().with_style(style).with_message(label.to_owned()))
    }

    /// A sign of life while something takes its time.
    pub fn wait(&self, label: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is well formed");
        let bar = self.0.add(ProgressBar::new_spinner().with_style(style).with_message(label.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A bar that counts bytes, with speed and time left.
    pub fn bytes(&self, label: &str, total: u64) -> ProgressBar {
        const TEMPLATE: &str = "{msg:32!} {bar:24} {bytes:>10} of {total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
        self.0.add(ProgressBar::new(total).with_style(style).with_message(label.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_unit_that_people_read() {
        assert_eq!(micros(0), "0 ms");
        assert_eq!(micros(45_600), "46 ms");
        assert_eq!(micros(1_234_567), "1.23 s");
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("first\nsecond", 20), "first");
        assert_eq!(excerpt("abcdefgh", 5), "abcd…");
        assert_eq!(excerpt("", 5), "");
    }
}
