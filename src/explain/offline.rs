//! An engine without a proxy: it decides on one request, and fetches the keys of one provider.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::outside::{Callout, CalloutError, CalloutReply, Outside};
use super::question::{Message, Question};
use super::setup::Setup;
use crate::callout::{CalloutRequest, CalloutResponse};
use crate::engine::authenticator::{Refused, RequestEdits};
use crate::engine::host::{CalloutId, Host, HostRefused, SharedValue, StreamId};
use crate::engine::{Awaits, Engine};
use crate::jose::PureRust;
use crate::keys::{KeySet, KeySource, ProviderKeys};
use crate::provider::{Provider, ProviderId, Providers, TokenIdRule};
use crate::request::{Field, RequestHead};
use crate::response::Response;
use crate::response_head::ResponseHead;
use crate::time::UnixTime;
use crate::token::{ReplayStore, VerificationBudget};

/// An engine without a proxy.
pub(super) struct Offline<'a> {
    engine: Engine<OfflineHost<'a>>,
    /// The latest request.
    stream: StreamId,
}

/// The result of a request.
pub(super) enum End {
    Accepted {
        edits: RequestEdits,
        needs_no_token: bool,
    },
    /// The flag is true if the plugin forwards the request anyway (`mode: report`).
    Refused(Box<Refused>, bool),
    /// The directory would be asked for this user.
    Directory(String),
    /// An access rule needs the message, which is not available.
    Message,
}

/// A callout and its result.
#[derive(Clone, Debug)]
pub(super) struct CompletedCallout {
    pub(super) url: String,
    pub(super) cluster: String,
    /// When it was made.
    pub(super) at: UnixTime,
    pub(super) took: Duration,
    pub(super) outcome: Result<CalloutReply, CalloutError>,
}

/// The host of one request.
struct OfflineHost<'a> {
    outside: &'a mut dyn Outside,
    shared: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    callouts: Vec<CompletedCallout>,
    /// How many of their responses the engine has received.
    reported: usize,
    refused: Option<Refused>,
    edits: Option<RequestEdits>,
    /// The body of the latest request.
    request_body: Vec<u8>,
    /// The body of the response to it, as the client gets it.
    response_body: Vec<u8>,
}

impl<'a> Offline<'a> {
    /// Limit on decisions per request: it waits for discovery and an unknown key, and nothing else.
    const MAX_ROUNDS: usize = 8;

    /// An engine that fetches only the keys of `provider`. `given` replaces all keys. A shared
    /// store of spent tokens is not called.
    pub(super) fn new(
        setup: &Setup,
        provider: Option<&Provider>,
        given: Option<&KeySet>,
        outside: &'a mut dyn Outside,
    ) -> Self {
        let wanted = provider.map(|provider| provider.name.as_str());
        let key_source = |provider: &Provider| match given {
            Some(set) => KeySource::Static(set.clone()),
            None if Some(provider.name.as_str()) == wanted => provider.key_source.clone(),
            None => KeySource::Static(KeySet::default()),
        };
        let mut config = setup.config.clone();
        let providers = config.providers.iter();
        let providers = providers.map(|provider| Provider {
            key_source: key_source(provider),
            token_id_rule: match provider.token_id_rule {
                // Several decisions on one token must not spend it.
                TokenIdRule::SingleUse => TokenIdRule::Require,
                rule => rule,
            },
            ..provider.clone()
        });
        config.providers = Providers::new(providers.collect());
        config.replay_store = ReplayStore::Local;
        config.login = None;
        let host = OfflineHost {
            outside,
            shared: RefCell::default(),
            callouts: Vec::new(),
            reported: 0,
            refused: None,
            edits: None,
            request_body: Vec::new(),
            response_body: Vec::new(),
        };
        let budget = VerificationBudget::unlimited();
        let engine = Engine::with_parts(config, host, Box::new(PureRust), budget);
        Self { engine, stream: StreamId(0) }
    }

