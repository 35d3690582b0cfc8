//! One look-up: a search, and for an unknown user that is to be created, the creation. Whoever was
//! faster in creating it is found by a second search. Where unknown users pass under the value that
//! was searched, a search for the user of that name comes last: nobody may pass as that one.

use super::protocol::{self, Found};
use super::{DirectoryFault, Nobody, ScimDirectory, UserKey, UserQuery};
use crate::callout::{CalloutAnswer, CalloutFault, CalloutRequest};
use crate::identity::User;

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Lookup {
    query: UserQuery,
    stage: Stage,
    /// What the first search said of an unknown user.
    remark: Option<Nobody>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Search,
    Creation,
    SecondSearch,
    NameSearch,
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
        (Self { query, stage: Stage::Search, remark: None }, request)
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
            Stage::Search | Stage::SecondSearch | Stage::NameSearch => &[200],
            Stage::Creation => &[200, 201, 409],
        };
        let answer = answer
            .and_then(|answer| CalloutAnswer::checked(answer, statuses, directory.max_body))
            .map_err(DirectoryFault::Call)?;
        let key = &self.query.key;
        let answer = match self.stage {
            Stage::Search => match protocol::found(&answer, key)? {
                Found::User(user) => Answer::Known { user, is_new: false },
                Found::Nobody(Some(why)) if why.is_final() => Answer::Nobody(Some(why)),
                Found::Nobody(remark) => match &self.query.new_user {
                    None if directory.tolerates_unknown && !key.is_name() => {
                        self.stage = Stage::NameSearch;
                        self.remark = remark;
                        return Ok(Step::Call(protocol::search(directory, &key.as_name())));
                    }
                    None => Answer::Nobody(remark),
                    Some(new_user) => match &new_user.resource {
                        Err(nobody) => Answer::Nobody(Some(nobody.clone())),
                        Ok(resource) => {
                            self.stage = Stage::Creation;
                            return Ok(Step::Call(protocol::creation(directory, resource)));
                        }
                    },
                },
            },
            Stage::NameSearch => match protocol::found(&answer, &key.as_name())? {
                Found::User(_) => Answer::Nobody(Some(Nobody::NameOfUser)),
                Found::Nobody(Some(why)) if why.is_final() => Answer::Nobody(Some(why)),
                Found::Nobody(_) => Answer::Nobody(self.remark.take()),
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
                Found::Nobody(why) => {
                    let why = why.filter(Nobody::is_final);
                    Answer::Nobody(why.or(Some(Nobody::Conflict)))
                }
            },
        };
        Ok(Step::Done(Ok(answer)))
    }

    fn second_search(&mut self, directory: &ScimDirectory) -> Step {
        self.stage = Stage::SecondSearch;
        Step::Call(protocol::search(directory, &self.query.key))
    }
}
