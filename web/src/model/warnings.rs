//! What a visitor should know of a version's files before running it.

use maud::{Markup, html};
use protocol::api::Version;

/// Nothing for a version that has nothing of the kind.
pub(super) fn block(version: &Version) -> Markup {
    let count = version.warnings.len();
    html! {
        @if count > 0 {
            details.caution {
                summary { "Loading this model runs code from its weights: " @if count == 1 { "one file is a pickle" } @else { (count) " files are pickles" } }
                ul {
                    @for warning in &version.warnings {
                        li {
                            code { (warning.path) } " " span.quiet { (warning.detail) }
                            @if !warning.imports.is_empty() { p { "Imports " @for (n, name) in warning.imports.iter().enumerate() { @if n > 0 { ", " } code { (name) } } } }
                        }
                    }
                }
            }
        }
    }
}
