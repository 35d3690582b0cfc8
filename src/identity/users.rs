//! The configured users, and how the user of a token is found among them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use super::difference::{Difference, compare_bare};
use super::scim::{LookupId, NotFound, ScimLookups, ScimResult, ScimSettings, UserKey, UserQuery};
use super::user::{User, UserSelector};
use crate::refusal::{AccountStatus, DirectoryFault, clipped};
use crate::time::UnixTime;

/// A user record of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct UserRecord {
    /// The user it describes.
    pub user: User,
    /// Values by field. A token's user claim is compared with one of them.
    pub fields: BTreeMap<String, String>,
    /// Names of the providers whose tokens match it; `None` for all.
    pub providers: Option<Vec<String>>,
}

/// The decision on an unknown user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownUser {
    /// The request passes, with the value of the claim as user name.
    Allow,
    /// The request is refused.
    Reject,
}

/// All known users: the records, indexed by each `user_field` in use, then those of the SCIM
/// directory, if one is configured.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    records: Vec<Record>,
    by_field: HashMap<String, FieldIndex>,
    scim: Option<ScimSettings>,
    unknown: UnknownUser,
}

/// A record without its fields, which are indexed separately.
#[derive(Clone, Debug)]
struct Record {
    user: User,
    providers: Option<Vec<String>>,
}

/// Index of the records by the value of one field.
#[derive(Clone, Debug, Default)]
struct FieldIndex {
    /// Indexes of records. No two records of one value match the same provider.
    by_value: HashMap<Rc<str>, Vec<usize>>,
    /// All values, sorted so that those that differ only by a [`Difference`] are adjacent.
    by_bare_name: Vec<Rc<str>>,
}

