//! What is refused at publish without compiling anything: wrong files, foreign imports, sizes that no real hook has.
//!
//! Types and instructions are validated where they are compiled, in the limited child process.

use protocol::manifest::HookStage;
use thiserror::Error;
use wasmparser::{ComponentExternalKind, Encoding, Instance, Parser, Payload};

/// 24 MiB: the largest real guest measured, Python's interpreter in a component, has 18.
pub(crate) const COMPONENT_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Python's interpreter has about 12,000.
const FUNCTIONS_MAX: u64 = 20_000;
const BODY_BYTES_MAX: usize = 512 * 1024;
/// Python's interpreter is linked from 38.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
/// JavaScript on `QuickJS` has 3.
pub(crate) const MEMORIES_MAX: u32 = 4;
const NESTED_COMPONENTS_MAX: u32 = 64;
const NESTING_MAX: usize = 8;

const CONTRACT: &str = "feira:hook";
const CONTRACT_VERSIONS: &str = "0.1.";
const CONTRACT_IMPORTS: [&str; 6] = ["types", "log", "config", "model-schema", "cache", "blobs"];
const WASI_VERSIONS: &str = "0.2.";
/// What guest toolchains link in even when a hook uses none of it. Nothing of it reaches the host.
const WASI_IMPORTS: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// A component that may be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which parts of the contract it implements.
    pub exports: Exports,
    /// The names of what it imports, all of them allowed.
    pub imports: Vec<String>,
}

/// Which parts of the contract a component implements; at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// `feira:hook/pre`.
    pub before: bool,
    /// `feira:hook/post`.
    pub after: bool,
    /// `feira:hook/stream-filter`.
    pub stream: bool,
}

impl Exports {
    /// Whether the component can be called at this stage.
    pub const fn contains(self, stage: HookStage) -> bool {
        match stage {
            HookStage::Before => self.before,
            HookStage::After => self.after,
            HookStage::Stream => self.stream,
        }
    }
}

/// Why a component is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is nothing in it.
    #[error("the hook is an empty file")]
    Empty,
    /// It is larger than any real hook.
    #[error("the hook has {bytes} bytes, at most {bytes_max} are taken; build it with optimisation and without symbols")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// It is a core module.
    #[error("the hook is a core WebAssembly module; make it a component, with the target wasm32-wasip2 or `wasm-tools component new`")]
    CoreModule,
    /// It is no WebAssembly, or broken off.
    #[error("the hook is not a WebAssembly component: {reason} at byte {offset}")]
    Malformed {
        /// Where reading failed.
        offset: usize,
        /// What the parser says.
        reason: String,
    },
    /// It imports what no hook gets.
    #[error("the hook imports `{import}`, which hooks are not given; they may import what `feira:hook@0.1` and an empty WASI 0.2 offer")]
    ForbiddenImport {
        /// The import's name.
        import: String,
    },
    /// It exports nothing that could be called.
    #[error("the hook exports none of feira:hook/pre, feira:hook/post and feira:hook/stream-filter at version 0.1")]
    NothingToCall,
    /// It has more functions than any real hook.
    #[error("the hook has more than {functions_max} functions")]
    TooManyFunctions {
        /// The limit.
        functions_max: u64,
    },
    /// One of its functions would take too long to compile.
    #[error("a function of the hook has {bytes} bytes of code, at most {bytes_max} are taken; lower the inlining of your compiler")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// It is linked from too many instances.
    #[error("the hook has more than {instances_max} core instances")]
    TooManyInstances {
        /// The limit.
        instances_max: u32,
    },
    /// It has too many linear memories.
    #[error("the hook has more than {memories_max} memories")]
    TooManyMemories {
        /// The limit.
        memories_max: u32,
    },
    /// It has too many components within it, or they nest too deep.
    #[error("the hook has more than {components_max} nested components, or they nest deeper than {nesting_max}")]
    TooManyComponents {
        /// The limit of their number.
        components_max: u32,
        /// The limit of their depth.
        nesting_max: usize,
    },
}

/// Reads a component's outline and refuses what cannot be a hook.
///
/// Linear in the size and without allocation of note; for the largest file a few milliseconds.
///
/// # Errors
///
/// The first reason found, worded for its publisher.
pub fn check(component: &[u8]) -> Result<Checked, Refused> {
    if component.is_empty() {
        return Err(Refused::Empty);
    }
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(Refused::TooLarge { bytes: component.len(), bytes_max: COMPONENT_BYTES_MAX });
    }
    let mut outline = Outline::default();
    for payload in Parser::new(0).parse_all(component) {
        outline.read(payload?)?;
    }
    if outline.exports == Exports::default() {
        return Err(Refused::NothingToCall);
    }
    Ok(Checked { exports: outline.exports, imports: outline.imports })
}

/// What has been seen of a component so far.
#[derive(Default)]
struct Outline {
    exports: Exports,
    imports: Vec<String>,
    depth: usize,
    components: u32,
    core_instances: u32,
    memories: u32,
    functions: u64,
}

