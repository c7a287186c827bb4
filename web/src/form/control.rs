//! The markup of one field: label, quiet hint, control, help, and what was wrong.

use maud::{Markup, html};
use serde_json::Number;

use super::field::{Bounds, Field, Kind};
use super::typed::{Typed, written};

/// One field about to be drawn.
struct Control<'f> {
    field: &'f Field,
    id: String,
    typed: &'f str,
    /// The ids of the notes that belong to it.
    notes: Option<String>,
    invalid: bool,
}

pub(super) fn render(field: &Field, at: usize, typed: &Typed, errors: &[&str]) -> Markup {
    let id = format!("f{at}");
    let mut notes = Vec::new();
    if !errors.is_empty() {
        notes.push(format!("{id}-error"));
    }
    if field.help.is_some() {
        notes.push(format!("{id}-help"));
    }
    let notes = (!notes.is_empty()).then(|| notes.join(" "));
    let control = Control { field, typed: typed.get(&field.name), notes, invalid: !errors.is_empty(), id };
    html! {
        div.field.bad[control.invalid] {
            @if field.kind == Kind::Boolean { (checkbox(&control)) }
            @else {
                label for=(control.id) { (field.label) @if field.required { span.must { "required" } } }
                span.hint { (hint(field)) }
                (input(&control))
            }
            @if !errors.is_empty() {
                p.error id={ (control.id) "-error" } role="alert" { @for error in errors { (error) " " } }
            }
            @if let Some(help) = &field.help { p.help id={ (control.id) "-help" } { (help) } }
        }
    }
}

fn hint(field: &Field) -> String {
    match &field.kind {
        Kind::Integer(bounds) | Kind::Number(bounds) => match bounds.words() {
            Some(words) => format!("{} · {words}", field.kind.name()),
            None => field.kind.name().to_owned(),
        },
        Kind::LongText => "text".to_owned(),
        Kind::List => "list · JSON, such as [\"a\", \"b\"]".to_owned(),
        Kind::Object => "object · JSON, such as {\"a\": 1}".to_owned(),
        Kind::Secret => "secret · sent with this run, shown nowhere".to_owned(),
        Kind::Text | Kind::Choice(_) | Kind::Boolean | Kind::File(_) | Kind::Any => field.kind.name().to_owned(),
    }
}

fn input(control: &Control<'_>) -> Markup {
    let Control { field, id, typed, notes, invalid } = control;
    let name = format!("input.{}", field.name);
    let invalid = invalid.then_some("true");
    let notes = notes.as_deref();
    match &field.kind {
        Kind::Text => {
            html! { input id=(id) type="text" name=(name) value=(typed) required[field.required] aria-invalid=[invalid] aria-describedby=[notes]; }
        }
        Kind::Secret => {
            html! { input id=(id) type="password" name=(name) autocomplete="off" required[field.required] aria-invalid=[invalid] aria-describedby=[notes]; }
        }
        // The parser drops the first line break, so one is put there for it.
        Kind::LongText => {
            html! { textarea id=(id) name=(name) rows="3" required[field.required] aria-invalid=[invalid] aria-describedby=[notes] { "\n" (typed) } }
        }
        Kind::List | Kind::Object | Kind::Any => {
            html! { textarea.mono id=(id) name=(name) rows="2" spellcheck="false" aria-invalid=[invalid] aria-describedby=[notes] { "\n" (typed) } }
        }
        Kind::Integer(bounds) => number(control, &name, bounds, "1", "1"),
        Kind::Number(bounds) => number(control, &name, bounds, "any", fine_step(bounds)),
        Kind::Choice(choices) => html! {
            select id=(id) name=(name) aria-invalid=[invalid] aria-describedby=[notes] {
                @if !choices.iter().any(|choice| written(choice) == *typed) { option value="" { "choose" } }
                @for choice in choices { @let text = written(choice); option value=(text) selected[text == *typed] { (text) } }
            }
        },
        Kind::File(accept) => html! {
            div.drop {
                input id=(id) type="file" name={ "file." (field.name) } accept=[accept.as_deref()] aria-invalid=[invalid] aria-describedby=[notes];
                span { "Drop a file, or " u { "choose one" } }
            }
            input.address type="text" inputmode="url" name=(name) value=(typed) placeholder="or paste an address: https://…" aria-label={ (field.label) ", as an address" };
        },
        Kind::Boolean => checkbox(control),
    }
}

fn checkbox(control: &Control<'_>) -> Markup {
    html! {
        label.check for=(control.id) {
            input id=(control.id) type="checkbox" name={ "input." (control.field.name) } checked[control.typed == "true"] aria-describedby=[control.notes.as_deref()];
            (control.field.label)
        }
    }
}

/// A number; with both bounds it also has a slider, which scripts keep in step with it.
fn number(control: &Control<'_>, name: &str, bounds: &Bounds, step: &str, slide: &str) -> Markup {
    let Control { field, id, typed, notes, invalid } = control;
    let text = |bound: &Option<Number>| bound.as_ref().map(ToString::to_string);
    let (minimum, maximum) = (text(&bounds.minimum), text(&bounds.maximum));
    let slides = minimum.is_some() && maximum.is_some();
    html! {
        div.slider[slides] {
            @if slides {
                input type="range" min=[&minimum] max=[&maximum] step=(slide) value=(typed) aria-label={ (field.label) ", slider" };
            }
            input id=(id) type="number" name=(name) min=[&minimum] max=[&maximum] step=(step) value=(typed) required[field.required]
                aria-invalid=[invalid.then_some("true")] aria-describedby=[notes.as_deref()];
        }
    }
}

/// A slider's step that gives it some hundred places.
fn fine_step(bounds: &Bounds) -> &'static str {
    let bound = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64).unwrap_or(0.0);
    match bound(&bounds.maximum) - bound(&bounds.minimum) {
        ..=2.0 => "0.01",
        ..=20.0 => "0.1",
        _ => "1",
    }
}
