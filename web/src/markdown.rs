//! A publisher's README as safe HTML: rendered by comrak, then cleaned by ammonia.

use std::borrow::Cow;

use ammonia::{Builder, UrlRelative};
use comrak::nodes::NodeValue;
use comrak::{Arena, Options, format_html, parse_document};
use maud::{Markup, PreEscaped};

/// Renders Markdown. Headings start at the second level, for the page has its own first; pictures of other hosts become their words,
/// for the page may not load them.
pub(crate) fn render(markdown: &str, base: &str) -> Markup {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    // READMEs hold HTML too; ammonia decides what of it stays.
    options.render.r#unsafe = true;
    let arena = Arena::new();
    let document = parse_document(&arena, markdown, &options);
    for node in document.descendants() {
        if let NodeValue::Heading(heading) = &mut node.data.borrow_mut().value {
            heading.level = (heading.level + 1).min(6);
        }
    }
    let mut dirty = String::new();
    format_html(document, &options, &mut dirty).expect("a string takes all text");
    let base = base.to_owned();
    let clean = Builder::default()
        .url_relative(UrlRelative::PassThrough)
        .link_rel(Some("noopener noreferrer nofollow ugc"))
        .attribute_filter(move |element, attribute, value| match (element, attribute) {
            ("img", "src") => crate::visit::own_path(&base, value).map(|path| Cow::Owned(path.to_owned())),
            // A path within the publisher's project leads nowhere here.
            ("a", "href") => is_address(value).then_some(Cow::Borrowed(value)),
            _ => Some(Cow::Borrowed(value)),
        })
        .clean(&dirty)
        .to_string();
    PreEscaped(clean)
}

fn is_address(link: &str) -> bool {
    ["https://", "http://", "mailto:", "#", "/"].iter().any(|start| link.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKERS: [&str; 15] = [
        "<script",
        "<svg",
        "<iframe",
        "<form",
        "<style",
        "<base",
        "<meta",
        "onerror=",
        "onload=",
        "href=\"jav",
        "href=\"data",
        "src=",
        "style=",
        "class=",
        "id=",
    ];

    #[test]
    fn a_readme_is_rendered_below_the_pages_own_heading() {
        let page = render("# Upscale\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n`x`", "http://localhost").into_string();
        assert!(page.contains("<h2>") && page.contains("<table>") && page.contains("<code>x</code>"), "{page}");
    }

    #[test]
    fn a_hostile_readme_never_becomes_executable() {
        let corpus = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "[x](javascript:alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "<svg onload=alert(1)><script>alert(1)</script></svg>",
            "<iframe src=https://evil.example></iframe>",
            "<a href=\"jav&#x09;ascript:alert(1)\">x</a>",
            "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
            "<form action=/signout method=post><button>x</button></form>",
            "<style>body{display:none}</style>",
            "![x](https://evil.example/track.png)",
            "<p style=\"position:fixed\" class=\"btn\" id=\"main\">x</p>",
            "<base href=https://evil.example>",
            "<meta http-equiv=refresh content=0;url=https://evil.example>",
        ];
        for evil in corpus {
            let page = render(evil, "http://localhost").into_string();
            for marker in MARKERS {
                assert!(!page.contains(marker), "{marker} in {page} from {evil}");
            }
        }
    }
}
