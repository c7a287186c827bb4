//! What running costs: the rate of each kind of hardware, and the rules in plain words.

use maud::html;
use protocol::money::round_to_credits;

use crate::api::ApiError;
use crate::page::Page;
use crate::price::{self, Prices};
use crate::visit::Visit;

pub(crate) async fn show(visit: Visit) -> Result<Page, ApiError> {
    let prices = Prices::load(&visit.api).await?;
    let body = html! {
        div.narrow {
            h1.found { "Pricing" }
            p.lead { "A run by the second costs its own running time at the rate of the hardware. A run by the token costs the tokens read and written, at the model's own prices." }
            div.scroll tabindex="0" role="region" aria-label="Rates" { table.table {
                thead { tr { th scope="col" { "Hardware" } th scope="col" { "Name in the API" } th.num scope="col" { "A second" } th.num scope="col" { "An hour" } } }
                tbody {
                    @for price in &prices.hardware {
                        tr {
                            td { (price.name) } td { code { (price.sku) } }
                            td.num { "$" (price.per_second) } td.num { (price::exact(round_to_credits(price.per_second.of_units(3_600)))) }
                        }
                    }
                }
            } }
            h2 { "What is never charged" }
            ul.plain {
                li { "Waiting in a queue, and every part of a cold start: fetching, building, starting, setup." }
                li { "A run that failed, whoever's fault it was." }
                li { "A run that a hook refused, or that was canceled before it began." }
            }
            p { "A run that you cancel is charged up to the moment it stopped. Every finished run shows its exact cost, line by line." }
        }
    };
    Ok(Page::new("Pricing", body))
}
