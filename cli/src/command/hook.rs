//! `feira hook`: whether a WebAssembly component can be a hook, as the server will find.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;

use super::Context;
use crate::show;

/// The subcommand that compiles one component, as the server starts it too.
pub const COMPILE: &str = "hook-compile";

#[derive(Debug, clap::Subcommand)]
pub enum Hook {
    /// Check a component and compile it under the server's limits
    Check { file: PathBuf },
}

impl Hook {
    pub async fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self::Check { file } = self;
        let component = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let checked = hooks::check(&component)?;
        let exe = std::env::current_exe().context("this program does not find itself")?;
        let compiler = hooks::Compiler::new(exe, vec![COMPILE.into()], hooks::CompileLimits::default());
        let started = Instant::now();
        let code = compiler.compile(&component).await?;
        let compile_ms = started.elapsed().as_millis();
        let exports = checked.exports;
        let stages = [("before", exports.before), ("stream", exports.stream), ("after", exports.after)];
        let stages: Vec<_> = stages.into_iter().filter_map(|(name, exported)| exported.then_some(name)).collect();
        if context.json {
            let document = json!({
                "stages": stages,
                "imports": checked.imports,
                "component_bytes": component.len(),
                "code_bytes": code.len(),
                "compile_ms": u64::try_from(compile_ms).unwrap_or(u64::MAX),
            });
            return show::json(&document);
        }
        show::line(&format!("stages    {}", stages.join(" ")))?;
        show::line(&format!("imports   {}", checked.imports.join(" ")))?;
        show::line(&format!("size      {} bytes, {} compiled in {compile_ms} ms", component.len(), code.len()))
    }
}
