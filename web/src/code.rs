//! How to call a model from elsewhere: curl, Python, Node and the command line, filled with real inputs.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::Value;

/// Members that are written on one line, in bytes.
const LINE_BYTES_MAX: usize = 56;

/// The ways of calling that are shown, by the word in the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Curl,
    Cli,
}

impl Language {
    pub const ALL: [Self; 4] = [Self::Python, Self::Node, Self::Curl, Self::Cli];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.word() == word)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Curl => "http",
            Self::Cli => "cli",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Node => "Node",
            Self::Curl => "HTTP",
            Self::Cli => "feira CLI",
        }
    }

    const fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["import", "for", "in", "print"],
            Self::Node => &["import", "from", "const", "for", "await", "of", "new"],
            Self::Curl | Self::Cli => &["curl", "feira", "export", "pip", "npm"],
        }
    }

    /// A shell's line is led by its command; elsewhere a keyword stands where it stands.
    const fn leads_lines(self) -> bool {
        matches!(self, Self::Curl | Self::Cli)
    }
}

/// One call to be written down.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    /// The address of this shop.
    pub base: &'c str,
    /// `owner/name`.
    pub model: &'c str,
    /// In the order in which it is told.
    pub input: &'c [(&'c str, &'c Value)],
    /// Whether the output arrives as running text.
    pub streams: bool,
}

/// What has to be set up once, before any call.
pub(crate) fn setup(base: &str, language: Language) -> String {
    match language {
        Language::Python => format!("pip install replicate\nexport REPLICATE_BASE_URL={base}\nexport REPLICATE_API_TOKEN=fe_…"),
        Language::Node => "npm install replicate\nexport REPLICATE_API_TOKEN=fe_…".to_owned(),
        Language::Curl => "export FEIRA_API_TOKEN=fe_…".to_owned(),
        Language::Cli => format!("export FEIRA_HOST={base}\nexport FEIRA_API_TOKEN=fe_…"),
    }
}

impl Call<'_> {
    pub fn written(&self, language: Language) -> String {
        match language {
            Language::Python => self.python(),
            Language::Node => self.node(),
            Language::Curl => self.curl(),
            Language::Cli => self.cli(),
        }
    }

    fn python(&self) -> String {
        let (model, input) = (self.model, python_members(self.input.iter().copied(), 1));
        if self.streams {
            return format!(
                "import replicate\n\nfor event in replicate.stream(\n    \"{model}\",\n    input={input},\n):\n    print(str(event), end=\"\")\n"
            );
        }
        format!("import replicate\n\noutput = replicate.run(\n    \"{model}\",\n    input={input},\n)\nprint(output)\n")
    }

    fn node(&self) -> String {
        let input = self.json(0);
        let client = format!(
            "import Replicate from \"replicate\";\n\nconst replicate = new Replicate({{ baseUrl: \"{}/v1\" }});\nconst input = {input};\n\n",
            self.base
        );
        if self.streams {
            return format!(
                "{client}for await (const event of replicate.stream(\"{}\", {{ input }})) {{\n  process.stdout.write(event.toString());\n}}\n",
                self.model
            );
        }
        format!("{client}const output = await replicate.run(\"{}\", {{ input }});\nconsole.log(output);\n", self.model)
    }

    fn curl(&self) -> String {
        let body = format!("{{\"input\": {}}}", self.json(1));
        format!(
            "curl {}/v1/models/{}/predictions \\\n  -H \"Authorization: Bearer $FEIRA_API_TOKEN\" \\\n  -H \"Content-Type: application/json\" \\\n  -H \"Prefer: wait\" \\\n  -d {}\n",
            self.base,
            self.model,
            shell(&body)
        )
    }

    fn cli(&self) -> String {
        let mut text = format!("feira run {}", self.model);
        for (name, value) in self.input {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            write!(text, " \\\n  {}", shell(&format!("{name}={value}"))).expect("a string takes all text");
        }
        if self.streams {
            text.push_str(" \\\n  --stream");
        }
        text.push('\n');
        text
    }

    fn json(&self, depth: usize) -> String {
        let members: Vec<String> = self.input.iter().map(|(name, value)| format!("{}: {value}", Value::from(*name))).collect();
        Indent { step: "  ", depth }.lay_out(['{', '}'], &members)
    }
}

/// How far from the left something is written.
struct Indent {
    step: &'static str,
    depth: usize,
}

impl Indent {
    const fn python(depth: usize) -> Self {
        Self { step: "    ", depth }
    }

