//! Users in a SCIM directory (RFC 7644): looked up, created where configured, and cached.
//!
//! [`ScimLookups`] is a worker's cache of users. Each look-up in progress is a
//! [`lookup::ScimLookup`]: it takes responses and returns callouts.

mod attribute;
mod document;
mod lookup;
mod lookups;
mod protocol;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

pub(crate) use attribute::Attribute;
pub(super) use lookups::ScimResult;
pub(crate) use lookups::{LookupId, LookupReport, ScimLookups};

use super::users::clipped;
use super::{Difference, UserSelector, Users};
use crate::callout::{BodyLimit, CalloutFault, Endpoint};
use crate::claim::ClaimPath;
use crate::json::Json;

/// Where the directory is, and how users are looked up in it.
#[derive(Clone, Debug)]
pub(crate) struct ScimSettings {
    /// Base URL of the service.
    pub base: Endpoint,
    /// Bearer token for the service.
    pub bearer_token: Option<Secret>,
    /// How long a result is cached.
    pub cache_ttl: Duration,
    /// Time limit of one callout.
    pub timeout: Duration,
    /// Longest response accepted.
    pub max_body: BodyLimit,
    /// How unknown users are created; `None` if they are not.
    pub provisioning: Option<Provisioning>,
    /// Whether an unknown user passes under the value of its claim. That value must then not be the
    /// name of another user.
    pub tolerates_unknown: bool,
}

/// How a user is created.
#[derive(Clone, Debug)]
pub(crate) struct Provisioning {
    /// Roles of each new user.
    pub roles: Vec<String>,
    /// Attributes, and the claims they are copied from.
    pub fields: Vec<(Attribute, ClaimPath)>,
}

/// A string that must not be logged.
#[derive(Clone)]
pub(crate) struct Secret(String);

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

/// Why a look-up found no user, where more is known than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// Several users have this value.
    Ambiguous,
    /// The user could not be created: another one has its name, or another unique attribute.
    Conflict,
    /// The directory counts users with this value but returns none.
    Hidden {
        /// `totalResults` of the response.
        counted: u64,
    },
    /// The user cannot be created: a record has this name.
    NameOfRecord(String),
    /// No user has this value, but it is the `userName` of another user.
    NameOfUser,
    /// The user cannot be created: the token lacks this claim, which provides the `userName`.
    Nameless(ClaimPath),
    /// The directory returned only users with other values.
    Others(Box<OtherUsers>),
    /// The value is too long to be looked up.
    TooLong,
}

/// Users that a directory returned although none has exactly the value searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherUsers {
    /// Number of users.
    pub count: usize,
    /// The attribute compared, as in a filter.
    pub attribute: String,
    /// `userName` of the user with the nearest value, clipped; empty if it has none.
    pub nearest: String,
    /// How near that value is.
    pub nearness: Nearness,
}

/// How near another user's value is to the one searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// The values differ only in this.
    Differs(Difference),
    /// The values are different.
    Different,
    /// The other user has no comparable value.
    Missing,
}

/// Why the directory could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryFault {
    /// The callout failed.
    Callout(CalloutFault),
    /// The directory created a user without the value searched for.
    CreatedAnother,
    /// The user changed after the head of the request had been forwarded.
    Changed,
    /// Too many other users are being looked up.
    Crowded,
    /// The response is not a SCIM list of users (RFC 7644 §3.4.2).
    NotAList,
    /// The response counts this many users but has no `Resources`.
    MissingResources(u64),
    /// This attribute of a user is missing, or has the wrong type.
    NotAUser(&'static str),
    /// An object in the response has this attribute twice.
    Repeated(String),
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

    /// Longest time that a request waits for a user.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.timeout + Duration::from_secs(2)
    }
}

impl UserKey {
    /// Whether the value is the `userName`.
    fn is_name(&self) -> bool {
        Attribute::from_field(&self.field).is_user_name()
    }

