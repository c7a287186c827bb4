//! Keys: public ones as everybody's tools write them (PEM, `SubjectPublicKeyInfo`), and their private halves.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};

use super::pem;
use crate::digest::{Digest, NotADigest};

/// What stands before the key itself in a `SubjectPublicKeyInfo`: the algorithm, always in these bytes (RFC 8410, RFC 5480).
const ED25519_HEAD: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const P256_HEAD: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384_HEAD: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const P521_HEAD: &[u8] = b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("a public key is PEM (BEGIN PUBLIC KEY) of Ed25519 or of ECDSA over P-256, P-384 or P-521")]
    Public,
    #[error("a signing key is PEM without a password, of Ed25519 or of ECDSA over P-256, P-384 or P-521")]
    Private,
}

/// Names a public key: the SHA-256 of its PEM, which `OpenSSF`'s model signing writes into its bundles as the key's hint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(Digest);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Ed25519,
    P256,
    P384,
    P521,
}

#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// 32 bytes of Ed25519, or a point of the curve.
    key: Vec<u8>,
}

/// A private key. It does not print.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Ed25519, Self::P256, Self::P384, Self::P521];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "ecdsa-p256",
            Self::P384 => "ecdsa-p384",
            Self::P521 => "ecdsa-p521",
        }
    }

    const fn head(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => ED25519_HEAD,
            Self::P256 => P256_HEAD,
            Self::P384 => P384_HEAD,
            Self::P521 => P521_HEAD,
        }
    }

    const fn key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &signature::ED25519,
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::P521 => &signature::ECDSA_P521_SHA512_ASN1,
        }
    }

    const fn ecdsa(self) -> Option<&'static EcdsaSigningAlgorithm> {
        match self {
            Self::Ed25519 => None,
            Self::P256 => Some(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::P384 => Some(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            Self::P521 => Some(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        }
    }
}

impl PublicKey {
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let info = pem::decode(text, "PUBLIC KEY").ok_or(BadKey::Public)?;
        let of = |algorithm: Algorithm| {
            let key = info.strip_prefix(algorithm.head()).filter(|key| key.len() == algorithm.key_bytes())?;
            Some(Self { algorithm, key: key.to_vec() })
        };
        Algorithm::ALL.into_iter().find_map(of).ok_or(BadKey::Public)
    }

    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &[self.algorithm.head(), &self.key].concat())
    }

    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.to_pem().as_bytes()))
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.key).verify(message, signature).is_ok()
    }
}

impl SigningKey {
    /// The Ed25519 key of a seed.
    pub fn of_seed(seed: &[u8; 32]) -> Self {
        Self::ed25519(Ed25519KeyPair::from_seed_unchecked(seed).expect("every seed of 32 bytes is a key"))
    }

    /// Reads PKCS#8, or what `openssl ecparam -genkey` writes.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let der = pem::decode(text, "PRIVATE KEY").or_else(|| pem::decode(text, "EC PRIVATE KEY")).ok_or(BadKey::Private)?;
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self::ed25519(pair));
        }
        let of = |algorithm: Algorithm| {
            let pair = EcdsaKeyPair::from_private_key_der(algorithm.ecdsa()?, &der).ok()?;
            let public = PublicKey { algorithm, key: pair.public_key().as_ref().to_vec() };
            Some(Self { pair: Pair::Ecdsa(pair), public })
        };
        Algorithm::ALL.into_iter().find_map(of).ok_or(BadKey::Private)
    }

    /// PKCS#8, as other tools read it. Only keys of [`Self::of_seed`] are ever written.
    pub fn to_pem(&self) -> Option<String> {
        match &self.pair {
            Pair::Ed25519(pair) => Some(pem::encode("PRIVATE KEY", pair.to_pkcs8v1().ok()?.as_ref())),
            Pair::Ecdsa(_) => None,
        }
    }

    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ecdsa(pair) => {
                pair.sign(&SystemRandom::new(), message).expect("the operating system gives random bytes").as_ref().to_vec()
            }
        }
    }

    fn ed25519(pair: Ed25519KeyPair) -> Self {
        let public = PublicKey { algorithm: Algorithm::Ed25519, key: pair.public_key().as_ref().to_vec() };
        Self { pair: Pair::Ed25519(pair), public }
    }
}

impl FromStr for KeyId {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        format!("sha256:{text}").parse().map(Self)
    }
}

impl TryFrom<String> for KeyId {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.algorithm).field(&self.id()).finish()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ecparam -name prime256v1 -genkey` and `openssl ec -pubout`, for these tests only.
    const P256_PRIVATE: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEINuz1k/wnZunwUyibio+83yKNsQpJOxRJXVWrM5BcMV4oAoGCCqGSM49\n\
        AwEHoUQDQgAEzEXLIJPwfJXNqYL70PgE3W2/43DFTyQe01ua5imz3Phccu0QoWUe\n\
        s3HVCSmpnEnoEN26RLxI6nmw3cODYj4Itw==\n\
        -----END EC PRIVATE KEY-----\n";
    /// `sha256sum` of the file that `openssl ec -pubout` wrote.
    const P256_ID: &str = "5f09d8b439594887d552089f8d60eeb1a089e1e6efacd74cc485cbf41fa7d8f8";

    #[test]
    fn a_key_of_openssl_reads_and_its_id_is_the_hash_of_its_public_file() {
        let key = SigningKey::from_pem(P256_PRIVATE).unwrap();
        assert_eq!((key.public().algorithm(), key.public().id().to_string()), (Algorithm::P256, P256_ID.to_owned()));
        assert_eq!(PublicKey::from_pem(&key.public().to_pem()).unwrap(), *key.public());
    }

    #[test]
    fn what_a_key_signs_only_its_public_half_verifies_and_only_as_it_was() {
        let keys = [SigningKey::of_seed(&[7; 32]), SigningKey::of_seed(&[8; 32]), SigningKey::from_pem(P256_PRIVATE).unwrap()];
        for (n, key) in keys.iter().enumerate() {
            let signature = key.sign(b"a message");
            for (m, other) in keys.iter().enumerate() {
                assert_eq!(other.public().verify(b"a message", &signature), n == m);
            }
            assert!(!key.public().verify(b"a massage", &signature));
            assert!(!key.public().verify(b"a message", &signature[1..]));
        }
    }

    #[test]
    fn a_made_key_is_written_and_reads_back() {
        let key = SigningKey::of_seed(&[7; 32]);
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused() {
        let private = SigningKey::of_seed(&[7; 32]).to_pem().unwrap();
        let cut = pem::encode("PUBLIC KEY", &ED25519_HEAD[..10]);
        for text in ["", "ssh-ed25519 AAAA", &private, &cut, "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"] {
            assert_eq!(PublicKey::from_pem(text), Err(BadKey::Public), "{text}");
        }
        for text in ["", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"] {
            assert!(matches!(SigningKey::from_pem(text), Err(BadKey::Private)), "{text}");
        }
    }
}
