//! What a run gave, shown as what it is: running text, pictures, sound, film, files, vectors, or JSON.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::Value;

use crate::files::{FileFact, Files, texts};
use crate::visit::own_path;

/// Numbers of a vector that are drawn.
const BARS_MAX: usize = 512;

/// A run's output and what is needed to show it.
#[derive(Clone, Copy)]
pub(crate) struct Output<'o> {
    pub value: &'o Value,
    /// The version's schema of it, where it could be had.
    pub schema: &'o Value,
    pub files: &'o Files,
    /// The address of this shop.
    pub base: &'o str,
}

/// Whether the pieces of the output make one text.
pub(crate) fn is_running_text(schema: &Value) -> bool {
    let pieces = schema["items"]["type"] == "string" && schema["items"]["format"] != "uri";
    pieces && (schema["x-cog-array-type"] == "iterator" || schema["x-cog-array-display"] == "concatenate")
}

/// The text of an output that is one, or is made of pieces.
pub(crate) fn running_text(value: &Value, schema: &Value) -> Option<String> {
    match value {
        Value::Array(pieces) if is_running_text(schema) => Some(pieces.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

impl Output<'_> {
    pub fn render(&self) -> Markup {
        if let Some(text) = running_text(self.value, self.schema) {
            return html! { pre.text { (text) } };
        }
        let figures: Vec<Markup> = texts(self.value).into_iter().filter_map(|text| self.figure(text)).collect();
        match self.value {
            Value::Null => html! { p.quiet { "This run gave no output." } },
            Value::String(text) if figures.is_empty() => html! { pre.text { (text) } },
            Value::Array(items) if is_vector(items) => vector(items),
            Value::String(_) => html! { div.media { @for figure in figures { (figure) } } },
            Value::Array(items) if figures.len() == items.len() && !items.is_empty() => {
                html! { div.media { @for figure in figures { (figure) } } }
            }
            value => html! {
                @if !figures.is_empty() { div.media { @for figure in figures { (figure) } } }
                pre.json { (serde_json::to_string_pretty(value).unwrap_or_default()) }
            },
        }
    }

    /// The one address that a "Download" could mean.
    pub fn download(&self) -> Option<&str> {
        match self.value {
            Value::String(url) => own_path(self.base, url).filter(|_| self.files.contains_key(url)),
            _ => None,
        }
    }

    /// A text that is an address, shown as what lies there; nothing for any other text.
    fn figure(&self, url: &str) -> Option<Markup> {
        if let Some(path) = own_path(self.base, url).filter(|_| url.contains("/v1/files/")) {
            return Some(own_file(path, self.files.get(url)));
        }
        if let Some(kind) = url.strip_prefix("data:").and_then(|rest| rest.split([';', ',']).next()) {
            return Some(html! {
                figure {
                    @if kind.starts_with("image/") { img src=(url) alt="output picture"; }
                    @else { figcaption { a.file href=(url) download { "Download" } " " span.quiet { (kind) } } }
                }
            });
        }
        let foreign = url.starts_with("https://") || url.starts_with("http://");
        let whole = !url.contains(char::is_whitespace);
        (foreign && whole).then(|| html! { figure { figcaption { a.file href=(url) rel="noopener noreferrer nofollow ugc" { (url) } } } })
    }
}

fn own_file(path: &str, fact: Option<&FileFact>) -> Markup {
    let kind = fact.map_or("", |fact| fact.content_type.as_str());
    let name = fact.and_then(|fact| fact.name.as_deref()).unwrap_or("file");
    html! {
        figure {
            @match kind.split('/').next() {
                Some("image") => { img src=(path) alt={ "output picture " (name) }; },
                Some("audio") => { audio src=(path) controls preload="metadata" {} },
                Some("video") => { video src=(path) controls preload="metadata" {} },
                _ => {},
            }
            figcaption {
                a.file href=(path) download=(name) { (name) }
                @if let Some(bytes) = fact.and_then(|fact| fact.bytes) { " " span.quiet { (size(bytes)) } }
            }
        }
    }
}

/// `214 kB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

fn is_vector(items: &[Value]) -> bool {
    items.len() >= 8 && items.iter().all(Value::is_number)
}

/// A vector: one bar a number, around its zero line, and the numbers themselves below.
fn vector(items: &[Value]) -> Markup {
    let numbers: Vec<f64> = items.iter().take(BARS_MAX).filter_map(Value::as_f64).collect();
    let largest = numbers.iter().fold(f64::MIN_POSITIVE, |largest, number| largest.max(number.abs()));
    let mut path = String::new();
    for (at, number) in numbers.iter().enumerate() {
        write!(path, "M{at}.5 50v{:.1}", -number / largest * 48.0).expect("a string takes all text");
    }
    html! {
        svg.vector viewBox={ "0 0 " (numbers.len()) " 100" } preserveAspectRatio="none" role="img" aria-label={ "a vector of " (items.len()) " numbers" } { path d=(path) {} }
        p.quiet { (items.len()) " numbers" }
        pre.json { (Value::from(items.to_vec())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BASE: &str = "http://localhost:8080";

    fn shown(value: &Value, schema: &Value) -> String {
        let fact = FileFact { content_type: "image/png".to_owned(), bytes: Some(214_000), name: Some("larger.png".to_owned()) };
        let files = Files::from([("http://localhost:8080/v1/files/a/download?x=1".to_owned(), fact)]);
        Output { value, schema, files: &files, base: BASE }.render().into_string()
    }

    #[test]
    fn pieces_of_text_are_joined_only_where_the_schema_says_so() {
        let pieces = json!(["Hel", "lo"]);
        assert!(shown(&pieces, &json!({"items": {"type": "string"}, "x-cog-array-type": "iterator"})).contains(">Hello<"));
        assert!(!shown(&pieces, &json!({"items": {"type": "string"}})).contains("Hello"));
    }

    #[test]
    fn a_picture_of_this_shop_is_shown_and_a_foreign_one_is_a_link() {
        let own = shown(&json!("http://localhost:8080/v1/files/a/download?x=1"), &json!({}));
        assert!(own.contains(r#"<img src="/v1/files/a/download?x=1""#), "{own}");
        assert!(own.contains("214 kB"));
        let foreign = shown(&json!("https://evil.example/a.png"), &json!({}));
        assert!(foreign.contains(r#"<a class="file" href="https://evil.example/a.png""#) && !foreign.contains("<img"), "{foreign}");
    }

    #[test]
    fn hostile_outputs_stay_text() {
        for evil in ["javascript:alert(1)", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</pre><script>"] {
            for value in [json!(evil), json!([evil]), json!({"a": evil}), json!({evil: 1})] {
                let page = shown(&value, &json!({}));
                assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("href"), "{page}");
            }
        }
        let html = shown(&json!("data:text/html,<script>alert(1)</script>"), &json!({}));
        assert!(html.contains("download") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn a_vector_is_drawn() {
        let page = shown(&json!([0.5, -0.5, 0.25, 0.0, 0.1, 0.2, 0.3, 0.4]), &json!({}));
        assert!(page.contains("8 numbers") && page.contains("M0.5 50v-48.0"), "{page}");
    }
}
