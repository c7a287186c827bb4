//! The one place where errors become answers: `application/problem+json`. What the caller may know goes into `detail`, the rest to the log.

pub(crate) mod oci;
pub(crate) mod openai;

use axum::response::{IntoResponse, Response};
use billing::LedgerError;
use http::{HeaderValue, StatusCode, header};
use protocol::Problem;
use protocol::problem::{InvalidField, MEDIA_TYPE};
use registry::{BadScale, BlobError, PublishError, RegistryError, SignatureError, UploadError};
use store::StoreError;

use crate::prediction::Refusal;

/// A problem on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = problem.retry_after;
        let mut response = (status, axum::Json(&problem)).into_response();
        // For those who tell it in other words.
        response.extensions_mut().insert(problem);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Refused {
    pub fn unauthenticated() -> Self {
        Problem::new(401, "Unauthenticated", "You did not pass a valid authentication token").into()
    }

    pub fn forbidden(scope: &str) -> Self {
        Problem::new(403, "Forbidden", format!("This token lacks the scope `{scope}`; make one that has it")).into()
    }

    /// An unknown thing and somebody else's private thing read the same.
    pub fn not_found(what: &str) -> Self {
        Problem::new(404, "Not found", format!("The requested {what} could not be found")).into()
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(400, "Bad request", detail).into()
    }

    pub fn invalid(field: InvalidField) -> Self {
        Problem::invalid("Input validation failed", vec![field]).into()
    }
}

/// What a caller is told of a failure of ours; the cause is in the log.
fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    let causes: Vec<String> = std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string).collect();
    tracing::error!(%error, causes = causes.join(": "), "a request failed on our side");
    Problem::new(500, "Internal error", "Something failed on our side; nothing was charged. Try again, and tell the operator if it stays")
}

fn unavailable(detail: &str) -> Problem {
    Problem { retry_after: Some(1), ..Problem::new(503, "Unavailable", detail) }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(match error {
            StoreError::Closed => unavailable("The server is stopping; try again in a moment"),
            other => internal(&other),
        })
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => error.into(),
            other => Problem::new(422, "Not possible", other.to_string()).into(),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(match refusal {
            Refusal::UnknownVersion => Problem::new(
                422,
                "Invalid version or not permitted",
                "The specified version does not exist (or perhaps you don't have permission to use it?)",
            ),
            // Not 409: a released client takes that for something to try again.
            Refusal::DeploymentOff { deployment } => Problem::new(
                422,
                "Deployment is off",
                format!(
                    "The deployment {deployment} runs nothing: its max_instances is 0. Set it to 1 or more with PATCH /v1/deployments/{deployment}, then try again"
                ),
            ),
            Refusal::NoDriver { driver } => Problem::new(
                422,
                "No runner can start it",
                format!(
                    "This version needs a runner with the driver `{}`, and none has it; ask the operator for one, or publish the project with `feira push`, which needs none",
                    driver.name()
                ),
            ),
            Refusal::Unsigned { deployment } => Problem::new(
                422,
                "Signature required",
                format!(
                    "The deployment {deployment} requires a signature, and its version has no valid signature of its publisher: the key was \
                     revoked. Release a version that is signed, with PATCH /v1/deployments/{deployment}"
                ),
            ),
            Refusal::NotTrainable => Problem::new(
                422,
                "Version cannot be trained",
                "The specified version has no train function; choose a version whose project names one in cog.yaml",
            ),
            Refusal::InvalidInput(fields) => Problem::invalid("Input validation failed", fields),
            Refusal::HookRefused { code, message, .. } => Problem::new(403, "Refused", format!("{message} ({code})")),
            Refusal::HookFailed { hook, source } => {
                let detail = format!("The model's own hook `{hook}` failed: {source}. Nothing was charged; its publisher can mend it");
                Problem::new(502, "Hook failed", detail)
            }
            Refusal::HookBusy => unavailable("Every sandbox for hooks is in use; try again"),
            unavailable @ Refusal::HookUnavailable { .. } => internal(&unavailable),
            Refusal::InsufficientCredit { available, needed } => Problem::new(
                402,
                "Insufficient credit",
                format!(
                    "You have insufficient credit to run this model: the run may cost up to ${needed}, and ${available} is available. \
                     Ask the operator for credit (`feira credit grant ACCOUNT AMOUNT`), then try again"
                ),
            ),
            Refusal::KeyReused => Problem::new(
                409,
                "Idempotency key reused",
                "This Idempotency-Key is in use by another request; send the same body, or a new key",
            ),
            Refusal::Draining => unavailable("The server is stopping; try again in a moment"),
            Refusal::Registry(error) => return error.into(),
            Refusal::Store(error) => return error.into(),
        })
    }
}

impl From<BlobError> for Refused {
    fn from(error: BlobError) -> Self {
        Self(match error {
            BlobError::TooLarge { bytes_max } => too_large(bytes_max),
            BlobError::WrongDigest { .. } => Problem::new(422, "Wrong digest", error.to_string()),
            BlobError::Body(_) => Problem::new(400, "Incomplete", "The body ended before it was whole; send it again"),
            other => internal(&other),
        })
    }
}

