//! Finds payment card numbers in text that arrives one character at a time.
//!
//! A card number is 13 to 19 digits that begin with 2 to 6 and pass the Luhn check, written together or in groups with a
//! space, a no-break space or a hyphen between them. A group has at least four digits, but the last may be shorter; a card
//! begins and ends where a group does. One in ten numbers of that shape passes the check by chance and goes too.

/// What stands in the place of a number.
pub const REMOVED: &str = "[card number removed]";

/// ISO/IEC 7812: the shortest numbers in use, and the longest allowed.
const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// Shorter groups are lists, `1 2 3`, not cards.
const GROUP_DIGITS_MIN: usize = 4;

/// The most that is ever held: the digits, a separator after each, and the digit that is one too many.
pub const HELD_CHARS_MAX: usize = 2 * DIGITS_MAX + 1;

/// The state between two characters.
#[derive(Debug, Default)]
pub struct Cards {
    /// Groups of digits with one separator between them, and perhaps one at the end.
    held: Vec<char>,
    /// Inside a group that is too long to belong to a card: its digits go straight out.
    overlong: bool,
    /// Numbers taken out so far.
    pub removed: u64,
}

impl Cards {
    /// Takes the next character; what is settled by it goes out.
    pub fn push(&mut self, c: char, out: &mut impl FnMut(char)) {
        if c.is_ascii_digit() && self.overlong {
            out(c);
        } else if c.is_ascii_digit() {
            self.held.push(c);
            self.shed(out);
        } else if is_separator(c) && self.held.last().is_some_and(char::is_ascii_digit) {
            self.held.push(c);
        } else {
            self.finish(out);
            out(c);
        }
    }

    /// The run of digits has ended: everything held goes out.
    pub fn finish(&mut self, out: &mut impl FnMut(char)) {
        while !self.held.is_empty() {
            self.settle_first(self.held.len(), out);
        }
        self.overlong = false;
    }

    /// How many characters are held now.
    pub fn held_chars(&self) -> usize {
        self.held.len()
    }

    /// Lets go of what cannot be in a card together with the digit that just came.
    fn shed(&mut self, out: &mut impl FnMut(char)) {
        while count_digits(&self.held) > DIGITS_MAX {
            if let Some(last_separator) = self.held.iter().rposition(|&c| is_separator(c)) {
                self.settle_first(last_separator, out);
            } else {
                self.held.drain(..).for_each(&mut *out);
                self.overlong = true;
            }
        }
    }

    /// Sends the longest card that begins the held text and ends in `..complete`, or else the first group.
    fn settle_first(&mut self, complete: usize, out: &mut impl FnMut(char)) {
        let group_ends =
            (1..=complete).filter(|&end| self.held[end - 1].is_ascii_digit() && self.held.get(end).is_none_or(|&next| is_separator(next)));
        if let Some(end) = group_ends.rev().find(|&end| is_card(&self.held[..end])) {
            self.held.drain(..end);
            self.removed += 1;
            REMOVED.chars().for_each(&mut *out);
        } else {
            let end = self.held.iter().position(|&c| is_separator(c)).unwrap_or(self.held.len());
            self.held.drain(..end).for_each(&mut *out);
        }
        // A group starts with a digit: the separator goes out with what stood before it.
        if self.held.first().is_some_and(|&c| is_separator(c)) {
            out(self.held.remove(0));
        }
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '\u{a0}')
}

fn count_digits(text: &[char]) -> usize {
    text.iter().filter(|c| c.is_ascii_digit()).count()
}

fn is_card(text: &[char]) -> bool {
    matches!(text.first(), Some('2'..='6'))
        && (DIGITS_MIN..=DIGITS_MAX).contains(&count_digits(text))
        && groups_are_long_enough(text)
        && passes_luhn(text.iter().filter_map(|c| c.to_digit(10)))
}

fn groups_are_long_enough(text: &[char]) -> bool {
    text.rsplit(|&c| is_separator(c)).skip(1).all(|group| group.len() >= GROUP_DIGITS_MIN)
}

/// ISO/IEC 7812-1, annex B: from the right, every second digit doubled, the digits of all of it summed.
fn passes_luhn(digits: impl DoubleEndedIterator<Item = u32>) -> bool {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(text: &str) -> String {
        let mut cards = Cards::default();
        let mut out = String::new();
        for c in text.chars() {
            cards.push(c, &mut |c| out.push(c));
            assert!(cards.held_chars() <= HELD_CHARS_MAX);
        }
        cards.finish(&mut |c| out.push(c));
        out.replace(REMOVED, "#")
    }

    #[test]
    fn numbers_go_however_they_are_grouped() {
        for (text, expected) in [
            ("4111111111111111", "#"),
            ("pay 4111 1111 1111 1111 now", "pay # now"),
            ("5500-0055-5555-5559.", "#."),
            ("3782 822463 10005", "#"),
            ("4222222222222", "#"),
            ("4222 2222 2222 2", "#"),
            ("6304\u{a0}0000\u{a0}0000\u{a0}0000\u{a0}000", "#"),
            ("no. 17 4111 1111 1111 1111 12/30", "no. 17 # 12/30"),
            ("4111111111111111 5500005555555559", "# #"),
        ] {
            assert_eq!(filtered(text), expected, "{text}");
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "4111111111111112",
            "1111111111111117",
            "411111111111",
            "41111111111111110000000",
            "2026-11-24 04:41:09",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "4111  1111  1111  1111",
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        ] {
            assert_eq!(filtered(text), text);
        }
    }

    #[test]
    fn a_number_after_a_group_that_is_too_long_is_found() {
        let long = "9".repeat(50);
        assert_eq!(filtered(&format!("{long} 4111 1111 1111 1111")), format!("{long} #"));
    }
}
