//! The users that are known here, and how a token's user is found among them.

use std::collections::{BTreeMap, HashMap};

use super::scim::{
    DirectoryFault, LookupId, Nobody, ScimDirectory, UserAnswer, UserKey, UserLookups, UserQuery,
};
use crate::json::Object;
use crate::time::UnixTime;

/// A user who is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// What the server is told.
    pub user_name: String,
    /// Roles besides those of the token.
    pub roles: Vec<String>,
    /// Groups besides those of the token.
    pub groups: Vec<String>,
    /// Whether tokens may stand for this user.
    pub standing: Standing,
    /// Whether it is a service account: only for these may services speak.
    pub web_service_access_only: bool,
}

/// Whether tokens may stand for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They may.
    Active,
    /// The user is gone, or not there yet.
    Inactive,
    /// The user is barred for a time.
    Locked,
}

/// A user as it is configured.
#[derive(Clone, Debug)]
pub(crate) struct UserRecord {
    /// The user.
    pub user: User,
    /// The fields by which it can be found.
    pub fields: BTreeMap<String, String>,
}

/// What becomes of a user who is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownUser {
    /// The claim's value is the user.
    Allow,
    /// The request is refused.
    Reject,
}

/// The users that are known: those of the records, by each field that some provider finds its users
/// by, then those of a SCIM directory, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    users: Vec<User>,
    by_field: HashMap<String, HashMap<String, usize>>,
    scim: Option<ScimDirectory>,
    unknown: UnknownUser,
}

/// What is known of a user.
#[derive(Debug)]
pub(crate) enum Finding<'a> {
    /// Nothing yet: the SCIM directory has to be asked.
    Await(UserQuery),
    /// This one.
    Known(&'a User),
    /// Nothing, and that is no hindrance.
    Tolerated,
    /// The SCIM directory could not be asked.
    Unavailable(&'a DirectoryFault),
    /// Nothing, and so the user is refused.
    Unknown(Option<&'a Nobody>),
}

/// By what a user is known.
#[derive(Clone, Debug)]
pub(crate) enum Basis {
    /// The configuration: that stays.
    Configuration,
    /// An answer of the SCIM directory.
    Answer(UserKey, LookupId),
}

impl Basis {
    /// Whether this is still what is known.
    #[must_use]
    pub(crate) fn still_holds(&self, lookups: Option<&UserLookups>, now: UnixTime) -> bool {
        match (self, lookups) {
            (Self::Configuration, _) => true,
            (Self::Answer(key, answer), Some(lookups)) => {
                lookups.serving_answer(key, now) == Some(*answer)
            }
            (Self::Answer(..), None) => false,
        }
    }

    /// About how many bytes it takes up besides its own size.
    #[must_use]
    pub(crate) fn heap_size(&self) -> usize {
        match self {
            Self::Configuration => 0,
            Self::Answer(key, _) => key.field.len() + key.value.len(),
        }
    }
}

/// Whose user is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The field of the user.
    pub field: &'a str,
    /// The value that it must have.
    pub value: &'a str,
    /// Whether a service is looking for its account.
    pub is_service: bool,
    /// What the token says besides.
    pub claims: &'a Object,
}

/// Two records that one value would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguity {
    /// The field that they have in common.
    pub field: String,
    /// Index of the earlier one.
    pub first: usize,
    /// Index of the later one.
    pub second: usize,
}

impl User {
    /// The roles.
    pub(super) fn roles(&self) -> impl Iterator<Item = &str> + Clone {
        self.roles.iter().map(String::as_str)
    }

    /// The groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> + Clone {
        self.groups.iter().map(String::as_str)
    }
}

impl Directory {
    /// The field that every record has.
    pub(crate) const USER_NAME: &str = "user_name";

