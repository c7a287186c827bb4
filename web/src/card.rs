//! A model as a stall of the market: cover, name, one line, price tag, warm or cold, runs.

use maud::{Markup, html};
use protocol::api::Model;

use crate::cover;
use crate::price::{self, Prices};
use crate::visit::own_path;

/// The cards of many models.
pub(crate) fn grid(models: &[Model], prices: &Prices, base: &str) -> Markup {
    html! {
        div.grid { @for model in models { (card(model, prices, base)) } }
    }
}

fn card(model: &Model, prices: &Prices, base: &str) -> Markup {
    html! {
        article.card {
            a href={ "/" (model.owner) "/" (model.name) } {
                (cover(model, base))
                div.body {
                    h2 { span { (model.owner) "/" } (model.name) }
                    p { (model.description.as_deref().unwrap_or("No description yet.")) }
                    div.meta {
                        span.tag { (price::tag(model, prices)) }
                        @if model.warm > 0 { span.dot.warm { "warm" } } @else { span.dot.cold { "cold" } }
                        span.runs { (runs(model)) }
                    }
                }
            }
        }
    }
}

/// The model's picture: its own when this shop keeps it or it stands in its own address, else the pattern of its version.
pub(crate) fn cover(model: &Model, base: &str) -> Markup {
    let own = model.cover_image_url.as_deref().and_then(|url| if url.starts_with("data:image/") { Some(url) } else { own_path(base, url) });
    let name = format!("{}/{}", model.owner, model.name);
    let drawn = || cover::path(model.latest_version.as_ref().map(|version| version.id.as_str()), &name);
    html! {
        img.cover src=(own.map_or_else(drawn, ToOwned::to_owned)) alt="" width="352" height="176" decoding="async";
    }
}

/// `warm · 3 slots`, or `cold`.
pub(crate) fn warmth(model: &Model) -> Markup {
    html! {
        @match model.warm {
            0 => span.dot.cold { "cold" },
            1 => span.dot.warm { "warm · 1 slot" },
            slots => span.dot.warm { "warm · " (slots) " slots" },
        }
    }
}

pub(crate) fn runs(model: &Model) -> String {
    format!("{} {}", price::count(model.run_count), if model.run_count == 1 { "run" } else { "runs" })
}
