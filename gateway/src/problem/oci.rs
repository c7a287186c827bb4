//! The same problems in the shape that OCI clients read, and the challenge that tells them where to get a token.

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use protocol::{ModelRef, Problem};
use registry::{BlobError, OciError, PublishError, RegistryError, UploadError};
use serde_json::{Value, json};

use crate::Gateway;
use crate::origin::Origin;
use crate::problem::Refused;

const ROOT: &str = "/v2";
/// By which clients know that they speak with a registry.
const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
/// What tokens for registries are said to be for.
pub(crate) const SERVICE: &str = "feira";

/// What can be wrong: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>. The title of a problem is the
/// code's own words.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// A problem with one of the codes, as words.
fn problem(status: u16, words: &str, detail: impl Into<String>) -> Refused {
    Problem::new(status, words, detail).into()
}

pub(crate) fn unauthorized() -> Refused {
    problem(401, "Unauthorized", "Log in with an API token as the password: this needs one, or the repository does not exist")
}

pub(crate) fn name_unknown() -> Refused {
    problem(404, "Name unknown", "There is no such repository, or it is not yours to see")
}

pub(crate) fn name_invalid() -> Refused {
    problem(400, "Name invalid", "A repository is written owner/model, in lower case")
}

pub(crate) fn digest_invalid() -> Refused {
    problem(400, "Digest invalid", "A digest is written `sha256:` and 64 lower-case hexadecimal digits")
}

pub(crate) fn manifest_unknown() -> Refused {
    problem(404, "Manifest unknown", "The repository has no manifest of this tag or digest")
}

pub(crate) fn blob_unknown() -> Refused {
    problem(404, "Blob unknown", "The repository has no such blob")
}

pub(crate) fn upload_invalid(detail: &str) -> Refused {
    problem(400, "Blob upload invalid", detail)
}

/// A tag is moved, or ends with what it names: its history only grows.
pub(crate) fn tag_kept() -> Refused {
    problem(
        405,
        "Unsupported",
        "Tags are not deleted, for their history is kept: point it at another manifest, or delete the manifest by its digest",
    )
}

impl From<OciError> for Refused {
    fn from(error: OciError) -> Self {
        let detail = error.to_string();
        match error {
            OciError::RepositoryUnknown => name_unknown(),
            OciError::NotOwner => problem(403, "Denied", detail),
            OciError::ManifestUnknown => manifest_unknown(),
            OciError::ManifestInvalid { .. } => problem(400, "Manifest invalid", detail),
            OciError::WrongDigest { .. } => problem(400, "Digest invalid", detail),
            OciError::AbsentParts { .. } => problem(400, "Manifest blob unknown", detail),
            OciError::WrongSize { .. } => problem(400, "Size invalid", detail),
            OciError::BlobUnknown => blob_unknown(),
            OciError::BlobInUse => problem(405, "Unsupported", detail),
            OciError::Publish(error) => of_publishing(error),
            OciError::Upload(error) => of_upload(error),
            OciError::Registry(error) => of_registry(error),
        }
    }
}

fn of_publishing(error: PublishError) -> Refused {
    let detail = error.to_string();
    match error {
        PublishError::AbsentBlobs { .. } => problem(400, "Manifest blob unknown", detail),
        PublishError::WrongSize { .. } => problem(400, "Size invalid", detail),
        PublishError::Deleted => problem(403, "Denied", detail),
        PublishError::Registry(error) => of_registry(error),
        _ => problem(400, "Manifest invalid", detail),
    }
}

fn of_upload(error: UploadError) -> Refused {
    let detail = error.to_string();
    match error {
        UploadError::Unknown => problem(404, "Blob upload unknown", detail),
        UploadError::WrongOffset { .. } => problem(416, "Blob upload invalid", detail),
        UploadError::Busy => problem(409, "Blob upload invalid", detail),
        UploadError::TooLong { .. } | UploadError::Incomplete { .. } => problem(400, "Size invalid", detail),
        UploadError::WrongDigest { .. } => problem(400, "Digest invalid", detail),
        UploadError::TooLarge { .. } => problem(413, "Size invalid", detail),
        UploadError::Blob(error) => of_blob(error),
        UploadError::Registry(error) => of_registry(error),
        error => error.into(),
    }
}

