//! The schema of one field, in words.

use serde_json::{Map, Value};

/// The schema of a field.
#[derive(Clone, Copy)]
pub(super) struct FieldSchema<'a>(pub(super) Option<&'a Map<String, Value>>);

impl<'a> FieldSchema<'a> {
    fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name)
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    fn within(self, name: &str) -> Option<Self> {
        self.get(name)?.as_object().map(|members| Self(Some(members)))
    }

    /// The meaning of the field, and its default in words.
    pub(super) fn description(self) -> (&'a str, &'a str) {
        let text = self.text("description").unwrap_or_default();
        match text.split_once(" Default: ") {
            Some((meaning, default)) => (meaning, default.trim_end_matches('.')),
            None => (text, ""),
        }
    }

    /// The default, if the schema has it as a value.
    pub(super) fn default(self) -> Option<String> {
        let value = self.get("default")?;
        let all = self.within("items").and_then(|items| items.get("enum"));
        if all == Some(value) {
            return Some("all of them".to_owned());
        }
        Some(match value {
            Value::Array(values) => format!("`[{}]`", joined_strings(values)),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        })
    }

    /// The type of its values.
    pub(super) fn kind(self) -> String {
        if let Some(title) = self.text("title") {
            return title.to_owned();
        }
        if self.get("oneOf").is_some() || self.get("enum").is_some() {
            let is_word = |form: &Value| form.get("const").is_some();
            let mut forms = self.get("oneOf").and_then(Value::as_array).into_iter().flatten();
            return if forms.all(is_word) { "enum" } else { "enum, or object" }.to_owned();
        }
        match self.text("type").unwrap_or_default() {
            "array" => {
                let items = self.within("items");
                let kind = items.map(Self::kind).filter(|kind| kind != "object");
                let list =
                    kind.map_or("list".to_owned(), |kind| format!("list of {}", plural(&kind)));
                match (self.get("minItems"), self.get("maxItems")) {
                    (Some(min), _) => format!("{list}, at least {min}"),
                    (_, Some(max)) => format!("{list}, at most {max}"),
                    _ => list,
                }
            }
            "object" => match self.within("additionalProperties") {
                Some(values) if self.get("properties").is_none() => {
                    format!("map to {}", plural(&values.kind()))
                }
                _ => "object".to_owned(),
            },
            "string" => "string".to_owned(),
            "integer" => match (self.get("minimum"), self.get("maximum")) {
                (Some(min), Some(max)) => format!("integer, {min} to {max}"),
                _ => "integer".to_owned(),
            },
            other => other.to_owned(),
        }
    }

    /// The accepted values, each with its meaning, or examples.
    pub(super) fn values(self) -> impl Iterator<Item = String> {
        let items = self.within("items");
        let schemas = [Some(self), items].into_iter().flatten();
        schemas.flat_map(Self::own_values)
    }

    fn own_values(self) -> Vec<String> {
        let described = self.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let mut values: Vec<String> = described
            .filter_map(|value| {
                let word = value.get("const")?.as_str()?;
                let meaning = value.get("description")?.as_str()?;
                Some(format!("`{word}`: {meaning}"))
            })
            .collect();
        if let Some(words) = self.get("enum").and_then(Value::as_array) {
            let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
            values.push(words.collect::<Vec<_>>().join(", "));
        }
        let is_explained = matches!(self.text("title"), Some("duration" | "size"));
        if let Some(examples) = self.get("examples").filter(|_| !is_explained) {
            let examples = examples.as_array().into_iter().flatten();
            let shown = |example: &Value| match example {
                Value::String(text) => format!("`{text}`"),
                Value::Array(values) => format!("`[{}]`", joined_strings(values)),
                Value::Object(members) => {
                    let members = members.iter().map(|(name, value)| {
                        format!("{name}: {}", value.as_str().unwrap_or_default())
                    });
                    format!("`{{{}}}`", members.collect::<Vec<_>>().join(", "))
                }
                other => format!("`{other}`"),
            };
            values.extend(examples.map(|example| format!("Such as {}.", shown(example))));
        }
        values
    }
}

fn plural(kind: &str) -> String {
    match kind.split_once(" of ") {
        // A list of lists, or of values and lists.
        Some((list, of)) if !list.contains(' ') => format!("{list}s of {of}"),
        Some(_) => kind.to_owned(),
        None => format!("{kind}s"),
    }
}

fn joined_strings(values: &[Value]) -> String {
    values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}
