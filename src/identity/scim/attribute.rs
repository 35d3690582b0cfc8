//! SCIM attributes (RFC 7643): where each configured field is in a user resource.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value, json};

use super::document;

/// An attribute of a user. Names ignore case (RFC 7643 §2.1).
#[derive(Clone, Debug, Eq)]
pub(crate) struct Attribute {
    /// URN of the schema extension (RFC 7643 §3.3); `None` for the core schema.
    extension: Option<String>,
    name: String,
    part: Option<String>,
}

/// RFC 7643 §4.3.
const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl Attribute {
    /// Multi-valued attributes of the core schema (RFC 7643 §4.1.2).
    const PLURAL: [&str; 8] =
        ["addresses", "emails", "entitlements", "groups", "ims", "phoneNumbers", "photos", "roles"];

    /// Maps a configured field to its attribute. Common fields have names of their own; others are
    /// SCIM paths: `title`, `name.middleName`, `urn:…:User:department`.
    #[must_use]
    pub(crate) fn from_field(field: &str) -> Self {
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

    /// Whether this is a valid path for a filter (RFC 7644 §3.4.2.2, `attrPath`).
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

    /// Whether this is `userName`.
    #[must_use]
    pub(crate) fn is_user_name(&self) -> bool {
        *self == Self::core("userName", None)
    }

    /// Whether one of the attribute's values in a resource is exactly `value`.
    #[must_use]
    pub(super) fn is(&self, value: &str, resource: &Map<String, Value>) -> bool {
        self.values(resource).any(|found| found == value)
    }

    /// The attribute's string and number values in a resource. Numbers are compared as decimal
    /// strings, like user claims.
    pub(super) fn values<'a>(
        &'a self,
        resource: &'a Map<String, Value>,
    ) -> impl Iterator<Item = Cow<'a, str>> {
        let container = match &self.extension {
            Some(extension) => document::attribute(resource, extension).and_then(Value::as_object),
            None => Some(resource),
        };
        let found = container.and_then(|container| document::attribute(container, &self.name));
        let elements = match found {
            Some(Value::Array(elements)) => elements.as_slice(),
            Some(found) => std::slice::from_ref(found),
            None => &[],
        };
        let part = |element: &'a Value| match &self.part {
            Some(part) => document::attribute(element.as_object()?, part),
            None => Some(element),
        };
        elements.iter().filter_map(part).filter_map(|value| match value {
            Value::String(text) => Some(Cow::Borrowed(text.as_str())),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        })
    }

    /// Sets the attribute in a resource.
    pub(super) fn set(&self, resource: &mut Map<String, Value>, value: &str) {
        let container = match &self.extension {
            None => Some(resource),
            Some(extension) => {
                if let Some(Value::Array(schemas)) = resource.get_mut("schemas")
                    && !schemas.iter().any(|schema| schema == extension)
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
            Some(part)
                if Self::PLURAL.iter().any(|plural| plural.eq_ignore_ascii_case(&self.name)) =>
            {
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

/// As in a filter.
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

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        let are_same = |one: Option<&str>, two: Option<&str>| match (one, two) {
            (Some(one), Some(two)) => one.eq_ignore_ascii_case(two),
            (None, None) => true,
            _ => false,
        };
        self.name.eq_ignore_ascii_case(&other.name)
            && are_same(self.part.as_deref(), other.part.as_deref())
            && are_same(self.extension.as_deref(), other.extension.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_map_to_attributes() {
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
            let attribute = Attribute::from_field(field);
            assert_eq!(attribute.to_string(), filter);
            assert!(attribute.is_sound(), "{field}");
        }
    }

    #[test]
    fn a_field_that_could_change_a_filter_is_not_an_attribute() {
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
            assert!(!Attribute::from_field(field).is_sound(), "{field}");
        }
    }

    #[test]
    fn an_attribute_is_found_only_where_it_was_set() {
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
            Attribute::from_field(field).set(&mut resource, "1815");
            for other in fields {
                assert_eq!(
                    Attribute::from_field(other).is("1815", &resource),
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
            assert_eq!(Attribute::from_field(field).is(value, resource), found, "{field} {value}");
        }
    }

    #[test]
    fn names_are_case_insensitive_and_null_is_absent() {
        let urn = "URN:ietf:params:scim:schemas:extension:ENTERPRISE:2.0:user";
        let resource = json!({
            "UserName": "ada", "EMAILS": [null, {"Value": null}, {"VALUE": "ada@x"}],
            (urn): {"EmployeeNumber": 1815}, "title": null, "Name": {"givenname": "Ada"},
        });
        let resource = resource.as_object().unwrap();
        for (field, value, found) in [
            ("user_name", "ada", true),
            ("USERNAME", "ada", true),
            ("email", "ada@x", true),
            ("email", "null", false),
            ("employee_number", "1815", true),
            ("given_name", "Ada", true),
            ("given_name", "ada", false),
            ("title", "null", false),
            ("title", "", false),
        ] {
            assert_eq!(Attribute::from_field(field).is(value, resource), found, "{field} {value}");
        }
        assert!(Attribute::from_field("UserName").is_user_name());
        assert_eq!(Attribute::from_field("EMAILS.value"), Attribute::from_field("email"));
        assert_ne!(Attribute::from_field("emails"), Attribute::from_field("email"));
    }
}
