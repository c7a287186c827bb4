//! `OpenAI`'s words for what is Feira's own: a request of its clients becomes the input of a prediction, and the output an answer of its shape.
//!
//! Only a version that declares an endpoint is spoken to so; nothing is guessed about others. `docs/openai.md` tells callers and publishers.

pub(crate) mod answer;
pub(crate) mod chunks;
pub(crate) mod completion;
pub(crate) mod conversation;
pub(crate) mod embedding;
pub(crate) mod ended;
pub(crate) mod endpoint;
mod inputs;
mod order;
mod request;
pub(crate) mod running;
mod settings;

pub(crate) use endpoint::Endpoint;
pub(crate) use inputs::Inputs;
pub(crate) use order::Order;
pub(crate) use request::Request;
