//! In which order a prediction's logs and output came, so that a stream can be followed, resumed and replayed with the same ids.
//!
//! The text itself stays where it is, in the row's `logs` and `output`; a transcript only says how they were cut. Written down it is a
//! short string such as `l12 o3 l5 o`: twelve bytes of logs, three outputs, five bytes of logs, one output.

use serde_json::Value;

use crate::db::prediction::PredictionRow;
use protocol::prediction::State;

/// One event of a stream; its id is its place, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Output(Value),
    Logs(String),
    Error(String),
    Done(State),
}

/// The cuts: an output each, or so many bytes of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Output,
    /// From and to, in bytes of the row's logs.
    Logs(usize, usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    cuts: Vec<Cut>,
}

impl Transcript {
    pub fn note_outputs(&mut self, count: usize) {
        self.cuts.extend(std::iter::repeat_n(Cut::Output, count));
    }

    /// Notes that the row's logs have grown from `from` to `to` bytes.
    pub fn note_logs(&mut self, from: usize, to: usize) {
        self.cuts.push(Cut::Logs(from, to));
    }

    /// The events from the `seen`th on, with the row as it is now. A terminal row ends with `Done`.
    pub fn pieces_after(&self, seen: usize, row: &PredictionRow) -> Vec<Piece> {
        let outputs_seen = self.cuts.iter().take(seen).filter(|cut| **cut == Cut::Output).count();
        let mut outputs = outputs_of(&row.output).iter().skip(outputs_seen);
        let mut pieces: Vec<Piece> = self
            .cuts
            .iter()
            .skip(seen)
            .filter_map(|cut| match cut {
                Cut::Output => outputs.next().cloned().map(Piece::Output),
                Cut::Logs(from, to) => row.logs.get(*from..*to).map(|text| Piece::Logs(text.to_owned())),
            })
            .collect();
        let ending = ending_of(row);
        let ending_seen = seen.saturating_sub(self.cuts.len());
        pieces.extend(ending.into_iter().skip(ending_seen));
        pieces
    }

    pub fn write(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let mut outputs = 0;
        let flush = |outputs: &mut usize, words: &mut Vec<String>| {
            if *outputs > 0 {
                words.push(format!("o{outputs}"));
                *outputs = 0;
            }
        };
        for cut in &self.cuts {
            match cut {
                Cut::Output => outputs += 1,
                Cut::Logs(from, to) => {
                    flush(&mut outputs, &mut words);
                    words.push(format!("l{}", to - from));
                }
            }
        }
        flush(&mut outputs, &mut words);
        words.join(" ")
    }

    /// Reads what `write` wrote; a row without it is cut once for its logs and once an output.
    pub fn of(row: &PredictionRow) -> Self {
        row.event_log.as_deref().and_then(Self::parse).unwrap_or_else(|| {
            let mut transcript = Self::default();
            if !row.logs.is_empty() {
                transcript.note_logs(0, row.logs.len());
            }
            transcript.note_outputs(outputs_of(&row.output).len());
            transcript
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut transcript = Self::default();
        let mut logged = 0;
        for word in text.split_whitespace() {
            let count: usize = word.get(1..)?.parse().ok()?;
            match word.as_bytes().first()? {
                b'o' => transcript.note_outputs(count),
                b'l' => {
                    transcript.note_logs(logged, logged + count);
                    logged += count;
                }
                _ => return None,
            }
        }
        Some(transcript)
    }
}

/// The pieces of an output: a list's elements, or the one value.
pub(crate) fn outputs_of(output: &Value) -> &[Value] {
    match output {
        Value::Null => &[],
        Value::Array(pieces) => pieces,
        whole => std::slice::from_ref(whole),
    }
}

fn ending_of(row: &PredictionRow) -> Vec<Piece> {
    match (row.state, &row.error) {
        (state, _) if !state.is_terminal() => Vec::new(),
        (State::Failed, Some(error)) => vec![Piece::Error(error.clone()), Piece::Done(State::Failed)],
        (state, _) => vec![Piece::Done(state)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::prediction::tests::row;
    use serde_json::json;

    fn told() -> (Transcript, PredictionRow) {
        let mut transcript = Transcript::default();
        transcript.note_logs(0, 3);
        transcript.note_outputs(1);
        transcript.note_outputs(1);
        transcript.note_logs(3, 5);
        transcript.note_outputs(1);
        let mut row = row();
        row.logs = "abcde".to_owned();
        row.output = json!(["x", "y", "z"]);
        row.state = State::Succeeded;
        (transcript, row)
    }

    #[test]
    fn resuming_anywhere_gives_exactly_the_rest() {
        let (transcript, row) = told();
        let all = transcript.pieces_after(0, &row);
        assert_eq!(all.len(), 6);
        assert_eq!(all.last(), Some(&Piece::Done(State::Succeeded)));
        for seen in 0..=6 {
            assert_eq!(transcript.pieces_after(seen, &row), all[seen..]);
        }
        assert!(transcript.pieces_after(99, &row).is_empty());
    }

    #[test]
    fn a_transcript_reads_back_as_it_was_written() {
        let (transcript, mut row) = told();
        assert_eq!(transcript.write(), "l3 o2 l2 o1");
        row.event_log = Some(transcript.write());
        assert_eq!(Transcript::of(&row), transcript);
    }

    #[test]
    fn a_failure_is_told_before_the_end() {
        let mut failed = row();
        failed.state = State::Failed;
        failed.error = Some("boom".to_owned());
        let pieces = Transcript::of(&failed).pieces_after(0, &failed);
        assert_eq!(pieces, [Piece::Error("boom".to_owned()), Piece::Done(State::Failed)]);
    }
}
