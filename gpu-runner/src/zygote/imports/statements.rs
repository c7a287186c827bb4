//! The statements at the top level of a Python module, as far as they are imports.

use super::Import;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Import(Import),
    /// Defines something, and neither reads nor changes anything else.
    Harmless,
    /// Anything: what comes after it may depend on it.
    Other,
}

pub(super) fn statements(text: &str) -> Vec<Statement> {
    logical_lines(text).iter().flat_map(|line| line.split(';')).map(str::trim).filter(|text| !text.is_empty()).flat_map(read).collect()
}

/// A statement; `import a, b` is two.
fn read(statement: &str) -> Vec<Statement> {
    if let Some(modules) = statement.strip_prefix("import ") {
        let named = modules.split(',').map(without_alias);
        return named.map(|module| module.map_or(Statement::Other, |module| Statement::Import(Import(module, Vec::new())))).collect();
    }
    if let Some((module, names)) = statement.strip_prefix("from ").and_then(|rest| rest.split_once(" import")) {
        return vec![read_from(module, names).map_or(Statement::Other, Statement::Import)];
    }
    vec![if is_harmless(statement) { Statement::Harmless } else { Statement::Other }]
}

fn read_from(module: &str, names: &str) -> Option<Import> {
    let module = module.replace(' ', "");
    if !module.split('.').all(|part| part.is_empty() || is_name(part)) {
        return None;
    }
    let names = names.trim().trim_start_matches('(').trim_end_matches(')');
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "*");
    Some(Import(module, names.map(without_alias).collect::<Option<_>>()?))
}

/// `a.b as c` is `a.b`.
fn without_alias(text: &str) -> Option<String> {
    let name = text.split_whitespace().next()?;
    name.split('.').all(is_name).then(|| name.to_owned())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// A definition, or a name for something that is written out. Strings have been taken out, and with them a module's description.
fn is_harmless(statement: &str) -> bool {
    let is_definition = ["def ", "async def ", "class "].iter().any(|word| statement.starts_with(word));
    let is_plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || " _.+-\"{}:,".contains(c)) && !value.contains(" for ");
    let constant = statement.split_once('=').filter(|(name, _)| name.split(':').next().is_some_and(|name| is_name(name.trim())));
    is_definition || statement == STRING || constant.is_some_and(|(_, value)| is_plain(value))
}

/// Stands for every string.
const STRING: &str = "\"\"";

/// The lines at the top level, those that go on put together, without comments and with every string emptied.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut depth = 0_u32;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(quote) = ["\"\"\"", "'''", "\"", "'"].iter().find(|quote| rest.starts_with(**quote)) {
            rest = after_string(&rest[quote.len()..], quote);
            line.push_str(STRING);
            continue;
        }
        rest = &rest[next.len_utf8()..];
        match next {
            '#' => rest = &rest[rest.find('\n').unwrap_or(rest.len())..],
            '\\' if rest.starts_with('\n') => rest = &rest[1..],
            '\r' => {}
            '\n' if depth == 0 => lines.push(std::mem::take(&mut line)),
            '\n' => line.push(' '),
            _ => {
                depth = match next {
                    '(' | '[' | '{' => depth + 1,
                    ')' | ']' | '}' => depth.saturating_sub(1),
                    _ => depth,
                };
                line.push(next);
            }
        }
    }
    lines.push(line);
    lines.retain(|line| !line.starts_with([' ', '\t']) && !line.is_empty());
    lines
}

fn after_string<'a>(text: &'a str, quote: &str) -> &'a str {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if let Some(after) = rest.strip_prefix(quote) {
            return after;
        }
        let mut letters = rest.chars();
        let first = letters.next().map_or(1, char::len_utf8);
        at += if rest.starts_with('\\') { first + letters.next().map_or(0, char::len_utf8) } else { first };
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(module: &str, names: &[&str]) -> Statement {
        Statement::Import(Import(module.to_owned(), names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn strings_comments_and_long_lines_are_seen_through() {
        let text = "'''doc\nimport a\n'''\nx = 'it\\'s' # import b\nfrom c \\\n  import d\nf(\nimport_e\n)\nimport g; import h # i\n";
        let expected =
            [Statement::Harmless, Statement::Harmless, import("c", &["d"]), Statement::Other, import("g", &[]), import("h", &[])];
        assert_eq!(statements(text), expected);
    }

    #[test]
    fn odd_texts_are_read_to_their_end() {
        for text in
            ["", "'", "\"\"\"", "import", "import ,", "from import", "from . import *", "x = '\\", "é = 'ü\\é'", "((((", "))))", "\\"]
        {
            statements(text);
        }
        assert_eq!(statements("import 1a"), [Statement::Other]);
        assert_eq!(statements("from ..a import *"), [import("..a", &[])]);
    }

    #[test]
    fn only_what_is_written_out_is_a_constant() {
        for harmless in ["A = 'x'", "B: int = 3", "C = {'a': 1, \"b\": D}", "class E(F):", "def g(x=3): pass"] {
            assert_eq!(statements(harmless), [Statement::Harmless], "{harmless}");
        }
        for other in ["a.b = 1", "A['x'] = 1", "A = f()", "A = [b for b in c]", "A += 1", "@decorated", "with a:", "raise X", "A = b[0]"] {
            assert_eq!(statements(other), [Statement::Other], "{other}");
        }
    }
}
