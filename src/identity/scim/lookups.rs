//! A worker's cache of a directory's users, and its lookups in progress.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::lookup::{LookupResult, LookupStep, ScimLookup};
use super::{NotFound, ScimSettings, UserKey, UserQuery};
use crate::callout::{CalloutFault, CalloutRequest, CalloutResponse};
use crate::identity::User;
use crate::refusal::{DirectoryFault, Refusal};
use crate::time::UnixTime;

/// Cached users and running lookups. Each user has at most one lookup at a time.
pub(crate) struct ScimLookups {
    directory: ScimSettings,
    known: HashMap<UserKey, UserEntry>,
    /// Keys of `known` by age, oldest first.
    ages: BTreeMap<LookupId, UserKey>,
    /// Approximate size of `known` and `ages` in bytes.
    size: usize,
    running: BTreeMap<LookupId, ScimLookup>,
    /// Requests to send.
    callouts: VecDeque<(LookupId, CalloutRequest)>,
    reports: VecDeque<LookupReport>,
    last_id: LookupId,
    /// The fault of the directory that ended the last lookup, if one did, and when that was.
    failure: Option<(DirectoryFault, UnixTime)>,
}

/// Identifies a lookup. Later ones have greater numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookupId(u64);

/// The cached state of a user.
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

/// What a worker knows about a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScimResult<'a> {
    /// Nothing yet: the directory must be queried.
    Await,
    /// The user exists.
    Known(&'a User),
    /// There is no such user.
    NotFound(Option<&'a NotFound>),
    /// The directory could not be queried.
    Unavailable(&'a DirectoryFault),
}

/// An event for the log and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookupReport {
    /// A user was created.
    Created {
        /// `user_name` of the user.
        user: String,
        /// Roles of `users.provision` that the directory did not store.
        lacking: Vec<String>,
    },
    /// A lookup failed.
    Failed(DirectoryFault),
    /// A lookup succeeded; true if the user exists.
    Completed(bool),
}

impl ScimLookups {
    /// Maximum time that an unknown user is cached.
    const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);
    /// Time until a failed lookup may be repeated.
    pub(crate) const PAUSE: Duration = Duration::from_secs(1);
    /// How long the directory counts as not available after a lookup failed.
    const OUTAGE: Duration = Duration::from_secs(5);
    /// Maximum size of the cache in bytes.
    const MAX_BYTES: usize = 8 * 1024 * 1024;
    /// Maximum number of simultaneous lookups.
    const MAX_RUNNING: usize = 1024;
    /// Maximum length of a value to look up, in bytes.
    const MAX_VALUE_LENGTH: usize = 1024;

    /// An empty cache.
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
            failure: None,
        }
    }

    /// The settings of the directory.
    #[must_use]
    pub(crate) fn directory(&self) -> &ScimSettings {
        &self.directory
    }

    /// What this worker knows about the user.
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

    /// The lookup whose result is current for this user; `None` without one. While it stays the
    /// same, so does the result.
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

    /// Whether a lookup for this user is running.
    #[must_use]
    pub(crate) fn is_under_way(&self, key: &UserKey) -> bool {
        self.known.get(key).is_some_and(|known| matches!(known.state, State::UnderWay))
    }

    /// Starts a lookup, unless one is running.
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

    /// Why no user can be looked up now, if the directory was out of order a moment ago. A fault of
    /// one user's record does not count: that user could cause it again and again.
    #[must_use]
    pub(crate) fn outage(&self, now: UnixTime) -> Option<&DirectoryFault> {
        let (fault, at) = self.failure.as_ref()?;
        (*at <= now && now < *at + Self::OUTAGE).then_some(fault)
    }

    /// Whether there are requests to send.
    #[must_use]
    pub(crate) fn has_callouts(&self) -> bool {
        !self.callouts.is_empty()
    }

    /// The next request to send. Its response goes to [`Self::on_response`].
    pub(crate) fn next_callout(&mut self) -> Option<(LookupId, CalloutRequest)> {
        self.callouts.pop_front()
    }

    /// The next event to report.
    pub(crate) fn next_report(&mut self) -> Option<LookupReport> {
        self.reports.pop_front()
    }

    /// Processes the response to a request, or the fault that prevented it.
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
        let outage = result.as_ref().err().filter(|fault| fault.is_outage());
        self.failure = outage.map(|fault| (fault.clone(), now));
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
            Ok(LookupResult::Known { is_new: false, .. }) => LookupReport::Completed(true),
            Ok(LookupResult::NotFound(_)) => LookupReport::Completed(false),
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

    /// Evicts the oldest results until the cache fits. Running lookups have their own bound.
    fn forget_oldest(&mut self) {
        while self.size > Self::MAX_BYTES
            && let Some((_, key)) = self.ages.pop_first()
        {
            self.forget(&key);
        }
    }
}

impl UserEntry {
    /// Approximate size in bytes, including the key.
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
        // `ages` holds a second copy of the key.
        state + size_of::<Self>() + 2 * key
    }
}

impl Refusal {
    /// A user could not be looked up because of this fault.
    #[must_use]
    pub(crate) fn directory_unavailable(fault: DirectoryFault) -> Self {
        Self::DirectoryUnavailable { retry_after: ScimLookups::PAUSE, fault }
    }
}

/// The event as a log line.
impl fmt::Display for LookupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { user, lacking } if lacking.is_empty() => {
                write!(f, "created the user {user:?}")
            }
            Self::Created { user, lacking } => write!(
                f,
                "created the user {user:?}, but the directory did not store these roles: {}",
                lacking.join(", ")
            ),
            Self::Failed(fault) => write!(f, "looking up a user failed: {fault}"),
            Self::Completed(is_known) => {
                write!(
                    f,
                    "a user was looked up and is {}known",
                    if *is_known { "" } else { "not " }
                )
            }
        }
    }
}
