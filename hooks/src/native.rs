//! The one door through which compiled code enters the process.

use wasmtime::component::Component;

use crate::artefact::{Artefact, HostKey, LoadError};
use protocol::Digest;

/// Loads an artefact whose seal is sound.
pub(crate) fn load(
    engine: &wasmtime::Engine,
    engine_digest: &Digest,
    key: &HostKey,
    component: &Digest,
    artefact: &Artefact,
) -> Result<Component, LoadError> {
    let code = artefact.unseal(key, engine_digest, component)?;
    // SAFETY: `deserialize` must be given what `Engine::precompile_component` made. `unseal` has just verified an HMAC over these
    // very bytes, and `Engine::seal` puts one only on what this deployment's own compile child, which does nothing else, wrote.
    #[expect(unsafe_code, reason = "loading precompiled code is how hooks are compiled outside of this process")]
    let loaded = unsafe { Component::deserialize(engine, code) };
    loaded.map_err(|error| LoadError::DoesNotFit { reason: error.root_cause().to_string() })
}
