//! The Versions tab: everything that was ever pushed, newest first, each with its own picture and its tags; and how `latest` came to where
//! it points.

use maud::{Markup, html};
use protocol::Timestamp;
use protocol::api::{Page as Listed, TagMove, Version};

use super::{Address, Tab, page};
use crate::api::ApiError;
use crate::cover;
use crate::model::playground::Stall;
use crate::page::Page;
use crate::time;
use crate::visit::Visit;

pub(crate) async fn show(visit: Visit, address: Address) -> Result<Page, ApiError> {
    let stall = Stall::load(&visit, &address, None).await?;
    let versions: Listed<Version> = visit.api.get(&format!("{}/versions", address.api_path())).await?;
    let tags: Listed<TagMove> = visit.api.get(&format!("{}/tags", address.api_path())).await?;
    let name = format!("/{}/{}", address.owner, address.name);
    let body = html! {
        @if versions.results.is_empty() {
            section.sorry { h2 { "Nothing was pushed yet." } pre.code { code { b { "feira" } " push . " (address.owner) "/" (address.name) } } }
        }
        ol.versions {
            @for version in &versions.results {
                li {
                    img.cover src=(cover::path(Some(&version.id), "")) alt="" width="120" height="60" loading="lazy";
                    div {
                        p { (link(&name, &version.id))
                            @for tag in tags.results.iter().filter(|tag| tag.version == version.id) { " " span.badge { (tag.tag) } }
                            @if !version.warnings.is_empty() { " " span.badge title="Loading it runs code from its weights" { "pickle" } } }
                        p.quiet { (time::day(version.created_at)) ", " (time::ago(visit.now, version.created_at))
                            @if !version.cog_version.is_empty() { " · Cog " (version.cog_version) }
                            @if !version.driver.is_process() { " · an image, for runners with the driver " (version.driver.name()) } }
                    }
                    code.digest { (version.id) }
                }
            }
        }
        @if tags.results.iter().any(|tag| tag.tag == "latest") {
            (history(visit.now, &name, &visit.api.get::<Listed<TagMove>>(&format!("{}/tags/latest/history", address.api_path())).await?.results))
        }
    };
    Ok(page(&stall.model, &stall.prices, &visit.base, Tab::Versions, &body))
}

fn link(name: &str, version: &str) -> Markup {
    html! { a href={ (name) "?version=" (version) } { code { (version.get(..12).unwrap_or(version)) } } }
}

/// The newest moves of a tag.
fn history(now: Timestamp, name: &str, moves: &[TagMove]) -> Markup {
    html! {
        h2 { "Where " code { "latest" } " has pointed" }
        div.scroll tabindex="0" role="region" aria-label="History of latest" {
            table.table {
                thead { tr { th.num scope="col" { "Move" } th scope="col" { "Version" } th scope="col" { "Since" } th scope="col" { "By" } } }
                tbody {
                    @for moved in moves {
                        tr {
                            td.num { (moved.number) }
                            td { (link(name, &moved.version)) }
                            td { (time::day(moved.moved_at)) ", " (time::ago(now, moved.moved_at)) }
                            td { @if let Some(account) = &moved.moved_by { a href={ "/" (account) } { (account) } } }
                        }
                    }
                }
            }
        }
    }
}
