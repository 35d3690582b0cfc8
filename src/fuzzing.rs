//! For the targets in fuzz/, and compiled only with them. The functions listed here assert the
//! properties of single parsers, and are beside them; the harness passes whole requests to an
//! engine.
//!
//! Functions return whether their input was accepted, so that a test can check that seeds are.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use crate::access::{fuzz_message, fuzz_path};
use crate::callout::{CalloutRequest, CalloutResponse};
use crate::config::Config;
use crate::engine::authenticator::RequestEdits;
use crate::engine::host::{CalloutId, Host, HostRefused, SharedValue, StreamId};
use crate::engine::{BodyAction, Engine, HeadAction};
pub use crate::identity::fuzz_header_values;
use crate::jose::{Algorithm, PublicKey, PureRust, SignatureVerifier};
pub use crate::jose::{fuzz_certificate, fuzz_jws};
pub use crate::keys::{fuzz_key_set, fuzz_metadata, fuzz_shared_keys};
pub use crate::lists::fuzz_lists;
pub use crate::outcome::fuzz_outcomes;
use crate::request::{Field, RequestHead};
use crate::response::Response;
use crate::time::UnixTime;
use crate::token::VerificationBudget;
pub use crate::token::{fuzz_bearer_token, fuzz_spent_tokens};

