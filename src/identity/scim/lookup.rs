//! One look-up: a search, then for an unknown user the creation, if it is configured. A second
//! search finds a user that another client has created meanwhile. Where unknown users pass under
//! their claim's value, the last search makes sure that it is not the name of another user.

use super::protocol::{self, SearchResult};
use super::{NotFound, ScimSettings, UserKey, UserQuery};
use crate::callout::{CalloutFault, CalloutRequest, CalloutResponse};
use crate::identity::User;
use crate::refusal::DirectoryFault;

/// A look-up in progress.
#[derive(Debug)]
pub(super) struct ScimLookup {
    query: UserQuery,
    stage: LookupStage,
    /// What the first search revealed about an unknown user.
    remark: Option<NotFound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookupStage {
    Search,
    Creation,
    SecondSearch,
    NameSearch,
}

/// The next step of a look-up.
pub(super) enum LookupStep {
    /// Send this request.
    Callout(CalloutRequest),
    /// The look-up is over.
    Done(Result<LookupResult, DirectoryFault>),
}

/// The result of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookupResult {
    /// The user exists; `is_new` if the look-up created it.
    Known { user: User, is_new: bool },
    /// There is no such user.
    NotFound(Option<NotFound>),
}

impl ScimLookup {
    /// Starts with a search.
    pub(super) fn start(query: UserQuery, directory: &ScimSettings) -> (Self, CalloutRequest) {
        let request = protocol::search(directory, &query.key);
        (Self { query, stage: LookupStage::Search, remark: None }, request)
    }

    /// The user that is looked up.
    pub(super) fn key(&self) -> &UserKey {
        &self.query.key
    }

    /// Takes the response to the last request, or why it could not be sent.
    pub(super) fn on_response(
        &mut self,
        response: Result<Option<CalloutResponse>, CalloutFault>,
        directory: &ScimSettings,
    ) -> LookupStep {
        self.step(response, directory).unwrap_or_else(|fault| LookupStep::Done(Err(fault)))
    }

    fn step(
        &mut self,
        response: Result<Option<CalloutResponse>, CalloutFault>,
        directory: &ScimSettings,
    ) -> Result<LookupStep, DirectoryFault> {
        let statuses: &[u16] = match self.stage {
            LookupStage::Search | LookupStage::SecondSearch | LookupStage::NameSearch => &[200],
            LookupStage::Creation => &[200, 201, 409],
        };
        let response = response
            .and_then(|response| CalloutResponse::checked(response, statuses, directory.max_body))
            .map_err(DirectoryFault::Callout)?;
        let key = &self.query.key;
        let result = match self.stage {
            LookupStage::Search => match protocol::found(&response, key)? {
                SearchResult::User(user) => LookupResult::Known { user, is_new: false },
                SearchResult::NotFound(Some(why)) if why.is_final() => {
                    LookupResult::NotFound(Some(why))
                }
                SearchResult::NotFound(remark) => match &self.query.new_user {
                    None if directory.tolerates_unknown && !key.is_name() => {
                        self.stage = LookupStage::NameSearch;
                        self.remark = remark;
                        return Ok(LookupStep::Callout(protocol::search(
                            directory,
                            &key.as_name(),
                        )));
                    }
                    None => LookupResult::NotFound(remark),
                    Some(new_user) => match &new_user.resource {
                        Err(not_found) => LookupResult::NotFound(Some(not_found.clone())),
                        Ok(resource) => {
                            self.stage = LookupStage::Creation;
                            return Ok(LookupStep::Callout(protocol::creation(
                                directory, resource,
                            )));
                        }
                    },
                },
            },
            LookupStage::NameSearch => match protocol::found(&response, &key.as_name())? {
                SearchResult::User(_) => LookupResult::NotFound(Some(NotFound::NameOfUser)),
                SearchResult::NotFound(Some(why)) if why.is_final() => {
                    LookupResult::NotFound(Some(why))
                }
                SearchResult::NotFound(_) => LookupResult::NotFound(self.remark.take()),
            },
            // The user exists already (RFC 7644 §3.3): under another value, or created meanwhile.
            LookupStage::Creation if response.status == Some(409) => {
                return Ok(self.second_search(directory));
            }
            LookupStage::Creation => match protocol::created(&response, key)? {
                Some(user) => LookupResult::Known { user, is_new: true },
                None => return Ok(self.second_search(directory)),
            },
            LookupStage::SecondSearch => match protocol::found(&response, key)? {
                SearchResult::User(user) => LookupResult::Known { user, is_new: false },
                SearchResult::NotFound(why) => {
                    let why = why.filter(NotFound::is_final);
                    LookupResult::NotFound(why.or(Some(NotFound::Conflict)))
                }
            },
        };
        Ok(LookupStep::Done(Ok(result)))
    }

    fn second_search(&mut self, directory: &ScimSettings) -> LookupStep {
        self.stage = LookupStage::SecondSearch;
        LookupStep::Callout(protocol::search(directory, &self.query.key))
    }
}
