//! SCIM requests and responses (RFC 7644): the search for a user, and its creation.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::document::{self, attribute};
use super::not_found::{Nearness, NotFound, OtherUsers};
use super::{Attribute, ScimSettings, UserKey};
use crate::callout::{CalloutRequest, CalloutResponse};
use crate::identity::{Difference, User};
use crate::refusal::{AccountStatus, DirectoryFault, clipped};

const MEDIA_TYPE: &str = "application/scim+json";

/// Everything except the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The result of a search.
#[derive(Debug)]
pub(super) enum SearchResult {
    /// One user.
    User(User),
    /// No user, or several.
    NotFound(Option<NotFound>),
}

/// A search for the user (RFC 7644 §3.4.2.2).
#[must_use]
pub(super) fn search(directory: &ScimSettings, key: &UserKey) -> CalloutRequest {
    // Strings in a filter are JSON strings.
    let value = Value::from(key.value.as_str());
    let filter = format!("{} eq {value}", Attribute::from_field(&key.field));
    let filter = utf8_percent_encode(&filter, RESERVED);
    request(directory, "GET", &format!("/Users?filter={filter}"))
}

/// A request that creates a user (RFC 7644 §3.3).
#[must_use]
pub(super) fn creation(directory: &ScimSettings, resource: &Map<String, Value>) -> CalloutRequest {
    let mut request = request(directory, "POST", "/Users");
    request.fields.push(("content-type", MEDIA_TYPE.to_owned()));
    // Serialising strings and lists cannot fail.
    request.body = Some(serde_json::to_vec(resource).unwrap_or_default());
    request
}

fn request(directory: &ScimSettings, method: &str, end: &str) -> CalloutRequest {
    let accepted = "application/scim+json, application/json";
    let max_body = directory.max_body.bytes;
    let mut request = directory.base.followed_by(end).request(method, accepted, max_body);
    if let Some(token) = &directory.bearer_token {
        request.fields.push(("authorization", format!("Bearer {}", token.reveal())));
    }
    request
}

/// Reads the response to a search. Only the user with exactly the value of `key` counts.
///
/// # Errors
///
/// The response is not a SCIM list, or the user cannot be read.
pub(super) fn found(
    response: &CalloutResponse,
    key: &UserKey,
) -> Result<SearchResult, DirectoryFault> {
    let list = document::parse(&response.body)?;
    let counted = attribute(&list, "totalResults").and_then(Value::as_u64);
    let counted = counted.ok_or(DirectoryFault::NotAList)?;
    let resources = match attribute(&list, "Resources") {
        Some(Value::Array(resources)) => resources.as_slice(),
        // `Resources` may be absent when there is nothing to list (RFC 7644 §3.4.2).
        None if counted == 0 => &[],
        None => return Err(DirectoryFault::MissingResources(counted)),
        Some(_) => return Err(DirectoryFault::NotAList),
    };
    let shown = resources
        .iter()
        .filter(|resource| !resource.is_null())
        .map(|resource| resource.as_object().ok_or(DirectoryFault::NotAList))
        .collect::<Result<Vec<_>, _>>()?;
    // Most directories ignore case when they search.
    let compared = Attribute::from_field(&key.field);
    let mut users = shown.iter().filter(|resource| compared.is(&key.value, resource));
    match (users.next(), users.next()) {
        (None, _) if shown.is_empty() && counted > 0 => {
            Ok(SearchResult::NotFound(Some(NotFound::Hidden { counted })))
        }
        // Pages that were not returned may hold a second user.
        (_, _) if u64::try_from(shown.len()).is_ok_and(|shown| shown < counted) => {
            Ok(SearchResult::NotFound(Some(NotFound::Ambiguous)))
        }
        (Some(resource), None) => user(resource).map(SearchResult::User),
        (None, _) => Ok(SearchResult::NotFound(others(&shown, &compared, &key.value))),
        (Some(_), Some(_)) => Ok(SearchResult::NotFound(Some(NotFound::Ambiguous))),
    }
}

/// The users that the directory returned although none has this value; `None` without any.
fn others(shown: &[&Map<String, Value>], compared: &Attribute, value: &str) -> Option<NotFound> {
    let nearness = |resource: &Map<String, Value>| {
        let mut values = compared.values(resource).peekable();
        if values.peek().is_none() {
            return Nearness::Missing;
        }
        let difference = values.find_map(|other| Difference::between(value, &other));
        difference.map_or(Nearness::Different, Nearness::Differs)
    };
    let all = || shown.iter().map(|resource| (resource, nearness(resource)));
    let mut near = all().filter(|(_, nearness)| matches!(nearness, Nearness::Differs(_)));
    let (nearest, nearness) = near.next().or_else(|| all().next())?;
    let user_name = attribute(nearest, "userName").and_then(Value::as_str);
    Some(NotFound::Others(Box::new(OtherUsers {
        count: shown.len(),
        attribute: compared.to_string(),
        nearest: user_name.map(clipped).unwrap_or_default(),
        nearness,
        is_barred: all().any(|(resource, nearness)| {
            nearness.is_spelling()
                && !user(resource).is_ok_and(|user| user.account_status == AccountStatus::Active)
        }),
    })))
}

