//! Why a lookup found no user.

use std::fmt;

use crate::claim::ClaimPath;
use crate::identity::Difference;

/// Why a lookup found no user, if the cause is known.
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
    /// Whether one of them is inactive or locked, or cannot be read, and differs only by case or
    /// white space.
    pub is_barred: bool,
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

impl Nearness {
    /// Whether the values differ only by case or white space.
    #[must_use]
    pub(super) fn is_spelling(self) -> bool {
        matches!(self, Self::Differs(difference) if difference.is_spelling())
    }
}

impl NotFound {
    /// Whether the user may neither be created nor pass as an unknown user.
    #[must_use]
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Others(_))
    }

    /// Whether this is an inactive or locked user in another spelling. A server that ignores case
    /// or white space would admit that user.
    #[must_use]
    pub(crate) fn is_barred(&self) -> bool {
        matches!(self, Self::Others(others) if others.is_barred)
    }

    /// Approximate heap size in bytes.
    pub(super) fn heap_size(&self) -> usize {
        match self {
            Self::NameOfRecord(name) => name.len(),
            Self::Others(others) => {
                size_of::<OtherUsers>() + others.attribute.len() + others.nearest.len()
            }
            _ => 0,
        }
    }
}

/// The cause in log lines.
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
                "the directory did not create the user: another user has the same name, perhaps \
                 in another case, or the same value of a unique attribute",
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
        let Self { count, attribute, nearest, nearness, .. } = self;
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
