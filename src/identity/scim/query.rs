//! The user that is looked up, and the one that is created if there is none.

use serde_json::{Map, Value, json};

use super::{Attribute, NotFound, Provisioning, ScimSettings, document};
use crate::identity::user::{User, UserSelector};
use crate::json::Json;
use crate::refusal::clipped;

/// Identifies a user by the value of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserKey {
    /// Name of the field in the configuration.
    pub field: String,
    /// Value of the user claim.
    pub value: String,
    /// Whether the user may be created.
    pub may_be_created: bool,
}

/// A user to look up in the directory.
#[derive(Clone, Debug)]
pub(crate) struct UserQuery {
    /// The user to find.
    pub key: UserKey,
    /// The user to create if there is none; `None` to create none.
    pub new_user: Option<NewUser>,
}

/// A user who may have to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    /// The SCIM resource, or why it cannot be made.
    pub resource: Result<Map<String, Value>, NotFound>,
}

impl ScimSettings {
    /// The key under which a user is cached.
    #[must_use]
    pub(crate) fn key(&self, selector: UserSelector<'_>) -> UserKey {
        UserKey {
            field: selector.field.to_owned(),
            value: selector.value.to_owned(),
            // Accounts of services are never created automatically.
            may_be_created: self.provisioning.is_some() && !selector.is_service,
        }
    }

    /// The query for a user. No user is created under a name that `is_taken`.
    #[must_use]
    pub(crate) fn query(
        &self,
        key: UserKey,
        selector: UserSelector<'_>,
        is_taken: impl Fn(&str) -> bool,
    ) -> UserQuery {
        let provisioning = self.provisioning.as_ref().filter(|_| key.may_be_created);
        let new_user = provisioning.map(|provisioning| provisioning.new_user(selector, is_taken));
        UserQuery { new_user, key }
    }
}

impl UserKey {
    /// Whether the value is the `userName`.
    pub(super) fn is_name(&self) -> bool {
        Attribute::from_field(&self.field).is_user_name()
    }

    /// The key for the user with this value as `userName`.
    pub(super) fn as_name(&self) -> Self {
        Self { field: User::NAME_FIELD.to_owned(), ..self.clone() }
    }
}

impl Provisioning {
    /// The user to create. The attribute searched by always gets the value searched for, so that the
    /// next search finds the user.
    fn new_user(&self, selector: UserSelector<'_>, is_taken: impl Fn(&str) -> bool) -> NewUser {
        let found_by = Attribute::from_field(selector.field);
        let mut resource = empty_user(&self.roles);
        for (attribute, claim) in self.fields.iter().filter(|(attribute, _)| *attribute != found_by)
        {
            match claim.find(selector.claims) {
                Some(Json::String(text)) if !text.is_empty() => attribute.set(&mut resource, text),
                Some(Json::Number(number)) => attribute.set(&mut resource, &number.to_string()),
                _ if attribute.is_user_name() => {
                    return NewUser { resource: Err(NotFound::Nameless(claim.clone())) };
                }
                _ => {}
            }
        }
        found_by.set(&mut resource, selector.value);
        let user_name = document::attribute(&resource, "userName").and_then(Value::as_str);
        let taken = user_name.filter(|name| is_taken(name)).map(clipped);
        NewUser { resource: taken.map_or(Ok(resource), |name| Err(NotFound::NameOfRecord(name))) }
    }
}

/// A new user resource with these roles only.
#[must_use]
fn empty_user(roles: &[String]) -> Map<String, Value> {
    let roles: Vec<Value> = roles.iter().map(|role| json!({"value": role})).collect();
    let mut user = Map::new();
    user.insert("schemas".to_owned(), json!(["urn:ietf:params:scim:schemas:core:2.0:User"]));
    user.insert("active".to_owned(), json!(true));
    if !roles.is_empty() {
        user.insert("roles".to_owned(), Value::Array(roles));
    }
    user
}
