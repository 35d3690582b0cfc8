//! Logins that wait, and how they end if they wait too long.

use std::time::Duration;

use super::no_randomness;
use crate::callout::CalloutFault;
use crate::engine::Engine;
use crate::engine::host::{CalloutId, Host, StreamId};
use crate::engine::request_body::{BodyDelivery, Head, RequestBody};
use crate::engine::stream::State;
use crate::login::{
    AwaitingClient, AwaitingEndpoints, DiscoveryFault, DocumentFault, DocumentUrl, Exchange, Form,
    Login, Step,
};
use crate::provider::ProviderId;
use crate::time::UnixTime;

/// Maximum number of logins that a tick ends. Envoy sends their responses inside one another, and too
/// many of them would overflow the stack of its sandbox.
const MAX_ENDED: usize = 64;
/// Maximum number of requests whose bodies are awaited.
const MAX_BODIES: usize = 1024;
/// Maximum number of further ones, while the tick ends overdue ones.
const MAX_OVERDUE: usize = 256;
/// Maximum number of logins that wait for anything else.
const MAX_WAITING: usize = 256;
/// How many of these may wait for the documents of one host, or for the endpoints of one provider: a
/// slow one leaves room for the others.
const MAX_WAITING_FOR_ONE: usize = 128;
/// Timeout for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the proxy may hold back a body of which it has received a part.
const NOT_HANDED_OVER: Duration = Duration::from_millis(500);
/// The same time for a proxy that does not report how much it has received.
const NOT_REPORTED: Duration = Duration::from_secs(5);

/// A login that waits.
#[derive(Debug)]
pub(in crate::engine) struct WaitingLogin {
    pub(in crate::engine) awaited: AwaitedByLogin,
    /// It is given up at this time.
    pub(in crate::engine) deadline: UnixTime,
}

/// What a login waits for.
#[derive(Debug)]
pub(in crate::engine) enum AwaitedByLogin {
    /// The body of its request.
    Body(Form),
    /// The metadata document of its client.
    Client(DocumentUrl, Box<AwaitingClient>),
    /// The endpoints of its provider.
    Endpoints(ProviderId, Box<AwaitingEndpoints>),
    /// The response of the provider's token endpoint.
    Exchange(CalloutId, ProviderId, Box<Exchange>),
}

impl AwaitedByLogin {
    /// Whether this is a document of this host.
    pub(super) fn is_document_of(&self, host: &str) -> bool {
        matches!(self, Self::Client(url, _) if url.host() == host)
    }

    /// Whether these are the endpoints of this provider.
    pub(super) fn is_endpoints_of(&self, provider: ProviderId) -> bool {
        matches!(self, Self::Endpoints(id, _) if *id == provider)
    }
}

impl<H: Host> Engine<H> {
    /// Ends logins that have waited too long, and those whose bodies the proxy does not deliver.
    pub(in crate::engine) fn look_after_logins(&mut self, now: UnixTime) {
        let Some(logins) = &mut self.logins else { return };
        logins.has_overdue = false;
        if !self.streams.has_logins() {
            return;
        }
        let mut ended = 0;
        for stream in self.streams.logins(|_| true) {
            if ended == MAX_ENDED {
                break;
            }
            if !self.host.is_open(stream) {
                continue;
            }
            let is_overdue = |login: &WaitingLogin| login.deadline <= now;
            if self.withholds_body(stream, now) {
                self.refuse_withheld(stream, now);
            } else if self.streams.login(stream).is_some_and(is_overdue) {
                self.give_up_login(stream, now);
            } else {
                continue;
            }
            ended += 1;
        }
        if let Some(logins) = &mut self.logins {
            logins.has_overdue = ended == MAX_ENDED;
        }
    }

    pub(super) fn await_body(
        &mut self,
        stream: StreamId,
        form: Form,
        now: UnixTime,
    ) -> Option<Step> {
        if self.streams.body_mut(stream).is_none() {
            // No body follows the head.
            let step = self.with_login(|login, random| login.on_body(form, Some(b""), now, random));
            return Some(step.unwrap_or_else(no_randomness));
        }
        if self.delivery == BodyDelivery::AfterHead {
            return Some(Login::withheld(&form, self.host.withheld_bodies_fix()));
        }
        if !self.make_room_for_body(now) {
            return Some(Login::busy(None, form.stage()));
        }
        self.let_login_wait(stream, AwaitedByLogin::Body(form), BODY_TIMEOUT, now);
        if self.delivery.is_open() {
            self.set_pace(now);
        }
        None
    }

