//! A compiled component at rest: native code, sealed with a key that only this deployment has, because loading it runs it.

use std::fmt;
use std::hash::{Hash, Hasher};

use hmac::{Hmac, KeyInit, Mac};
use protocol::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

const MAGIC: &[u8; 16] = b"feira artefact 1";
const BODY_START: usize = MAGIC.len() + 3 * 32;

/// The deployment's secret for what its hooks room seals and hides: artefacts, and accounts from guests.
#[derive(Clone)]
pub struct HostKey([u8; 32]);

/// Compiled code with its seal: magic, digest of the engine, digest of the component, HMAC-SHA-256 of all else, code.
#[derive(Clone, PartialEq, Eq)]
pub struct Artefact(Vec<u8>);

/// Why an artefact gives no hook.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// It was made by another engine, or from another component: compile again.
    #[error("the artefact was made by another engine or from another component")]
    Stale,
    /// It was not sealed with this deployment's key: compile again, and ask where it came from.
    #[error("the artefact's seal is broken")]
    Forged,
    /// The component's imports or size do not fit the engine.
    #[error("the component does not fit the contract: {reason}")]
    DoesNotFit {
        /// What the engine says.
        reason: String,
    },
}

impl HostKey {
    /// 32 random bytes, kept by the deployment.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What a guest is told instead of an account: stable per account and hook, and useless anywhere else.
    pub(crate) fn tenant_key(&self, hook: &Digest, account: &str) -> u64 {
        let tag = self.mac().chain_update(b"tenant").chain_update(hook.as_bytes()).chain_update(account).finalize().into_bytes();
        u64::from_le_bytes([tag[0], tag[1], tag[2], tag[3], tag[4], tag[5], tag[6], tag[7]])
    }

    fn artefact_mac(&self, engine: &Digest, component: &Digest, code: &[u8]) -> Hmac<Sha256> {
        self.mac().chain_update(MAGIC).chain_update(engine.as_bytes()).chain_update(component.as_bytes()).chain_update(code)
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length")
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey")
    }
}

impl Artefact {
    /// Reads what [`Artefact::as_bytes`] gave; nothing is trusted before it is loaded.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What to store beside the component.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn seal(key: &HostKey, engine: &Digest, component: &Digest, code: &[u8]) -> Self {
        let tag: [u8; 32] = key.artefact_mac(engine, component, code).finalize().into_bytes().into();
        Self([MAGIC.as_slice(), engine.as_bytes(), component.as_bytes(), &tag, code].concat())
    }

    /// The code, once it is known to be ours and for this engine and component.
    pub(crate) fn unseal(&self, key: &HostKey, engine: &Digest, component: &Digest) -> Result<&[u8], LoadError> {
        let (head, code) = self.0.split_at_checked(BODY_START).ok_or(LoadError::Forged)?;
        let (names, tag) = head.split_at(BODY_START - 32);
        if names != [MAGIC.as_slice(), engine.as_bytes(), component.as_bytes()].concat() {
            return Err(LoadError::Stale);
        }
        key.artefact_mac(engine, component, code).verify_slice(tag).map_err(|_| LoadError::Forged)?;
        Ok(code)
    }
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Artefact({} bytes)", self.0.len())
    }
}

/// Names everything that compiled code depends on: the engine's version, its settings and this processor's features.
pub(crate) fn engine_digest(engine: &wasmtime::Engine) -> Digest {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Digest::from_bytes(hasher.0.finalize().into())
}

/// Lets what implements `Hash` be hashed the same by every build.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("only the whole digest is read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn an_artefact_opens_only_for_its_engine_component_and_key() {
        let key = HostKey::new([1; 32]);
        let (engine, component) = (digest("engine"), digest("component"));
        let artefact = Artefact::seal(&key, &engine, &component, b"code");
        assert_eq!(artefact.unseal(&key, &engine, &component), Ok(b"code".as_slice()));
        assert_eq!(artefact.unseal(&key, &digest("newer"), &component), Err(LoadError::Stale));
        assert_eq!(artefact.unseal(&key, &engine, &digest("other")), Err(LoadError::Stale));
        assert_eq!(artefact.unseal(&HostKey::new([2; 32]), &engine, &component), Err(LoadError::Forged));
    }

    #[test]
    fn one_changed_byte_breaks_the_seal() {
        let key = HostKey::new([1; 32]);
        let (engine, component) = (digest("engine"), digest("component"));
        let artefact = Artefact::seal(&key, &engine, &component, b"code");
        for at in 0..artefact.as_bytes().len() {
            let mut bytes = artefact.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(Artefact::from_bytes(bytes).unseal(&key, &engine, &component).is_err(), "byte {at}");
        }
        for len in 0..artefact.as_bytes().len() {
            let cut = Artefact::from_bytes(artefact.as_bytes()[..len].to_vec());
            assert!(cut.unseal(&key, &engine, &component).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_tenant_key_differs_from_hook_to_hook_and_account_to_account() {
        let key = HostKey::new([1; 32]);
        let ada = key.tenant_key(&digest("a hook"), "ada");
        assert_eq!(ada, key.tenant_key(&digest("a hook"), "ada"));
        assert_ne!(ada, key.tenant_key(&digest("a hook"), "bob"));
        assert_ne!(ada, key.tenant_key(&digest("another"), "ada"));
    }
}
