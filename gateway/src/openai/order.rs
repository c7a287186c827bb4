//! What is asked of a version: the input of a prediction, and the names by which the caller knows its parts.

use protocol::problem::InvalidField;
use serde_json::{Map, Value};

use crate::prediction::Refusal;

#[derive(Debug, Default)]
pub(crate) struct Order {
    pub input: Map<String, Value>,
    /// Inputs and the parameters that they were made from.
    made_from: Vec<(&'static str, &'static str)>,
}

impl Order {
    /// Fills an input with what the caller said under another name.
    pub fn put(&mut self, input: &'static str, value: impl Into<Value>, parameter: &'static str) {
        self.input.insert(input.to_owned(), value.into());
        self.made_from.push((input, parameter));
    }

    /// A refusal that names the caller's parameters instead of the version's inputs.
    pub fn in_callers_words(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::InvalidInput(fields) => Refusal::InvalidInput(fields.into_iter().map(|field| self.renamed(field)).collect()),
            other => other,
        }
    }

    fn renamed(&self, field: InvalidField) -> InvalidField {
        let input = field.field.strip_prefix("input.").and_then(|path| path.split('.').next());
        match self.made_from.iter().find(|(name, _)| Some(*name) == input) {
            Some((_, parameter)) => InvalidField { field: format!("input.{parameter}"), ..field },
            None => field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_of_the_parameter_that_the_caller_sent() {
        let mut order = Order::default();
        order.put("max_new_tokens", 9_000, "max_tokens");
        let wrong = |field: &str| InvalidField::new("number_lte", field, "Must be less than or equal to 1024");
        let refusal = Refusal::InvalidInput(vec![wrong("input.max_new_tokens"), wrong("input.top_k"), wrong("input")]);
        let Refusal::InvalidInput(fields) = order.in_callers_words(refusal) else { panic!("another refusal") };
        let named: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(named, ["input.max_tokens", "input.top_k", "input"]);
    }
}