    /// Whether there is room for a further body. If there are too many, the login that has waited the
    /// longest for its body becomes overdue: a body that is sent arrives long before that.
    ///
    /// The next tick ends it, not this call: Envoy's Wasm filter takes a response to one request,
    /// given while another one is handled, as a reason to stop that other one and its body too.
    fn make_room_for_body(&mut self, now: UnixTime) -> bool {
        if self.streams.awaited_bodies() < MAX_BODIES {
            return true;
        }
        self.streams.hasten_oldest_body(now);
        if let Some(logins) = &mut self.logins {
            logins.has_overdue = true;
        }
        self.set_pace(now);
        self.streams.awaited_bodies() < MAX_BODIES + MAX_OVERDUE
    }

    pub(super) fn let_login_wait(
        &mut self,
        stream: StreamId,
        awaited: AwaitedByLogin,
        time: Duration,
        now: UnixTime,
    ) {
        let deadline = now + time;
        self.streams.set(stream, State::Login(Box::new(WaitingLogin { awaited, deadline })));
    }

    /// Whether no further login may wait. `is_same`: those that wait for the same host or provider.
    pub(super) fn is_crowded(&self, is_same: impl Fn(&AwaitedByLogin) -> bool) -> bool {
        self.streams.other_logins() >= MAX_WAITING
            || self.streams.logins(is_same).len() >= MAX_WAITING_FOR_ONE
    }

    /// Continues logins that waited for a document.
    pub(super) fn resume_logins(&mut self, streams: &[StreamId], now: UnixTime) {
        for stream in streams {
            if !self.host.is_open(*stream) {
                continue;
            }
            let step = match self.streams.take_login(*stream) {
                Some(AwaitedByLogin::Client(url, request)) => Step::FetchClient(url, request),
                Some(AwaitedByLogin::Endpoints(id, awaiting)) => Step::Discover(id, awaiting),
                Some(AwaitedByLogin::Body(_) | AwaitedByLogin::Exchange(..)) | None => continue,
            };
            self.run_login(*stream, step, now);
        }
    }

    /// Ends a login that has waited too long.
    fn give_up_login(&mut self, stream: StreamId, now: UnixTime) {
        let Some(logins) = &self.logins else { return };
        let fault = CalloutFault::NoResponse;
        let step = match self.streams.take_login(stream) {
            None => return,
            Some(AwaitedByLogin::Body(_)) => {
                self.streams.decide(stream, false);
                self.end(stream, 408);
                return;
            }
            Some(AwaitedByLogin::Client(_, request)) => {
                self.on_client(*request, Err(&DocumentFault::Callout(fault)), now)
            }
            Some(AwaitedByLogin::Endpoints(id, awaiting)) => {
                let fault = DiscoveryFault::Callout(fault);
                self.with_login(|login, random| {
                    login.on_endpoints(id, *awaiting, Err(&fault), now, random)
                })
            }
            Some(AwaitedByLogin::Exchange(_, id, exchange)) => {
                Some(logins.login.on_exchanged(id, *exchange, Err(fault)))
            }
        };
        self.run_login(stream, step.unwrap_or_else(no_randomness), now);
    }

    /// Whether the proxy does not deliver the body that a login waits for.
    fn withholds_body(&mut self, stream: StreamId, now: UnixTime) -> bool {
        let awaits_body = self
            .streams
            .login(stream)
            .is_some_and(|login| matches!(login.awaited, AwaitedByLogin::Body(_)));
        let Some(RequestBody { head: Head::Held { since, size }, size: 0, .. }) =
            self.streams.body_mut(stream)
        else {
            return false;
        };
        let (since, head_size) = (*since, *size);
        if !awaits_body || self.delivery == BodyDelivery::WithHeldHead {
            return false;
        }
        self.delivery == BodyDelivery::AfterHead
            || match self.host.received_bytes(stream) {
                Some(received) => received > head_size && now >= since + NOT_HANDED_OVER,
                None => now >= since + NOT_REPORTED,
            }
    }

    fn refuse_withheld(&mut self, stream: StreamId, now: UnixTime) {
        if let Some(AwaitedByLogin::Body(form)) = self.streams.take_login(stream) {
            let step = Login::withheld(&form, self.host.withheld_bodies_fix());
            self.run_login(stream, step, now);
        }
    }
}
