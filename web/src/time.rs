//! Durations and moments in the words that people use.

use maud::{Markup, html};
use protocol::Timestamp;

/// `11 µs`, `0.4 ms`, `46 ms`, `1.24 s`, `2 min 5 s`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..100 => format!("{micros} µs"),
        100..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        _ => format!("{} min {} s", micros / 60_000_000, micros % 60_000_000 / 1_000_000),
    }
}

/// Seconds as the API measures them.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 0.01 { format!("{:.1} ms", seconds * 1_000.0) } else { format!("{seconds:.2} s") }
}

/// How long ago a moment was; the moment itself is there for machines, and for whoever points at it.
pub(crate) fn ago(now: Timestamp, moment: Timestamp) -> Markup {
    let text = moment.to_string();
    let minute = text.get(..16).unwrap_or(&text).replace('T', " ");
    html! { time datetime=(text) title={ (minute) " UTC" } { (distance(now.micros_since(moment) / 1_000_000)) } }
}

/// The day of a moment, as `2026-11-24`.
pub(crate) fn day(moment: Timestamp) -> Markup {
    let text = moment.to_string();
    html! { time datetime=(text) { (text.get(..10).unwrap_or(&text)) } }
}

fn distance(seconds: u64) -> String {
    match seconds {
        0..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_fits_it() {
        for (given, shown) in [(9, "9 µs"), (400, "0.4 ms"), (46_200, "46 ms"), (1_240_000, "1.24 s"), (125_000_000, "2 min 5 s")] {
            assert_eq!(micros(given), shown);
        }
        assert_eq!(seconds(0.214), "0.21 s");
        assert_eq!(seconds(0.0004), "0.4 ms");
    }

    #[test]
    fn a_moment_is_told_by_its_distance() {
        for (given, shown) in [(3, "just now"), (59, "59 s ago"), (7_300, "2 h ago"), (90_000, "yesterday"), (864_000, "10 days ago")] {
            assert_eq!(distance(given), shown);
        }
    }
}
