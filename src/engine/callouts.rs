//! The callouts under way.

use std::collections::BTreeMap;

use super::host::{CalloutId, StreamId};
use crate::identity::LookupId;
use crate::provider::ProviderId;

/// What a callout is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The keys of a provider.
    Keys(ProviderId),
    /// A look-up of a user.
    User(LookupId),
    /// To spend or look up the single-use token of this stream.
    SingleUse(StreamId),
}

/// A callout under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Callout {
    pub purpose: Purpose,
    /// Most bytes of the response's body that are read.
    pub max_body: usize,
}

/// All callouts that something waits for. Those for a stream are removed with it, so their number is
/// bounded by the places of streams, providers and look-ups.
#[derive(Debug, Default)]
pub(super) struct Callouts {
    by_id: BTreeMap<CalloutId, Callout>,
}

impl Callouts {
    /// Adds a callout. For keys, the response to an earlier one will be ignored: its fetch was
    /// given up.
    pub(super) fn insert(&mut self, id: CalloutId, callout: Callout) {
        if let Purpose::Keys(_) = callout.purpose {
            self.by_id.retain(|_, earlier| earlier.purpose != callout.purpose);
        }
        self.by_id.insert(id, callout);
    }

    /// The callout with this id.
    pub(super) fn get(&self, id: CalloutId) -> Option<Callout> {
        self.by_id.get(&id).copied()
    }

    /// Removes the callout with this id.
    pub(super) fn remove(&mut self, id: CalloutId) -> Option<Callout> {
        self.by_id.remove(&id)
    }
}
