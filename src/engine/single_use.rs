//! Single-use tokens: spends and looks them up, in shared data or in the shared store.

use super::callouts::{Callout, Purpose};
use super::host::{CalloutId, Host, StreamId};
use super::places::Awaited;
use super::stream::{Claimant, SingleUse, State};
use super::{BodyAction, Engine};
use crate::callout::{CalloutRequest, CalloutResponse};
use crate::engine::authenticator::{Decision, SpendingRequest};
use crate::time::UnixTime;
use crate::token::{FleetStore, NotSpent, SingleUseToken, SpendAttempt, SpendStep};

impl<H: Host> Engine<H> {
    /// Spends the token of a request.
    pub(super) fn spend(
        &mut self,
        stream: StreamId,
        request: SpendingRequest,
        now: UnixTime,
    ) -> BodyAction {
        match self.fleet_store.clone() {
            Some(store) => {
                let callout = store.request(request.single_use_token(), now);
                self.ask_fleet(stream, Claimant::Spending(Box::new(request)), &store, &callout, now)
            }
            None => {
                let result = self.spend_locally(request.single_use_token(), now);
                let decision = self.authenticator.conclude(request, result);
                self.carry_out(stream, decision, now)
            }
        }
    }

    /// Whether a token is still unspent in shared data. A fleet's store is not called.
    ///
    /// # Errors
    ///
    /// It was spent before, or its state is unknown.
    pub(super) fn look_up_locally(
        &self,
        single_use_token: SingleUseToken,
        now: UnixTime,
    ) -> Result<(), NotSpent> {
        let attempt = SpendAttempt::new(single_use_token, now);
        let (bytes, version) = self.host.shared_value(&attempt.name());
        match attempt.on_read(bytes.as_deref(), version) {
            SpendStep::Done(result) => result,
            SpendStep::Read | SpendStep::Replace(..) => Ok(()),
        }
    }

    /// Calls the store of a fleet, by `request`, for the token of a request, which waits for the
    /// response.
    pub(super) fn ask_fleet(
        &mut self,
        stream: StreamId,
        claimant: Claimant,
        store: &FleetStore,
        request: &CalloutRequest,
        now: UnixTime,
    ) -> BodyAction {
        let asked = if self.streams.has_room(Awaited::SingleUse) {
            self.host.call(request, store.timeout).ok_or_else(|| store.not_dispatched())
        } else {
            Err(FleetStore::crowded())
        };
        match asked {
            Ok(callout) => {
                let (purpose, max_body) = (Purpose::SingleUse(stream), request.max_body);
                self.callouts.insert(callout, Callout { purpose, max_body });
                let deadline = now + store.max_wait();
                let single_use = SingleUse { claimant, callout, deadline };
                self.streams.set(stream, State::SingleUse(Box::new(single_use)));
                self.set_pace(now);
                BodyAction::Stop
            }
            Err(not_spent) => {
                self.set_pace(now);
                let decision = self.conclude(claimant, Err(not_spent));
                self.carry_out(stream, decision, now)
            }
        }
    }

    /// The store of a fleet responded to the callout for this stream.
    pub(super) fn on_single_use_response(
        &mut self,
        stream: StreamId,
        callout: CalloutId,
        response: Option<CalloutResponse>,
        now: UnixTime,
    ) {
        let Some(single_use) = self.streams.get(stream).and_then(|stream| stream.single_use())
        else {
            return;
        };
        if single_use.callout != callout {
            return;
        }
        let result = match single_use.claimant {
            Claimant::Held(_) => FleetStore::looked_up(response),
            Claimant::Spending(_) => FleetStore::spent(response),
        };
        self.settle_single_use(stream, result, now);
    }

    /// The callout for this stream could not be made.
    pub(super) fn on_single_use_refused(&mut self, stream: StreamId, now: UnixTime) {
        if let Some(store) = &self.fleet_store {
            let not_spent = store.not_dispatched();
            self.settle_single_use(stream, Err(not_spent), now);
        }
    }

    /// Refuses the requests whose single-use tokens got no response in time.
    pub(super) fn give_up_single_use(&mut self, now: UnixTime) {
        for stream in self.streams.late(now) {
            self.settle_single_use(stream, Err(FleetStore::too_late()), now);
        }
    }

    fn settle_single_use(&mut self, stream: StreamId, result: Result<(), NotSpent>, now: UnixTime) {
        if let Some(State::SingleUse(single_use)) = self.streams.take(stream) {
            self.callouts.remove(single_use.callout);
            let decision = self.conclude(single_use.claimant, result);
            self.settle(stream, decision, now);
        }
    }

    /// The decision on a request after its token was spent or looked up.
    fn conclude(&self, claimant: Claimant, result: Result<(), NotSpent>) -> Decision {
        match (claimant, result) {
            (Claimant::Spending(request), result) => self.authenticator.conclude(*request, result),
            (Claimant::Held(request), Err(not_spent)) => {
                self.authenticator.refuse_held(*request, not_spent.into())
            }
            (Claimant::Held(mut request), Ok(())) => {
                request.set_looked_up();
                Decision::AwaitBody(request)
            }
        }
    }

    /// Spends a token in shared data, unless another worker of the process has done so.
    fn spend_locally(
        &self,
        single_use_token: SingleUseToken,
        now: UnixTime,
    ) -> Result<(), NotSpent> {
        let mut attempt = SpendAttempt::new(single_use_token, now);
        let name = attempt.name();
        let mut step = SpendStep::Read;
        loop {
            step = match step {
                SpendStep::Read => {
                    let (bytes, version) = self.host.shared_value(&name);
                    attempt.on_read(bytes.as_deref(), version)
                }
                SpendStep::Replace(bytes, version) => {
                    attempt.on_replaced(self.host.replace_shared_value(&name, &bytes, version))
                }
                SpendStep::Done(result) => return result,
            };
        }
    }
}
