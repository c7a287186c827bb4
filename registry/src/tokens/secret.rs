//! The text of a token: `fe_`, 34 random base62 characters, and six that check them, so that a typo or a leak is recognised offline.

use protocol::{Digest, Entropy};

const PREFIX: &str = "fe_";
/// 34 of 62: 202 bits.
const RANDOM_CHARS: usize = 34;
/// Six base62 digits hold 32 bits.
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(super) fn new(entropy: &Entropy) -> String {
    let mut text = PREFIX.to_owned();
    while text.len() < PREFIX.len() + RANDOM_CHARS {
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first characters.
        let digits = entropy.bytes::<64>().into_iter().filter(|byte| *byte < 248).map(|byte| base62_digit(u32::from(byte)));
        text.extend(digits.take(PREFIX.len() + RANDOM_CHARS - text.len()));
    }
    let check = check_of(&text);
    text + &check
}

/// Tells whether a text has the form and the checksum of a token. Says nothing about whether the token exists.
pub fn looks_like_a_token(text: &str) -> bool {
    let Some(split) = text.len().checked_sub(CHECK_CHARS) else {
        return false;
    };
    text.starts_with(PREFIX)
        && text.len() == PREFIX.len() + RANDOM_CHARS + CHECK_CHARS
        && text[PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric())
        && check_of(&text[..split]) == text[split..]
}

/// The first 32 bits of the SHA-256 as six base62 digits.
fn check_of(text: &str) -> String {
    let digest = Digest::of(text.as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    let mut rest = u32::from_be_bytes([a, b, c, d]);
    let mut digits = [(); CHECK_CHARS].map(|()| {
        let digit = base62_digit(rest);
        rest /= 62;
        digit
    });
    digits.reverse();
    digits.iter().collect()
}

fn base62_digit(value: u32) -> char {
    char::from(BASE62[value as usize % 62])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_has_the_promised_form() {
        let token = new(&Entropy::seeded(1));
        assert_eq!(token.len(), "fe_".len() + 40);
        assert!(looks_like_a_token(&token));
        assert_ne!(token, new(&Entropy::seeded(2)));
    }

    #[test]
    fn what_is_no_token_is_told_without_a_database() {
        let token = new(&Entropy::seeded(1));
        for bad in [
            "",
            "fe_",
            "r8_1234",
            &token[1..],
            &format!("{token}0"),
            &token.replace("fe_", "fx_"),
            &"é".repeat(21),
            "fe_日本語日本語日本語日本語x",
        ] {
            assert!(!looks_like_a_token(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_always_noticed(seed in any::<u64>(), at in 0_usize..43, with in "[0-9A-Za-z]") {
            let token = new(&Entropy::seeded(seed));
            let mut typo = token.clone();
            typo.replace_range(at..=at, &with);
            prop_assert_eq!(looks_like_a_token(&typo), typo == token);
        }
    }
}
