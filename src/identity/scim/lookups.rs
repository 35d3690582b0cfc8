//! What a worker knows of a directory's users: answers that still serve, and look-ups under way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::lookup::{Answer, Lookup, Step};
use super::{DirectoryFault, Nobody, ScimDirectory, UserKey, UserQuery};
use crate::callout::{CalloutAnswer, CalloutFault, CalloutRequest};
use crate::identity::User;
use crate::time::UnixTime;

/// The users of a directory, as far as a worker knows them. At most one look-up for each is under
/// way.
pub(crate) struct UserLookups {
    directory: ScimDirectory,
    known: HashMap<UserKey, Knowledge>,
    /// Whose answers there are, oldest first.
    ages: BTreeMap<LookupId, UserKey>,
    /// About how many bytes all of that takes up.
    size: usize,
    running: BTreeMap<LookupId, Lookup>,
    /// Calls that are to be made.
    calls: VecDeque<(LookupId, CalloutRequest)>,
    reports: VecDeque<LookupReport>,
    last_id: LookupId,
}

/// Tells look-ups apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookupId(u64);

/// What is known of a user.
#[derive(Debug)]
struct Knowledge {
    lookup: LookupId,
    state: State,
}

#[derive(Debug)]
enum State {
    UnderWay,
    Known(User, UnixTime),
    Nobody(Option<Nobody>, UnixTime),
    Failed(DirectoryFault, UnixTime),
}

