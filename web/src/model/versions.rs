//! The Versions tab: everything that was ever pushed, newest first, each with its own picture.

use maud::html;
use protocol::api::{Page as Listed, Version};

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
    let latest = stall.model.latest_version.as_ref().map(|version| version.id.as_str());
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
                        p { a href={ (name) "?version=" (version.id) } { code { (version.id.get(..12).unwrap_or(&version.id)) } }
                            @if latest == Some(version.id.as_str()) { " " span.badge { "latest" } } }
                        p.quiet { (time::day(version.created_at)) ", " (time::ago(visit.now, version.created_at))
                            @if !version.cog_version.is_empty() { " · Cog " (version.cog_version) } }
                    }
                    code.digest { (version.id) }
                }
            }
        }
    };
    Ok(page(&stall.model, &stall.prices, &visit.base, Tab::Versions, &body))
}
