//! Puts a prompt into a template, in one pass: what a caller writes is never read as a placeholder.

/// Replaces every `{prompt}` and `{system}` of the template.
pub fn apply(template: &str, prompt: &str, system: &str) -> String {
    let mut text = String::with_capacity(template.len() + prompt.len() + system.len());
    let mut rest = template;
    while let Some(brace) = rest.find('{') {
        text.push_str(&rest[..brace]);
        rest = &rest[brace..];
        if let Some(after) = rest.strip_prefix("{prompt}") {
            text.push_str(prompt);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{system}") {
            text.push_str(system);
            rest = after;
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

/// Whether the template has a place for the system prompt.
pub fn takes_system(template: &str) -> bool {
    template.contains("{system}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_in_the_prompt_stays_text() {
        let text = apply("<s>{system}</s>{prompt}!", "say {system} and {prompt}", "be brief");
        assert_eq!(text, "<s>be brief</s>say {system} and {prompt}!");
    }

    #[test]
    fn braces_that_name_nothing_stay() {
        assert_eq!(apply("{a} {{prompt}} {", "x", ""), "{a} {x} {");
    }
}
