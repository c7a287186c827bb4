//! The cookie that keeps a session: readable by the server only, and not sent along with other sites' posts.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use protocol::Timestamp;

const NAME: &str = "feira_session";

/// The session of a request, if it brings one.
pub(crate) fn read(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split("; "))
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| *name == NAME && !value.is_empty())
        .map(|(_, value)| value)
}

/// Keeps `session` until it ends; `None` when it could not stand in a header.
pub(crate) fn keep(session: &str, seconds: u64, base: &str) -> Option<HeaderValue> {
    let plain = session.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=~+/".contains(&b));
    let cookie = format!("{NAME}={session}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{}", secure(base));
    if plain { cookie.parse().ok() } else { None }
}

/// Forgets the session.
pub(crate) fn forget(base: &str) -> HeaderValue {
    format!("{NAME}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{}", secure(base)).parse().expect("only plain characters")
}

fn secure(base: &str) -> &'static str {
    if base.starts_with("https://") { "; Secure" } else { "" }
}

/// How long a session that ends at `end` still lasts, in seconds.
pub(crate) fn seconds_left(now: Timestamp, end: Timestamp) -> u64 {
    end.micros_since(now) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_from_among_other_cookies() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=1; feira_session=x.y-z; b=2"));
        assert_eq!(read(&headers), Some("x.y-z"));
        headers.insert(COOKIE, HeaderValue::from_static("a=1; feira_session="));
        assert_eq!(read(&headers), None);
    }

    #[test]
    fn a_session_cannot_write_another_cookie() {
        assert_eq!(keep("x; Domain=evil.example", 60, "http://localhost"), None);
        assert!(keep("x.y", 60, "https://feira.example").is_some_and(|cookie| cookie.to_str().unwrap().ends_with("; Secure")));
    }
}
