//! One run: its inputs, its output as it arrives, its logs, its bill, its hooks; and the forms that stop it or run it again.

use axum::extract::Path;
use axum::response::Redirect;
use maud::{Markup, html};
use protocol::api::{Model, Version};
use protocol::prediction::{CostLine, HookRun};
use protocol::{Credits, ModelRef, Prediction, Problem};
use serde_json::{Value, json};

use crate::api::ApiError;
use crate::cover;
use crate::files;
use crate::model::examples::inputs;
use crate::page::Page;
use crate::panel::{self, Panel, shortened};
use crate::price::{self, Prices};
use crate::time;
use crate::visit::Visit;

/// Longest tail of the logs that is shown, in bytes.
const LOG_BYTES_MAX: usize = 64 << 10;

/// How often a page without scripts looks again while a run goes on.
const REFRESH_SECONDS: u32 = 2;

pub(crate) async fn show(visit: Visit, Path(id): Path<String>) -> Result<Page, ApiError> {
    let prediction = load(&visit, &id).await?;
    let schema = openapi_schema(&visit, &prediction).await;
    let files = files::look_up(&visit, &prediction.output).await;
    let ended = prediction.status.is_terminal();
    let estimate = if ended { None } else { estimate(&visit, &prediction).await };
    let panel = Panel { prediction: &prediction, output_schema: panel::output_schema(&schema), files: &files, base: &visit.base, estimate };
    // The stream is read on this host, whatever name the address has: the page may connect to no other.
    let stream = prediction.urls.stream.as_deref().and_then(|url| url.find("/v1/streams/").map(|at| &url[at..]));
    let body = html! {
        div.crumbs { a href={ "/" (prediction.model) } { (prediction.model) } " / " code { (prediction.id) } }
        div #run data-live=[(!ended).then_some(stream.unwrap_or_default())] {
            div.two.turned {
                div.facts {
                    div.stall {
                        img.cover src=(cover::path(Some(&prediction.version), "")) alt="" width="96" height="48";
                        h1 { (named(&prediction.model)) small { "Run " (shortened(&prediction.id)) } }
                    }
                    (facts(&visit, &prediction))
                    h2 { "Input" }
                    (inputs(&prediction.input, &schema))
                    (bill(prediction.cost, &prediction.cost_lines))
                    (hooks(&prediction.hooks))
                }
                div {
                    (panel.render(&acts(&prediction)))
                    (logs(&prediction))
                }
            }
        }
    };
    let mut page = Page::new(format!("{} · {}", prediction.model, shortened(&prediction.id)), body);
    page.refresh_seconds = (!ended).then_some(REFRESH_SECONDS);
    Ok(page)
}

pub(crate) async fn load(visit: &Visit, id: &str) -> Result<Prediction, ApiError> {
    visit.api.get(&format!("/v1/predictions/{}", checked(id)?)).await
}

pub(crate) async fn cancel(visit: Visit, Path(id): Path<String>) -> Result<Redirect, ApiError> {
    let prediction: Prediction = visit.api.post(&format!("/v1/predictions/{}/cancel", checked(&id)?), &json!({})).await?;
    Ok(Redirect::to(&format!("/p/{}", prediction.id)))
}

pub(crate) async fn rerun(visit: Visit, Path(id): Path<String>) -> Result<Redirect, ApiError> {
    let earlier = load(&visit, &id).await?;
    let reference = format!("{}:{}", earlier.model, earlier.version);
    let again: Prediction =
        visit.api.post("/v1/predictions", &json!({"version": reference, "input": earlier.input, "stream": true})).await?;
    Ok(Redirect::to(&format!("/p/{}", again.id)))
}

/// An id that can stand in a path as it is.
fn checked(id: &str) -> Result<&str, ApiError> {
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { Ok(id) } else { Err(Problem::new(404, "Not found", "").into()) }
}

/// The schema of the version that ran; null when the model is gone or not for this caller, and the output is then shown as it is.
async fn openapi_schema(visit: &Visit, prediction: &Prediction) -> Value {
    let Ok(model) = prediction.model.parse::<ModelRef>() else { return Value::Null };
    let Ok(version) = checked(&prediction.version) else { return Value::Null };
    let path = format!("/v1/models/{}/{}/versions/{version}", model.owner, model.name);
    visit.api.get(&path).await.map_or(Value::Null, |version: Version| version.openapi_schema)
}

/// What the model's runs cost so far, where that is known.
async fn estimate(visit: &Visit, prediction: &Prediction) -> Option<String> {
    let model: ModelRef = prediction.model.parse().ok()?;
    let model: Model = visit.api.get(&format!("/v1/models/{}/{}", model.owner, model.name)).await.ok()?;
    let prices = Prices::load(&visit.api).await.ok()?;
    Some(price::estimate(&model, &prices))
}

fn named(model: &str) -> Markup {
    let (owner, name) = model.split_once('/').unwrap_or(("", model));
    html! { span { (owner) "/" } (name) }
}