fn too_large(bytes_max: u64) -> Problem {
    Problem::new(413, "Too large", format!("Files must be less than {}MB in size", bytes_max / 1_048_576))
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        Self(match error {
            UploadError::Unknown => return Self::not_found("upload"),
            UploadError::WrongOffset { .. } | UploadError::Busy => Problem::new(409, "Conflict", detail),
            UploadError::TooLarge { bytes_max } => too_large(bytes_max),
            UploadError::TooLong { .. } | UploadError::Incomplete { .. } | UploadError::WrongDigest { .. } => {
                Problem::new(422, "Wrong bytes", detail)
            }
            UploadError::TooMany { .. } => Problem { retry_after: Some(60), ..Problem::new(429, "Too many uploads", detail) },
            UploadError::Body(_) => Problem::new(400, "Broken off", detail),
            UploadError::Blob(error) => return error.into(),
            UploadError::Registry(error) => return error.into(),
            other @ UploadError::Spool(_) => internal(&other),
        })
    }
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        Self(match error {
            RegistryError::BadName(_) | RegistryError::BadField { .. } | RegistryError::BadKey(_) => Problem::new(422, "Invalid", detail),
            RegistryError::NameTaken { .. }
            | RegistryError::ModelTaken { .. }
            | RegistryError::ModelInUse
            | RegistryError::KeyRevoked { .. }
            | RegistryError::DeploymentTaken { .. } => Problem::new(409, "Conflict", detail),
            RegistryError::ModelUnknown => return Self::not_found("model"),
            RegistryError::VersionUnknown => return Self::not_found("version"),
            RegistryError::NothingEarlier => Problem::new(
                409,
                "Nothing earlier",
                "Before the version that latest points at there is none that is still there; name the one you want, or publish one that mends it",
            ),
            RegistryError::ModelMoved { .. } => Problem::new(409, "Moved", detail),
            RegistryError::AccountUnknown => return Self::not_found("account"),
            RegistryError::OfferUnknown => Problem::new(404, "Not found", detail),
            RegistryError::OverLimit(_) => Problem::new(413, "Storage limit reached", detail),
            RegistryError::BlobCollected => unavailable(&detail),
            RegistryError::DeploymentUnknown => return Self::not_found("deployment"),
            RegistryError::DeploymentChanged => {
                Problem::new(409, "Conflict", "The deployment was changed at the same moment; look at it, and change it again")
            }
            RegistryError::BadScale(bad) => Problem::invalid("Input validation failed", vec![invalid_scale(bad)]),
            RegistryError::NotOwner => Problem::new(403, "Forbidden", detail),
            RegistryError::Unsigned { .. } => {
                let why = format!("{detail}; `feira sign` makes one, and POST /v1/models/…/versions/…/signatures takes it");
                Problem::invalid("Input validation failed", vec![InvalidField::new("unsigned", "version", why)])
            }
            RegistryError::TooManyKeys { .. }
            | RegistryError::TooManyModels { .. }
            | RegistryError::TooManyTags { .. }
            | RegistryError::TooManyTokens { .. }
            | RegistryError::TooManyDeployments { .. } => Problem::new(422, "Limit reached", detail),
            RegistryError::BadCursor => Problem::new(400, "Bad cursor", "The cursor is not one of ours; start at the first page"),
            RegistryError::Store(error) => return error.into(),
            RegistryError::Blob(error) => return error.into(),
            other @ (RegistryError::Corrupt { .. } | RegistryError::CompilerNotStarted(_)) => internal(&other),
        })
    }
}

/// The field of a deployment's scale that is wrong.
fn invalid_scale(bad: BadScale) -> InvalidField {
    let field = match bad {
        BadScale::MinTooLarge | BadScale::MinAboveMax => "min_instances",
        BadScale::MaxTooLarge => "max_instances",
        BadScale::BufferTooLarge => "buffer_instances",
        BadScale::IdleTooLong => "idle_seconds",
    };
    InvalidField::new("number_lte", field, bad.to_string())
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::ModelUnknown => Self::not_found("model"),
            PublishError::Registry(error) => error.into(),
            PublishError::NotOwner => Problem::new(403, "Forbidden", "Only the model's owner publishes versions of it").into(),
            other => Problem::new(422, "Version refused", other.to_string()).into(),
        }
    }
}

impl From<SignatureError> for Refused {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::VersionUnknown => Self::not_found("version"),
            SignatureError::Registry(error) => error.into(),
            other => Problem::new(422, "Signature refused", other.to_string()).into(),
        }
    }
}

/// Answers a route that does not exist.
pub(crate) async fn unknown_route() -> Refused {
    Problem::new(404, "Not found", "There is no such route; /openapi.json lists those there are").into()
}

/// Answers a method that a route does not have; axum adds `Allow`.
pub(crate) async fn wrong_method() -> Refused {
    Problem::new(405, "Method not allowed", "This route has other methods; the Allow header names them").into()
}

/// Tells a refusal that an extractor or the router made, in plain text, as every other.
pub(crate) async fn told_as_problem(response: Response) -> Response {
    let status = response.status();
    let is_plain = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let title = status.canonical_reason().unwrap_or("Refused");
    let detail = match status {
        StatusCode::BAD_REQUEST => "The request cannot be read: look at the encoding of its path and its body, and at its Content-Type",
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The body has another Content-Type than this route takes",
        _ => "The request was refused; /openapi.json tells what this route takes",
    };
    let told = Refused(Problem::new(status.as_u16(), title, detail)).into_response();
    let (told, body) = told.into_parts();
    parts.headers.extend(told.headers);
    Response::from_parts(parts, body)
}

/// Answers a panic: a bug of ours, told like any other failure of ours.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a route panicked");
    Refused(Problem::new(500, "Internal error", "Something failed on our side; nothing was charged")).into_response()
}