    /// Members on one line where they fit, else one a line.
    fn lay_out(&self, [open, close]: [char; 2], members: &[String]) -> String {
        let line = members.join(", ");
        if line.len() <= LINE_BYTES_MAX && !line.contains('\n') {
            return format!("{open}{line}{close}");
        }
        let (outer, inner) = (self.step.repeat(self.depth), self.step.repeat(self.depth + 1));
        format!("{open}\n{inner}{}\n{outer}{close}", members.join(&format!(",\n{inner}")))
    }
}

/// One word of a shell's line, quoted where it must be.
fn shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@,+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// JSON as a Python literal.
fn python(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| python(item, depth + 1)).collect();
            Indent::python(depth).lay_out(['[', ']'], &items)
        }
        Value::Object(members) => python_members(members.iter().map(|(name, member)| (name.as_str(), member)), depth),
        Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn python_members<'m>(members: impl Iterator<Item = (&'m str, &'m Value)>, depth: usize) -> String {
    let members: Vec<String> = members.map(|(name, member)| format!("{}: {}", Value::from(name), python(member, depth + 1))).collect();
    Indent::python(depth).lay_out(['{', '}'], &members)
}

/// Code with its keywords and quoted texts set off, and a button that copies it.
pub(crate) fn block(text: &str, language: Language) -> Markup {
    html! {
        div.snippet {
            button.copy type="button" data-copy { "Copy" }
            pre.code tabindex="0" { code { (coloured(text, language)) } }
        }
    }
}

fn coloured(text: &str, language: Language) -> Markup {
    let parts = parts(text);
    let leads = |at: usize| at == 0 || parts[at - 1].ends_with('\n');
    html! {
        @for (at, part) in parts.iter().enumerate() {
            @if part.starts_with(['"', '\'']) { i { (part) } }
            @else if language.keywords().contains(part) && (leads(at) || !language.leads_lines()) { b { (part) } }
            @else { (part) }
        }
    }
}

/// Cuts code into quoted texts, words, and what lies between; joined again they are the code.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let end = match first {
            '"' | '\'' => quoted_end(rest, first),
            _ if word(first) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            _ => rest.find(|c| word(c) || c == '"' || c == '\'').unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}

fn quoted_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call<'c>(input: &'c [(&'c str, &'c Value)]) -> Call<'c> {
        Call { base: "http://localhost:8080", model: "feira/upscale", input, streams: false }
    }

    #[test]
    fn inputs_are_written_in_each_languages_own_words() {
        let (scale, denoise, seed, prompt) = (json!(4), json!(true), json!(null), json!("it's \"so\""));
        let input = [("scale", &scale), ("denoise", &denoise), ("seed", &seed), ("prompt", &prompt)];
        let call = call(&input);
        let python = call.written(Language::Python);
        assert!(python.contains("\"denoise\": True") && python.contains("\"seed\": None"), "{python}");
        let curl = call.written(Language::Curl);
        assert!(curl.contains(r#""prompt": "it'\''s \"so\"""#), "{curl}");
        assert!(call.written(Language::Cli).contains(r#"'prompt=it'\''s "so"'"#));
        assert!(call.written(Language::Node).contains("baseUrl: \"http://localhost:8080/v1\""));
    }

    #[test]
    fn what_fits_on_a_line_stays_on_it_in_its_order() {
        let (b, a) = (json!(1), json!([2, 3]));
        let python = call(&[("b", &b), ("a", &a)]).written(Language::Python);
        assert!(python.contains(r#"input={"b": 1, "a": [2, 3]},"#), "{python}");
    }

    #[test]
    fn a_model_that_streams_is_called_so() {
        let call = Call { streams: true, ..call(&[]) };
        assert!(call.written(Language::Python).contains("replicate.stream("));
        assert!(call.written(Language::Node).contains("for await"));
        assert!(call.written(Language::Cli).contains("--stream"));
    }

    #[test]
    fn colouring_keeps_every_character_and_no_markup() {
        let text = "import x\nprint(\"a \\\" <b>\", 'it')\n";
        assert_eq!(parts(text).concat(), text);
        let page = coloured(text, Language::Python).into_string();
        assert_eq!(coloured("feira run feira/a", Language::Cli).into_string(), "<b>feira</b> run feira/a");
        assert!(page.starts_with("<b>import</b> x") && page.contains(r"&lt;b&gt;"), "{page}");
    }
}
