//! The store of a fleet: makes the calls by which tokens are looked up and spent, and keeps the
//! requests that wait for them.

use std::collections::BTreeMap;

use super::host;
use crate::authenticator::{HeldRequest, SpendingRequest};
use crate::time::UnixTime;
use crate::token::{FleetStore, NotSpent};

/// Spends the tokens of requests, which wait here.
pub(super) struct FleetSpender {
    root_id: u32,
    store: FleetStore,
    /// By context id.
    waiting: BTreeMap<u32, WaitingClaimant>,
    /// The context ids of those requests by their calls.
    callouts: BTreeMap<u32, u32>,
}

struct WaitingClaimant {
    request: Claimant,
    callout: u32,
    deadline: UnixTime,
}

/// A request that asks for its token.
pub(super) enum Claimant {
    /// Its token is only looked up: its head is to go on, and its body to be judged.
    Held(Box<HeldRequest>),
    /// Its token is spent.
    Spending(SpendingRequest),
}

/// What came of looking up or spending the token of a request.
pub(super) struct Spent {
    /// Of the request.
    pub context_id: u32,
    /// The request.
    pub request: Claimant,
    /// What came of it.
    pub result: Result<(), NotSpent>,
}

impl FleetSpender {
    pub(super) fn new(root_id: u32, store: FleetStore) -> Self {
        Self { root_id, store, waiting: BTreeMap::new(), callouts: BTreeMap::new() }
    }

    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when this request waits.
    pub(super) fn has(&self, context_id: u32) -> bool {
        self.waiting.contains_key(&context_id)
    }

    /// Makes the call that spends or looks up the token of the current context's request, and lets it
    /// wait. Returns the request if that cannot be done.
    pub(super) fn ask(
        &mut self,
        context_id: u32,
        request: Claimant,
        now: UnixTime,
    ) -> Option<Spent> {
        let callout = match &request {
            Claimant::Held(held) => held
                .single_use_token()
                .map(|single_use_token| self.store.look_up_request(single_use_token)),
            Claimant::Spending(request) => {
                Some(self.store.request(request.single_use_token(), now))
            }
        };
        let timeout = self.store.timeout;
        let callout = callout
            .and_then(|callout| host::callout_as(self.root_id, context_id, &callout, timeout));
        let Some(callout) = callout else {
            return Some(Spent { context_id, request, result: Err(self.store.not_dispatched()) });
        };
        let deadline = now + self.store.max_wait();
        self.waiting.insert(context_id, WaitingClaimant { request, callout, deadline });
        self.callouts.insert(callout, context_id);
        None
    }

    /// True when a request waits for the answer to this call.
    pub(super) fn awaits(&self, callout: u32) -> bool {
        self.callouts.contains_key(&callout)
    }

    /// The host reports the answer to a call just now. Returns the request that waited for it.
    pub(super) fn on_callout_response(
        &mut self,
        callout: u32,
        header_count: usize,
        body_length: usize,
    ) -> Option<Spent> {
        let context_id = *self.callouts.get(&callout)?;
        let limit = FleetStore::RESPONSE_LIMIT.bytes;
        let response = host::callout_response(header_count, body_length, limit);
        let result = match &self.waiting.get(&context_id)?.request {
            Claimant::Held(_) => FleetStore::looked_up(response),
            Claimant::Spending(_) => FleetStore::spent(response),
        };
        self.done(context_id, result)
    }

    /// Returns the requests that waited for too long.
    pub(super) fn give_up(&mut self, now: UnixTime) -> Vec<Spent> {
        let late = self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now);
        let late: Vec<u32> = late.map(|(context_id, _)| *context_id).collect();
        let done = |context_id| self.done(context_id, Err(FleetStore::too_late()));
        late.into_iter().filter_map(done).collect()
    }

    /// A request is gone. Its token is spent all the same.
    pub(super) fn forget(&mut self, context_id: u32) {
        self.take(context_id);
    }

    fn done(&mut self, context_id: u32, result: Result<(), NotSpent>) -> Option<Spent> {
        Some(Spent { context_id, request: self.take(context_id)?, result })
    }

    fn take(&mut self, context_id: u32) -> Option<Claimant> {
        let WaitingClaimant { request, callout, .. } = self.waiting.remove(&context_id)?;
        self.callouts.remove(&callout);
        Some(request)
    }
}
