//! A second wall around files, from inside: rules that the kernel keeps with the process, whatever is mounted where (Landlock). Where there
//! are no namespaces it is the only one.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use super::root::{SHARED_MEMORY, SYSTEM, TMP};
use super::spec::{Spec, Walls};

/// Files and links as Linux 6.2 can hold them; later ones also hold back what GPUs are spoken to with.
const FILES: ABI = ABI::V3;
/// Signals and abstract sockets, held back where the kernel can: Linux 6.12.
const SCOPES: ABI = ABI::V6;

/// Of `/etc`, where the machine's own is seen: what programs read to find names, the time and certificates.
const ETC: [&str; 9] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/localtime",
    "/etc/os-release",
    "/etc/fonts",
    "/etc/ld.so.conf.d",
];
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Fences this process in, and all that it starts, for good. `false` when the kernel cannot.
pub(super) fn raise(spec: &Spec) -> Result<bool, RulesetError> {
    let (may_read, may_write) = places(spec);
    let (all, read) = (AccessFs::from_all(FILES), AccessFs::from_read(FILES));
    let fence = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(SCOPES))?
        .create()?
        .add_rules(path_beneath_rules(may_read, read))?
        .add_rules(path_beneath_rules(may_write, all))?
        .restrict_self()?;
    Ok(fence.ruleset != RulesetStatus::NotEnforced)
}

/// What it may read, and what it may also write. The kernel's own files and the devices guard themselves.
fn places(spec: &Spec) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let owned = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    if spec.walls != Walls::None {
        return (owned(&["/"]), owned(&[TMP, SHARED_MEMORY, "/proc", "/dev"]));
    }
    let may_read = [owned(&SYSTEM), owned(&ETC), owned(&KERNELS), spec.shown().into_iter().map(Path::to_owned).collect()].concat();
    // Cog writes to `/tmp` whatever it is told.
    (may_read, [owned(&[TMP, SHARED_MEMORY, "/proc", "/dev"]), vec![spec.scratch.clone()]].concat())
}
