//! How long predictions waited for cold starts, by rung of the ladder and by phase, as a histogram that Prometheus reads.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::prediction::{ColdStart, Rung};

/// From a process that only has to go on, to an environment of gigabytes.
const BOUNDS_SECONDS: [f64; 17] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const PHASES: [&str; 5] = ["fetch", "environment", "start", "setup", "total"];
const NAME: &str = "feira_cold_start_seconds";

#[derive(Debug, Default)]
pub(crate) struct ColdStarts([[Histogram; PHASES.len()]; Rung::ALL.len()]);

#[derive(Debug, Default)]
struct Histogram {
    /// Those up to each bound and above the one before it.
    counts: [AtomicU64; BOUNDS_SECONDS.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl ColdStarts {
    /// Counts the cold start that a prediction has waited for.
    pub(crate) fn note(&self, cold: &ColdStart) {
        let phases = [cold.fetch_us, cold.environment_us, cold.start_us, cold.setup_us, cold.total_us()];
        let of_rung = &self.0[Rung::ALL.iter().position(|rung| *rung == cold.rung).expect("all rungs are listed")];
        for (histogram, micros) in of_rung.iter().zip(phases) {
            histogram.note(micros);
        }
    }

    /// In the Prometheus text format; of the rungs that were taken.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("# HELP {NAME} Cold starts that predictions waited for\n# TYPE {NAME} histogram\n");
        for (rung, of_rung) in Rung::ALL.iter().zip(&self.0) {
            for (phase, histogram) in PHASES.iter().zip(of_rung) {
                histogram.write(&format!("rung=\"{}\",phase=\"{phase}\"", rung.name()), &mut text);
            }
        }
        text
    }
}

impl Histogram {
    fn note(&self, micros: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a cold start is shorter than centuries")]
        let seconds = micros as f64 / 1e6;
        if let Some(at) = BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound) {
            self.counts[at].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn write(&self, labels: &str, text: &mut String) {
        let count = self.count.load(Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let mut below = 0;
        for (bound, counted) in BOUNDS_SECONDS.iter().zip(&self.counts) {
            below += counted.load(Ordering::Relaxed);
            writeln!(text, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {below}").expect("a string takes text");
        }
        let sum_us = self.sum_us.load(Ordering::Relaxed);
        let sum = format!("{}.{:06}", sum_us / 1_000_000, sum_us % 1_000_000);
        write!(text, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {count}\n{NAME}_sum{{{labels}}} {sum}\n{NAME}_count{{{labels}}} {count}\n")
            .expect("a string takes text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cold_start_is_counted_in_each_phase_of_its_rung_and_nowhere_else() {
        let cold_starts = ColdStarts::default();
        for setup_us in [10_000, 700_000] {
            cold_starts.note(&ColdStart { rung: Rung::Zygote, start_us: 40_000, setup_us, ..ColdStart::default() });
        }
        let text = cold_starts.text();
        for line in [
            "feira_cold_start_seconds_bucket{rung=\"zygote\",phase=\"start\",le=\"0.025\"} 0",
            "feira_cold_start_seconds_bucket{rung=\"zygote\",phase=\"start\",le=\"0.05\"} 2",
            "feira_cold_start_seconds_bucket{rung=\"zygote\",phase=\"setup\",le=\"0.5\"} 1",
            "feira_cold_start_seconds_bucket{rung=\"zygote\",phase=\"total\",le=\"+Inf\"} 2",
            "feira_cold_start_seconds_sum{rung=\"zygote\",phase=\"total\"} 0.790000",
            "feira_cold_start_seconds_count{rung=\"zygote\",phase=\"fetch\"} 2",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in {text}");
        }
        assert!(!text.contains("environment_hit"), "{text}");
    }
}
