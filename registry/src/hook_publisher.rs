//! The hooks of versions: from the digest of a component to something that can be called, compiled once and kept beside the blobs.

use bytes::Bytes;
use hooks::{Artefact, CompileError, Compiler, Engine, Hook, OpenError};
use protocol::Digest;

use crate::cache::Cache;
use crate::{Registry, RegistryError};

/// 24 MiB: what `hooks` takes.
const COMPONENT_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// Loaded hooks in memory; each holds its native code.
const OPEN_MAX: usize = 256;
/// A component never changes; this only lets go of what is no longer called.
const OPEN_TTL_MS: i64 = 60 * 60 * 1_000;

/// Checks, compiles and loads hooks.
#[derive(Debug)]
pub struct HookPublisher {
    engine: Engine,
    compiler: Compiler,
    open: Cache<Digest, Hook>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenHookError {
    /// For its publisher to read.
    #[error("{why}")]
    Refused { why: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl HookPublisher {
    pub fn new(engine: Engine, compiler: Compiler) -> Self {
        Self { engine, compiler, open: Cache::new(OPEN_MAX, OPEN_TTL_MS) }
    }
}

impl Registry {
    /// Makes a hook of a component, mostly from memory; `None` when there is no such blob.
    /// A stored artefact of another engine is made again.
    pub async fn open_hook(&self, component: &Digest) -> Result<Option<Hook>, OpenHookError> {
        self.hooks.open.find_or_load(component, &self.clock, self.load_hook(component)).await
    }

    async fn load_hook(&self, component: &Digest) -> Result<Option<Hook>, OpenHookError> {
        let bytes = match self.blobs.read(component, COMPONENT_BYTES_MAX).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(crate::BlobError::TooLarge { bytes_max }) => {
                return Err(OpenHookError::Refused { why: format!("a hook has at most {bytes_max} bytes") });
            }
            Err(error) => return Err(RegistryError::from(error).into()),
        };
        let name = self.hooks.engine.artefact_name(component);
        let stored = self.blobs.read_artefact(&name).await.map_err(RegistryError::from)?;
        let stored = stored.map(|bytes| Artefact::from_bytes(bytes.into()));
        let opened = self.hooks.engine.open(&self.hooks.compiler, bytes, stored).await.map_err(refusal)?;
        if let Some(artefact) = opened.compiled {
            let bytes = Bytes::copy_from_slice(artefact.as_bytes());
            self.blobs.write_artefact(&name, bytes).await.map_err(RegistryError::from)?;
        }
        Ok(Some(opened.hook))
    }
}

/// Whose fault it is: the component's, or that of the machine which could not start a compiler.
fn refusal(error: OpenError) -> OpenHookError {
    match error {
        OpenError::Compile(CompileError::NotStarted(source)) => RegistryError::CompilerNotStarted(source).into(),
        error => OpenHookError::Refused { why: error.to_string() },
    }
}
