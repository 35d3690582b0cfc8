//! Refusals because of users or their directory.

use std::fmt;

use crate::callout::CalloutFault;

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountStatus {
    /// It may be used.
    Active,
    /// It is disabled, or not enabled yet.
    Inactive,
    /// It is temporarily locked.
    Locked,
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

impl AccountStatus {
    /// Inactive takes precedence over locked.
    #[must_use]
    pub(crate) fn new(is_active: bool, is_locked: bool) -> Self {
        match (is_active, is_locked) {
            (false, _) => Self::Inactive,
            (true, true) => Self::Locked,
            (true, false) => Self::Active,
        }
    }

    /// The word in logs and refusal details.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Locked => "locked",
        }
    }
}

impl DirectoryFault {
    /// Whether it concerns all users: the directory is out of order, or does not accept the plugin.
    #[must_use]
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Callout(CalloutFault::Status { status: Some(401 | 403), .. }) => true,
            Self::Callout(fault) => fault.is_outage(),
            _ => false,
        }
    }
}

/// For log lines.
impl fmt::Display for DirectoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(fault) => fault.fmt(f),
            Self::CreatedAnother => {
                f.write_str("the directory created a user that does not match the user claim")
            }
            Self::Changed => {
                f.write_str("the user changed after the request's head had been forwarded")
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
