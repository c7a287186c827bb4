//! Binds the logic to the contract: `feira:hook/post` for whole outputs, `feira:hook/stream-filter` for streams.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package feira:redact;
            world redact {
                include feira:hook/imports@0.1.0;
                export feira:hook/post@0.1.0;
                export feira:hook/stream-filter@0.1.0;
            }
        ",
        world: "feira:redact/redact",
        generate_all,
    });
}

use std::cell::RefCell;

use bindings::exports::feira::hook::post::{self, Action, Outcome};
use bindings::exports::feira::hook::stream_filter::{self, Closing, GuestFilter, Item, Step};
use bindings::feira::hook::config;
use bindings::feira::hook::types::{Context, HookError, Metric};

use crate::{Config, Counts, Filter, redact_document};

struct Redact;

bindings::export!(Redact with_types_in bindings);

impl post::Guest for Redact {
    fn process(_ctx: Context, _input: String, output: String) -> Result<Outcome, HookError> {
        let (replacement, counts) = redact_document(read_config()?, &output).map_err(HookError::Internal)?;
        Ok(Outcome { action: replacement.map_or(Action::Pass, Action::Replace), metrics: metrics(counts) })
    }
}

impl stream_filter::Guest for Redact {
    type Filter = StreamFilter;
}

struct StreamFilter(RefCell<Filter>);

impl GuestFilter for StreamFilter {
    fn open(_ctx: Context, _input: String) -> Result<stream_filter::Filter, HookError> {
        let filter = Filter::new(read_config()?);
        Ok(stream_filter::Filter::new(Self(RefCell::new(filter))))
    }

    fn push(&self, items: Vec<Item>) -> Result<Step, HookError> {
        let filter = &mut *self.0.borrow_mut();
        let was_empty = filter.held_chars() == 0;
        let mut filtered = Vec::with_capacity(items.len());
        for item in &items {
            match item {
                Item::Text(text) => push_text(&mut filtered, filter.push(text)),
                // What is not text ends the text before it.
                Item::Value(value) => {
                    push_text(&mut filtered, filter.finish());
                    filtered.push(Item::Value(value.clone()));
                }
            }
        }
        if was_empty && filter.held_chars() == 0 && same(&items, &filtered) {
            Ok(Step::Pass)
        } else if filtered.is_empty() {
            Ok(Step::Hold)
        } else {
            Ok(Step::Emit(filtered))
        }
    }

    fn finish(&self) -> Result<Closing, HookError> {
        let filter = &mut *self.0.borrow_mut();
        let mut items = Vec::new();
        push_text(&mut items, filter.finish());
        Ok(Closing { items, metrics: metrics(filter.counts()) })
    }
}

/// Adds text to the last item when that is text too: a push answers with as few items as it can.
fn push_text(items: &mut Vec<Item>, text: String) {
    match items.last_mut() {
        _ if text.is_empty() => {}
        Some(Item::Text(last)) => last.push_str(&text),
        _ => items.push(Item::Text(text)),
    }
}

/// Whether both say the same, however the text is cut.
fn same(items: &[Item], filtered: &[Item]) -> bool {
    let mut merged: Vec<Item> = Vec::new();
    for item in items {
        match item {
            Item::Text(text) => push_text(&mut merged, text.clone()),
            Item::Value(value) => merged.push(Item::Value(value.clone())),
        }
    }
    merged.len() == filtered.len()
        && merged.iter().zip(filtered).all(|pair| match pair {
            (Item::Text(a), Item::Text(b)) | (Item::Value(a), Item::Value(b)) => a == b,
            (Item::Text(_), Item::Value(_)) | (Item::Value(_), Item::Text(_)) => false,
        })
}

fn read_config() -> Result<Config, HookError> {
    Config::parse(&config::get()).map_err(HookError::Internal)
}

#[expect(clippy::cast_precision_loss, reason = "an output has far fewer than 2^53 matches")]
fn metrics(counts: Counts) -> Vec<Metric> {
    vec![
        Metric { name: "redacted_emails".to_owned(), value: counts.emails as f64 },
        Metric { name: "redacted_cards".to_owned(), value: counts.cards as f64 },
    ]
}