    /// Decides on a request with this host and path.
    pub(super) fn decide(&mut self, question: &Question<'_>, authority: &str, path: &str) -> End {
        let authorization = [b"Bearer ", question.token].concat();
        let message = question.message.as_ref();
        let of_message = message.map(Message::fields).unwrap_or_default();
        let fields: [Field<'_>; 5] = [
            (b":authority", authority.as_bytes()),
            (b":method", question.method.as_bytes()),
            (b":path", path.as_bytes()),
            (b"authorization", &authorization),
            // An MCP client sends a message with every POST.
            (b"content-type", b"application/json"),
        ];
        let of_message = of_message.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let fields: Vec<Field<'_>> = fields.into_iter().chain(of_message).collect();
        let head = RequestHead::new(&fields, question.method == "POST");
        self.begin(message.map(Message::body).unwrap_or_default());
        self.engine.on_request_head(self.stream, head);
        let mut rounds = 0;
        loop {
            match self.engine.awaits(self.stream) {
                Some(Awaits::User(user)) => return End::Directory(user.value.clone()),
                Some(Awaits::Message) if message.is_none() => return End::Message,
                Some(Awaits::Message) => {
                    let size = self.engine.host().request_body.len();
                    self.engine.on_request_body(self.stream, size, true);
                    break;
                }
                Some(Awaits::Verification) if rounds < Self::MAX_ROUNDS => self.fetch_keys(),
                Some(Awaits::Verification | Awaits::SingleUse) | None => break,
            }
            rounds += 1;
        }
        self.engine.expire(self.stream);
        self.end()
    }

    /// The body that the client gets when the server responds to the latest request, which was
    /// forwarded, with this JSON.
    ///
    /// # Errors
    ///
    /// The plugin refuses the response.
    pub(super) fn respond(&mut self, body: Vec<u8>) -> Result<Vec<u8>, Box<Refused>> {
        let fields: [Field<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
        let size = body.len();
        let host = self.engine.host();
        (host.response_body, host.refused) = (body, None);
        self.engine.on_response_head(self.stream, ResponseHead::new(&fields), true);
        self.engine.on_response_body(self.stream, size, true);
        let host = self.engine.host();
        match host.refused.take() {
            Some(refused) => Err(Box::new(refused)),
            None => Ok(std::mem::take(&mut host.response_body)),
        }
    }

    /// Begins another request, with this body.
    fn begin(&mut self, body: Vec<u8>) {
        self.engine.on_stream_end(self.stream);
        self.stream = StreamId(self.stream.0.saturating_add(1));
        let host = self.engine.host();
        host.request_body = body;
        (host.refused, host.edits) = (None, None);
    }

    /// Fetches the provider's keys, if a fetch is due.
    pub(super) fn fetch_keys(&mut self) {
        self.engine.on_tick();
        while let Some((callout, response)) = self.engine.host().next_response() {
            self.engine.on_callout_response(callout, response);
        }
    }

    pub(super) fn keys(&self, provider: ProviderId) -> &ProviderKeys {
        self.engine.keys(provider)
    }

    pub(super) fn now(&mut self) -> UnixTime {
        now(self.engine.host().outside)
    }

    /// All callouts so far.
    pub(super) fn callouts(&mut self) -> &[CompletedCallout] {
        &self.engine.host().callouts
    }

    fn end(&mut self) -> End {
        let host = self.engine.host();
        let edits = host.edits.take();
        match host.refused.take() {
            Some(refused) => End::Refused(Box::new(refused), edits.is_some()),
            None => {
                let edits = edits.unwrap_or_default();
                End::Accepted { needs_no_token: edits.identity.is_none(), edits }
            }
        }
    }
}

impl CompletedCallout {
    /// How many seconds the local clock is ahead of the provider's; negative if it is behind.
    /// `None` if the difference is too small to measure.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        /// `Date` has whole seconds, and caches may repeat it.
        const UNSURE: u64 = 5;
        let there = UnixTime::from_secs(self.outcome.as_ref().ok()?.date?);
        let ahead = self.at.since(there + self.took).as_secs();
        let behind = there.since(self.at + self.took).as_secs();
        match (ahead > UNSURE, behind > UNSURE) {
            (true, _) => i64::try_from(ahead).ok(),
            (_, true) => i64::try_from(behind).ok().map(|behind| -behind),
            _ => None,
        }
    }

