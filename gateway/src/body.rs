//! What a request carries besides its path: a JSON body, whatever its content type says, and a query. What cannot be read is a problem.

use std::time::Duration;

use axum::body::Body;
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

const DRAINED_WITHIN: Duration = Duration::from_secs(10);

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
        serde_path_to_error::deserialize(Value::Object(self.fields)).map_err(|error| {
            let at = error.path().to_string();
            let field = if at == "." { String::new() } else { at };
            let described = without_type_names(&error.inner().to_string());
            Problem::invalid("Input validation failed", vec![InvalidField::new("invalid_type", field, described)]).into()
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

/// A caller is told of objects, not of the names that types have here.
fn without_type_names(described: &str) -> String {
    match described.split_once(", expected ") {
        Some((found, expected))
            if ["struct ", "enum ", "internally tagged enum ", "tuple "].iter().any(|kind| expected.starts_with(kind)) =>
        {
            format!("{found}, expected an object")
        }
        _ => described.to_owned(),
    }
}

/// Takes the rest of what is refused, for a while: a sender that is cut off in the middle never reads why.
async fn drain(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(DRAINED_WITHIN, rest).await;
}

pub(crate) async fn whole(request: Request, bytes_max: usize) -> Result<Bytes, Refused> {
    let mut body = request.into_body();
    match Limited::new(&mut body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(body).await;
            let detail = format!("The body is larger than {bytes_max} bytes; send files through POST /v1/files");
            Err(Problem::new(413, "Too large", detail).into())
        }
        Err(_) => Err(Refused::bad_request("The body ended before it was whole")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Order {
        #[expect(dead_code, reason = "it is only read into")]
        inner: Inner,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "it is only read into")]
        count: u32,
    }

    fn refused(json: &Value) -> InvalidField {
        let fields = json.as_object().unwrap().clone();
        let Err(Refused(problem)) = (JsonObject { fields, raw: Bytes::new() }).read::<Order>() else { panic!("accepted") };
        problem.invalid_fields[0].clone()
    }

    #[test]
    fn a_wrong_field_is_named_and_no_type_of_ours_is() {
        let field = refused(&serde_json::json!({"inner": {"count": "x"}}));
        assert_eq!((&*field.field, &*field.description), ("inner.count", "invalid type: string \"x\", expected u32"));
        let field = refused(&serde_json::json!({"inner": 7}));
        assert_eq!((&*field.field, &*field.description), ("inner", "invalid type: integer `7`, expected an object"));
    }
}
