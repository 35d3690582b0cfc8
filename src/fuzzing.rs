//! For the targets in fuzz/, and compiled only with them. The functions listed here assert the
//! properties of single parsers, and are beside them; the harness passes whole requests to an
//! engine.
//!
//! Functions return whether their input was accepted, so that a test can check that seeds are.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use crate::access::{fuzz_message, fuzz_path};
use crate::callout::CalloutRequest;
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

/// A host that records how one request ends. No token was spent before.
#[derive(Default)]
struct Recorder {
    body: Vec<u8>,
    is_refused: bool,
    edits: RequestEdits,
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

    fn shared_value(&self, _: &str) -> SharedValue {
        (None, None)
    }

    fn replace_shared_value(&self, _: &str, _: &[u8], _: Option<u32>) -> bool {
        true
    }

    fn call(&mut self, _: &CalloutRequest, _: Duration) -> Option<CalloutId> {
        None
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

    fn respond(&mut self, _: StreamId, _: Response) -> Result<(), HostRefused> {
        self.is_refused = true;
        Ok(())
    }

    fn resume(&mut self, _: StreamId) {}
}

#[cfg(test)]
mod tests;
