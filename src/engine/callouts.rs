//! The callouts in progress.

use std::collections::BTreeMap;

use super::host::{CalloutId, StreamId};
use crate::identity::LookupId;
use crate::login::DocumentUrl;
use crate::provider::ProviderId;

/// The purpose of a callout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The keys of a provider.
    Keys(ProviderId),
    /// A look-up of a user.
    User(LookupId),
    /// Spending or looking up the single-use token of this stream.
    SingleUse(StreamId),
    /// For logins.
    Login(LoginPurpose),
}

/// The purpose of a callout for logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginPurpose {
    /// The metadata document of a client.
    Client(DocumentUrl),
    /// The endpoints of a provider.
    Endpoints(ProviderId),
    /// The exchange of a code or refresh token for this stream.
    Exchange(ProviderId, StreamId),
}

/// A callout in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Callout {
    pub purpose: Purpose,
    /// Limit on the response body in bytes.
    pub max_body: usize,
}

/// All callouts whose responses are needed. Their number is bounded by the places of streams,
/// providers and look-ups, and by the limits of logins. Those for a single-use token are removed with
/// its stream. Exchanges are not: they count towards their limit until they end.
#[derive(Debug, Default)]
pub(super) struct Callouts {
    by_id: BTreeMap<CalloutId, Callout>,
}

impl Callouts {
    /// Adds a callout. The response to an earlier callout for the same keys will be ignored,
    /// because its fetch was abandoned.
    pub(super) fn insert(&mut self, id: CalloutId, callout: Callout) {
        if let Purpose::Keys(_) = callout.purpose {
            self.by_id.retain(|_, earlier| earlier.purpose != callout.purpose);
        }
        self.by_id.insert(id, callout);
    }

    /// The callout with this id.
    pub(super) fn get(&self, id: CalloutId) -> Option<&Callout> {
        self.by_id.get(&id)
    }

    /// Removes the callout with this id.
    pub(super) fn remove(&mut self, id: CalloutId) -> Option<Callout> {
        self.by_id.remove(&id)
    }
}
