//! What a request carries besides its path: a JSON body, whatever its content type says, and a query. What cannot be read is a problem.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::Problem;
use protocol::problem::InvalidField;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Gateway;
use crate::problem::Refused;

/// Objects and lists in one another deeper than this are refused by `serde_json` itself (128), which says so.
#[derive(Clone, Debug)]
pub(crate) struct JsonObject {
    pub fields: Map<String, Value>,
    /// The bytes as they came: two requests are the same when these are.
    pub raw: Bytes,
}

impl FromRequest<Gateway> for JsonObject {
    type Rejection = Refused;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, Refused> {
        let raw = whole(request, gateway.config().body_bytes_max).await?;
        if raw.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { fields: Map::new(), raw });
        }
        match serde_json::from_slice(&raw) {
            Ok(Value::Object(fields)) => Ok(Self { fields, raw }),
            Ok(_) => Err(Refused::bad_request("The body must be a JSON object")),
            Err(error) => Err(Refused::bad_request(format!("The body is not JSON: {error}"))),
        }
    }
}

impl JsonObject {
    /// Reads the body as `T`; what does not fit is named.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Refused> {
        serde_json::from_value(Value::Object(self.fields)).map_err(|error| {
            let field = InvalidField::new("invalid_type", "", error.to_string());
            Problem::invalid("Input validation failed", vec![field]).into()
        })
    }
}

/// The query's parameters.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Gateway> for Parameters<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _gateway: &Gateway) -> Result<Self, Refused> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejected) => Err(Refused::bad_request(rejected.body_text())),
        }
    }
}

async fn whole(request: Request, bytes_max: usize) -> Result<Bytes, Refused> {
    match Limited::new(request.into_body(), bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("The body is larger than {bytes_max} bytes; send files through POST /v1/files");
            Err(Problem::new(413, "Too large", detail).into())
        }
        Err(_) => Err(Refused::bad_request("The body ended before it was whole")),
    }
}
