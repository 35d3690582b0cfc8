//! Attributes of a user (RFC 7643): where each field of a record stands in a resource.

use std::fmt;

use serde_json::{Map, Value, json};

/// An attribute that a field of the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// The schema extension that it belongs to (RFC 7643 §3.3).
    extension: Option<String>,
    name: String,
    part: Option<String>,
}

/// RFC 7643 §4.3.
const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl Attribute {
    /// Attributes of the core schema that have several values (RFC 7643 §4.1.2).
    const PLURAL: [&str; 8] =
        ["addresses", "emails", "entitlements", "groups", "ims", "phoneNumbers", "photos", "roles"];

    /// The attribute that this field stands for. Common ones have names of their own; others are
    /// written as SCIM has them: `title`, `name.middleName`, `urn:…:User:department`.
    #[must_use]
    pub(crate) fn of_field(field: &str) -> Self {
        match field {
            "user_name" => Self::core("userName", None),
            "email" => Self::core("emails", Some("value")),
            "external_id" => Self::core("externalId", None),
            "display_name" => Self::core("displayName", None),
            "given_name" => Self::core("name", Some("givenName")),
            "family_name" => Self::core("name", Some("familyName")),
            "employee_number" => Self {
                extension: Some(ENTERPRISE_USER.to_owned()),
                ..Self::core("employeeNumber", None)
            },
            other => {
                let (extension, path) = match other.rsplit_once(':') {
                    Some((extension, path)) => (Some(extension.to_owned()), path),
                    None => (None, other),
                };
                let (name, part) = match path.split_once('.') {
                    Some((name, part)) => (name, Some(part)),
                    None => (path, None),
                };
                Self { extension, ..Self::core(name, part) }
            }
        }
    }

    fn core(name: &str, part: Option<&str>) -> Self {
        Self { extension: None, name: name.to_owned(), part: part.map(str::to_owned) }
    }

    /// Whether this is a path that a filter may hold (RFC 7644 §3.4.2.2, `attrPath`).
    #[must_use]
    pub(crate) fn is_sound(&self) -> bool {
        let is_name = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte))
        };
        let is_urn = |urn: &str| {
            urn.starts_with("urn:")
                && urn.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        };
        is_name(&self.name)
            && self.part.as_deref().is_none_or(is_name)
            && self.extension.as_deref().is_none_or(is_urn)
    }

    /// Whether it is the user's unique name.
    #[must_use]
    pub(crate) fn is_user_name(&self) -> bool {
        *self == Self::core("userName", None)
    }

    /// Whether it has exactly this value in a resource; if it has several, one of them.
    #[must_use]
    pub(super) fn is(&self, value: &str, resource: &Map<String, Value>) -> bool {
        let container = match &self.extension {
            Some(extension) => resource.get(extension).and_then(Value::as_object),
            None => Some(resource),
        };
        let Some(found) = container.and_then(|container| container.get(&self.name)) else {
            return false;
        };
        let part_is = |found: &Value| match &self.part {
            Some(part) => found.get(part).is_some_and(|found| is_text(found, value)),
            None => is_text(found, value),
        };
        match found {
            Value::Array(elements) => elements.iter().any(part_is),
            found => part_is(found),
        }
    }

    /// Gives it this value in a resource.
    pub(super) fn set(&self, resource: &mut Map<String, Value>, value: &str) {
        let container = match &self.extension {
            None => Some(resource),
            Some(extension) => {
                if let Some(Value::Array(schemas)) = resource.get_mut("schemas")
                    && !schemas.iter().any(|own| own == extension)
                {
                    schemas.push(json!(extension));
                }
                resource.entry(extension).or_insert_with(|| json!({})).as_object_mut()
            }
        };
        let Some(container) = container else { return };
        match &self.part {
            None => {
                container.insert(self.name.clone(), json!(value));
            }
            Some(part) if Self::PLURAL.contains(&self.name.as_str()) => {
                container.insert(self.name.clone(), json!([{part: value, "primary": true}]));
            }
            Some(part) => {
                let whole = container.entry(&self.name).or_insert_with(|| json!({}));
                if let Value::Object(parts) = whole {
                    parts.insert(part.clone(), json!(value));
                }
            }
        }
    }
}

/// As a filter names it.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(extension) = &self.extension {
            write!(f, "{extension}:")?;
        }
        f.write_str(&self.name)?;
        match &self.part {
            Some(part) => write!(f, ".{part}"),
            None => Ok(()),
        }
    }
}

/// Compared exactly; integers as their decimal text, as in tokens.
fn is_text(found: &Value, text: &str) -> bool {
    match found {
        Value::String(found) => found == text,
        Value::Number(found) => found.to_string() == text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_for_attributes() {
        for (field, filter) in [
            ("user_name", "userName"),
            ("email", "emails.value"),
            ("external_id", "externalId"),
            (
                "employee_number",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber",
            ),
            ("title", "title"),
            ("name.middleName", "name.middleName"),
            ("urn:example:1.0:User:badge.number", "urn:example:1.0:User:badge.number"),
        ] {
            let attribute = Attribute::of_field(field);
            assert_eq!(attribute.to_string(), filter);
            assert!(attribute.is_sound(), "{field}");
        }
    }

    #[test]
    fn what_could_change_the_meaning_of_a_filter_is_no_attribute() {
        for field in [
            "",
            "a b",
            "a\"",
            "a eq 1 or b",
            "1a",
            "a.b.c",
            "a..b",
            ".a",
            "a[b]",
            "é",
            "x:a",
            "urn:a b:c",
        ] {
            assert!(!Attribute::of_field(field).is_sound(), "{field}");
        }
    }

    #[test]
    fn an_attribute_is_found_where_it_was_set_and_nowhere_else() {
        let fields = [
            "user_name",
            "email",
            "given_name",
            "employee_number",
            "title",
            "urn:example:1.0:User:badge.number",
        ];
        for field in fields {
            let mut resource = Map::new();
            Attribute::of_field(field).set(&mut resource, "1815");
            for other in fields {
                assert_eq!(
                    Attribute::of_field(other).is("1815", &resource),
                    other == field,
                    "{field} {other}"
                );
            }
        }
    }

    #[test]
    fn values_are_compared_exactly() {
        let resource = json!({
            "userName": "ada",
            "emails": [{"value": "ada@x"}, {"value": "countess@x", "primary": true}, {}, "z@x"],
            "number": 1815, "flag": true, "list": ["a", "b"],
        });
        let resource = resource.as_object().unwrap();
        for (field, value, found) in [
            ("user_name", "ada", true),
            ("user_name", "Ada", false),
            ("user_name", "ada ", false),
            ("user_name", "", false),
            ("email", "ada@x", true),
            ("email", "countess@x", true),
            ("email", "z@x", false),
            ("number", "1815", true),
            ("number", "1815.0", false),
            ("flag", "true", false),
            ("list", "b", true),
            ("missing", "", false),
            ("userName.value", "ada", false),
        ] {
            assert_eq!(Attribute::of_field(field).is(value, resource), found, "{field} {value}");
        }
    }
}
