//! Requests that are held until their messages are judged, and their bodies.

use log::Level;

use super::host::{Host, StreamId};
use super::request_body::{BodyDelivery, Head, HeldHead, RequestBody};
use super::stream::{Claimant, State};
use super::{BodyAction, Engine};
use crate::engine::authenticator::{Body, Decision, HeldRequest};
use crate::keys::NoKeys;
use crate::refusal::{DirectoryFault, Refusal};
use crate::time::UnixTime;

impl<H: Host> Engine<H> {
    /// More of a body arrived; without a `size`, its length is unchanged.
    pub(super) fn on_body(
        &mut self,
        stream: StreamId,
        size: Option<usize>,
        is_whole: bool,
    ) -> BodyAction {
        let Some(known) = self.streams.get(stream) else { return BodyAction::Continue };
        let waits = known.waits();
        let body = self.streams.follow_body(stream, RequestBody::untimed);
        body.size = size.unwrap_or(body.size);
        body.is_whole = is_whole;
        if body.is_absent {
            return match body.size {
                0 if waits => BodyAction::Stop,
                0 => BodyAction::Continue,
                // The request was judged as one without a body.
                _ => self.end(stream, 408),
            };
        }
        let is_forwarded = matches!(body.head, Head::Forwarded(_));
        self.learn_delivery(stream, is_forwarded);
        if self.streams.login(stream).is_some() {
            return match self.host.now() {
                Some(now) => self.on_login_body(stream, now),
                None => self.abort(stream),
            };
        }
        if !self.is_decidable(stream) {
            return BodyAction::Stop;
        }
        match self.host.now() {
            Some(now) => self.judge_body(stream, now),
            None => self.abort(stream),
        }
    }

    /// Holds a request until its message is judged, together with its head if the proxy delivers
    /// the body meanwhile.
    pub(super) fn hold(
        &mut self,
        stream: StreamId,
        request: Box<HeldRequest>,
        now: UnixTime,
    ) -> BodyAction {
        // A token is looked up in the shared store only if the head must be forwarded first.
        let goes_first = self.delivery == BodyDelivery::AfterHead || request.is_looked_up();
        self.hold_behind(stream, request, goes_first, now)
    }

    /// Checks the heads that are held back while it is unknown when bodies are delivered.
    pub(super) fn look_after_held_heads(&mut self, now: UnixTime) {
        if self.delivery == BodyDelivery::WithHeldHead {
            return;
        }
        if let BodyDelivery::OnTrial(stream) = self.delivery {
            let body = self.streams.get(stream).and_then(|stream| stream.body.as_ref());
            if body.is_none_or(RequestBody::is_missing) {
                // A filter before the plugin holds what was received.
                self.delivery = BodyDelivery::Unknown;
            }
        }
        for stream in self.streams.held_heads() {
            if !self.host.is_open(stream) {
                continue;
            }
            let received = self.host.received_bytes(stream);
            let next = match self.streams.get(stream) {
                Some(known) => match (&known.body, known.held()) {
                    (Some(body), Some(request)) => body.held_head(request, received, now),
                    _ => HeldHead::Waits,
                },
                None => HeldHead::Waits,
            };
            match (next, self.delivery) {
                (_, BodyDelivery::AfterHead) => self.send_head_first(stream, now),
                (HeldHead::GoesFirst, BodyDelivery::Unknown) => {
                    self.delivery = BodyDelivery::OnTrial(stream);
                    self.send_head_first(stream, now);
                }
                (HeldHead::HasNoBody, _) => self.settle_without_body(stream, now),
                (HeldHead::GoesFirst | HeldHead::Waits, _) => {}
            }
        }
    }

    /// Decides on requests whose trailers arrived while their heads were resumed.
    pub(super) fn serve_ended(&mut self, now: UnixTime) {
        for stream in std::mem::take(&mut self.ended) {
            if self.streams.body_mut(stream).is_some() && self.host.is_open(stream) {
                let action = self.on_body(stream, None, true);
                self.apply_action(stream, action, now);
            }
        }
    }

    /// Learns from a delivered body whether bodies arrive before or after their heads are
    /// forwarded.
    fn learn_delivery(&mut self, stream: StreamId, is_forwarded: bool) {
        if !is_forwarded {
            self.delivery = BodyDelivery::WithHeldHead;
        } else if self.delivery == BodyDelivery::OnTrial(stream) {
            self.delivery = BodyDelivery::AfterHead;
            self.host.log(
                Level::Warn,
                format_args!(
                    "Envoy does not deliver a request body while its head is held back, so heads \
                     reach the server before access rules have read their messages: {}",
                    self.host.withheld_bodies_fix()
                ),
            );
        }
    }

    /// Whether enough of the body of a held request has arrived to decide on it.
    fn is_decidable(&self, stream: StreamId) -> bool {
        let known = self.streams.get(stream);
        let held = known.and_then(|known| Some((known.held()?, known.body.as_ref()?)));
        held.is_some_and(|(request, body)| {
            let max_body = self.authenticator.max_body(request.resource());
            request.is_decided_by(body.size, body.is_whole, max_body)
        })
    }