    /// The key for the user with this value as `userName`.
    fn as_name(&self) -> Self {
        Self { field: Users::USER_NAME.to_owned(), ..self.clone() }
    }
}

impl Provisioning {
    /// The user to create. The attribute searched by always gets the value searched for, so that the
    /// next search finds the user.
    fn new_user(&self, selector: UserSelector<'_>, is_taken: impl Fn(&str) -> bool) -> NewUser {
        let found_by = Attribute::from_field(selector.field);
        let mut resource = protocol::empty_user(&self.roles);
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

impl Secret {
    /// `None` if the string is not a valid bearer token (RFC 6750 §2.1).
    #[must_use]
    pub(crate) fn bearer_token(text: String) -> Option<Self> {
        let is_sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        (!text.is_empty() && text.bytes().all(is_sendable)).then_some(Self(text))
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl NotFound {
    /// Whether the user may neither be created nor pass as an unknown user.
    #[must_use]
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Others(_))
    }

    /// Approximate heap size in bytes.
    fn heap_size(&self) -> usize {
        match self {
            Self::NameOfRecord(name) => name.len(),
            Self::Others(others) => {
                size_of::<OtherUsers>() + others.attribute.len() + others.nearest.len()
            }
            _ => 0,
        }
    }
}

/// For log lines.
impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous => f.write_str("the directory has several users with this value"),
            Self::Hidden { counted } => write!(
                f,
                "the directory counts {counted} with this value but returns none: its token may lack \
                 the right to read users (users.scim.bearer_token_env)"
            ),
            Self::NameOfRecord(name) => write!(
                f,
                "the user cannot be created: {name:?} is the user_name of a record in users.records"
            ),
            Self::NameOfUser => f.write_str(
                "no user in the directory has this value, but it is the userName of another user",
            ),
            Self::Others(others) => others.fmt(f),
            Self::Conflict => f.write_str(
                "the directory did not create the user: another one has its name, perhaps in \
                 another case, or another unique attribute",
            ),
            Self::Nameless(claim) => write!(
                f,
                "the user cannot be created: the token lacks the claim {claim}, which \
                 users.provision.fields makes its user_name"
            ),
            Self::TooLong => f.write_str("the user claim is too long for a look-up"),
        }
    }
}

impl fmt::Display for OtherUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, attribute, nearest, nearness } = self;
        let nearest = match nearest.as_str() {
            "" => "a user".to_owned(),
            name => format!("{name:?}"),
        };
        match (nearness, count) {
            (Nearness::Differs(difference), _) => write!(
                f,
                "the directory returned {nearest}, whose {attribute} differs only \
                 {difference}; values are compared exactly"
            ),
            (Nearness::Different, 1) => {
                write!(f, "the directory returned {nearest}, whose {attribute} is different")
            }
            (Nearness::Missing, 1) => write!(
                f,
                "the directory returned {nearest}, who has no {attribute} that can be compared"
            ),
            (_, count) => write!(
                f,
                "the directory returned {count} users, none of whom has exactly this {attribute}"
            ),
        }
    }
}

/// For log lines.
impl fmt::Display for DirectoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(fault) => fault.fmt(f),
            Self::CreatedAnother => {
                f.write_str("the directory created a user that the user claim does not find")
            }
            Self::Changed => {
                f.write_str("the user changed after the request's head had gone to the server")
            }
            Self::Crowded => f.write_str("too many users are being looked up at the same time"),
            Self::NotAList => f.write_str("the response is not a SCIM list of users"),
            Self::MissingResources(counted) => write!(
                f,
                "the response is not a SCIM list of users: it counts {counted} and has no Resources"
            ),
            Self::Repeated(attribute) => write!(
                f,
                "the response has the attribute {attribute:?} twice in one object; attribute names \
                 ignore case (RFC 7643 §2.1)"
            ),
            Self::NotAUser(attribute) => {
                write!(f, "the user in the response has no {attribute}, or one of the wrong type")
            }
        }
    }
}