impl Outline {
    fn read(&mut self, payload: Payload<'_>) -> Result<(), Refused> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if self.depth == 0 => return Err(Refused::CoreModule),
            Payload::ModuleSection { .. } => self.depth += 1,
            Payload::ComponentSection { .. } => self.enter_component()?,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if self.depth == 0 => {
                for import in imports {
                    self.import(import?.name.name)?;
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 0 => {
                for export in exports {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        self.export(export.name.name);
                    }
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    self.core_instances += u32::from(matches!(instance?, Instance::Instantiate { .. }));
                }
                if self.core_instances > CORE_INSTANCES_MAX {
                    return Err(Refused::TooManyInstances { instances_max: CORE_INSTANCES_MAX });
                }
            }
            Payload::MemorySection(memories) => {
                self.memories = self.memories.saturating_add(memories.count());
                if self.memories > MEMORIES_MAX {
                    return Err(Refused::TooManyMemories { memories_max: MEMORIES_MAX });
                }
            }
            Payload::FunctionSection(functions) => {
                self.functions += u64::from(functions.count());
                if self.functions > FUNCTIONS_MAX {
                    return Err(Refused::TooManyFunctions { functions_max: FUNCTIONS_MAX });
                }
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len();
                if bytes > BODY_BYTES_MAX {
                    return Err(Refused::BodyTooLarge { bytes, bytes_max: BODY_BYTES_MAX });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn enter_component(&mut self) -> Result<(), Refused> {
        self.depth += 1;
        self.components += 1;
        if self.components > NESTED_COMPONENTS_MAX || self.depth > NESTING_MAX {
            return Err(Refused::TooManyComponents { components_max: NESTED_COMPONENTS_MAX, nesting_max: NESTING_MAX });
        }
        Ok(())
    }

    fn import(&mut self, name: &str) -> Result<(), Refused> {
        if !is_allowed(name) {
            // A name can be as long as the file.
            return Err(Refused::ForbiddenImport { import: name.chars().take(200).collect() });
        }
        self.imports.push(name.to_owned());
        Ok(())
    }

    fn export(&mut self, name: &str) {
        match contract_interface(name) {
            Some("pre") => self.exports.before = true,
            Some("post") => self.exports.after = true,
            Some("stream-filter") => self.exports.stream = true,
            _ => {}
        }
    }
}

fn is_allowed(import: &str) -> bool {
    if let Some(interface) = contract_interface(import) {
        return CONTRACT_IMPORTS.contains(&interface);
    }
    import.split_once('@').is_some_and(|(name, version)| version.starts_with(WASI_VERSIONS) && WASI_IMPORTS.contains(&name))
}

/// The `log` of `feira:hook/log@0.1.0`, when the version is one that this host links.
fn contract_interface(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(CONTRACT)?.strip_prefix('/')?.split_once('@')?;
    version.starts_with(CONTRACT_VERSIONS).then_some(interface)
}

impl From<wasmparser::BinaryReaderError> for Refused {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed { offset: error.offset(), reason: error.message().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDACT: &[u8] = include_bytes!("../guests/prebuilt/redact.wasm");

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("the component of a test")
    }

    #[test]
    fn a_real_hook_is_taken_and_its_outline_known() {
        let checked = check(REDACT).expect("a real hook");
        assert_eq!(checked.exports, Exports { before: false, after: true, stream: true });
        assert!(checked.exports.contains(HookStage::Stream) && !checked.exports.contains(HookStage::Before));
        assert!(checked.imports.iter().all(|import| import.starts_with("feira:hook/")), "{:?}", checked.imports);
    }

    #[test]
    fn empty_garbage_text_and_module_are_told_apart() {
        assert_eq!(check(b""), Err(Refused::Empty));
        assert!(matches!(check(b"#!/bin/sh\necho hello"), Err(Refused::Malformed { offset: 0, .. })));
        assert!(matches!(check(b"(component)"), Err(Refused::Malformed { offset: 0, .. })));
        assert_eq!(check(&component("(module)")), Err(Refused::CoreModule));
        assert_eq!(check(&component("(component)")), Err(Refused::NothingToCall));
        assert!(matches!(check(&vec![0; COMPONENT_BYTES_MAX + 1]), Err(Refused::TooLarge { .. })));
    }

    #[test]
    fn a_hook_cut_off_before_its_exports_is_refused() {
        for len in (1..REDACT.len() * 9 / 10).step_by(997) {
            assert!(check(&REDACT[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn foreign_imports_are_refused_by_name() {
        for import in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/environment@0.3.0",
            "feira:hook/secrets@0.1.0",
            "feira:hook/log@0.2.0",
            "feira:hookx/log@0.1.0",
        ] {
            let refused = check(&component(&format!(r#"(component (import "{import}" (instance)))"#)));
            assert_eq!(refused, Err(Refused::ForbiddenImport { import: import.to_owned() }));
        }
        let refused = check(&component(r#"(component (import "run" (func)))"#));
        assert_eq!(refused, Err(Refused::ForbiddenImport { import: "run".to_owned() }));
        let allowed = check(&component(r#"(component (import "wasi:cli/environment@0.2.6" (instance)))"#));
        assert_eq!(allowed, Err(Refused::NothingToCall));
    }

    #[test]
    fn shapes_that_no_real_hook_has_are_refused() {
        let memories = "(core module (memory 1))".repeat(9);
        assert!(matches!(check(&component(&format!("(component {memories})"))), Err(Refused::TooManyMemories { .. })));
        let instances = "(core instance (instantiate $m))".repeat(65);
        let instances = component(&format!("(component (core module $m) {instances})"));
        assert!(matches!(check(&instances), Err(Refused::TooManyInstances { .. })));
        let wide = component(&format!("(component {})", "(component)".repeat(200)));
        assert!(matches!(check(&wide), Err(Refused::TooManyComponents { .. })));
        let deep = component(&format!("{}{}", "(component ".repeat(20), ")".repeat(20)));
        assert!(matches!(check(&deep), Err(Refused::TooManyComponents { .. })));
        let functions = component(&format!("(component (core module {}))", "(func)".repeat(20_001)));
        assert!(matches!(check(&functions), Err(Refused::TooManyFunctions { .. })));
        let body = component(&format!("(component (core module (func {})))", "nop ".repeat(600_000)));
        assert!(matches!(check(&body), Err(Refused::BodyTooLarge { .. })));
    }
}