fn of_blob(error: BlobError) -> Refused {
    let detail = error.to_string();
    match error {
        BlobError::WrongDigest { .. } => problem(400, "Digest invalid", detail),
        BlobError::TooLarge { .. } => problem(413, "Size invalid", detail),
        BlobError::Body(_) => upload_invalid("The body ended before it was whole; send it again"),
        error => error.into(),
    }
}

fn of_registry(error: RegistryError) -> Refused {
    match error {
        RegistryError::Blob(error) => of_blob(error),
        RegistryError::TooManyTags { .. } | RegistryError::TooManyModels { .. } | RegistryError::OverLimit(_) => {
            problem(403, "Denied", error.to_string())
        }
        error => error.into(),
    }
}

/// The code of a problem: its title if it is made for OCI clients, else what its status is to them.
fn code(problem: &Problem) -> &'static str {
    let words = problem.title.to_uppercase().replace(' ', "_");
    let own = CODES.into_iter().find(|code| *code == words);
    own.unwrap_or(match problem.status {
        400 | 404 => "NAME_INVALID",
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        405 => "UNSUPPORTED",
        413 | 416 => "SIZE_INVALID",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    })
}

fn body(problem: &Problem) -> Value {
    let detail = if problem.invalid_fields.is_empty() { Value::Null } else { json!(problem.invalid_fields) };
    json!({"errors": [{"code": code(problem), "message": problem.detail, "detail": detail}]})
}

/// Where to get a token, and for what (RFC 6750, 3).
fn challenge(base: &str, method: &Method, path: &str) -> String {
    let scope = scope(method, path).map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
    format!("Bearer realm=\"{base}{ROOT}/token\",service=\"{SERVICE}\"{scope}")
}

fn scope(method: &Method, path: &str) -> Option<String> {
    let mut parts = path.strip_prefix(ROOT)?.strip_prefix('/')?.split('/');
    let (owner, name) = (parts.next()?, parts.next()?);
    let repository = ModelRef::new(owner, name).ok()?;
    // Also of who only looks: some clients look first, and push with the pass that they have then. It holds no more than its token allows.
    let delete = if *method == Method::DELETE { ",delete" } else { "" };
    Some(format!("repository:{repository}:pull,push{delete}"))
}

/// Rewrites what went wrong below `/v2`, whoever refused it: a handler, a limit, or the router.
pub(crate) async fn in_ocis_words(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let is_ocis = request.uri().path().strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !is_ocis {
        return next.run(request).await;
    }
    let (mut parts, body_in) = request.into_parts();
    let Ok(origin) = Origin::from_request_parts(&mut parts, &gateway).await;
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let mut response = next.run(Request::from_parts(parts, body_in)).await;
    let (name, value) = API_VERSION;
    response.headers_mut().insert(name, value);
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };

    let told = serde_json::to_vec(&body(&problem)).expect("an error is plain data");
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if parts.status == StatusCode::UNAUTHORIZED {
        let challenge = challenge(origin.base(), &method, &path);
        let challenge = HeaderValue::from_str(&challenge).expect("an origin and a name are plain ASCII");
        parts.headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    Response::from_parts(parts, Body::from(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_the_repository_and_what_can_be_done_with_it() {
        let told = challenge("http://h", &Method::PUT, "/v2/ada/echo/manifests/v1");
        assert_eq!(told, "Bearer realm=\"http://h/v2/token\",service=\"feira\",scope=\"repository:ada/echo:pull,push\"");
        for path in ["/v2", "/v2/", "/v2/_catalog", "/v2/Ada/echo/tags/list", "/v2/a\"b/echo/tags/list"] {
            assert_eq!(challenge("http://h", &Method::GET, path), "Bearer realm=\"http://h/v2/token\",service=\"feira\"", "{path}");
        }
    }

    #[test]
    fn every_problem_has_a_code_that_clients_know() {
        for (problem, expected) in [
            (Problem::new(400, "Manifest blob unknown", "x"), "MANIFEST_BLOB_UNKNOWN"),
            (Problem::new(404, "Not found", "x"), "NAME_INVALID"),
            (Problem::new(401, "Unauthenticated", "x"), "UNAUTHORIZED"),
            (Problem::new(429, "Too many uploads", "x"), "TOOMANYREQUESTS"),
            (Problem::new(500, "Internal error", "x"), "UNKNOWN"),
        ] {
            assert_eq!(body(&problem), json!({"errors": [{"code": expected, "message": "x", "detail": null}]}));
        }
    }
}
