//! A user, and what it is looked up by.

use crate::json::Object;
use crate::refusal::AccountStatus;

/// A known user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Name in the identity headers.
    pub user_name: String,
    /// Roles in addition to those of the token.
    pub roles: Vec<String>,
    /// Groups in addition to those of the token.
    pub groups: Vec<String>,
    /// Whether the account may be used.
    pub account_status: AccountStatus,
    /// Whether this is a service account. Service clients may use no other.
    pub web_service_access_only: bool,
}

/// The criteria by which a user is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserSelector<'a> {
    /// The provider's `user_field`.
    pub field: &'a str,
    /// The value of the user claim, compared exactly.
    pub value: &'a str,
    /// Name of the token's provider.
    pub provider: &'a str,
    /// Whether the client is a service.
    pub is_service: bool,
    /// All claims of the token.
    pub claims: &'a Object,
}

impl User {
    /// The field that holds the name; every record has it.
    pub(crate) const NAME_FIELD: &str = "user_name";

    pub(super) fn roles(&self) -> impl Iterator<Item = &str> + Clone {
        self.roles.iter().map(String::as_str)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &str> + Clone {
        self.groups.iter().map(String::as_str)
    }
}
