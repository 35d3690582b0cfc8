//! One lookup: a search, then for an unknown user the creation, if it is configured. A second
//! search finds a user that another client has created meanwhile. Where unknown users pass under
//! their claim's value, the last search makes sure that it is not the name of another user.

use super::protocol::{self, SearchResult};
use super::{NotFound, ScimSettings, UserKey, UserQuery};
use crate::callout::{CalloutFault, CalloutRequest, CalloutResponse};
use crate::identity::User;
use crate::refusal::DirectoryFault;

/// A lookup in progress.
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

/// The next step of a lookup.
pub(super) enum LookupStep {
    /// Send this request.
    Callout(CalloutRequest),
    /// The lookup is over.
    Done(Result<LookupResult, DirectoryFault>),
}

/// The result of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookupResult {
    /// The user exists; `is_new` if the lookup created it.
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

    /// Processes the response to the last request, or the fault that prevented it.
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
        match self.stage {
            LookupStage::Search => self.on_search(&response, directory),
            LookupStage::Creation => self.on_creation(&response, directory),
            LookupStage::SecondSearch => self.on_second_search(&response),
            LookupStage::NameSearch => self.on_name_search(&response),
        }
    }

    fn on_search(
        &mut self,
        response: &CalloutResponse,
        directory: &ScimSettings,
    ) -> Result<LookupStep, DirectoryFault> {
        let key = &self.query.key;
        let remark = match protocol::found(response, key)? {
            SearchResult::User(user) => return Ok(LookupStep::known(user, false)),
            SearchResult::NotFound(remark) => remark,
        };
        if remark.as_ref().is_some_and(NotFound::is_final) {
            return Ok(LookupStep::not_found(remark));
        }
        let Some(new_user) = &self.query.new_user else {
            if !directory.tolerates_unknown || key.is_name() {
                return Ok(LookupStep::not_found(remark));
            }
            let search = protocol::search(directory, &key.as_name());
            self.stage = LookupStage::NameSearch;
            self.remark = remark;
            return Ok(LookupStep::Callout(search));
        };
        Ok(match &new_user.resource {
            Err(not_found) => LookupStep::not_found(Some(not_found.clone())),
            Ok(resource) => {
                self.stage = LookupStage::Creation;
                LookupStep::Callout(protocol::creation(directory, resource))
            }
        })
    }

    fn on_creation(
        &mut self,
        response: &CalloutResponse,
        directory: &ScimSettings,
    ) -> Result<LookupStep, DirectoryFault> {
        // The user already exists (RFC 7644 §3.3): under another value, or created meanwhile.
        if response.status == Some(409) {
            return Ok(self.second_search(directory));
        }
        Ok(match protocol::created(response, &self.query.key)? {
            Some(user) => LookupStep::known(user, true),
            None => self.second_search(directory),
        })
    }

    fn second_search(&mut self, directory: &ScimSettings) -> LookupStep {
        self.stage = LookupStage::SecondSearch;
        LookupStep::Callout(protocol::search(directory, &self.query.key))
    }

    fn on_second_search(&self, response: &CalloutResponse) -> Result<LookupStep, DirectoryFault> {
        Ok(match protocol::found(response, &self.query.key)? {
            SearchResult::User(user) => LookupStep::known(user, false),
            SearchResult::NotFound(why) => {
                let why = why.filter(NotFound::is_final);
                LookupStep::not_found(why.or(Some(NotFound::Conflict)))
            }
        })
    }

    fn on_name_search(&mut self, response: &CalloutResponse) -> Result<LookupStep, DirectoryFault> {
        Ok(LookupStep::not_found(match protocol::found(response, &self.query.key.as_name())? {
            SearchResult::User(_) => Some(NotFound::NameOfUser),
            SearchResult::NotFound(Some(why)) if why.is_final() || why.is_barred() => Some(why),
            SearchResult::NotFound(_) => self.remark.take(),
        }))
    }
}

impl LookupStep {
    fn known(user: User, is_new: bool) -> Self {
        Self::Done(Ok(LookupResult::Known { user, is_new }))
    }

    fn not_found(why: Option<NotFound>) -> Self {
        Self::Done(Ok(LookupResult::NotFound(why)))
    }
}
