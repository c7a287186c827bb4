//! The inputs that a version takes, as its schema names them.

use protocol::VersionConfig;
use serde_json::Value;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'v> {
    schema: &'v Value,
}

impl<'v> Inputs<'v> {
    pub fn of(config: &'v VersionConfig) -> Self {
        Self { schema: config.input_schema() }
    }

    #[cfg(test)]
    pub const fn of_schema(schema: &'v Value) -> Self {
        Self { schema }
    }

    pub fn has(self, name: &str) -> bool {
        self.schema["properties"].get(name).is_some()
    }

    pub fn requires(self, name: &str) -> bool {
        self.schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    }

    /// Whether an input is, or may be, of a type.
    pub fn takes(self, name: &str, kind: &str) -> bool {
        let property = &self.schema["properties"][name];
        let members = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| property[key].as_array()).flatten();
        std::iter::once(property).chain(members).any(|schema| schema["type"] == kind)
    }

    /// The first of several names that is an input of a type.
    pub fn first_that_takes(self, names: &[&'static str], kind: &str) -> Option<&'static str> {
        names.iter().copied().find(|name| self.takes(name, kind))
    }
}
