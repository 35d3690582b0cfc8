//! What a worker knows of a directory's users: answers that still serve, and look-ups under way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::lookup::{LookupResult, LookupStep, ScimLookup};
use super::{DirectoryFault, NotFound, ScimSettings, UserKey, UserQuery};
use crate::callout::{CalloutFault, CalloutRequest, CalloutResponse};
use crate::identity::User;
use crate::time::UnixTime;

/// The users of a directory, as far as a worker knows them. At most one look-up for each is under
/// way.
pub(crate) struct ScimLookups {
    directory: ScimSettings,
    known: HashMap<UserKey, UserEntry>,
    /// Whose answers there are, oldest first.
    ages: BTreeMap<LookupId, UserKey>,
    /// About how many bytes all of that takes up.
    size: usize,
    running: BTreeMap<LookupId, ScimLookup>,
    /// Calls that are to be made.
    callouts: VecDeque<(LookupId, CalloutRequest)>,
    reports: VecDeque<LookupReport>,
    last_id: LookupId,
}

/// Tells look-ups apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookupId(u64);

/// What is known of a user.
#[derive(Debug)]
struct UserEntry {
    lookup: LookupId,
    state: State,
}

#[derive(Debug)]
enum State {
    UnderWay,
    Known(User, UnixTime),
    NotFound(Option<NotFound>, UnixTime),
    Failed(DirectoryFault, UnixTime),
}

