//! The door and the road: who may call, one prediction's way from request to bill, its stream, its files.
//!
//! [`router`] is the table of contents of the API; `prediction.rs` is that of the road.

mod auth;
mod body;
mod claims;
mod cold_starts;
mod config;
mod db;
mod file_name;
mod gateway;
mod kept;
mod keys;
mod limits;
mod live;
mod openai;
mod openapi;
mod orders;
mod origin;
mod paces;
mod prediction;
mod prewarm;
mod problem;
mod render;
mod retention;
mod routes;
mod serve;
mod transcript;
mod unread;
mod webhooks;

pub use config::GatewayConfig;
pub use gateway::{Gateway, GatewayParts};
pub use keys::Keys;
pub use limits::LimitsConfig;
pub use openapi::document as openapi_document;
pub use routes::{api_service, router};
pub use serve::serve;
