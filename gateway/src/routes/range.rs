//! Sends a blob, the one range of it that the request asks for, or word that the client has it (RFC 9110, 13.1 and 14).

use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use protocol::{Digest, Problem};
use registry::Blobs;

use crate::problem::Refused;

/// The answer has its length and its tag, and says that ranges can be asked for; what the bytes are is the caller's to say.
pub(super) async fn send_blob(blobs: &Blobs, digest: &Digest, size: u64, asked: &HeaderMap) -> Result<Response, Refused> {
    let not_found = || Refused::not_found("blob");
    // What never changes needs no weaker tag than its hash.
    let etag = format!("\"{}\"", digest.hex());
    let mut response = match asked_part(asked, &etag, size) {
        Part::None => StatusCode::NOT_MODIFIED.into_response(),
        Part::Whole => {
            let blob = blobs.get(digest).await?.ok_or_else(not_found)?;
            let mut response = Body::from_stream(blob.bytes).into_response();
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
            response
        }
        Part::Of(range) => {
            let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let blob = blobs.get_range(digest, range.clone()).await?.ok_or_else(not_found)?;
            let mut response = (StatusCode::PARTIAL_CONTENT, Body::from_stream(blob.bytes)).into_response();
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            tell(&mut response, header::CONTENT_RANGE, &told);
            response
        }
        Part::Outside => {
            let detail = format!("The file has {size} bytes; ask for some of them");
            let mut response = Refused::from(Problem::new(416, "Range not satisfiable", detail)).into_response();
            tell(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    tell(&mut response, header::ETAG, &etag);
    tell(&mut response, header::ACCEPT_RANGES, "bytes");
    Ok(response)
}

fn tell(response: &mut Response, name: HeaderName, told: &str) {
    response.headers_mut().insert(name, HeaderValue::from_str(told).expect("numbers and digests are plain ASCII"));
}

/// A range of what the client had before is none when it had something else, or only knows since when.
fn asked_part(asked: &HeaderMap, etag: &str, size: u64) -> Part {
    let text = |name| asked.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    if text(header::IF_NONE_MATCH).is_some_and(|known| known.contains(etag)) {
        return Part::None;
    }
    let is_same = text(header::IF_RANGE).is_none_or(|known| known == etag);
    text(header::RANGE).filter(|_| is_same).map_or(Part::Whole, |range| part(range, size))
}

/// Which bytes a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// The client has it already.
    None,
    /// Also for what we do not understand, and for several ranges at once: a server may ignore the header.
    Whole,
    Of(Range<u64>),
    Outside,
}

/// Reads one range of bytes: `bytes=a-b`, `bytes=a-` or `bytes=-n` (RFC 9110, 14.2).
fn part(range: &str, size: u64) -> Part {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else { return Part::Whole };
    let (start, end) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(start), Ok(last)) if start <= last => (start, last.saturating_add(1).min(size)),
        (Ok(start), Err(_)) if last.trim().is_empty() => (start, size),
        (Err(_), Ok(count)) if first.trim().is_empty() => (size.saturating_sub(count), size),
        _ => return Part::Whole,
    };
    if start < end { Part::Of(start..end) } else { Part::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_what_is_none_gives_the_whole() {
        assert_eq!(part("bytes=0-3", 10), Part::Of(0..4));
        assert_eq!(part("bytes=4-", 10), Part::Of(4..10));
        assert_eq!(part("bytes=-3", 10), Part::Of(7..10));
        assert_eq!(part("bytes=5-99999999999999999999", 10), Part::Whole);
        assert_eq!(part("bytes=5-99", 10), Part::Of(5..10));
        assert_eq!(part("bytes=10-", 10), Part::Outside);
        assert_eq!(part("bytes=-0", 10), Part::Outside);
        for odd in ["", "bytes", "items=0-1", "bytes=3-1", "bytes=0-1,3-4", "bytes=a-b"] {
            assert_eq!(part(odd, 10), Part::Whole, "{odd}");
        }
    }

    #[test]
    fn who_has_it_already_is_sent_nothing() {
        let ask = |known: &'static str| {
            let asked = [(header::RANGE, "bytes=4-"), (header::IF_NONE_MATCH, known)];
            asked_part(&HeaderMap::from_iter(asked.map(|(name, value)| (name, HeaderValue::from_static(value)))), "\"tag\"", 10)
        };
        assert_eq!(ask("\"other\", \"tag\""), Part::None);
        assert_eq!(ask("\"other\""), Part::Of(4..10));
    }

    #[test]
    fn a_range_of_something_else_is_the_whole() {
        let ask = |known: Option<&str>| {
            let mut asked = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=4-"))]);
            asked.extend(known.map(|known| (header::IF_RANGE, known.parse().unwrap())));
            asked_part(&asked, "\"tag\"", 10)
        };
        assert_eq!(ask(None), Part::Of(4..10));
        assert_eq!(ask(Some("\"tag\"")), Part::Of(4..10));
        for other in ["\"other\"", "W/\"tag\"", "tag", "Tue, 24 Nov 2026 10:00:00 GMT"] {
            assert_eq!(ask(Some(other)), Part::Whole, "{other}");
        }
    }
}
