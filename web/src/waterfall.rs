//! Where the time of a run went, drawn as bars one below the other.

use maud::{Markup, html};
use protocol::prediction::{Rung, Timings};

use crate::time;

/// One stretch of the run.
struct Bar {
    class: &'static str,
    label: &'static str,
    why: &'static str,
    micros: u64,
}

/// Draws queue, cold start by phase, before, predict, after: each where it began, as wide as it lasted.
pub(crate) fn draw(timings: &Timings) -> Markup {
    let bars = bars(timings);
    let total: u64 = bars.iter().map(|bar| bar.micros).sum::<u64>().max(1);
    let begun = bars.iter().scan(0, |sum, bar| Some(std::mem::replace(sum, *sum + bar.micros)));
    html! {
        section.wf aria-label="Where the time went" {
            @for (bar, begun) in bars.iter().zip(begun) {
                div.bar tabindex="0" {
                    svg width="100%" height="10" aria-hidden="true" {
                        rect class=(bar.class) x={ (tenths(permille(begun, total).min(992))) "%" } width={ (tenths(permille(bar.micros, total).max(8))) "%" } height="10" rx="3" {}
                    }
                    b { (bar.label) }
                    em { (time::micros(bar.micros)) }
                    span.why role="note" { (bar.why) }
                }
            }
        }
    }
}

fn bars(timings: &Timings) -> Vec<Bar> {
    let bar = |class, label, why, micros| Bar { class, label, why, micros };
    let mut bars = vec![bar("q", "queue", "Waiting for a slot. Not charged.", timings.queue_us)];
    if let Some(cold) = timings.cold {
        let phases = [
            bar("c", "cold · fetch", "The version's files were fetched and checked against their digests. Not charged.", cold.fetch_us),
            bar(
                "c",
                "cold · environment",
                "The Python environment was built, or found where another version had built it. Not charged.",
                cold.environment_us,
            ),
            bar("c", "cold · start", how_it_started(cold.rung), cold.start_us),
            bar("c", "cold · setup", "The model's own setup: it loaded its weights. Not charged.", cold.setup_us),
        ];
        bars.extend(phases.into_iter().filter(|phase| phase.micros > 0));
    }
    if let Some(micros) = timings.before_us {
        bars.push(bar("h", "before hook", "The publisher's WebAssembly looked at the input.", micros));
    }
    bars.push(bar("p", "predict", "The model itself. This is the time that a price by the second counts.", timings.predict_us));
    if let Some(micros) = timings.after_us {
        bars.push(bar("h", "after hook", "The publisher's WebAssembly looked at the output.", micros));
    }
    bars
}

const fn how_it_started(rung: Rung) -> &'static str {
    match rung {
        Rung::Frozen => "An idle instance had been stopped, and went on. Not charged.",
        Rung::Zygote => "A process with everything imported but the model's own code took it over and answered. Not charged.",
        Rung::EnvironmentHit | Rung::EnvironmentBuild => "The model's process was started and answered. Not charged.",
    }
}

fn permille(part: u64, total: u64) -> u64 {
    u64::try_from(u128::from(part) * 1_000 / u128::from(total)).unwrap_or(1_000)
}

fn tenths(permille: u64) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::prediction::ColdStart;

    #[test]
    fn bars_begin_where_the_one_before_ended() {
        let cold = ColdStart { start_us: 250, ..ColdStart::default() };
        let page = draw(&Timings { queue_us: 250, cold: Some(cold), predict_us: 500, ..Timings::default() }).into_string();
        for bar in [r#"class="q" x="0.0%" width="25.0%""#, r#"class="c" x="25.0%" width="25.0%""#, r#"class="p" x="50.0%" width="50.0%""#] {
            assert!(page.contains(bar), "{bar} in {page}");
        }
        assert!(!page.contains("hook"), "a stage that did not happen is not drawn");
    }

    #[test]
    fn a_run_without_any_time_is_drawn_too() {
        assert!(draw(&Timings::default()).into_string().contains("predict"));
    }
}
