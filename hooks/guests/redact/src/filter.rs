//! The two filters, one behind the other: addresses first, because a number may stand in one.

use crate::card::{self, Cards};
use crate::config::Config;
use crate::email::{self, Emails};

/// The most that a filter ever holds back, in characters.
pub const HELD_CHARS_MAX: usize = email::HELD_CHARS_MAX + card::HELD_CHARS_MAX;

/// What a filter took out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// E-mail addresses.
    pub emails: u64,
    /// Card numbers.
    pub cards: u64,
}

/// Filters one text that arrives in pieces.
#[derive(Debug)]
pub struct Filter {
    emails: Option<Emails>,
    cards: Option<Cards>,
}

impl Filter {
    /// A filter at the beginning of a text.
    pub fn new(config: Config) -> Self {
        Self { emails: config.emails.then(Emails::default), cards: config.cards.then(Cards::default) }
    }

    /// Takes the next piece and returns what is settled by it: perhaps nothing, perhaps text of earlier pieces.
    pub fn push(&mut self, piece: &str) -> String {
        let mut out = String::with_capacity(piece.len());
        let cards = &mut self.cards;
        let mut to_cards = |c| push_card(cards, c, &mut out);
        match &mut self.emails {
            Some(emails) => piece.chars().for_each(|c| emails.push(c, &mut to_cards)),
            None => piece.chars().for_each(to_cards),
        }
        out
    }

    /// The text has ended; returns what was still held. The next text may follow.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        let cards = &mut self.cards;
        if let Some(emails) = &mut self.emails {
            emails.finish(&mut |c| push_card(cards, c, &mut out));
        }
        if let Some(cards) = cards {
            cards.finish(&mut |c| out.push(c));
        }
        out
    }

    /// How many characters are held now; at most [`HELD_CHARS_MAX`].
    pub fn held_chars(&self) -> usize {
        self.emails.as_ref().map_or(0, Emails::held_chars) + self.cards.as_ref().map_or(0, Cards::held_chars)
    }

    /// What was taken out so far.
    pub fn counts(&self) -> Counts {
        Counts {
            emails: self.emails.as_ref().map_or(0, |emails| emails.removed),
            cards: self.cards.as_ref().map_or(0, |cards| cards.removed),
        }
    }
}

fn push_card(cards: &mut Option<Cards>, c: char, out: &mut String) {
    match cards {
        Some(cards) => cards.push(c, &mut |c| out.push(c)),
        None => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERYTHING: Config = Config { emails: true, cards: true };

    fn whole(text: &str) -> String {
        let mut filter = Filter::new(EVERYTHING);
        filter.push(text) + &filter.finish()
    }

    fn in_pieces(text: &str, cuts: &[usize]) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (chars.len() + 1)).collect();
        cuts.extend([0, chars.len()]);
        cuts.sort_unstable();
        let mut filter = Filter::new(EVERYTHING);
        let mut out = String::new();
        for piece in cuts.windows(2) {
            out += &filter.push(&chars[piece[0]..piece[1]].iter().collect::<String>());
            assert!(filter.held_chars() <= HELD_CHARS_MAX);
        }
        out + &filter.finish()
    }

    #[test]
    fn an_address_split_over_two_tokens_never_leaves() {
        let mut filter = Filter::new(EVERYTHING);
        assert_eq!(filter.push("Write to ada@exa"), "Write to ");
        assert_eq!(filter.push("mple.com or"), "[e-mail removed] ");
        assert_eq!(filter.push(" call."), "or ");
        assert_eq!(filter.finish(), "call.");
        assert_eq!(filter.counts(), Counts { emails: 1, cards: 0 });
    }

    #[test]
    fn a_card_number_split_over_tokens_never_leaves() {
        let mut filter = Filter::new(EVERYTHING);
        let out: String = ["card 41", "11 11", "11 1111", " 111", "1, ok"].into_iter().map(|t| filter.push(t)).collect();
        assert_eq!(out + &filter.finish(), "card [card number removed], ok");
    }

    #[test]
    fn what_is_switched_off_stays() {
        let mut filter = Filter::new(Config { emails: false, cards: true });
        assert_eq!(filter.push("a@example.com 4111111111111111;"), "a@example.com [card number removed];");
        let mut filter = Filter::new(Config { emails: true, cards: false });
        assert_eq!(filter.push("a@example.com 4111111111111111;"), "[e-mail removed] 4111111111111111;");
    }

    /// Text that is dense in beginnings of addresses and numbers.
    fn near_matches() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-z.@ -]{0,12}",
            "[0-9 -]{0,24}",
            Just("ada@example.com".to_owned()),
            Just("4111 1111 1111 1111".to_owned()),
            Just("4111111111111111".to_owned()),
            "[x.]{60,70}@[y.]{250,260}",
            any::<String>(),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn where_a_stream_is_cut_makes_no_difference(
            text in near_matches(),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            prop_assert_eq!(in_pieces(&text, &cuts), whole(&text));
        }

        #[test]
        fn every_address_and_number_among_words_goes_and_every_word_stays(
            words in prop::collection::vec(prop_oneof![
                "[a-z]{1,9}[,.!]?".prop_map(|word| (word.clone(), word)),
                "[a-z0-9._+]{1,20}@([a-z0-9]{1,9}\\.){1,3}[a-z]{2,6}".prop_map(|word| (word, email::REMOVED.to_owned())),
                card_number().prop_map(|word| (word, card::REMOVED.to_owned())),
            ], 0..12),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let join = |parts: Vec<&str>| parts.join("; ");
            let text = join(words.iter().map(|(word, _)| word.as_str()).collect());
            let expected = join(words.iter().map(|(_, expected)| expected.as_str()).collect());
            prop_assert_eq!(in_pieces(&text, &cuts), expected);
        }
    }

    /// A number of a right length whose last digit makes the Luhn sum right, in groups of four.
    fn card_number() -> impl Strategy<Value = String> {
        ("[2-6][0-9]{11,17}", prop_oneof![Just(""), Just(" "), Just("-")]).prop_map(|(digits, separator)| {
            let sum: u32 = digits
                .chars()
                .rev()
                .enumerate()
                .map(|(place, c)| {
                    let digit = c.to_digit(10).expect("the pattern has digits only");
                    if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
                })
                .sum();
            let digits: Vec<char> = format!("{digits}{}", (10 - sum % 10) % 10).chars().collect();
            digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(separator)
        })
    }
}
