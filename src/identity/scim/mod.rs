//! Users that a directory knows (RFC 7644): how one is looked up, created when it should be, and
//! remembered for a while.
//!
//! [`UserLookups`] is what a worker knows of the directory's users. Each look-up that is under way
//! is a [`lookup::Lookup`]: answers in, calls out.

mod attribute;
mod lookup;
mod lookups;
mod protocol;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

pub(crate) use attribute::Attribute;
pub(super) use lookups::UserAnswer;
pub(crate) use lookups::{LookupId, LookupReport, UserLookups};

use super::Wanted;
use crate::callout::{BodyLimit, CalloutFault, Endpoint};
use crate::json::Json;
use crate::token::ClaimPath;

/// Where and how users are looked up.
#[derive(Clone, Debug)]
pub(crate) struct ScimDirectory {
    /// The service's base URL.
    pub base: Endpoint,
    /// What the service wants to be shown.
    pub bearer_token: Option<Secret>,
    /// How long an answer serves.
    pub cache_ttl: Duration,
    /// Most time for an answer.
    pub timeout: Duration,
    /// Most bytes of an answer.
    pub max_body: BodyLimit,
    /// What users that are not known are created with, if they are to be created.
    pub provisioning: Option<Provisioning>,
}

/// What a user is created with.
#[derive(Clone, Debug)]
pub(crate) struct Provisioning {
    /// Its roles.
    pub roles: Vec<String>,
    /// The claims that its attributes are taken from.
    pub fields: Vec<(Attribute, ClaimPath)>,
}

/// A text that must not be logged.
#[derive(Clone)]
pub(crate) struct Secret(String);

/// Which user is meant: the value of one field, as a token has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserKey {
    /// The field, as the configuration names it.
    pub field: String,
    /// Its value.
    pub value: String,
    /// Whether the user may be created.
    pub may_be_created: bool,
}

/// A question to the directory.
#[derive(Clone, Debug)]
pub(crate) struct UserQuery {
    /// Which user.
    pub key: UserKey,
    /// What it is created with if the directory does not know it.
    pub new_user: Option<NewUser>,
}

/// A user who may have to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    /// The resource, or which claim its name lacks.
    pub resource: Result<Map<String, Value>, ClaimPath>,
}

/// Why the directory knows no such user, where there is more to say than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// Several users have this value.
    Ambiguous,
    /// It could not be created: another user has its name, or another unique attribute.
    Conflict,
    /// It cannot be created: the token lacks this claim, which is to be its name.
    Nameless(ClaimPath),
    /// No look-up: nobody has such a long name.
    TooLong,
}

/// Why the directory's answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryFault {
    /// There is none.
    Call(CalloutFault),
    /// The user that was created is another one.
    CreatedAnother,
    /// Too many other users are being looked up.
    Crowded,
    /// It is no list of users (RFC 7644 §3.4.2).
    NoList,
    /// The user in it lacks a name, or an attribute of it has the wrong type.
    NoUser(&'static str),
}

impl ScimDirectory {
    /// Who is looked for.
    #[must_use]
    pub(crate) fn key(&self, wanted: Wanted<'_>) -> UserKey {
        UserKey {
            field: wanted.field.to_owned(),
            value: wanted.value.to_owned(),
            // Services get their accounts from people.
            may_be_created: self.provisioning.is_some() && !wanted.is_service,
        }
    }

    /// The question for whom is looked for.
    #[must_use]
    pub(crate) fn query(&self, key: UserKey, wanted: Wanted<'_>) -> UserQuery {
        let provisioning = self.provisioning.as_ref().filter(|_| key.may_be_created);
        UserQuery { new_user: provisioning.map(|own| own.new_user(wanted)), key }
    }

    /// How long a request waits for a user at the most.
    #[must_use]
    pub(crate) fn longest_wait(&self) -> Duration {
        self.timeout + Duration::from_secs(2)
    }
}

impl Provisioning {
    /// The user as it would be created: found by what was looked for afterwards, whatever the other
    /// claims say.
    fn new_user(&self, wanted: Wanted<'_>) -> NewUser {
        let found_by = Attribute::of_field(wanted.field);
        let mut resource = protocol::empty_user(&self.roles);
        for (attribute, claim) in self.fields.iter().filter(|(own, _)| *own != found_by) {
            match claim.find(wanted.claims) {
                Some(Json::String(text)) if !text.is_empty() => attribute.set(&mut resource, text),
                Some(Json::Number(number)) => attribute.set(&mut resource, &number.to_string()),
                _ if attribute.is_user_name() => {
                    return NewUser { resource: Err(claim.clone()) };
                }
                _ => {}
            }
        }
        found_by.set(&mut resource, wanted.value);
        NewUser { resource: Ok(resource) }
    }
}

impl Secret {
    /// A bearer token (RFC 6750 §2.1); none if it could not be sent.
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

/// For the operator.
impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous => f.write_str("the directory has several users with this value"),
            Self::Conflict => f.write_str(
                "the directory would not create the user: another one has its name, perhaps in \
                 other letters, or another unique attribute",
            ),
            Self::Nameless(claim) => write!(
                f,
                "the user cannot be created: the token lacks the claim {claim}, which \
                 users.provision.fields makes its user_name"
            ),
            Self::TooLong => f.write_str("the user claim is longer than a directory is asked for"),
        }
    }
}

/// For the operator.
impl fmt::Display for DirectoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(fault) => fault.fmt(f),
            Self::CreatedAnother => {
                f.write_str("the directory created a user who is not found by the user claim")
            }
            Self::Crowded => f.write_str("too many users are being looked up at the same time"),
            Self::NoList => f.write_str("the answer is no SCIM list of users"),
            Self::NoUser(attribute) => {
                write!(f, "the user in the answer has no {attribute}, or one of the wrong type")
            }
        }
    }
}