/// Reads the response to a creation; `None` if it does not describe the user.
///
/// # Errors
///
/// The user cannot be read, or is another one.
pub(super) fn created(
    response: &CalloutResponse,
    key: &UserKey,
) -> Result<Option<User>, DirectoryFault> {
    // An unreadable response: the caller searches for the user instead.
    let Ok(resource) = document::parse(&response.body) else { return Ok(None) };
    if !Attribute::from_field(&key.field).is(&key.value, &resource) {
        return Err(DirectoryFault::CreatedAnother);
    }
    user(&resource).map(Some)
}

/// Reads a user (RFC 7643 §4.1). Attributes of the wrong type are faults: a user who cannot be read
/// completely must not pass as one with fewer restrictions.
fn user(resource: &Map<String, Value>) -> Result<User, DirectoryFault> {
    let user_name = match attribute(resource, "userName") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err(DirectoryFault::NotAUser("userName")),
    };
    let is_active = flag(resource, &["active"])?.unwrap_or(true);
    let is_locked = flag(resource, &["locked"])?.unwrap_or(false);
    let web_service_access_only =
        flag(resource, &["webServiceAccessOnly", "web_service_access_only"])?.unwrap_or(false);
    Ok(User {
        user_name,
        roles: names(resource, "roles", &["value", "display"])?,
        groups: names(resource, "groups", &["display", "value"])?,
        account_status: AccountStatus::new(is_active, is_locked),
        web_service_access_only,
    })
}

/// Reads a boolean with one of these names, from the user or from one of its extensions.
fn flag(
    resource: &Map<String, Value>,
    names: &[&'static str],
) -> Result<Option<bool>, DirectoryFault> {
    let extensions = resource.iter().filter(|(name, _)| document::is_urn(name));
    let containers =
        extensions.filter_map(|(_, extension)| extension.as_object()).chain([resource]);
    let mut flag = None;
    for (member, value) in containers.flatten() {
        // Some directories flatten attributes of extensions: `urn:…:User:locked`.
        let own_name = member.rsplit(':').next().unwrap_or_default();
        let Some(name) = names.iter().find(|name| own_name.eq_ignore_ascii_case(name)) else {
            continue;
        };
        match value {
            Value::Null => {}
            // An extension, whose attributes are read separately.
            Value::Object(_) if document::is_urn(member) => {}
            Value::Bool(value) if flag.is_none_or(|flag| flag == *value) => flag = Some(*value),
            _ => return Err(DirectoryFault::NotAUser(name)),
        }
    }
    Ok(flag)
}

/// Reads a list whose elements are strings, or objects with one of these parts.
fn names(
    resource: &Map<String, Value>,
    listed: &'static str,
    parts: &[&str],
) -> Result<Vec<String>, DirectoryFault> {
    let fault = || DirectoryFault::NotAUser(listed);
    let elements = match attribute(resource, listed) {
        None => return Ok(Vec::new()),
        Some(Value::Array(elements)) => elements,
        Some(_) => return Err(fault()),
    };
    let mut names = Vec::new();
    for element in elements {
        match element {
            Value::Null => {}
            Value::String(name) => names.push(name.clone()),
            Value::Object(element) => {
                names.extend(name_of(element, parts).map_err(|Unnamed| fault())?);
            }
            _ => return Err(fault()),
        }
    }
    Ok(names)
}

/// An element has members, but no readable name.
struct Unnamed;

/// The first of these parts that the element has; `None` for an element without a value.
fn name_of(element: &Map<String, Value>, parts: &[&str]) -> Result<Option<String>, Unnamed> {
    match parts.iter().find_map(|part| attribute(element, part)) {
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(_) => Err(Unnamed),
        None => {
            // These describe a value (RFC 7643 §2.4) but are not one.
            let is_description = |name: &str| {
                ["primary", "type"].iter().any(|known| name.eq_ignore_ascii_case(known))
            };
            let says_nothing =
                element.iter().all(|(name, value)| value.is_null() || is_description(name));
            if says_nothing { Ok(None) } else { Err(Unnamed) }
        }
    }
}