/// A request as the targets write it.
#[derive(Debug)]
pub struct Request<'a> {
    fields: Vec<(String, Vec<u8>)>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads lines of `name: value`, an empty line, and the body.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        let end = text.windows(2).position(|pair| pair == b"\n\n").unwrap_or(text.len());
        let (head, body) = text.split_at_checked(end).unwrap_or((text, &[]));
        let lines = head.split(|byte| *byte == b'\n');
        let fields = lines.filter_map(|line| {
            // Pseudo-headers begin with a colon.
            let at = 1 + line.get(1..)?.iter().position(|byte| *byte == b':')?;
            let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
            let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
            Some((name, value.trim_ascii().to_vec()))
        });
        Self { fields: fields.collect(), body: body.get(2..).unwrap_or_default() }
    }

    /// With a token that has these claims.
    #[must_use]
    pub fn with_claims(claims: &[u8]) -> Self {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256","kid":"1"}"#);
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let fields = [
            (":method", "POST".to_owned()),
            (":path", "/mcp".to_owned()),
            ("authorization", format!("Bearer {header}.{claims}.AAAA")),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        Self { fields: fields.into(), body: &[] }
    }

    /// The same, read as the response to a callout.
    fn as_callout_response(&self) -> CalloutResponse {
        let field = |wanted: &str| {
            let mut fields = self.fields.iter();
            let (_, value) = fields.find(|(name, _)| name == wanted)?;
            String::from_utf8(value.clone()).ok()
        };
        CalloutResponse::new(field, self.body.len(), self.body.to_vec())
    }

    /// Passes its head to `read`.
    pub fn with_head<T>(&self, read: impl FnOnce(RequestHead<'_>) -> T) -> T {
        let fields: Vec<Field<'_>> =
            self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        read(RequestHead::new(&fields, !self.body.is_empty()))
    }
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It got a response from the engine, or would wait.
    None,
    /// No token was needed.
    WithoutToken,
    /// Its token was accepted, and the upstream gets these fields.
    As(Vec<(String, String)>),
}

/// An engine whose keys are in its configuration. Their private halves no longer exist.
pub struct Harness {
    engine: RefCell<Engine<Recorder>>,
}

/// Accepts every signature, so that what comes after it can be reached.
struct AcceptAll;

impl SignatureVerifier for AcceptAll {
    fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn cost(&self, _: Algorithm, _: &PublicKey) -> u32 {
        1
    }
}

impl Harness {
    const CONFIGURATION: &[u8] = include_bytes!("fuzzing/configuration.json");

    /// `accepts_all`: signatures are not verified. `None` if the configuration is refused.
    #[must_use]
    pub fn new(accepts_all: bool) -> Option<Self> {
        let config = Config::from_bytes(Self::CONFIGURATION).ok()?;
        let verifier: Box<dyn SignatureVerifier> =
            if accepts_all { Box::new(AcceptAll) } else { Box::new(PureRust) };
        let budget = VerificationBudget::unlimited();
        let engine = Engine::with_parts(config, Recorder::default(), verifier, budget);
        Some(Self { engine: RefCell::new(engine) })
    }

    /// Judges a request at the end of January 2027.
    #[must_use]
    pub fn judge(&self, request: &Request<'_>) -> Outcome {
        const STREAM: StreamId = StreamId(1);
        let mut engine = self.engine.borrow_mut();
        *engine.host() = Recorder { body: request.body.to_vec(), ..Recorder::default() };
        let action = request.with_head(|head| engine.on_request_head(STREAM, head));
        let mut is_forwarded = action == HeadAction::Continue;
        if !is_forwarded {
            let action = engine.on_request_body(STREAM, request.body.len(), true);
            is_forwarded = action == BodyAction::Continue;
        }
        engine.on_stream_end(STREAM);
        let Recorder { is_refused, edits, .. } = std::mem::take(engine.host());
        match edits.identity {
            Some(identity) if is_forwarded && !is_refused => {
                let headers = identity.headers();
                Outcome::As(headers.map(|(name, value)| (name.into(), value.into())).collect())
            }
            None if is_forwarded && !is_refused => Outcome::WithoutToken,
            _ => Outcome::None,
        }
    }
}

/// A gateway with a login, whose users are in a directory. Signatures are not verified.
pub struct Gateway(Config);

impl Gateway {
    const CONFIGURATION: &[u8] = include_bytes!("fuzzing/gateway.json");
    /// The provider's metadata document and its key set in one.
    const PROVIDER: &[u8] = include_bytes!("fuzzing/provider.json");

    /// `None` if the configuration is refused.
    #[must_use]
    pub fn new() -> Option<Self> {
        Config::without_secrets(Self::CONFIGURATION).ok().map(Self)
    }

    /// The responses to the requests of a conversation: its parts are divided by zero bytes. A part
    /// is the response to the oldest callout, if one is under way, and otherwise a request.
    ///
    /// # Panics
    ///
    /// If a response is one that no client may get.
    #[must_use]
    pub fn converse(&self, conversation: &[u8]) -> Vec<Response> {
        let budget = VerificationBudget::unlimited();
        let host = Recorder { makes_callouts: true, ..Recorder::default() };
        let mut engine = Engine::with_parts(self.0.clone(), host, Box::new(AcceptAll), budget);
        let mut streams: Vec<StreamId> = Vec::new();
        engine.on_tick();
        // Its metadata document, then its keys.
        for callout in [CalloutId(1), CalloutId(2)] {
            engine.host().callouts.clear();
            let field = |name| (name == ":status").then(|| "200".to_owned());
            let size = Self::PROVIDER.len();
            let response = CalloutResponse::new(field, size, Self::PROVIDER.to_vec());
            engine.on_callout_response(callout, Some(response));
        }
        for (number, part) in (1..).zip(conversation.split(|byte| *byte == 0).take(16)) {
            let message = Request::new(part);
            if let Some(callout) = engine.host().callouts.pop_front() {
                engine.on_callout_response(callout, Some(message.as_callout_response()));
            } else {
                let stream = StreamId(number);
                streams.push(stream);
                engine.host().body = message.body.to_vec();
                let action = message.with_head(|head| engine.on_request_head(stream, head));
                if action != HeadAction::Continue && !message.body.is_empty() {
                    engine.on_request_body(stream, message.body.len(), true);
                }
            }
            engine.on_tick();
        }
        for callout in std::mem::take(&mut engine.host().callouts) {
            engine.on_callout_response(callout, None);
        }
        streams.into_iter().for_each(|stream| engine.on_stream_end(stream));
        let responses = std::mem::take(&mut engine.host().responses);
        responses.iter().for_each(assert_presentable);
        responses
    }
}

/// The engine responds with 500 only if its host fails, and no field can hold a line break.
fn assert_presentable(response: &Response) {
    assert_ne!(response.status, 500);
    for (name, value) in &response.headers {
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
    }
}

/// A host that records how requests end. No token was spent before.
#[derive(Default)]
struct Recorder {
    body: Vec<u8>,
    is_refused: bool,
    edits: RequestEdits,
    responses: Vec<Response>,
    shared: RefCell<BTreeMap<String, Vec<u8>>>,
    makes_callouts: bool,
    callouts: VecDeque<CalloutId>,
    last_callout: u64,
}

impl Host for Recorder {
    fn now(&self) -> Option<UnixTime> {
        Some(UnixTime::from_secs(1_800_000_000))
    }

    fn random(&self) -> u64 {
        0
    }

    fn tick_every(&mut self, _: Duration) -> bool {
        true
    }

    fn shared_value(&self, name: &str) -> SharedValue {
        (self.shared.borrow().get(name).cloned(), None)
    }

    fn replace_shared_value(&self, name: &str, value: &[u8], _: Option<u32>) -> bool {
        self.shared.borrow_mut().insert(name.to_owned(), value.to_vec());
        true
    }

    fn random_bytes(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }

    fn call(&mut self, _: &CalloutRequest, _: Duration) -> Option<CalloutId> {
        if !self.makes_callouts {
            return None;
        }
        self.last_callout = self.last_callout.wrapping_add(1);
        let callout = CalloutId(self.last_callout);
        self.callouts.push_back(callout);
        Some(callout)
    }

    fn is_open(&mut self, _: StreamId) -> bool {
        true
    }

    fn edit_request(&mut self, _: StreamId, edits: &RequestEdits) -> Result<(), HostRefused> {
        self.edits = edits.clone();
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
        Ok(self.body.clone())
    }

    fn received_bytes(&mut self, _: StreamId) -> Option<u64> {
        Some(0)
    }

    fn respond(&mut self, _: StreamId, response: Response) -> Result<(), HostRefused> {
        self.is_refused = true;
        self.responses.push(response);
        Ok(())
    }

    fn resume(&mut self, _: StreamId) {}
}

#[cfg(test)]
mod tests;
