//! How long predictions waited for an instance, by rung of the ladder: the middle and the slowest of the last ones, which Prometheus reads.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use protocol::prediction::Rung;
use protocol::wire::Started;

/// Enough for a 99th percentile to mean something, and few enough to sort at every look.
const REMEMBERED_MAX: usize = 1_024;
const QUANTILES: [(&str, usize); 2] = [("0.5", 50), ("0.99", 99)];
const NAME: &str = "feira_claim_seconds";
const WARM: &str = "warm";

/// Those of warm instances, and those of each rung.
#[derive(Debug, Default)]
pub(crate) struct Claims([Mutex<Recent>; 1 + Rung::ALL.len()]);

#[derive(Debug, Default)]
struct Recent {
    /// In microseconds, the latest last.
    waits_us: VecDeque<u64>,
    count: u64,
    sum_us: u64,
}

impl Claims {
    /// Counts what a prediction waited for from its arrival at the runner until an instance had it: in the queue, and for a start.
    pub(crate) fn note(&self, started: &Started) {
        let at = started.cold.map_or(0, |cold| 1 + Rung::ALL.iter().position(|rung| *rung == cold.rung).expect("all rungs are listed"));
        let wait_us = started.queue_us + started.cold.map_or(0, |cold| cold.total_us());
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner).note(wait_us);
    }

    /// In the Prometheus text format; of the rungs that were taken.
    pub(crate) fn text(&self) -> String {
        let mut text =
            format!("# HELP {NAME} Waits of the last predictions for an instance, from their arrival at a runner\n# TYPE {NAME} summary\n");
        let names = std::iter::once(WARM).chain(Rung::ALL.iter().map(|rung| rung.name()));
        for (rung, recent) in names.zip(&self.0) {
            recent.lock().unwrap_or_else(PoisonError::into_inner).write(rung, &mut text);
        }
        text
    }
}

impl Recent {
    fn note(&mut self, wait_us: u64) {
        if self.waits_us.len() == REMEMBERED_MAX {
            self.waits_us.pop_front();
        }
        self.waits_us.push_back(wait_us);
        self.count += 1;
        self.sum_us += wait_us;
    }

    fn write(&self, rung: &str, text: &mut String) {
        let mut sorted: Vec<u64> = self.waits_us.iter().copied().collect();
        sorted.sort_unstable();
        let Some(last) = sorted.len().checked_sub(1) else { return };
        for (quantile, percent) in QUANTILES {
            let wait = seconds(sorted[(last * percent).div_ceil(100)]);
            writeln!(text, "{NAME}{{rung=\"{rung}\",quantile=\"{quantile}\"}} {wait}").expect("a string takes text");
        }
        let (sum, count) = (seconds(self.sum_us), self.count);
        write!(text, "{NAME}_sum{{rung=\"{rung}\"}} {sum}\n{NAME}_count{{rung=\"{rung}\"}} {count}\n").expect("a string takes text");
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::prediction::ColdStart;

    fn started(queue_us: u64, cold: Option<ColdStart>) -> Started {
        Started { queue_us, cold, hardware: "cpu".to_owned() }
    }

    #[test]
    fn the_middle_and_the_slowest_of_each_rung_are_told() {
        let claims = Claims::default();
        for queue_us in 1..=100 {
            claims.note(&started(queue_us, None));
        }
        claims.note(&started(200, Some(ColdStart { rung: Rung::Frozen, start_us: 1_800, ..ColdStart::default() })));
        let text = claims.text();
        for line in [
            "feira_claim_seconds{rung=\"warm\",quantile=\"0.5\"} 0.000051",
            "feira_claim_seconds{rung=\"warm\",quantile=\"0.99\"} 0.000100",
            "feira_claim_seconds_count{rung=\"warm\"} 100",
            "feira_claim_seconds{rung=\"frozen\",quantile=\"0.99\"} 0.002000",
            "feira_claim_seconds_sum{rung=\"frozen\"} 0.002000",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in {text}");
        }
        assert!(!text.contains("zygote"), "{text}");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let claims = Claims::default();
        claims.note(&started(9_000_000, None));
        for _ in 0..REMEMBERED_MAX {
            claims.note(&started(1, None));
        }
        assert!(claims.text().contains("quantile=\"0.99\"} 0.000001\n"));
    }
}
