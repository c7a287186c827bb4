//! The contract, made from the handlers: what `/openapi.json` serves and `openapi/openapi.json` keeps.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(title = "Feira", description = "An open, self-hosted model marketplace that speaks Replicate's API.", license(name = "Apache-2.0")),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Contract;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

pub(crate) fn contract() -> utoipa::openapi::OpenApi {
    Contract::openapi()
}

/// The whole document, as it is served and committed.
pub fn document() -> String {
    let (_, openapi) = crate::routes::v1().split_for_parts();
    let mut text = openapi.to_pretty_json().expect("the contract is plain data");
    text.push('\n');
    text
}
