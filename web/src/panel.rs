//! The panel of a run: its state, what it gave, what it cost and where its time went.

use maud::{Markup, html};
use protocol::{Prediction, Status};
use serde_json::Value;

use crate::files::Files;
use crate::output::{Output, is_running_text, running_text};
use crate::price;
use crate::waterfall;

/// A run and what is needed to show it.
pub(crate) struct Panel<'p> {
    pub prediction: &'p Prediction,
    pub output_schema: &'p Value,
    pub files: &'p Files,
    pub base: &'p str,
    /// What it is likely to cost, until its cost is known.
    pub estimate: Option<String>,
}

impl Panel<'_> {
    /// `acts` stand at the foot of the panel.
    pub fn render(&self, acts: &Markup) -> Markup {
        let prediction = self.prediction;
        let output = Output { value: &prediction.output, schema: self.output_schema, files: self.files, base: self.base };
        html! {
            section.out aria-label="Run" {
                (self.state())
                div.result aria-live="polite" {
                    @match prediction.status {
                        Status::Starting | Status::Processing => (self.arriving()),
                        Status::Failed | Status::Canceled => {
                            (fault(prediction))
                            @if !prediction.output.is_null() { (output.render()) }
                        },
                        Status::Succeeded if prediction.data_removed => p.quiet { "Input and output of this run were removed after their time." },
                        Status::Succeeded => (output.render()),
                    }
                }
                @if let Some(timings) = prediction.timings.as_ref().filter(|_| prediction.status.is_terminal()) { (waterfall::draw(timings)) }
                div.acts {
                    @if let Some(path) = output.download() { a href=(path) download { "Download" } }
                    (acts)
                }
            }
        }
    }

    fn state(&self) -> Markup {
        let prediction = self.prediction;
        let runner = prediction.runner.as_ref().map_or_else(String::new, |runner| format!(" / {runner}"));
        html! {
            div.status #state {
                (dot(prediction))
                code title=(prediction.id) { (shortened(&prediction.id)) }
                span.where { (prediction.region) (runner) }
                @match (prediction.cost, &self.estimate) {
                    (Some(cost), _) => strong { (price::exact(cost)) },
                    (None, Some(estimate)) => strong.about { (estimate) },
                    (None, None) => {},
                }
            }
        }
    }

    /// What stands where the output will: the text so far, and a word on what is waited for.
    fn arriving(&self) -> Markup {
        let prediction = self.prediction;
        let so_far = running_text(&prediction.output, self.output_schema).unwrap_or_default();
        html! {
            pre.text.live data-text[is_running_text(self.output_schema)] { (so_far) }
            p.waiting { (waiting(prediction)) }
        }
    }
}

fn waiting(prediction: &Prediction) -> String {
    match (prediction.status, prediction.queue_position) {
        (Status::Processing, _) => "Running. The output will stand here.".to_owned(),
        (_, Some(0)) => "Next in the queue: it runs as soon as a slot is free.".to_owned(),
        (_, Some(ahead)) => match prediction.queue_seconds {
            Some(seconds) => format!("{ahead} ahead in the queue: it starts in about {seconds:.0} s."),
            None => format!("{ahead} ahead in the queue: it runs as soon as a slot is free."),
        },
        (_, None) => format!("Getting the model ready on {}. A cold start is not charged.", prediction.hardware),
    }
}

/// A word and a coloured dot for the state of a run.
pub(crate) fn dot(prediction: &Prediction) -> Markup {
    let (class, word) = match prediction.status {
        Status::Starting => match prediction.queue_position {
            Some(0) => ("cold", "queued, next".to_owned()),
            Some(ahead) => ("cold", format!("queued, {ahead} ahead")),
            None => ("cold", "starting".to_owned()),
        },
        Status::Processing => ("run", "running".to_owned()),
        Status::Succeeded => ("ok", "succeeded".to_owned()),
        Status::Failed => ("bad", "failed".to_owned()),
        Status::Canceled => ("off", "canceled".to_owned()),
    };
    html! { span class={ "dot " (class) } { (word) } }
}

/// Why a run ended without its output, in words, and what it cost.
fn fault(prediction: &Prediction) -> Markup {
    let code = prediction.error_code.as_deref();
    let words = match (prediction.status, code) {
        (_, Some("setup_failed")) => "The model could not start. Its logs say why; nothing was charged.",
        (_, Some("input_refused")) => "The model cannot take this input; it says why. Nothing was charged.",
        (_, Some("oom")) => "The model ran out of memory. Try a smaller input; nothing was charged.",
        (_, Some("timeout")) => "The run reached its time limit. Ask for less at once.",
        (_, Some("killed")) => "The model's process ended in the middle of the run. Nothing was charged; run it again.",
        (_, Some("runner_lost")) => "The machine that ran it went away. Nothing was charged; run it again.",
        (_, Some("no_capacity")) => "No machine was free in time. Nothing was charged; run it again later.",
        (_, Some("deadline")) => "The deadline that was set for this run passed.",
        (Status::Canceled, _) => "This run was stopped before its end.",
        _ => "The model reported an error. Nothing was charged.",
    };
    html! {
        div.fault role="status" {
            p { (words) @if let Some(code) = code { " " code { (code) } } }
            @if let Some(error) = &prediction.error { pre { (error) } }
        }
    }
}

/// An id's tail, where its random part is.
pub(crate) fn shortened(id: &str) -> String {
    match id.char_indices().nth_back(11) {
        Some((at, _)) if at > 0 => format!("…{}", &id[at..]),
        _ => id.to_owned(),
    }
}

/// The version's schema of its output, or null.
pub(crate) fn output_schema(openapi_schema: &Value) -> &Value {
    &openapi_schema["components"]["schemas"]["Output"]
}
