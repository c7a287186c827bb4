//! A file's bytes behind a signed address: no token is needed, and none is taken.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use protocol::Problem;
use serde::Deserialize;

use crate::Gateway;
use crate::body::Parameters;
use crate::file_name::file_name;
use crate::problem::Refused;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Signed {
    owner: String,
    /// Seconds since the Unix epoch.
    expiry: String,
    /// Over `"{owner} {id} {expiry}"`.
    signature: String,
}

/// Download a file.
#[utoipa::path(get, path = "/files/{id}/download", tag = "files", security(()), params(("id" = String, Path), Signed),
    responses((status = 200, content_type = "*/*", body = Vec<u8>), (status = 206, content_type = "*/*", body = Vec<u8>), (status = 304),
              (status = 404, body = Problem), (status = 416, body = Problem)))]
pub(super) async fn download(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Parameters(signed): Parameters<Signed>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    send(&gateway, &id, &signed, &headers).await
}

/// Download a file by an address that ends like its name.
#[utoipa::path(get, path = "/files/{id}/download/{name}", tag = "files", security(()),
    params(("id" = String, Path), ("name" = String, Path), Signed),
    responses((status = 200, content_type = "*/*", body = Vec<u8>), (status = 206, content_type = "*/*", body = Vec<u8>), (status = 304),
              (status = 404, body = Problem), (status = 416, body = Problem)))]
pub(super) async fn download_named(
    State(gateway): State<Gateway>,
    Path((id, _name)): Path<(String, String)>,
    Parameters(signed): Parameters<Signed>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    send(&gateway, &id, &signed, &headers).await
}

async fn send(gateway: &Gateway, id: &str, signed: &Signed, asked: &HeaderMap) -> Result<Response, Refused> {
    // A signature that is missing or wrong tells no more than an unknown id does.
    let not_found = || Refused::not_found("file");
    let expiry = signed.expiry.parse().map_err(|_| not_found())?;
    if !gateway.keys().file_is_signed(&signed.owner, id, expiry, &signed.signature) {
        return Err(not_found());
    }
    let file = gateway.registry().find_file(id).await?.ok_or_else(not_found)?;
    let etag = format!("\"{}\"", file.digest.hex());
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let blobs = gateway.registry().blobs();
    let mut response = if text(header::IF_NONE_MATCH).is_some_and(|known| known.contains(&etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match text(header::RANGE).map_or(Part::Whole, |range| part(range, file.size)) {
            Part::Whole => {
                let blob = blobs.get(&file.digest).await?.ok_or_else(not_found)?;
                let mut response = Body::from_stream(blob.bytes).into_response();
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
                response
            }
            Part::Of(range) => {
                let told = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
                let blob = blobs.get_range(&file.digest, range.clone()).await?.ok_or_else(not_found)?;
                let mut response = (StatusCode::PARTIAL_CONTENT, Body::from_stream(blob.bytes)).into_response();
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
                insert(&mut response, header::CONTENT_RANGE, &told);
                response
            }
            Part::Outside => {
                let detail = format!("The file has {} bytes; ask for some of them", file.size);
                let mut response = Refused::from(Problem::new(416, "Range not satisfiable", detail)).into_response();
                insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", file.size));
                return Ok(response);
            }
        }
    };
    insert(&mut response, header::CONTENT_TYPE, &file.content_type);
    insert(&mut response, header::CONTENT_DISPOSITION, &disposition(&file.name));
    insert(&mut response, header::ETAG, &etag);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A model's own HTML or SVG must not run with this origin's rights.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600, immutable"));
    Ok(response)
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("names are encoded and types were checked when the file was made");
    response.headers_mut().insert(name, value);
}

/// Which bytes a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
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

/// Shown in place, saved under its name (RFC 6266).
fn disposition(name: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("inline; filename=\"{}\"; filename*=UTF-8''{}", file_name(name), encoded.replace('+', "%20"))
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
    fn a_name_stands_in_the_header_in_both_spellings() {
        assert_eq!(disposition("a b\u{e9}.png"), "inline; filename=\"a_b_.png\"; filename*=UTF-8''a%20b%C3%A9.png");
    }
}