/// What a worker can say of a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UserAnswer<'a> {
    /// Nothing yet: the directory has to be asked.
    Await,
    /// The directory knows this one.
    Known(&'a User),
    /// The directory knows no such user.
    Nobody(Option<&'a Nobody>),
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

impl UserLookups {
    /// Longest time that an unknown user stays unknown.
    const LONGEST_NOBODY: Duration = Duration::from_secs(30);
    /// Time until a directory that failed is asked again for the same user.
    pub(crate) const PAUSE: Duration = Duration::from_secs(1);
    /// Most bytes of answers that are kept.
    const MOST_BYTES: usize = 8 * 1024 * 1024;
    /// Most look-ups that are under way at the same time.
    const MOST_RUNNING: usize = 1024;
    /// The longest value that is asked for.
    const LONGEST_VALUE: usize = 1024;

    /// Knows nobody yet.
    #[must_use]
    pub(crate) fn new(directory: ScimDirectory) -> Self {
        Self {
            directory,
            known: HashMap::new(),
            ages: BTreeMap::new(),
            size: 0,
            running: BTreeMap::new(),
            calls: VecDeque::new(),
            reports: VecDeque::new(),
            last_id: LookupId::default(),
        }
    }

    /// Where it asks.
    #[must_use]
    pub(crate) fn directory(&self) -> &ScimDirectory {
        &self.directory
    }

    /// What is known of this user.
    #[must_use]
    pub(crate) fn find(&self, key: &UserKey, now: UnixTime) -> UserAnswer<'_> {
        if key.value.len() > Self::LONGEST_VALUE {
            return UserAnswer::Nobody(Some(&Nobody::TooLong));
        }
        match self.known.get(key).map(|known| &known.state) {
            Some(State::Known(user, until)) if now < *until => UserAnswer::Known(user),
            Some(State::Nobody(why, until)) if now < *until => UserAnswer::Nobody(why.as_ref()),
            Some(State::Failed(fault, until)) if now < *until => UserAnswer::Unavailable(fault),
            Some(_) => UserAnswer::Await,
            None if self.running.len() >= Self::MOST_RUNNING => {
                UserAnswer::Unavailable(&DirectoryFault::Crowded)
            }
            None => UserAnswer::Await,
        }
    }

    /// Which answer serves for this user; none if there is none. As long as this stays the same, so
    /// does what is known of the user.
    #[must_use]
    pub(crate) fn serving_answer(&self, key: &UserKey, now: UnixTime) -> Option<LookupId> {
        let known = self.known.get(key)?;
        match &known.state {
            State::Known(_, until) | State::Nobody(_, until) if now < *until => Some(known.lookup),
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
        let (lookup, request) = Lookup::start(query, &self.directory);
        self.running.insert(self.last_id, lookup);
        self.calls.push_back((self.last_id, request));
        self.learn(key, Knowledge { lookup: self.last_id, state: State::UnderWay });
    }

    /// Whether there is a call to be made.
    #[must_use]
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// A call to be made, whose answer goes to [`Self::answered`].
    pub(crate) fn next_call(&mut self) -> Option<(LookupId, CalloutRequest)> {
        self.calls.pop_front()
    }

    /// Something to be told to the operator.
    pub(crate) fn next_report(&mut self) -> Option<LookupReport> {
        self.reports.pop_front()
    }

    /// Takes the answer to a call, or why none was made.
    pub(crate) fn answered(
        &mut self,
        id: LookupId,
        answer: Result<Option<CalloutAnswer>, CalloutFault>,
        now: UnixTime,
    ) {
        let Some(mut lookup) = self.running.remove(&id) else { return };
        let result = match lookup.answered(answer, &self.directory) {
            Step::Call(request) => {
                self.calls.push_back((id, request));
                self.running.insert(id, lookup);
                return;
            }
            Step::Done(result) => result,
        };
        self.report(&result);
        let ttl = self.directory.cache_ttl;
        let state = match result {
            Ok(Answer::Known { user, .. }) => State::Known(user, now + ttl),
            Ok(Answer::Nobody(why)) => State::Nobody(why, now + ttl.min(Self::LONGEST_NOBODY)),
            Err(fault) => State::Failed(fault, now + Self::PAUSE),
        };
        self.learn(lookup.key().clone(), Knowledge { lookup: id, state });
        self.forget_oldest();
    }

    #[cfg(test)]
    pub(super) fn remembered_bytes(&self) -> usize {
        self.size
    }

    fn report(&mut self, result: &Result<Answer, DirectoryFault>) {
        self.reports.push_back(match result {
            Ok(Answer::Known { user, is_new: true }) => {
                let wanted = self.directory.provisioning.iter().flat_map(|own| &own.roles);
                let lacking = wanted.filter(|role| !user.roles.contains(role)).cloned().collect();
                LookupReport::Created { user: user.user_name.clone(), lacking }
            }
            Ok(Answer::Known { is_new: false, .. }) => LookupReport::Answered(true),
            Ok(Answer::Nobody(_)) => LookupReport::Answered(false),
            Err(fault) => LookupReport::Failed(fault.clone()),
        });
    }

    fn learn(&mut self, key: UserKey, knowledge: Knowledge) {
        self.forget(&key);
        self.size += knowledge.size(&key);
        if !matches!(knowledge.state, State::UnderWay) {
            self.ages.insert(knowledge.lookup, key.clone());
        }
        self.known.insert(key, knowledge);
    }

    fn forget(&mut self, key: &UserKey) {
        if let Some(forgotten) = self.known.remove(key) {
            self.size = self.size.saturating_sub(forgotten.size(key));
            self.ages.remove(&forgotten.lookup);
        }
    }

    /// Makes room. Look-ups under way are bounded by themselves.
    fn forget_oldest(&mut self) {
        while self.size > Self::MOST_BYTES
            && let Some((_, key)) = self.ages.pop_first()
        {
            self.forget(&key);
        }
    }
}

impl Knowledge {
    /// About how many bytes it takes up with its key.
    fn size(&self, key: &UserKey) -> usize {
        let state = match &self.state {
            State::Known(user, _) => {
                let names = user.roles.iter().chain(&user.groups).chain([&user.user_name]);
                names.map(|name| size_of::<String>() + name.len()).sum()
            }
            State::Nobody(why, _) => why.as_ref().map_or(0, Nobody::heap_size),
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