    /// A directory of these records, which are searched by `user_name` and by these fields.
    ///
    /// # Errors
    ///
    /// Each record that has the value of an earlier one in such a field.
    pub(crate) fn new<'a>(
        records: Vec<UserRecord>,
        fields: impl IntoIterator<Item = &'a str>,
        unknown: UnknownUser,
    ) -> Result<Self, Vec<Ambiguity>> {
        let mut by_field: HashMap<String, HashMap<String, usize>> = [Self::USER_NAME]
            .into_iter()
            .chain(fields)
            .map(|field| (field.to_owned(), HashMap::new()))
            .collect();
        let mut ambiguities = Vec::new();
        let mut users = Vec::new();
        for (second, UserRecord { user, fields }) in records.into_iter().enumerate() {
            for (field, value) in fields {
                let Some(index) = by_field.get_mut(&field) else { continue };
                match index.get(&value) {
                    Some(first) => ambiguities.push(Ambiguity { field, first: *first, second }),
                    None => {
                        index.insert(value, second);
                    }
                }
            }
            users.push(user);
        }
        if ambiguities.is_empty() {
            Ok(Self { users, by_field, scim: None, unknown })
        } else {
            Err(ambiguities)
        }
    }

    /// A directory that knows nobody and minds nobody.
    #[must_use]
    pub(crate) fn of_nobody() -> Self {
        Self {
            users: Vec::new(),
            by_field: HashMap::new(),
            scim: None,
            unknown: UnknownUser::Allow,
        }
    }

    /// The same, and whom no record is about is looked up there.
    #[must_use]
    pub(crate) fn with_scim(self, scim: Option<ScimDirectory>) -> Self {
        Self { scim, ..self }
    }

    /// Look-ups in the SCIM directory, if there is one. Each worker has its own.
    #[must_use]
    pub(crate) fn lookups(&self) -> Option<UserLookups> {
        self.scim.clone().map(UserLookups::new)
    }

    /// True when some user can be found by this field.
    #[must_use]
    pub(crate) fn has_field(&self, field: &str) -> bool {
        self.by_field.get(field).is_some_and(|index| !index.is_empty())
    }

    /// Looks for the user whose field has exactly this value, and says by what it is known, to be
    /// compared later with what is known then. `lookups` are those that [`Self::lookups`] made.
    #[must_use]
    pub(crate) fn find<'a>(
        &'a self,
        wanted: Wanted<'_>,
        lookups: Option<&'a UserLookups>,
        now: UnixTime,
    ) -> (Finding<'a>, Option<Basis>) {
        let by_configuration = Some(Basis::Configuration);
        if let Some(user) = self.record(wanted.field, wanted.value) {
            return (Finding::Known(user), by_configuration);
        }
        let (Some(lookups), Some(scim)) = (lookups, &self.scim) else {
            return (self.unknown(None), by_configuration);
        };
        let key = scim.key(wanted);
        let finding = match lookups.find(&key, now) {
            UserAnswer::Await => return (Finding::Await(scim.query(key, wanted)), None),
            UserAnswer::Known(user) => Finding::Known(user),
            UserAnswer::Unavailable(fault) => Finding::Unavailable(fault),
            UserAnswer::Nobody(nobody) => self.unknown(nobody),
        };
        let answer = lookups.serving_answer(&key, now);
        (finding, answer.map(|answer| Basis::Answer(key, answer)))
    }

    fn unknown<'a>(&self, nobody: Option<&'a Nobody>) -> Finding<'a> {
        match (nobody, self.unknown) {
            (None, UnknownUser::Allow) => Finding::Tolerated,
            (nobody, _) => Finding::Unknown(nobody),
        }
    }

    fn record(&self, field: &str, value: &str) -> Option<&User> {
        let index = self.by_field.get(field)?.get(value)?;
        self.users.get(*index)
    }
}

impl Standing {
    /// Who is inactive is that first.
    #[must_use]
    pub(crate) fn of(is_active: bool, is_locked: bool) -> Self {
        match (is_active, is_locked) {
            (false, _) => Self::Inactive,
            (true, true) => Self::Locked,
            (true, false) => Self::Active,
        }
    }

    /// The word for it in logs.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Locked => "locked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user_name: &str, fields: &[(&str, &str)]) -> UserRecord {
        let name = ("user_name", user_name);
        let own = fields.iter().chain([&name]);
        UserRecord {
            user: User {
                user_name: user_name.to_owned(),
                roles: Vec::new(),
                groups: Vec::new(),
                standing: Standing::Active,
                web_service_access_only: false,
            },
            fields: own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn found<'a>(directory: &'a Directory, field: &str, value: &str) -> Finding<'a> {
        let wanted = Wanted { field, value, is_service: false, claims: &Object::default() };
        directory.find(wanted, None, UnixTime::default()).0
    }

    #[test]
    fn users_are_found_by_the_exact_value_of_a_field_that_is_in_use() {
        let records = vec![
            record("ada", &[("email", "ada@x"), ("room", "1")]),
            record("bob", &[("room", "1")]),
        ];
        let directory = Directory::new(records, ["email"], UnknownUser::Reject).unwrap();
        let name = |field, value| match found(&directory, field, value) {
            Finding::Known(user) => Some(user.user_name.clone()),
            Finding::Unknown(None) => None,
            finding => panic!("{finding:?}"),
        };
        assert_eq!(name("email", "ada@x").unwrap(), "ada");
        assert_eq!(name("user_name", "bob").unwrap(), "bob");
        for (field, value) in [
            ("email", "Ada@x"),
            ("email", "ada@x "),
            ("email", "ada"),
            ("email", ""),
            ("room", "1"),
        ] {
            assert_eq!(name(field, value), None, "{field} {value}");
        }
        assert!(directory.has_field("email") && !directory.has_field("room"));
    }

    #[test]
    fn a_value_that_finds_two_users_finds_neither() {
        let records = vec![record("ada", &[("email", "x")]), record("bob", &[("email", "x")])];
        let ambiguity = Ambiguity { field: "email".to_owned(), first: 0, second: 1 };
        let ambiguities = Directory::new(records.clone(), ["email"], UnknownUser::Allow);
        assert_eq!(ambiguities.unwrap_err(), [ambiguity]);
        assert!(Directory::new(records, [], UnknownUser::Allow).is_ok());
    }

    #[test]
    fn an_unknown_user_can_be_tolerated() {
        let directory = Directory::of_nobody();
        assert!(matches!(found(&directory, "user_name", "ada"), Finding::Tolerated));
    }
}
