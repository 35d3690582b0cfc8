//! The words of SCIM (RFC 7644): a search, a creation, and their answers.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{Attribute, DirectoryFault, Nobody, ScimDirectory, UserKey};
use crate::callout::{CalloutAnswer, CalloutRequest};
use crate::identity::{Standing, User};
use crate::json;

const MEDIA_TYPE: &str = "application/scim+json";

/// Everything but what RFC 3986 §2.3 leaves unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a search found.
#[derive(Debug)]
pub(super) enum Found {
    /// One user.
    User(User),
    /// No user, or several.
    Nobody(Option<Nobody>),
}

/// A search for the user (RFC 7644 §3.4.2.2).
#[must_use]
pub(super) fn search(directory: &ScimDirectory, key: &UserKey) -> CalloutRequest {
    // A filter's strings are written as in JSON.
    let value = Value::from(key.value.as_str());
    let filter = format!("{} eq {value}", Attribute::of_field(&key.field));
    let filter = utf8_percent_encode(&filter, RESERVED);
    request(directory, "GET", &format!("/Users?filter={filter}"))
}

/// The creation of a user (RFC 7644 §3.3).
#[must_use]
pub(super) fn creation(directory: &ScimDirectory, resource: &Map<String, Value>) -> CalloutRequest {
    let mut request = request(directory, "POST", "/Users");
    request.fields.push(("content-type", MEDIA_TYPE.to_owned()));
    // Strings and lists only: this cannot fail.
    request.body = Some(serde_json::to_vec(resource).unwrap_or_default());
    request
}

fn request(directory: &ScimDirectory, method: &str, end: &str) -> CalloutRequest {
    let accepted = "application/scim+json, application/json";
    let mut request = directory.base.followed_by(end).request(method, accepted);
    if let Some(token) = &directory.bearer_token {
        request.fields.push(("authorization", format!("Bearer {}", token.reveal())));
    }
    request
}

/// A user with nothing but these roles.
#[must_use]
pub(super) fn empty_user(roles: &[String]) -> Map<String, Value> {
    let roles: Vec<Value> = roles.iter().map(|role| json!({"value": role})).collect();
    let mut user = Map::new();
    user.insert("schemas".to_owned(), json!(["urn:ietf:params:scim:schemas:core:2.0:User"]));
    user.insert("active".to_owned(), json!(true));
    if !roles.is_empty() {
        user.insert("roles".to_owned(), Value::Array(roles));
    }
    user
}

/// What a search found, for nobody but the user who was searched.
///
/// # Errors
///
/// The answer is of no use.
pub(super) fn found(answer: &CalloutAnswer, key: &UserKey) -> Result<Found, DirectoryFault> {
    let Ok(Value::Object(list)) = json::parse_strict(&answer.body) else {
        return Err(DirectoryFault::NoList);
    };
    let total = list.get("totalResults").and_then(Value::as_u64).ok_or(DirectoryFault::NoList)?;
    let resources = match list.get("Resources") {
        Some(Value::Array(resources)) => resources.as_slice(),
        None if total == 0 => &[],
        _ => return Err(DirectoryFault::NoList),
    };
    // Directories compare names as they like, most of them without case.
    let attribute = Attribute::of_field(&key.field);
    let mut users = resources
        .iter()
        .filter_map(Value::as_object)
        .filter(|resource| attribute.is(&key.value, resource));
    match (users.next(), users.next()) {
        // On a page that was not asked for there could be another one.
        (_, _) if u64::try_from(resources.len()).is_ok_and(|held| held < total) => {
            Ok(Found::Nobody(Some(Nobody::Ambiguous)))
        }
        (Some(resource), None) => user(resource).map(Found::User),
        (None, _) => Ok(Found::Nobody(None)),
        (Some(_), Some(_)) => Ok(Found::Nobody(Some(Nobody::Ambiguous))),
    }
}

/// The user who was created; none if the answer does not say.
///
/// # Errors
///
/// The answer is of no use, or about another user.
pub(super) fn created(
    answer: &CalloutAnswer,
    key: &UserKey,
) -> Result<Option<User>, DirectoryFault> {
    let Ok(Value::Object(resource)) = json::parse_strict(&answer.body) else { return Ok(None) };
    if !Attribute::of_field(&key.field).is(&key.value, &resource) {
        return Err(DirectoryFault::CreatedAnother);
    }
    user(&resource).map(Some)
}

/// Reads a user (RFC 7643 §4.1). What is there must be of the right type: a user who cannot be read
/// whole must not pass as one with fewer restrictions.
fn user(resource: &Map<String, Value>) -> Result<User, DirectoryFault> {
    let user_name = match resource.get("userName") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err(DirectoryFault::NoUser("userName")),
    };
    let is_active = flag(resource, &["active"])?.unwrap_or(true);
    let is_locked = flag(resource, &["locked"])?.unwrap_or(false);
    let web_service_access_only =
        flag(resource, &["webServiceAccessOnly", "web_service_access_only"])?.unwrap_or(false);
    Ok(User {
        user_name,
        roles: names(resource, "roles", &["value"])?,
        groups: names(resource, "groups", &["display", "value"])?,
        standing: Standing::of(is_active, is_locked),
        web_service_access_only,
    })
}

/// A truth value under one of these names, in the user or in an extension of it.
fn flag(
    resource: &Map<String, Value>,
    names: &[&'static str],
) -> Result<Option<bool>, DirectoryFault> {
    let extensions = resource.iter().filter(|(name, _)| name.starts_with("urn:"));
    let containers =
        extensions.filter_map(|(_, extension)| extension.as_object()).chain([resource]);
    let mut flag = None;
    for (member, value) in containers.flatten() {
        // Names of attributes have no case (RFC 7643 §2.1).
        let Some(name) = names.iter().find(|name| member.eq_ignore_ascii_case(name)) else {
            continue;
        };
        match value {
            Value::Null => {}
            Value::Bool(value) if flag.is_none_or(|flag| flag == *value) => flag = Some(*value),
            _ => return Err(DirectoryFault::NoUser(name)),
        }
    }
    Ok(flag)
}

/// The elements of a list: texts, or the first of these parts that an element has.
fn names(
    resource: &Map<String, Value>,
    attribute: &'static str,
    parts: &[&str],
) -> Result<Vec<String>, DirectoryFault> {
    let fault = DirectoryFault::NoUser(attribute);
    let elements = match resource.get(attribute) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(elements)) => elements,
        Some(_) => return Err(fault),
    };
    let name = |element: &Value| match element {
        Value::String(name) => Some(name.clone()),
        element => {
            let mut parts = parts.iter().filter_map(|part| element.get(part));
            parts.find_map(Value::as_str).map(str::to_owned)
        }
    };
    elements.iter().map(name).collect::<Option<Vec<_>>>().ok_or(fault)
}
