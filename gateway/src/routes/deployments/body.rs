//! What a deployment is made and changed with, read field by field: everything that is wrong is told at once.

use protocol::Problem;
use protocol::problem::InvalidField;
use registry::Linger;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::problem::Refused;

/// All of it is required, but the last two.
#[derive(Debug, PartialEq, Eq, ToSchema)]
pub(super) struct NewBody {
    #[schema(example = "production")]
    pub name: String,
    /// `owner/name` of the model.
    #[schema(example = "feira/hello-world")]
    pub model: String,
    /// 64 hexadecimal digits.
    pub version: String,
    #[schema(example = "cpu")]
    pub hardware: String,
    /// Kept warm though nobody asks.
    #[schema(minimum = 0, maximum = 5)]
    pub min_instances: u32,
    /// 0 turns it off.
    #[schema(minimum = 0, maximum = 20)]
    pub max_instances: u32,
    /// Refuse versions that their publisher has not signed with a valid key; false when absent.
    #[schema(required = false)]
    pub require_signature: bool,
    /// Spare instances beyond those that are busy, while any is; none when not given.
    #[schema(minimum = 0, maximum = 5)]
    pub buffer_instances: Option<u32>,
    /// How long an instance stays that nobody uses; as long as the runner has it when not given.
    #[schema(minimum = 0, maximum = 86_400)]
    pub idle_seconds: Option<u32>,
}

/// What is left out stays as it is.
#[derive(Debug, PartialEq, Eq, ToSchema)]
pub(super) struct ChangeBody {
    /// 64 hexadecimal digits: another version of the same model.
    pub version: Option<String>,
    pub hardware: Option<String>,
    #[schema(minimum = 0, maximum = 5)]
    pub min_instances: Option<u32>,
    #[schema(minimum = 0, maximum = 20)]
    pub max_instances: Option<u32>,
    pub require_signature: Option<bool>,
    #[schema(minimum = 0, maximum = 5)]
    pub buffer_instances: Option<u32>,
    /// Null is as long as the runner has it.
    #[schema(rename = "idle_seconds", value_type = Option<u32>, minimum = 0, maximum = 86_400)]
    pub linger: Option<Linger>,
}

impl NewBody {
    pub fn read(fields: &Map<String, Value>) -> Result<Self, Refused> {
        let mut reader = Reader { fields, wrong: Vec::new() };
        let (name, model, version) = (reader.required_text("name"), reader.required_text("model"), reader.required_text("version"));
        let hardware = reader.required_text("hardware");
        let (min_instances, max_instances) = (reader.required_count("min_instances"), reader.required_count("max_instances"));
        let require_signature = reader.flag("require_signature").unwrap_or(false);
        let (buffer_instances, idle_seconds) = (reader.count("buffer_instances"), reader.count("idle_seconds"));
        reader.end()?;
        Ok(Self { name, model, version, hardware, min_instances, max_instances, require_signature, buffer_instances, idle_seconds })
    }
}

impl ChangeBody {
    pub fn read(fields: &Map<String, Value>) -> Result<Self, Refused> {
        let mut reader = Reader { fields, wrong: Vec::new() };
        let (version, hardware) = (reader.text("version"), reader.text("hardware"));
        let (min_instances, max_instances) = (reader.count("min_instances"), reader.count("max_instances"));
        let require_signature = reader.flag("require_signature");
        let (buffer_instances, idle_seconds) = (reader.count("buffer_instances"), reader.count("idle_seconds"));
        let linger = fields.contains_key("idle_seconds").then(|| Linger::of(idle_seconds));
        reader.end()?;
        Ok(Self { version, hardware, min_instances, max_instances, require_signature, buffer_instances, linger })
    }
}

/// Reads fields and collects what is wrong with them. What a wrong field reads as is never used: `end` refuses the body.
struct Reader<'f> {
    fields: &'f Map<String, Value>,
    wrong: Vec<InvalidField>,
}

impl Reader<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        match self.given(name)? {
            Value::String(text) => Some(text.clone()),
            _ => self.refuse("invalid_type", name, format!("{name} must be a string")),
        }
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        match self.given(name)? {
            Value::Bool(flag) => Some(*flag),
            _ => self.refuse("invalid_type", name, format!("{name} must be true or false")),
        }
    }

    fn count(&mut self, name: &str) -> Option<u32> {
        let given = self.given(name)?;
        if !given.is_i64() && !given.is_u64() {
            return self.refuse("invalid_type", name, format!("{name} must be an integer"));
        }
        if given.as_i64().is_some_and(|count| count < 0) {
            return self.refuse("number_gte", name, format!("{name} must be greater than or equal to 0"));
        }
        // What is larger than any limit stays that.
        Some(given.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX))
    }

    fn required_text(&mut self, name: &str) -> String {
        self.require(name);
        self.text(name).unwrap_or_default()
    }

    fn required_count(&mut self, name: &str) -> u32 {
        self.require(name);
        self.count(name).unwrap_or_default()
    }

    fn require(&mut self, name: &str) {
        if self.given(name).is_none() {
            self.refuse::<()>("required", "", format!("{name} is required"));
        }
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn refuse<T>(&mut self, kind: &str, field: &str, description: String) -> Option<T> {
        self.wrong.push(InvalidField::new(kind, field, description));
        None
    }

    fn end(self) -> Result<(), Refused> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Problem::invalid("Input validation failed", self.wrong).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(result: Result<impl std::fmt::Debug, Refused>) -> Vec<(String, String)> {
        let Refused(problem) = result.expect_err("the body is wrong");
        problem.invalid_fields.into_iter().map(|field| (field.kind, field.description)).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let body = json!({"name": 7, "model": "a/b", "hardware": "cpu", "min_instances": -1, "max_instances": 1.5});
        let expected = [
            ("invalid_type", "name must be a string"),
            ("required", "version is required"),
            ("number_gte", "min_instances must be greater than or equal to 0"),
            ("invalid_type", "max_instances must be an integer"),
        ];
        let expected: Vec<_> = expected.map(|(kind, description)| (kind.to_owned(), description.to_owned())).into();
        assert_eq!(wrong(NewBody::read(body.as_object().unwrap())), expected);
    }

    #[test]
    fn a_change_names_only_what_it_changes() {
        let body = json!({"min_instances": 2, "version": null});
        let change = ChangeBody::read(body.as_object().unwrap()).unwrap();
        let expected = ChangeBody {
            version: None,
            hardware: None,
            min_instances: Some(2),
            max_instances: None,
            require_signature: None,
            buffer_instances: None,
            linger: None,
        };
        assert_eq!(change, expected);
        let lingers = |body: &Value| ChangeBody::read(body.as_object().unwrap()).unwrap().linger;
        assert_eq!(lingers(&json!({"idle_seconds": 9})), Some(Linger::Seconds(9)));
        assert_eq!(lingers(&json!({"idle_seconds": null})), Some(Linger::AsTheRunnerHasIt));
        assert_eq!(wrong(ChangeBody::read(json!({"hardware": []}).as_object().unwrap())).len(), 1);
    }
}
