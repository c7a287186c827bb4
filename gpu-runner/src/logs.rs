//! How much of what a model prints is kept: a prediction's logs have a beginning and an end, a process has a tail.

use std::collections::VecDeque;

/// Passed on as it comes.
const HEAD_BYTES_MAX: usize = 768 * 1024;
/// Kept back once the head is full, so that the last words are never lost.
const TAIL_BYTES_MAX: usize = 256 * 1024;

/// One prediction's logs: at most a mebibyte, however much is printed.
#[derive(Debug)]
pub struct LogBudget {
    head_left: usize,
    tail: Tail,
}

impl Default for LogBudget {
    fn default() -> Self {
        Self { head_left: HEAD_BYTES_MAX, tail: Tail::new(TAIL_BYTES_MAX) }
    }
}

impl LogBudget {
    /// The part to pass on now; the rest is kept for [`LogBudget::rest`], or left out.
    pub fn spend<'a>(&mut self, text: &'a str) -> &'a str {
        let cut = text.floor_char_boundary(self.head_left);
        let (now, later) = text.split_at(cut);
        self.head_left -= cut;
        if !later.is_empty() {
            self.head_left = 0;
            self.tail.push(later);
        }
        now
    }

    /// What to pass on at the end.
    pub fn rest(&mut self) -> Option<String> {
        let tail = self.tail.text();
        match self.tail.left_out {
            0 if tail.is_empty() => None,
            0 => Some(tail),
            bytes => Some(format!("\n[{bytes} bytes of logs are left out here]\n{tail}")),
        }
    }
}

/// The last bytes of a text of any length.
#[derive(Debug)]
pub struct Tail {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    pub left_out: u64,
}

impl Tail {
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::new(), bytes_max, left_out: 0 }
    }

    pub fn push(&mut self, text: &str) {
        let skipped = text.len().saturating_sub(self.bytes_max);
        let kept = &text.as_bytes()[skipped..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..over);
        self.bytes.extend(kept);
        self.left_out += (skipped + over) as u64;
    }

    /// A character that the cut went through is left out.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().skip_while(|byte| self.left_out > 0 && byte & 0xc0 == 0x80).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_logs_pass_whole() {
        let mut budget = LogBudget::default();
        assert_eq!(budget.spend("one\n"), "one\n");
        assert_eq!(budget.rest(), None);
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end_and_says_what_is_missing() {
        let mut budget = LogBudget::default();
        let mut passed = 0;
        for n in 0..100_000 {
            passed += budget.spend(&format!("line {n:>1000}\n")).len();
        }
        let rest = budget.rest().unwrap();
        assert!(passed <= HEAD_BYTES_MAX && passed > HEAD_BYTES_MAX - 2_000);
        assert!(rest.starts_with("\n[99") && rest.len() < TAIL_BYTES_MAX + 100, "{}", &rest[..60]);
        assert!(rest.ends_with("99999\n"));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let mut tail = Tail::new(5);
        tail.push("ééé");
        assert_eq!(tail.text(), "éé");
        let mut budget = LogBudget { head_left: 3, tail: Tail::new(100) };
        assert_eq!(budget.spend("éé"), "é");
        assert_eq!(budget.rest().unwrap(), "é");
    }
}