    /// The response as the plugin would see it.
    fn response(&self) -> Option<CalloutResponse> {
        let reply = self.outcome.as_ref().ok()?;
        let field = |name| match name {
            ":status" => Some(reply.status.to_string()),
            "cache-control" => reply.cache_control.clone(),
            "content-encoding" => reply.content_encoding.clone(),
            "location" => reply.location.clone(),
            _ => None,
        };
        Some(CalloutResponse::new(field, reply.body.len(), reply.body.clone()))
    }
}

impl OfflineHost<'_> {
    /// The response to the first callout that has not been reported to the engine.
    fn next_response(&mut self) -> Option<(CalloutId, Option<CalloutResponse>)> {
        let response = loop {
            let callout = self.callouts.get(self.reported)?;
            self.reported += 1;
            // A callout that was never made has no response.
            if !matches!(callout.outcome, Err(CalloutError::NoCluster)) {
                break callout.response();
            }
        };
        Some((CalloutId(u64::try_from(self.reported).ok()?), response))
    }
}

impl Host for OfflineHost<'_> {
    fn now(&self) -> Option<UnixTime> {
        Some(now(self.outside))
    }

    fn random(&self) -> u64 {
        0
    }

    fn tick_every(&mut self, _: Duration) -> bool {
        true
    }

    fn shared_value(&self, name: &str) -> SharedValue {
        self.shared.borrow().get(name).cloned().unzip()
    }

    fn replace_shared_value(&self, name: &str, value: &[u8], version: Option<u32>) -> bool {
        let mut shared = self.shared.borrow_mut();
        let current = shared.get(name).map(|(_, version)| *version);
        let is_current = current == version;
        if is_current {
            let next = current.unwrap_or_default().saturating_add(1);
            shared.insert(name.to_owned(), (value.to_vec(), next));
        }
        is_current
    }

    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId> {
        let field = |wanted: &str| {
            let fields = request.fields.iter();
            let mut values = fields.filter(|(name, _)| *name == wanted).map(|(_, value)| value);
            values.next().cloned().unwrap_or_default()
        };
        let fields = request.fields.iter().filter(|(name, _)| !name.starts_with(':'));
        let callout = Callout {
            url: format!("{}://{}{}", field(":scheme"), field(":authority"), field(":path")),
            cluster: request.cluster.clone(),
            fields: fields.cloned().collect(),
            timeout,
            max_body: request.max_body,
        };
        let at = now(self.outside);
        let outcome = self.outside.call(&callout);
        let took = now(self.outside).since(at);
        let Callout { url, cluster, .. } = callout;
        let is_made = !matches!(outcome, Err(CalloutError::NoCluster));
        self.callouts.push(CompletedCallout { url, cluster, at, took, outcome });
        let id = u64::try_from(self.callouts.len()).ok()?;
        is_made.then_some(CalloutId(id))
    }

    fn is_open(&mut self, _: StreamId) -> bool {
        true
    }

    fn edit_request(&mut self, _: StreamId, edits: &RequestEdits) -> Result<(), HostRefused> {
        self.edits = Some(edits.clone());
        Ok(())
    }

    fn remove_trailers(
        &mut self,
        _: StreamId,
        _: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HostRefused> {
        Ok(())
    }

    fn request_body(&mut self, _: StreamId, _: usize) -> Result<Vec<u8>, HostRefused> {
        Ok(self.request_body.clone())
    }

    fn response_body(&mut self, _: StreamId, _: usize) -> Result<Vec<u8>, HostRefused> {
        Ok(self.response_body.clone())
    }

    fn replace_response_body(&mut self, _: StreamId, body: &[u8]) -> Result<(), HostRefused> {
        self.response_body = body.to_vec();
        Ok(())
    }

    fn remove_response_field(&mut self, _: StreamId, _: &str) -> Result<(), HostRefused> {
        Ok(())
    }

    fn received_bytes(&mut self, _: StreamId) -> Option<u64> {
        Some(0)
    }

    fn respond(&mut self, _: StreamId, response: Response) -> Result<(), HostRefused> {
        self.response_body = response.body;
        Ok(())
    }

    fn resume(&mut self, _: StreamId) {}

    fn note_refusal(&mut self, _: StreamId, refused: &Refused) {
        self.refused = Some(refused.clone());
    }
}

pub(super) fn now(outside: &dyn Outside) -> UnixTime {
    UnixTime::default() + Duration::from_millis(outside.now())
}
