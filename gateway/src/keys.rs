//! What the gateway signs so that it can be checked without a database: sessions, stream addresses, file addresses and runner grants.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::{Clock, PredictionId, Timestamp, VersionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const ISSUER: &str = "feira";

/// Seconds that a signed thing is good for.
const SESSION_SECONDS: i64 = 30 * 24 * 3_600;
const STREAM_SECONDS: i64 = 7 * 24 * 3_600;
/// Longer than the longest setup and run together.
const GRANT_SECONDS: i64 = 2 * 3_600;
pub(crate) const FILE_ADDRESS_SECONDS: i64 = 3_600;
/// OCI clients ask for another when one is over.
pub(crate) const PASS_SECONDS: i64 = 300;

/// What a signature is for; one made for one purpose is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Session,
    Visitor,
    Stream,
    Grant,
    Pass,
}

impl Purpose {
    const fn audience(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Visitor => "visitor",
            Self::Stream => "stream",
            Self::Grant => "grant",
            Self::Pass => "oci",
        }
    }

    const fn seconds(self) -> i64 {
        match self {
            Self::Session => SESSION_SECONDS,
            // Minted at each start, for as long as the process lives.
            Self::Visitor => i64::MAX / 2_000_000,
            Self::Stream => STREAM_SECONDS,
            Self::Grant => GRANT_SECONDS,
            Self::Pass => PASS_SECONDS,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
}

/// Who signed in on the web: an account, through one of its tokens, whose scopes and whose end are the session's too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub account: String,
    pub token: String,
}

/// What a runner may fetch and where it may upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantScope {
    /// By whose leave the version runs, and whose files the attempt may read.
    pub account: String,
    pub version: VersionId,
    /// The attempt whose input and output files it opens as well; a standing order has none.
    pub attempt: Option<Attempt>,
}

impl GrantScope {
    /// Which attempt at this prediction it opens the files of, if any.
    pub fn attempt_at(&self, prediction: PredictionId) -> Option<u32> {
        self.attempt.filter(|attempt| attempt.prediction == prediction).map(|attempt| attempt.number)
    }
}

/// One run of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub prediction: PredictionId,
    /// From 1.
    pub number: u32,
}

/// What an OCI client may do for a few minutes: of what its API token may, that which it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    /// Whose it is; everybody's when there is none.
    pub session: Option<Session>,
    pub access: Vec<Access>,
}

/// What may be done with a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    pub repository: String,
    pub pull: bool,
    pub push: bool,
}

/// The keys of this installation, made from one secret that its operator holds.
pub struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    file_secret: [u8; 32],
    clock: Clock,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    pub fn new(secret: &[u8; 32], clock: Clock) -> Self {
        let derived = |label: &str| -> [u8; 32] { Sha256::new().chain_update(label).chain_update(secret).finalize().into() };
        let signing = derived("feira signing key");
        Self {
            encoding: EncodingKey::from_secret(&signing),
            decoding: DecodingKey::from_secret(&signing),
            file_secret: derived("feira file address key"),
            clock,
        }
    }

    /// A token for pages that nobody has signed in to: it may read the public catalogue.
    pub fn visitor(&self) -> String {
        self.sign(Purpose::Visitor, "visitor".to_owned())
    }

    pub(crate) fn is_visitor(&self, token: &str) -> bool {
        self.check(Purpose::Visitor, token).is_some()
    }

    pub(crate) fn sign_session(&self, session: &Session) -> (String, Timestamp) {
        (self.sign_json(Purpose::Session, session), self.clock.now().plus_millis(SESSION_SECONDS * 1_000))
    }

    pub(crate) fn session(&self, token: &str) -> Option<Session> {
        self.check_json(Purpose::Session, token)
    }

    /// Signed as of the prediction's creation: each answer gives the same address.
    pub(crate) fn sign_stream(&self, prediction: PredictionId, created_at: Timestamp) -> String {
        self.sign_at(created_at, Purpose::Stream, prediction.to_string())
    }

    pub(crate) fn stream(&self, token: &str) -> Option<PredictionId> {
        self.check(Purpose::Stream, token)?.parse().ok()
    }

    pub(crate) fn sign_grant(&self, scope: &GrantScope) -> String {
        self.sign_json(Purpose::Grant, scope)
    }

    pub(crate) fn grant(&self, token: &str) -> Option<GrantScope> {
        self.check_json(Purpose::Grant, token)
    }

    pub(crate) fn sign_pass(&self, pass: &Pass) -> String {
        self.sign_json(Purpose::Pass, pass)
    }

    pub(crate) fn pass(&self, token: &str) -> Option<Pass> {
        self.check_json(Purpose::Pass, token)
    }

    /// The signature in a file's download address, over `"{owner} {id} {expiry}"` as Replicate documents it.
    pub(crate) fn sign_file(&self, owner: &str, id: &str, expiry: i64) -> String {
        URL_SAFE_NO_PAD.encode(hmac_sha256(&self.file_secret, format!("{owner} {id} {expiry}").as_bytes()))
    }

    pub(crate) fn file_is_signed(&self, owner: &str, id: &str, expiry: i64, signature: &str) -> bool {
        let expected = self.sign_file(owner, id, expiry);
        let same = subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), signature.as_bytes());
        bool::from(same) && expiry >= self.clock.now().seconds()
    }

    fn sign_json(&self, purpose: Purpose, subject: &impl Serialize) -> String {
        self.sign(purpose, serde_json::to_string(subject).expect("claims are plain data"))
    }

    fn check_json<T: for<'de> Deserialize<'de>>(&self, purpose: Purpose, token: &str) -> Option<T> {
        serde_json::from_str(&self.check(purpose, token)?).ok()
    }

    fn sign(&self, purpose: Purpose, subject: String) -> String {
        self.sign_at(self.clock.now(), purpose, subject)
    }

    fn sign_at(&self, at: Timestamp, purpose: Purpose, subject: String) -> String {
        let iat = at.seconds();
        let claims = Claims { iss: ISSUER.to_owned(), aud: purpose.audience().to_owned(), sub: subject, iat, exp: iat + purpose.seconds() };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).expect("an HMAC over plain data cannot fail")
    }

    fn check(&self, purpose: Purpose, token: &str) -> Option<String> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[purpose.audience()]);
        rules.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Expiry is judged below by the clock that was passed in.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &rules).ok()?.claims;
        (claims.exp >= self.clock.now().seconds()).then_some(claims.sub)
    }
}

fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key will do");
    mac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (Keys, Clock) {
        let clock = Clock::fixed(Timestamp::from_micros(1_700_000_000_000_000));
        (Keys::new(&[7; 32], clock.clone()), clock)
    }

    #[test]
    fn a_signature_is_good_for_its_own_purpose_only() {
        let (keys, _) = keys();
        let session = Session { account: "acc_1".to_owned(), token: "tok_1".to_owned() };
        let (token, _) = keys.sign_session(&session);
        assert_eq!(keys.session(&token), Some(session));
        assert_eq!(keys.stream(&token), None);
        assert!(!keys.is_visitor(&token));
        assert_eq!(Keys::new(&[8; 32], Clock::system()).session(&token), None);
    }

    #[test]
    fn a_grant_opens_the_files_of_its_own_attempt_and_a_standing_order_has_none() {
        let (keys, clock) = keys();
        let entropy = protocol::Entropy::seeded(1);
        let (own, other) = (PredictionId::new(&clock, &entropy), PredictionId::new(&clock, &entropy));
        let order = GrantScope { account: "acc_1".to_owned(), version: "0".repeat(64).parse().unwrap(), attempt: None };
        let run = GrantScope { attempt: Some(Attempt { prediction: own, number: 2 }), ..order.clone() };
        let opened = |scope: &GrantScope| keys.grant(&keys.sign_grant(scope)).unwrap();
        assert_eq!((opened(&run).attempt_at(own), opened(&run).attempt_at(other)), (Some(2), None));
        assert_eq!((opened(&order).attempt_at(own), opened(&order).attempt), (None, None));
    }

    #[test]
    fn a_signature_ends() {
        let (keys, clock) = keys();
        let id = PredictionId::new(&clock, &protocol::Entropy::seeded(1));
        let created_at = clock.now();
        let stream = keys.sign_stream(id, created_at);
        assert!(keys.stream(&stream).is_some());
        clock.advance_millis(5_000);
        assert_eq!(keys.sign_stream(id, created_at), stream);
        let expiry = clock.now().seconds() + 10;
        let signature = keys.sign_file("ada", "fil_1", expiry);
        assert!(keys.file_is_signed("ada", "fil_1", expiry, &signature));
        assert!(!keys.file_is_signed("ada", "fil_2", expiry, &signature));
        clock.advance_millis((STREAM_SECONDS + 1) * 1_000);
        assert!(keys.stream(&stream).is_none());
        assert!(!keys.file_is_signed("ada", "fil_1", expiry, &signature));
    }
}