/// The result of looking up a user.
#[derive(Debug)]
pub(crate) enum UserLookup<'a> {
    /// Not known yet: the SCIM directory must be queried.
    Await(UserQuery),
    /// The user is known.
    Known(&'a User),
    /// The user is unknown, and unknown users are allowed.
    Tolerated,
    /// The SCIM directory could not be queried.
    Unavailable(&'a DirectoryFault),
    /// The user is unknown, so the request is refused.
    Unknown(WhyUnknown<'a>),
}

/// Hints for the operator why a user is unknown. Often empty.
#[derive(Debug, Default)]
pub(crate) struct WhyUnknown<'a> {
    record: Option<RecordNote<'a>>,
    not_found: Option<&'a NotFound>,
}

/// How a record relates to a user that no record matches. Holds the record's `user_name`.
#[derive(Debug, PartialEq, Eq)]
enum RecordNote<'a> {
    /// The user found in the SCIM directory has the name of a record.
    NameOfFound(&'a str),
    /// The value is the `user_name` of a record, which `user_field` does not search by.
    NameOfRecord(&'a str),
    /// The record has the value, but does not match tokens of this provider.
    OtherProvider(&'a str),
    /// The record's value differs only in this.
    Similar(&'a str, Difference),
}

/// The source of what is known about a user.
#[derive(Clone, Debug)]
pub(crate) enum KnownBy {
    /// The configuration, which never changes.
    Configuration,
    /// A lookup in the SCIM directory.
    Lookup(UserKey, LookupId),
}

impl KnownBy {
    /// Whether the source has not changed since.
    #[must_use]
    pub(crate) fn still_holds(&self, lookups: Option<&ScimLookups>, now: UnixTime) -> bool {
        match (self, lookups) {
            (Self::Configuration, _) => true,
            (Self::Lookup(key, lookup), Some(lookups)) => {
                lookups.current_lookup(key, now) == Some(*lookup)
            }
            (Self::Lookup(..), None) => false,
        }
    }

    /// Approximate heap size in bytes.
    #[must_use]
    pub(crate) fn heap_size(&self) -> usize {
        match self {
            Self::Configuration => 0,
            Self::Lookup(key, _) => key.field.len() + key.value.len(),
        }
    }
}

/// Two records that share a value and a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguity {
    /// Name of the shared field.
    pub field: String,
    /// Index of the earlier record.
    pub first: usize,
    /// Index of the later record.
    pub second: usize,
}

impl Users {
    /// Indexes the records by `user_name` and by `fields`.
    ///
    /// # Errors
    ///
    /// Each pair of records with the same value in an indexed field and a provider in common.
    pub(crate) fn new<'a>(
        records: Vec<UserRecord>,
        fields: impl IntoIterator<Item = &'a str>,
        unknown: UnknownUser,
    ) -> Result<Self, Vec<Ambiguity>> {
        let mut by_field: HashMap<String, FieldIndex> = [User::NAME_FIELD]
            .into_iter()
            .chain(fields)
            .map(|field| (field.to_owned(), FieldIndex::default()))
            .collect();
        let mut ambiguities = Vec::new();
        let mut known: Vec<Record> = Vec::new();
        for (second, UserRecord { user, fields, providers }) in records.into_iter().enumerate() {
            let record = Record { user, providers };
            for (field, value) in fields {
                let Some(index) = by_field.get_mut(&field) else { continue };
                let others = index.by_value.entry(value.into()).or_default();
                let overlaps = |other: &&usize| {
                    known.get(**other).is_some_and(|other| other.overlaps(&record))
                };
                match others.iter().find(overlaps) {
                    Some(first) => ambiguities.push(Ambiguity { field, first: *first, second }),
                    None => others.push(second),
                }
            }
            known.push(record);
        }
        for index in by_field.values_mut() {
            index.by_bare_name = index.by_value.keys().cloned().collect();
            index.by_bare_name.sort_unstable_by(|one, two| {
                // A total order, so that every worker logs the same cause.
                compare_bare(one, two).then_with(|| one.cmp(two))
            });
        }
        if ambiguities.is_empty() {
            Ok(Self { records: known, by_field, scim: None, unknown })
        } else {
            Err(ambiguities)
        }
    }

    /// No records, and every user allowed.
    #[must_use]
    pub(crate) fn allow_all() -> Self {
        Self {
            records: Vec::new(),
            by_field: HashMap::new(),
            scim: None,
            unknown: UnknownUser::Allow,
        }
    }

    /// Adds a SCIM directory, which is queried for users without a record.
    #[must_use]
    pub(crate) fn with_scim(self, scim: Option<ScimSettings>) -> Self {
        Self { scim, ..self }
    }

    /// Creates a worker's lookups in the SCIM directory, if one is configured.
    #[must_use]
    pub(crate) fn lookups(&self) -> Option<ScimLookups> {
        self.scim.clone().map(ScimLookups::new)
    }

    /// True when some record matches tokens of this provider.
    #[must_use]
    pub(crate) fn has_records_for(&self, provider: &str) -> bool {
        self.records.iter().any(|record| record.is_for(provider))
    }

    /// True when some record with this field matches tokens of this provider.
    #[must_use]
    pub(crate) fn has_field(&self, field: &str, provider: &str) -> bool {
        let found = self.by_field.get(field).into_iter().flat_map(|index| index.by_value.values());
        found
            .flatten()
            .any(|index| self.records.get(*index).is_some_and(|record| record.is_for(provider)))
    }

    /// Looks up a user by the exact value of a field. The second part of the result shows later
    /// whether the first still holds. `lookups` must come from [`Self::lookups`].
    ///
    /// The name of a record is reserved for users who match it: neither an unknown user nor a user
    /// of the SCIM directory may pass under that name.
    #[must_use]
    pub(crate) fn find<'a>(
        &'a self,
        selector: UserSelector<'_>,
        lookups: Option<&'a ScimLookups>,
        now: UnixTime,
    ) -> (UserLookup<'a>, Option<KnownBy>) {
        let by_configuration = Some(KnownBy::Configuration);
        let mut records = self.records_with(selector.field, selector.value);
        if let Some(record) = records.find(|record| record.is_for(selector.provider)) {
            return (UserLookup::Known(&record.user), by_configuration);
        }
        let (Some(lookups), Some(scim)) = (lookups, &self.scim) else {
            return (self.unknown(selector, None), by_configuration);
        };
        let key = scim.key(selector);
        let finding = match lookups.find(&key, now) {
            ScimResult::Await => {
                let query = scim.query(key, selector, |name| self.has_user_name(name));
                return (UserLookup::Await(query), None);
            }
            ScimResult::Known(user) if self.has_user_name(&user.user_name) => {
                let record = Some(RecordNote::NameOfFound(&user.user_name));
                UserLookup::Unknown(WhyUnknown { record, not_found: None })
            }
            ScimResult::Known(user) => UserLookup::Known(user),
            ScimResult::Unavailable(fault) => UserLookup::Unavailable(fault),
            ScimResult::NotFound(not_found) => self.unknown(selector, not_found),
        };
        let lookup = lookups.current_lookup(&key, now);
        (finding, lookup.map(|lookup| KnownBy::Lookup(key, lookup)))
    }

    fn unknown<'a>(
        &'a self,
        selector: UserSelector<'_>,
        not_found: Option<&'a NotFound>,
    ) -> UserLookup<'a> {
        let may_pass = self.unknown == UnknownUser::Allow
            && !not_found.is_some_and(|why| why.is_final() || why.is_barred())
            && !self.has_user_name(selector.value)
            && !self.is_barred_in_other_spelling(selector);
        if may_pass {
            return UserLookup::Tolerated;
        }
        UserLookup::Unknown(WhyUnknown { record: self.note(selector), not_found })
    }

    /// The hint for the operator about a user that no record matches.
    fn note(&self, selector: UserSelector<'_>) -> Option<RecordNote<'_>> {
        if let Some(record) = self.records_with(selector.field, selector.value).next() {
            return Some(RecordNote::OtherProvider(&record.user.user_name));
        }
        if let Some(record) = self.records_with(User::NAME_FIELD, selector.value).next() {
            return Some(RecordNote::NameOfRecord(&record.user.user_name));
        }
        let near = self.by_field.get(selector.field)?.near(selector.value);
        near.flat_map(|(other, difference)| {
            self.records_with(selector.field, other).map(move |record| (record, difference))
        })
        .find(|(record, _)| record.is_for(selector.provider))
        .map(|(record, difference)| RecordNote::Similar(&record.user.user_name, difference))
    }

    /// Whether an inactive or locked record has this value except for case or white space. A server
    /// that ignores these would let its user in.
    fn is_barred_in_other_spelling(&self, selector: UserSelector<'_>) -> bool {
        [User::NAME_FIELD, selector.field].into_iter().any(|field| {
            let near = self.by_field.get(field).map(|index| index.near(selector.value));
            let mut near = near.into_iter().flatten();
            near.any(|(other, difference)| {
                difference.is_spelling()
                    && self
                        .records_with(field, other)
                        .any(|record| record.user.account_status != AccountStatus::Active)
            })
        })
    }

    fn has_user_name(&self, name: &str) -> bool {
        self.records_with(User::NAME_FIELD, name).next().is_some()
    }

    fn records_with(&self, field: &str, value: &str) -> impl Iterator<Item = &Record> {
        let found = self.by_field.get(field).and_then(|index| index.by_value.get(value));
        found.into_iter().flatten().filter_map(|index| self.records.get(*index))
    }
}

