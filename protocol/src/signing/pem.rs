//! PEM: base64 between two lines that name what it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of a line, as every tool writes it; a key's id is the hash of this form.
const LINE_CHARS: usize = 64;

/// The first block with this label, whatever stands around it.
pub(super) fn decode(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()
}

pub(super) fn encode(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE_CHARS) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
