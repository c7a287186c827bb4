//! Finds e-mail addresses in text that arrives one character at a time.
//!
//! An address is what people write: up to 64 letters, digits or `._%+-`, an `@`, and a domain of at least two labels whose
//! last begins with two letters. Quoted local parts and addresses at bare IP numbers are not recognised.

use std::collections::VecDeque;

/// What stands in the place of an address. It must not itself contain a digit or an `@`.
pub const REMOVED: &str = "[e-mail removed]";

/// The longest local part, in characters: RFC 5321, section 4.5.3.1.1.
const LOCAL_CHARS_MAX: usize = 64;
/// The longest domain, in characters: RFC 5321, section 4.5.3.1.2.
const DOMAIN_CHARS_MAX: usize = 255;

/// The most that is ever held: a local part, the `@`, a domain.
pub const HELD_CHARS_MAX: usize = LOCAL_CHARS_MAX + 1 + DOMAIN_CHARS_MAX;

/// The state between two characters.
#[derive(Debug, Default)]
pub struct Emails {
    /// What may be the local part of an address.
    local: VecDeque<char>,
    /// What follows the `@`, once there was one.
    domain: Option<Vec<char>>,
    /// Addresses taken out so far.
    pub removed: u64,
}

impl Emails {
    /// Takes the next character; what is settled by it goes out.
    pub fn push(&mut self, c: char, out: &mut impl FnMut(char)) {
        match &mut self.domain {
            Some(domain) if is_domain(c) && domain.len() < DOMAIN_CHARS_MAX => domain.push(c),
            Some(_) => {
                self.settle(out);
                self.push_local(c, out);
            }
            None => self.push_local(c, out),
        }
    }

    /// The text has ended: everything held goes out.
    pub fn finish(&mut self, out: &mut impl FnMut(char)) {
        self.settle(out);
        self.local.drain(..).for_each(out);
    }

    /// How many characters are held now.
    pub fn held_chars(&self) -> usize {
        self.local.len() + self.domain.as_ref().map_or(0, |domain| 1 + domain.len())
    }

    fn push_local(&mut self, c: char, out: &mut impl FnMut(char)) {
        if is_local(c) {
            self.local.push_back(c);
            if self.local.len() > LOCAL_CHARS_MAX
                && let Some(first) = self.local.pop_front()
            {
                out(first);
            }
        } else if c == '@' && !self.local.is_empty() {
            self.domain = Some(Vec::new());
        } else {
            self.local.drain(..).for_each(&mut *out);
            out(c);
        }
    }

    /// The domain has ended: it was an address, or only looked like the beginning of one.
    fn settle(&mut self, out: &mut impl FnMut(char)) {
        let Some(domain) = self.domain.take() else { return };
        let domain_end = domain_end(&domain);
        if domain_end > 0 {
            self.local.clear();
            self.removed += 1;
            REMOVED.chars().for_each(&mut *out);
        } else {
            self.local.drain(..).for_each(&mut *out);
            out('@');
        }
        // What is left may be the local part of the next address, as in `a@b@example.com`.
        for &c in &domain[domain_end..] {
            self.push_local(c, out);
        }
    }
}

/// Where the longest domain at the start ends; 0 when there is none.
fn domain_end(domain: &[char]) -> usize {
    let mut end = 0;
    let mut label_start = 0;
    for (index, label) in domain.split(|&c| c == '.').enumerate() {
        if label.is_empty() {
            break;
        }
        let letters = label.iter().take_while(|c| c.is_alphabetic()).count();
        if index > 0 && letters >= 2 {
            // A label of an internationalised top level, `xn--p1ai`, is taken whole.
            let taken = if label.starts_with(&['x', 'n', '-', '-']) { label.len() } else { letters };
            end = label_start + taken;
        }
        label_start += label.len() + 1;
    }
    end
}

fn is_local(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-')
}

fn is_domain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(text: &str) -> String {
        let mut emails = Emails::default();
        let mut out = String::new();
        for c in text.chars() {
            emails.push(c, &mut |c| out.push(c));
        }
        emails.finish(&mut |c| out.push(c));
        out.replace(REMOVED, "#")
    }

    #[test]
    fn addresses_go_and_the_text_around_them_stays() {
        for (text, expected) in [
            ("write to ada@example.com.", "write to #."),
            ("<ada.l+tag@mail.example.co.uk>, please", "<#>, please"),
            ("jörg@bücher.de und x", "# und x"),
            ("a@b.рф", "#"),
            ("mail:ada@example.xn--p1ai!", "mail:#!"),
            ("ada@example.com-or not", "#-or not"),
            ("ada@example.com.42", "#.42"),
        ] {
            assert_eq!(filtered(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in ["", "@", "a@", "@b.com", "a@b", "a@b.c", "a@@b.com", "user@localhost:80", "3@4.5", "a@.com", "a@b..com"] {
            assert_eq!(filtered(text), text);
        }
    }

    #[test]
    fn the_domain_of_a_failed_match_may_begin_the_next() {
        assert_eq!(filtered("a@b@example.com"), "a@#");
    }

    #[test]
    fn a_long_run_is_held_only_as_far_as_a_match_reaches() {
        let mut emails = Emails::default();
        let mut out = String::new();
        for c in "x".repeat(1_000).chars() {
            emails.push(c, &mut |c| out.push(c));
            assert!(emails.held_chars() <= LOCAL_CHARS_MAX);
        }
        assert_eq!(filtered(&format!("{}@example.com", "x".repeat(1_000))), format!("{}#", "x".repeat(1_000 - 64)));
        assert_eq!(filtered(&format!("a@{}", "b".repeat(1_000))), format!("a@{}", "b".repeat(1_000)));
    }
}