impl Record {
    /// Whether tokens of this provider match the record.
    fn is_for(&self, provider: &str) -> bool {
        let names = self.providers.as_ref();
        names.is_none_or(|names| names.iter().any(|name| name == provider))
    }

    /// Whether tokens of some provider match both records.
    fn overlaps(&self, other: &Self) -> bool {
        let names = self.providers.as_ref();
        names.is_none_or(|names| names.iter().any(|name| other.is_for(name)))
    }
}

impl FieldIndex {
    /// Values that differ from `value` only by a [`Difference`].
    fn near(&self, value: &str) -> impl Iterator<Item = (&str, Difference)> {
        /// Bounds the comparisons where many values share a bare name.
        const MAX_COMPARED: usize = 16;
        let start = self.by_bare_name.partition_point(|other| compare_bare(other, value).is_lt());
        let others = self.by_bare_name.iter().skip(start).take(MAX_COMPARED);
        others
            .take_while(move |other| compare_bare(other, value).is_eq())
            .filter_map(move |other| Some((&**other, Difference::between(value, other)?)))
    }
}

impl WhyUnknown<'_> {
    /// The hints as one line for the operator; `None` without any.
    #[must_use]
    pub(crate) fn cause(&self) -> Option<String> {
        let record = self.record.as_ref().map(ToString::to_string);
        let not_found = self.not_found.map(ToString::to_string);
        let causes: Vec<String> = record.into_iter().chain(not_found).collect();
        (!causes.is_empty()).then(|| causes.join("; "))
    }
}

