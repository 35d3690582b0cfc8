//! Users that a directory knows (RFC 7644): how one is looked up, created when it should be, and
//! remembered for a while.
//!
//! [`ScimLookups`] is what a worker knows of the directory's users. Each look-up that is under way
//! is a [`lookup::Lookup`]: answers in, calls out.

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

/// Where and how users are looked up.
#[derive(Clone, Debug)]
pub(crate) struct ScimSettings {
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
    /// Whether a user who is not known passes under the value that was looked for: then that must
    /// be nobody's name.
    pub tolerates_unknown: bool,
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
    /// The resource, or why there can be none.
    pub resource: Result<Map<String, Value>, NotFound>,
}

/// Why the directory knows no such user, where there is more to say than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// Several users have this value.
    Ambiguous,
    /// It could not be created: another user has its name, or another unique attribute.
    Conflict,
    /// The directory counts so many users with this value and shows none of them.
    Hidden {
        /// How many.
        counted: u64,
    },
    /// It cannot be created: a record has its name.
    NameOfRecord(String),
    /// It is nobody's value, but the name of a user who was not found by it.
    NameOfUser,
    /// It cannot be created: the token lacks this claim, which is to be its name.
    Nameless(ClaimPath),
    /// The directory answered with other users alone.
    Others(Box<OtherUsers>),
    /// No look-up: nobody has such a long name.
    TooLong,
}

/// Users whom a directory answered with though none has exactly the value that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherUsers {
    /// How many there are.
    pub count: usize,
    /// What was compared, as a filter names it.
    pub attribute: String,
    /// The `userName` of the one whose value is nearest, clipped; empty if it has none.
    pub nearest: String,
    /// How near its value is.
    pub nearness: Nearness,
}

/// How near another user's value is to the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// They differ in this alone.
    Differs(Difference),
    /// They are different.
    Different,
    /// The other user has none that could be compared.
    Missing,
}

/// Why the directory's answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryFault {
    /// There is none.
    Callout(CalloutFault),
    /// The user that was created is another one.
    CreatedAnother,
    /// The user changed between the head of a request, which has gone on, and its body.
    Changed,
    /// Too many other users are being looked up.
    Crowded,
    /// It is no list of users (RFC 7644 §3.4.2).
    NotAList,
    /// It counts so many users and has no list of them.
    MissingResources(u64),
    /// The user in it lacks a name, or an attribute of it has the wrong type.
    NotAUser(&'static str),
    /// It has this attribute twice.
    Repeated(String),
}

impl ScimSettings {
    /// Who is looked for.
    #[must_use]
    pub(crate) fn key(&self, selector: UserSelector<'_>) -> UserKey {
        UserKey {
            field: selector.field.to_owned(),
            value: selector.value.to_owned(),
            // Services get their accounts from people.
            may_be_created: self.provisioning.is_some() && !selector.is_service,
        }
    }

    /// The question for whom is looked for. No user is created under a name that `is_taken`.
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

    /// How long a request waits for a user at the most.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.timeout + Duration::from_secs(2)
    }
}

impl UserKey {
    /// Whether the value is the user's unique name.
    fn is_name(&self) -> bool {
        Attribute::from_field(&self.field).is_user_name()
    }

    /// The same value as a name.
    fn as_name(&self) -> Self {
        Self { field: Users::USER_NAME.to_owned(), ..self.clone() }
    }
}

impl Provisioning {
    /// The user as it would be created: found by what was looked for afterwards, whatever the other
    /// claims say.
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

impl NotFound {
    /// Whether it forbids what else becomes of an unknown user: to be created, or to pass under the
    /// value that was looked for.
    #[must_use]
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Others(_))
    }

    /// About how many bytes it takes up besides its own size.
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

/// For the operator.
impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous => f.write_str("the directory has several users with this value"),
            Self::Hidden { counted } => write!(
                f,
                "the directory counts {counted} with this value and shows none: its token may lack \
                 the right to read users (users.scim.bearer_token_env)"
            ),
            Self::NameOfRecord(name) => write!(
                f,
                "the user cannot be created: {name:?} is the user_name of a record in users.records"
            ),
            Self::NameOfUser => f.write_str(
                "nobody in the directory has this value, but it is the userName of a user who was \
                 not found by it",
            ),
            Self::Others(others) => others.fmt(f),
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
                "the directory answered with {nearest}, whose {attribute} differs only \
                 {difference}; values are compared exactly"
            ),
            (Nearness::Different, 1) => {
                write!(f, "the directory answered with {nearest}, whose {attribute} is another")
            }
            (Nearness::Missing, 1) => write!(
                f,
                "the directory answered with {nearest}, and shows no {attribute} that could be \
                 compared"
            ),
            (_, count) => write!(
                f,
                "the directory answered with {count} users, none of whom has exactly this \
                 {attribute}"
            ),
        }
    }
}

/// For the operator.
impl fmt::Display for DirectoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(fault) => fault.fmt(f),
            Self::CreatedAnother => {
                f.write_str("the directory created a user who is not found by the user claim")
            }
            Self::Changed => {
                f.write_str("the user changed after the head of the request had gone to the server")
            }
            Self::Crowded => f.write_str("too many users are being looked up at the same time"),
            Self::NotAList => f.write_str("the answer is no SCIM list of users"),
            Self::MissingResources(counted) => write!(
                f,
                "the answer is no SCIM list of users: it counts {counted} and has no Resources"
            ),
            Self::Repeated(attribute) => write!(
                f,
                "the answer has the attribute {attribute:?} twice in one object; case makes no \
                 difference in names of attributes (RFC 7643 §2.1)"
            ),
            Self::NotAUser(attribute) => {
                write!(f, "the user in the answer has no {attribute}, or one of the wrong type")
            }
        }
    }
}
