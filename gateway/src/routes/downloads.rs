//! A file's bytes behind a signed address: no token is needed, and none is taken.

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use protocol::Problem;
use serde::Deserialize;

use crate::Gateway;
use crate::body::Parameters;
use crate::file_name::file_name;
use crate::problem::Refused;
use crate::routes::range::send_blob;

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
    let mut response = send_blob(gateway.registry().blobs(), &file.digest, file.size, asked).await?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(response);
    }
    insert(&mut response, header::CONTENT_TYPE, &file.content_type);
    insert(&mut response, header::CONTENT_DISPOSITION, &disposition(&file.name));
    let headers = response.headers_mut();
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

/// Shown in place, saved under its name (RFC 6266).
fn disposition(name: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("inline; filename=\"{}\"; filename*=UTF-8''{}", file_name(name), encoded.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_the_header_in_both_spellings() {
        assert_eq!(disposition("a b\u{e9}.png"), "inline; filename=\"a_b_.png\"; filename*=UTF-8''a%20b%C3%A9.png");
    }
}
