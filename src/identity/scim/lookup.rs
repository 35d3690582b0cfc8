//! One look-up: a search, and for an unknown user that is to be created, the creation. Whoever was
//! faster in creating it is found by a second search.

use super::protocol::{self, Found};
use super::{DirectoryFault, Nobody, ScimDirectory, UserKey, UserQuery};
use crate::callout::{CalloutAnswer, CalloutFault, CalloutRequest};
use crate::identity::User;

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Lookup {
    query: UserQuery,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Search,
    Creation,
    SecondSearch,
}

/// What is to be done next.
pub(super) enum Step {
    /// This call is to be made.
    Call(CalloutRequest),
    /// Nothing: this came of it.
    Done(Result<Answer, DirectoryFault>),
}

/// What a directory says of a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It knows the user, or does since just now.
    Known { user: User, is_new: bool },
    /// It does not.
    Nobody(Option<Nobody>),
}

impl Lookup {
    /// Begins with a search.
    pub(super) fn start(query: UserQuery, directory: &ScimDirectory) -> (Self, CalloutRequest) {
        let request = protocol::search(directory, &query.key);
        (Self { query, stage: Stage::Search }, request)
    }

    /// Which user is looked up.
    pub(super) fn key(&self) -> &UserKey {
        &self.query.key
    }

    /// Takes the answer to the last call, or why there is none.
    pub(super) fn answered(
        &mut self,
        answer: Result<Option<CalloutAnswer>, CalloutFault>,
        directory: &ScimDirectory,
    ) -> Step {
        self.step(answer, directory).unwrap_or_else(|fault| Step::Done(Err(fault)))
    }

    fn step(
        &mut self,
        answer: Result<Option<CalloutAnswer>, CalloutFault>,
        directory: &ScimDirectory,
    ) -> Result<Step, DirectoryFault> {
        let statuses: &[u16] = match self.stage {
            Stage::Search | Stage::SecondSearch => &[200],
            Stage::Creation => &[200, 201, 409],
        };
        let answer = answer
            .and_then(|answer| CalloutAnswer::checked(answer, statuses, directory.max_body))
            .map_err(DirectoryFault::Call)?;
        let key = &self.query.key;
        let answer = match self.stage {
            Stage::Search => match protocol::found(&answer, key)? {
                Found::User(user) => Answer::Known { user, is_new: false },
                Found::Nobody(Some(why)) => Answer::Nobody(Some(why)),
                Found::Nobody(None) => match &self.query.new_user {
                    None => Answer::Nobody(None),
                    Some(new_user) => match &new_user.resource {
                        Err(claim) => Answer::Nobody(Some(Nobody::Nameless(claim.clone()))),
                        Ok(resource) => {
                            self.stage = Stage::Creation;
                            return Ok(Step::Call(protocol::creation(directory, resource)));
                        }
                    },
                },
            },
            // Somebody else has the name, or was faster (RFC 7644 §3.3).
            Stage::Creation if answer.status == Some(409) => {
                return Ok(self.second_search(directory));
            }
            Stage::Creation => match protocol::created(&answer, key)? {
                Some(user) => Answer::Known { user, is_new: true },
                None => return Ok(self.second_search(directory)),
            },
            Stage::SecondSearch => match protocol::found(&answer, key)? {
                Found::User(user) => Answer::Known { user, is_new: false },
                Found::Nobody(why) => Answer::Nobody(why.or(Some(Nobody::Conflict))),
            },
        };
        Ok(Step::Done(Ok(answer)))
    }

    fn second_search(&mut self, directory: &ScimDirectory) -> Step {
        self.stage = Stage::SecondSearch;
        Step::Call(protocol::search(directory, &self.query.key))
    }
}
