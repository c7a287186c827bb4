//! Webhooks as the API shows them: the secret that signs them, and the log of what was delivered.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// The key that signs an account's webhooks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookSecret {
    /// `whsec_` and standard base64.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub key: String,
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Under way, or waits for its next try.
    Pending,
    /// The endpoint answered with a 2xx status.
    Delivered,
    /// Every try was used, or the endpoint answered 410.
    Abandoned,
}

/// One event of a prediction on its way to a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookDelivery {
    /// The `webhook-id` header of every try.
    #[schema(example = "msg_01hf7yat00wjx3whax6rf4kq2p")]
    pub id: String,
    /// `start`, `output`, `logs` or `completed`.
    #[schema(example = "completed")]
    pub event: String,
    /// The prediction or training that it tells of.
    pub prediction: String,
    pub url: String,
    pub state: DeliveryState,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// Absent once it is delivered or abandoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_at: Option<Timestamp>,
    /// The HTTP status of the last answer.
    #[schema(example = 200)]
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    /// In the order in which they were made.
    pub attempts: Vec<WebhookAttempt>,
    /// What is sent; shown where a single delivery is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub body: Option<Value>,
}

/// One try to deliver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookAttempt {
    /// Counted from 1. A number is missing where the server ended in the middle of a try.
    pub number: u32,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    pub error: Option<String>,
    pub duration_seconds: f64,
}
