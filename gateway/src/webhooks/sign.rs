//! The signature of a webhook: Standard Webhooks, symmetric. <https://github.com/standard-webhooks/standard-webhooks>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// `v1,` and the HMAC-SHA256 of `id.timestamp.body`, keyed by the bytes that the secret encodes after `whsec_`. `None` when the secret is not
/// of that form.
pub(super) fn signature(secret: &str, id: &str, timestamp: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length of key will do");
    let mac = mac.chain_update(format!("{id}.{timestamp}.")).chain_update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepted by both released clients.
    #[test]
    fn a_signature_is_the_one_that_receivers_compute() {
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let made = signature(secret, "msg_1", 1_700_000_000, r#"{"id":"x"}"#);
        assert_eq!(made.as_deref(), Some("v1,FPLhSOsFjGl+RjTV4BR9MklBMuSKy+loQZpe2PX3bOk="));
        assert_ne!(signature(secret, "msg_1", 1_700_000_000, r#"{"id":"y"}"#), made);
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        assert_eq!(signature("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_1", 1, "{}"), None);
        assert_eq!(signature("whsec_not base64", "msg_1", 1, "{}"), None);
    }
}
