//! The changes to a forwarded request, and the source of its identity.

use std::borrow::Cow;
use std::rc::Rc;

use super::calls::FollowedCall;
use super::lists::ListView;
use crate::access::Grant;
use crate::identity::{IdentityFields, Overage};
use crate::provider::ProviderId;
use crate::resource::ResourceLabel;
use crate::sessions::RequestSession;

/// Edits of a forwarded request's head: first fields are removed, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestEdits {
    /// Names of the fields to remove, with all their values.
    pub remove: Vec<Cow<'static, str>>,
    /// The new value of `Connection`, if it changes.
    pub connection: Option<&'static str>,
    /// Further fields to add.
    pub(crate) add: Vec<(&'static str, String)>,
    /// The resource to name, if there are several.
    pub(crate) resource: Option<ResourceLabel>,
    /// The identity to add.
    pub(crate) identity: Option<Rc<IdentityFields>>,
    /// The session, if sessions are bound.
    pub(crate) session: Option<Box<RequestSession>>,
}

impl RequestEdits {
    /// Keeps the server from compressing its response, which is to be read.
    pub(super) fn ask_for_plain_response(&mut self) {
        if !self.remove.iter().any(|name| name == ACCEPT_ENCODING) {
            self.remove.push(ACCEPT_ENCODING.into());
        }
    }

    /// Names and values of the fields to add.
    pub fn added(&self) -> impl Iterator<Item = (&str, &str)> {
        let further = self.add.iter().map(|(name, value)| (*name, value.as_str()));
        let resource = self.resource.iter().map(|label| (label.header(), label.id()));
        further.chain(resource).chain(self.identity.iter().flat_map(|identity| identity.headers()))
    }
}

/// The request field that lets a server compress its response.
const ACCEPT_ENCODING: &str = "accept-encoding";

/// Where an allowed request comes from, and what allowed it.
#[derive(Debug)]
pub(crate) struct Attribution {
    /// The provider of the token.
    pub provider: ProviderId,
    /// The claims that the token refers to elsewhere.
    pub overage: Option<Rc<Overage>>,
    /// The rule that allowed the request, and its message if it was read.
    pub grant: Grant,
    /// What decides on the lists in the response, if they are filtered.
    pub lists: Option<Box<ListView>>,
    /// How to read the outcome of the call, if outcomes are read.
    pub followed: Option<Box<FollowedCall>>,
}