impl fmt::Display for RecordNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameOfFound(name) => write!(
                f,
                "the user found in the directory has the name of the record of {:?} in \
                 users.records, which this token does not match",
                clipped(name)
            ),
            Self::NameOfRecord(name) => write!(
                f,
                "the value is the user_name of the record of {:?}, which this token does not match",
                clipped(name)
            ),
            Self::OtherProvider(name) => write!(
                f,
                "the record of {:?} has this value, but its `provider` does not name the provider \
                 of this token",
                clipped(name)
            ),
            Self::Similar(name, difference) => write!(
                f,
                "the record of {:?} differs only {difference}; values are compared exactly",
                clipped(name)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Object;

    fn record(user_name: &str, fields: &[(&str, &str)]) -> UserRecord {
        let name = ("user_name", user_name);
        let all = fields.iter().chain([&name]);
        UserRecord {
            user: User {
                user_name: user_name.to_owned(),
                roles: Vec::new(),
                groups: Vec::new(),
                account_status: AccountStatus::Active,
                web_service_access_only: false,
            },
            fields: all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            providers: None,
        }
    }

    /// The record, limited to tokens of these providers.
    fn only_for(record: UserRecord, providers: &[&str]) -> UserRecord {
        let names = providers.iter().map(|&name| name.to_owned()).collect();
        UserRecord { providers: Some(names), ..record }
    }

    fn found<'a>(directory: &'a Users, field: &str, value: &str) -> UserLookup<'a> {
        found_for(directory, "p", field, value)
    }

    fn found_for<'a>(
        directory: &'a Users,
        provider: &str,
        field: &str,
        value: &str,
    ) -> UserLookup<'a> {
        let claims = &Object::default();
        let selector = UserSelector { field, value, provider, is_service: false, claims };
        directory.find(selector, None, UnixTime::default()).0
    }

    fn cause(finding: &UserLookup<'_>) -> Option<String> {
        match finding {
            UserLookup::Unknown(why) => why.cause(),
            finding => panic!("{finding:?}"),
        }
    }

    #[test]
    fn users_are_found_by_the_exact_value_of_a_field_that_is_in_use() {
        let records = vec![
            record("ada", &[("email", "ada@x"), ("room", "1")]),
            record("bob", &[("room", "1")]),
        ];
        let directory = Users::new(records, ["email"], UnknownUser::Reject).unwrap();
        let name = |field, value| match found(&directory, field, value) {
            UserLookup::Known(user) => Some(user.user_name.clone()),
            UserLookup::Unknown(_) => None,
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
        assert!(directory.has_field("email", "p") && !directory.has_field("room", "p"));
    }

    #[test]
    fn a_value_that_finds_two_users_finds_neither() {
        let records = vec![record("ada", &[("email", "x")]), record("bob", &[("email", "x")])];
        let ambiguity = Ambiguity { field: "email".to_owned(), first: 0, second: 1 };
        let ambiguities = Users::new(records.clone(), ["email"], UnknownUser::Allow);
        assert_eq!(ambiguities.unwrap_err(), [ambiguity]);
        assert!(Users::new(records, [], UnknownUser::Allow).is_ok());
    }

    #[test]
    fn records_of_different_providers_can_have_the_same_value() {
        let ada = || record("ada", &[("email", "x")]);
        let bob = || record("bob", &[("email", "x")]);
        let records = vec![only_for(ada(), &["a", "b"]), only_for(bob(), &["c"])];
        let directory = Users::new(records, ["email"], UnknownUser::Reject).unwrap();
        for (provider, name) in
            [("a", Some("ada")), ("b", Some("ada")), ("c", Some("bob")), ("d", None)]
        {
            match found_for(&directory, provider, "email", "x") {
                UserLookup::Known(user) => assert_eq!(Some(user.user_name.as_str()), name),
                UserLookup::Unknown(_) => assert_eq!(name, None, "{provider}"),
                finding => panic!("{finding:?}"),
            }
        }
        assert!(directory.has_records_for("c") && !directory.has_records_for("d"));
        assert!(directory.has_field("email", "c") && !directory.has_field("email", "d"));
        // The same holds for a user name.
        let records = vec![only_for(ada(), &["a"]), only_for(ada(), &["b"])];
        assert!(Users::new(records, [], UnknownUser::Reject).is_ok());
        for records in [
            vec![only_for(ada(), &["a", "b"]), only_for(bob(), &["b"])],
            vec![only_for(ada(), &["a"]), bob()],
            vec![ada(), only_for(bob(), &["a"])],
        ] {
            let ambiguities = Users::new(records, ["email"], UnknownUser::Reject).unwrap_err();
            assert_eq!(ambiguities.len(), 1, "{ambiguities:?}");
        }
        // Only the second record shares a provider with the third.
        let records =
            vec![only_for(ada(), &["a"]), only_for(bob(), &["b"]), only_for(bob(), &["b"])];
        let ambiguities = Users::new(records, ["email"], UnknownUser::Reject).unwrap_err();
        assert!(
            ambiguities.iter().all(|ambiguity| (ambiguity.first, ambiguity.second) == (1, 2)),
            "{ambiguities:?}"
        );
    }

    #[test]
    fn an_unknown_user_can_be_allowed() {
        let directory = Users::allow_all();
        assert!(matches!(found(&directory, "user_name", "ada"), UserLookup::Tolerated));
    }

    #[test]
    fn no_unknown_user_is_allowed_under_the_name_of_a_record() {
        let records = vec![
            record("ada", &[("email", "ada@x")]),
            only_for(record("root", &[("email", "root@x")]), &["other"]),
        ];
        let directory = Users::new(records, ["email"], UnknownUser::Allow).unwrap();
        for (field, value) in [("email", "ada"), ("email", "root"), ("user_name", "root")] {
            let finding = found(&directory, field, value);
            assert!(cause(&finding).unwrap().contains(value), "{field} {value}: {finding:?}");
        }
        // The names of inactive and locked users are reserved in any case.
        let mut locked = record("bob", &[("email", "bob@x")]);
        locked.user.account_status = AccountStatus::Locked;
        let barring =
            Users::new(vec![locked, record("ada", &[])], ["email"], UnknownUser::Allow).unwrap();
        for (value, is_tolerated) in [("BOB", false), ("bob ", false), ("Ada", true), ("rob", true)]
        {
            let finding = found(&barring, "user_name", value);
            assert_eq!(matches!(finding, UserLookup::Tolerated), is_tolerated, "{value}");
        }
        // A record of another provider reserves only its exact name.
        for (field, value) in [("email", "Ada"), ("email", "root@x"), ("user_name", "ada@x")] {
            assert!(matches!(found(&directory, field, value), UserLookup::Tolerated), "{value}");
        }
    }

    #[test]
    fn the_operator_sees_which_record_nearly_matches() {
        let records = vec![
            record("ada", &[("email", "ada@x")]),
            record("robert", &[("email", r"CORP\bob")]),
            only_for(record("eve", &[("email", "eve@x")]), &["other"]),
            record("adam", &[]),
        ];
        let directory = Users::new(records, ["email"], UnknownUser::Reject).unwrap();
        for (field, value, expected) in [
            ("email", "Ada@x", Some("the record of \"ada\" differs only in upper and lower case")),
            ("email", "ADA", Some("the record of \"ada\" differs only by a domain")),
            ("email", "bob", Some("the record of \"robert\" differs only by a domain")),
            ("email", "ada@x ", Some("the record of \"ada\" differs only by white space")),
            ("email", "eve@x", Some("the record of \"eve\" has this value, but its `provider`")),
            ("email", "adam", Some("is the user_name of the record of \"adam\"")),
            ("email", "ada@y", None),
            ("email", "Eve@x", None),
            ("room", "1", None),
            ("email", "", None),
        ] {
            let said = cause(&found(&directory, field, value));
            let is_expected = match expected {
                Some(expected) => said.as_deref().is_some_and(|said| said.contains(expected)),
                None => said.is_none(),
            };
            assert!(is_expected, "{field} {value}: {said:?}");
        }
    }
}