    /// Like [`Self::hold`]; `goes_first` says whether the head is forwarded before the body.
    fn hold_behind(
        &mut self,
        stream: StreamId,
        mut request: Box<HeldRequest>,
        goes_first: bool,
        now: UnixTime,
    ) -> BodyAction {
        if let Some(refusal) = self.refusal_to_hold(stream, &request, now) {
            let decision = self.authenticator.refuse_held(*request, refusal);
            return self.carry_out(stream, decision, now);
        }
        let body = self.streams.follow_body(stream, RequestBody::untimed);
        let mut action = BodyAction::Stop;
        match &body.head {
            Head::Forwarded(_) => {
                request.take_edits();
            }
            Head::Held { .. } if goes_first => {
                let token = request.single_use_token().filter(|_| !request.is_looked_up());
                if let (Some(store), Some(token)) = (self.fleet_store.clone(), token) {
                    let callout = store.look_up_request(token);
                    return self.ask_fleet(stream, Claimant::Held(request), &store, &callout, now);
                }
                if !self.forward_head(stream, &mut request) {
                    return self.abort(stream);
                }
                action = BodyAction::Continue;
            }
            Head::Held { .. } => {}
        }
        self.streams.set(stream, State::Held(request));
        if self.is_decidable(stream) {
            return self.judge_message(stream, now);
        }
        if self.delivery.is_open() {
            self.set_pace(now);
        }
        action
    }

    /// Why a request may not be held; `None` if it may.
    fn refusal_to_hold(
        &self,
        stream: StreamId,
        request: &HeldRequest,
        now: UnixTime,
    ) -> Option<Refusal> {
        if self.fleet_store.is_none()
            && let Some(single_use_token) = request.single_use_token()
            && let Err(not_spent) = self.look_up_locally(single_use_token, now)
        {
            return Some(not_spent.into());
        }
        if self.streams.is_full(request.token_length()) {
            return Some(self.authenticator.crowded(NoKeys::TooManyBodies));
        }
        let body = self.streams.get(stream).and_then(|known| known.body.as_ref());
        match body.map(|body| &body.head) {
            Some(Head::Forwarded(sent)) if sent != request.identity() => {
                Some(Refusal::directory_unavailable(DirectoryFault::Changed))
            }
            _ => None,
        }
    }

    /// Forwards the head of a request before its body. Returns false if the host refuses the edits.
    fn forward_head(&mut self, stream: StreamId, request: &mut HeldRequest) -> bool {
        let Some(edits) = request.take_edits() else { return false };
        let is_changed = self.edit_head(stream, &edits).is_ok();
        if let Some(body) = self.streams.body_mut(stream).filter(|_| is_changed) {
            body.head = Head::Forwarded(request.identity().clone());
        }
        is_changed
    }

    /// Decides on a held request once enough of its body has arrived. The verdict on its token must
    /// still hold.
    fn judge_body(&mut self, stream: StreamId, now: UnixTime) -> BodyAction {
        let Some(provider) = self.held(stream).map(HeldRequest::provider) else {
            return BodyAction::Stop;
        };
        self.sync_keys(provider, now);
        let holds = |request: &HeldRequest| {
            let verdict = request.verdict();
            verdict.is_some_and(|verdict| self.authenticator.holds(verdict, self.view(), now))
        };
        if self.held(stream).is_some_and(holds) {
            return self.judge_message(stream, now);
        }
        let Some(request) = self.streams.take_held(stream) else { return BodyAction::Stop };
        let decision = self.judge_token(request.as_it_came(), now);
        self.carry_out(stream, decision, now)
    }

    /// Decides on a held request by the part of its body that has arrived.
    fn judge_message(&mut self, stream: StreamId, now: UnixTime) -> BodyAction {
        let Some(size) = self.streams.body_mut(stream).map(|body| body.size) else {
            return BodyAction::Stop;
        };
        let Some(request) = self.streams.take_held(stream) else { return BodyAction::Stop };
        let max_body = self.authenticator.max_body(request.resource());
        let decision = match size {
            0 => self.authenticator.judge_body(*request, Body::Whole(b"")),
            size if size > max_body => self.authenticator.judge_body(*request, Body::TooLarge),
            size => match self.host.request_body(stream, size) {
                // Bytes other than those that are judged must not be forwarded.
                Ok(bytes) if bytes.len() == size => {
                    self.authenticator.judge_body(*request, Body::Whole(&bytes))
                }
                _ => return self.abort(stream),
            },
        };
        self.carry_out(stream, decision, now)
    }

    /// Decides on a request as one without a body, because nothing of it has arrived.
    fn settle_without_body(&mut self, stream: StreamId, now: UnixTime) {
        let Some(request) = self.streams.take_held(stream) else { return };
        if let Some(body) = self.streams.body_mut(stream) {
            body.is_absent = true;
        }
        let decision: Decision = self.authenticator.judge_body(*request, Body::Whole(b""));
        self.settle(stream, decision, now);
    }

    /// Forwards the head of a held request before its body.
    fn send_head_first(&mut self, stream: StreamId, now: UnixTime) {
        if let Some(request) = self.streams.take_held(stream) {
            let action = self.hold_behind(stream, request, true, now);
            self.apply_action(stream, action, now);
        }
    }

    fn held(&self, stream: StreamId) -> Option<&HeldRequest> {
        self.streams.get(stream)?.held()
    }
}