/// What a worker can say of a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScimResult<'a> {
    /// Nothing yet: the directory has to be asked.
    Await,
    /// The directory knows this one.
    Known(&'a User),
    /// The directory knows no such user.
    NotFound(Option<&'a NotFound>),
    /// The directory could not be asked.
    Unavailable(&'a DirectoryFault),
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookupReport {
    /// A user was created.
    Created {
        /// Its `user_name`.
        user: String,
        /// Roles that it was to have and has not.
        lacking: Vec<String>,
    },
    /// A look-up brought nothing.
    Failed(DirectoryFault),
    /// A look-up was answered: whether the user is known.
    Answered(bool),
}

impl ScimLookups {
    /// Longest time that an unknown user stays unknown.
    const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);
    /// Time until a directory that failed is asked again for the same user.
    pub(crate) const PAUSE: Duration = Duration::from_secs(1);
    /// Most bytes of answers that are kept.
    const MAX_BYTES: usize = 8 * 1024 * 1024;
    /// Most look-ups that are under way at the same time.
    const MAX_RUNNING: usize = 1024;
    /// The longest value that is asked for.
    const MAX_VALUE_LENGTH: usize = 1024;

    /// Knows nobody yet.
    #[must_use]
    pub(crate) fn new(directory: ScimSettings) -> Self {
        Self {
            directory,
            known: HashMap::new(),
            ages: BTreeMap::new(),
            size: 0,
            running: BTreeMap::new(),
            callouts: VecDeque::new(),
            reports: VecDeque::new(),
            last_id: LookupId::default(),
        }
    }

    /// Where it asks.
    #[must_use]
    pub(crate) fn directory(&self) -> &ScimSettings {
        &self.directory
    }

    /// What is known of this user.
    #[must_use]
    pub(crate) fn find(&self, key: &UserKey, now: UnixTime) -> ScimResult<'_> {
        if key.value.len() > Self::MAX_VALUE_LENGTH {
            return ScimResult::NotFound(Some(&NotFound::TooLong));
        }
        match self.known.get(key).map(|known| &known.state) {
            Some(State::Known(user, until)) if now < *until => ScimResult::Known(user),
            Some(State::NotFound(why, until)) if now < *until => ScimResult::NotFound(why.as_ref()),
            Some(State::Failed(fault, until)) if now < *until => ScimResult::Unavailable(fault),
            Some(_) => ScimResult::Await,
            None if self.running.len() >= Self::MAX_RUNNING => {
                ScimResult::Unavailable(&DirectoryFault::Crowded)
            }
            None => ScimResult::Await,
        }
    }

    /// Which answer serves for this user; none if there is none. As long as this stays the same, so
    /// does what is known of the user.
    #[must_use]
    pub(crate) fn current_lookup(&self, key: &UserKey, now: UnixTime) -> Option<LookupId> {
        let known = self.known.get(key)?;
        match &known.state {
            State::Known(_, until) | State::NotFound(_, until) if now < *until => {
                Some(known.lookup)
            }
            _ => None,
        }
    }

    /// Whether the directory is being asked for this user.
    #[must_use]
    pub(crate) fn is_under_way(&self, key: &UserKey) -> bool {
        self.known.get(key).is_some_and(|known| matches!(known.state, State::UnderWay))
    }

    /// Asks for a user, unless that is under way.
    pub(crate) fn want(&mut self, query: UserQuery) {
        if self.is_under_way(&query.key) {
            return;
        }
        self.last_id = LookupId(self.last_id.0.wrapping_add(1));
        let key = query.key.clone();
        let (lookup, request) = ScimLookup::start(query, &self.directory);
        self.running.insert(self.last_id, lookup);
        self.callouts.push_back((self.last_id, request));
        self.learn(key, UserEntry { lookup: self.last_id, state: State::UnderWay });
    }

    /// Whether there is a call to be made.
    #[must_use]
    pub(crate) fn has_callouts(&self) -> bool {
        !self.callouts.is_empty()
    }

    /// A call to be made, whose answer goes to [`Self::on_response`].
    pub(crate) fn next_callout(&mut self) -> Option<(LookupId, CalloutRequest)> {
        self.callouts.pop_front()
    }

    /// Something to be told to the operator.
    pub(crate) fn next_report(&mut self) -> Option<LookupReport> {
        self.reports.pop_front()
    }

    /// Takes the answer to a call, or why none was made.
    pub(crate) fn on_response(
        &mut self,
        id: LookupId,
        response: Result<Option<CalloutResponse>, CalloutFault>,
        now: UnixTime,
    ) {
        let Some(mut lookup) = self.running.remove(&id) else { return };
        let result = match lookup.on_response(response, &self.directory) {
            LookupStep::Callout(request) => {
                self.callouts.push_back((id, request));
                self.running.insert(id, lookup);
                return;
            }
            LookupStep::Done(result) => result,
        };
        self.report(&result);
        let ttl = self.directory.cache_ttl;
        let state = match result {
            Ok(LookupResult::Known { user, .. }) => State::Known(user, now + ttl),
            Ok(LookupResult::NotFound(why)) => {
                State::NotFound(why, now + ttl.min(Self::MAX_NEGATIVE_TTL))
            }
            Err(fault) => State::Failed(fault, now + Self::PAUSE),
        };
        self.learn(lookup.key().clone(), UserEntry { lookup: id, state });
        self.forget_oldest();
    }

    #[cfg(test)]
    pub(super) fn remembered_bytes(&self) -> usize {
        self.size
    }

    fn report(&mut self, result: &Result<LookupResult, DirectoryFault>) {
        self.reports.push_back(match result {
            Ok(LookupResult::Known { user, is_new: true }) => {
                let selector =
                    self.directory.provisioning.iter().flat_map(|provisioning| &provisioning.roles);
                let lacking = selector.filter(|role| !user.roles.contains(role)).cloned().collect();
                LookupReport::Created { user: user.user_name.clone(), lacking }
            }
            Ok(LookupResult::Known { is_new: false, .. }) => LookupReport::Answered(true),
            Ok(LookupResult::NotFound(_)) => LookupReport::Answered(false),
            Err(fault) => LookupReport::Failed(fault.clone()),
        });
    }

    fn learn(&mut self, key: UserKey, entry: UserEntry) {
        self.forget(&key);
        self.size += entry.size(&key);
        if !matches!(entry.state, State::UnderWay) {
            self.ages.insert(entry.lookup, key.clone());
        }
        self.known.insert(key, entry);
    }

    fn forget(&mut self, key: &UserKey) {
        if let Some(forgotten) = self.known.remove(key) {
            self.size = self.size.saturating_sub(forgotten.size(key));
            self.ages.remove(&forgotten.lookup);
        }
    }

    /// Makes room. Look-ups under way are bounded by themselves.
    fn forget_oldest(&mut self) {
        while self.size > Self::MAX_BYTES
            && let Some((_, key)) = self.ages.pop_first()
        {
            self.forget(&key);
        }
    }
}

impl UserEntry {
    /// About how many bytes it takes up with its key.
    fn size(&self, key: &UserKey) -> usize {
        let state = match &self.state {
            State::Known(user, _) => {
                let names = user.roles.iter().chain(&user.groups).chain([&user.user_name]);
                names.map(|name| size_of::<String>() + name.len()).sum()
            }
            State::NotFound(why, _) => why.as_ref().map_or(0, NotFound::heap_size),
            State::UnderWay | State::Failed(..) => 0,
        };
        let key = size_of::<(UserKey, LookupId)>() + key.field.len() + key.value.len();
        // The key is there once more in the order of ages.
        state + size_of::<Self>() + 2 * key
    }
}

/// For the operator.
impl fmt::Display for LookupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { user, lacking } if lacking.is_empty() => {
                write!(f, "created the user {user:?}")
            }
            Self::Created { user, lacking } => write!(
                f,
                "created the user {user:?}, but the directory did not keep these of its roles: {}",
                lacking.join(", ")
            ),
            Self::Failed(fault) => write!(f, "a user could not be looked up: {fault}"),
            Self::Answered(is_known) => {
                write!(
                    f,
                    "a user was looked up and is {}known",
                    if *is_known { "" } else { "not " }
                )
            }
        }
    }
}