fn facts(visit: &Visit, prediction: &Prediction) -> Markup {
    let metric = |name: &str| prediction.metrics.get(name).and_then(Value::as_f64);
    html! {
        dl.facts {
            dt { "Made" } dd { (time::ago(visit.now, prediction.created_at)) " from the " (prediction.source) }
            dt { "Version" } dd { code title=(prediction.version) { (prediction.version.get(..12).unwrap_or(&prediction.version)) } }
            dt { "Hardware" } dd { (prediction.hardware) ", " (prediction.region) @if let Some(runner) = &prediction.runner { " / " (runner) } }
            @if let Some(seconds) = metric("predict_time") { dt { "Predict" } dd { (time::seconds(seconds)) } }
            @if let Some(seconds) = metric("total_time") { dt { "In all" } dd { (time::seconds(seconds)) } }
            @for (name, value) in &prediction.metrics {
                @if name != "predict_time" && name != "total_time" { dt { (name.replace('_', " ")) } dd { (value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)) } }
            }
        }
    }
}

fn acts(prediction: &Prediction) -> Markup {
    html! {
        @if prediction.status.is_terminal() {
            a href={ "/" (prediction.model) "?version=" (prediction.version) "&from=" (prediction.id) } { "Tweak it" }
            form method="post" action={ "/p/" (prediction.id) "/rerun" } { button.link type="submit" { "Run again" } }
        } @else {
            form method="post" action={ "/p/" (prediction.id) "/cancel" } { button.link.stop type="submit" { "Cancel" } }
        }
        button.link.copy type="button" data-copy-address { "Share" }
        a href="#logs" { "Logs" }
    }
}

/// The bill, line by line.
fn bill(cost: Option<Credits>, lines: &[CostLine]) -> Markup {
    html! {
        @if let Some(cost) = cost {
            h2 { "Bill" }
            table.bill {
                @for line in lines {
                    tr { td { (line.meter.replace('_', " ")) } td { (line.quantity) " " (plural(line)) " × $" (line.unit_price) } td { (price::exact(line.amount)) } }
                }
                tr.sum { td { "Charged" } td { @if lines.is_empty() { "nothing was metered" } } td { (price::exact(cost)) } }
            }
        }
    }
}

fn plural(line: &CostLine) -> String {
    if line.quantity == "1" { line.unit.clone() } else { format!("{}s", line.unit.trim_end_matches('s')) }
}

/// The hooks that ran, with what each said.
fn hooks(hooks: &[HookRun]) -> Markup {
    html! {
        @if !hooks.is_empty() {
            h2 { "Hooks" }
            ul.hooks {
                @for hook in hooks {
                    li {
                        p { span.dot.sun { (hook.name) } " " span.quiet { (hook.stage) ": " (hook.outcome) ", " (time::micros(hook.duration_us)) ", " (hook.memory_bytes / 1024) " KiB" } }
                        @if !hook.metrics.is_empty() { p.quiet { @for (name, value) in &hook.metrics { (name) " " (value) " " } } }
                        @if !hook.logs.is_empty() { pre { @for line in &hook.logs { (line) "\n" } } }
                    }
                }
            }
        }
    }
}

fn logs(prediction: &Prediction) -> Markup {
    let text = readable(&prediction.logs);
    html! {
        details.logs #logs open[!text.is_empty() || !prediction.status.is_terminal()] {
            summary { "Logs" }
            @if text.is_empty() && prediction.status.is_terminal() { p.quiet { "The model wrote nothing." } }
            @else { pre tabindex="0" data-logs { (text) } }
        }
    }
}

/// The end of the logs as a terminal would leave it: progress lines that overwrote each other once, and no control sequences.
fn readable(logs: &str) -> String {
    let mut start = logs.len().saturating_sub(LOG_BYTES_MAX);
    while !logs.is_char_boundary(start) {
        start += 1;
    }
    let mut text = if start > 0 { "… only the end of the logs is shown\n".to_owned() } else { String::new() };
    for line in logs[start..].split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let last = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        let mut letters = last.chars();
        while let Some(letter) = letters.next() {
            match letter {
                // ESC [ … letter: <https://ecma-international.org/publications-and-standards/standards/ecma-48/>.
                '\u{1b}' if letters.clone().next() == Some('[') => {
                    letters.by_ref().skip(1).find(|&c| ('\u{40}'..='\u{7e}').contains(&c));
                }
                letter if letter.is_control() && letter != '\t' => {}
                letter => text.push(letter),
            }
        }
        text.push_str(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_read_as_a_terminal_would_leave_them() {
        assert_eq!(readable("\u{1b}[31mred\u{1b}[0m\n 10%\r 50%\r100%\ndone\u{7}"), "red\n100%\ndone");
    }

    #[test]
    fn only_the_end_of_long_logs_is_shown() {
        let shown = readable(&"é\n".repeat(LOG_BYTES_MAX));
        assert!(shown.starts_with('…') && shown.len() < LOG_BYTES_MAX + 100);
    }

    #[test]
    fn an_id_cannot_leave_its_path() {
        for evil in ["../account", "a/b", "a?b", ""] {
            assert!(checked(evil).is_err(), "{evil}");
        }
    }
}
