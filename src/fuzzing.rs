//! A door for the targets in fuzz/, compiled only with them: what strangers may send is read, and
//! what the readers promise is asserted.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::access::CanonicalPath;
use crate::callout::CalloutRequest;
use crate::config::Config;
use crate::engine::authenticator::RequestEdits;
use crate::engine::host::{CalloutId, Host, HostRefused, SharedValue, StreamId};
use crate::engine::{BodyAction, Engine, HeadAction};
use crate::identity::encoded_values;
use crate::jose::{
    Algorithm, CompactJws, KnownHeaders, PublicKey, PureRust, SignatureVerifier, certificate_key,
};
use crate::keys::{KeySet, KeySetLookup, KeySettings, KeySource};
use crate::request::{Field, RequestHead};
use crate::response::Response;
use crate::time::UnixTime;
use crate::token::{VerificationBudget, check_single};

/// Header fields of a request.
pub type Fields = Vec<(String, Vec<u8>)>;

fn borrowed(fields: &Fields) -> Vec<Field<'_>> {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect()
}

/// The body of a request.
pub fn read_message(body: &[u8]) {
    crate::access::reads_message(body);
}

/// A metadata document.
pub fn read_metadata(document: &[u8]) {
    crate::keys::reads_metadata(document);
}

/// What stands in shared data of keys.
pub fn read_shared_keys(bytes: &[u8], settings: &Config) {
    crate::keys::reads_shared_keys(bytes, key_settings(settings));
}

/// The settings of all keys that are fetched.
pub(crate) fn key_settings(config: &Config) -> impl Iterator<Item = &KeySettings> {
    config.providers.iter().filter_map(|provider| match &provider.key_source {
        KeySource::Static(_) => None,
        KeySource::Remote(source) => Some(&source.settings),
    })
}

/// What stands in shared data of spent tokens.
pub fn read_shared_tokens(index: u8, bytes: &[u8]) {
    crate::token::reads_shared_tokens(index, bytes);
}

/// The token of a request is one word, if it is single.
pub fn bearer_token(fields: &Fields) {
    if let Ok(token) = crate::token::bearer_token(RequestHead::new(&borrowed(fields), false)) {
        let is_single = check_single(token).is_ok();
        assert!(!token.is_empty());
        assert_eq!(is_single, !token.iter().any(|byte| b" ,\t\r\n\x0c".contains(byte)));
    }
}

/// A token that can be read can be written in no other way.
pub fn compact_jws(token: &str) {
    if let Ok((jws, claims)) = CompactJws::parse(token.as_bytes(), &KnownHeaders::default()) {
        let signature = URL_SAFE_NO_PAD.encode(jws.signature());
        let written = [jws.signing_input(), b".", signature.as_bytes()].concat();
        assert_eq!(written, token.as_bytes());
        assert_eq!(jws.payload().as_ref(), Ok(&claims));
    }
}

/// However many keys there are, few are tried.
pub fn key_set(document: &[u8]) {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256"}"#);
    let token = CompactJws::parse(format!("{header}.e30.").as_bytes(), &KnownHeaders::default());
    if let (Ok(set), Ok((token, _))) = (KeySet::from_json(document), token) {
        for algorithm in Algorithm::ALL {
            if let KeySetLookup::Candidates(candidates) = set.find(token.header(), algorithm) {
                assert!(candidates.keys.len() <= 8);
            }
        }
        assert!(set.kids().count() <= 1000);
    }
}

/// A certificate in PEM.
pub fn certificate(pem: &str) {
    let _ = certificate_key(pem);
}

/// A path that can be read in one way only is the same path however it is written.
pub fn path(path: &[u8]) {
    let Some(canonical) = CanonicalPath::parse(path) else { return };
    let bytes = canonical.as_bytes();
    assert!(bytes.starts_with(b"/"));
    assert!(!bytes.iter().any(|byte| byte.is_ascii_control() || b"\\;".contains(byte)));
    let mut segments = bytes.split(|byte| *byte == b'/').skip(1);
    assert!(bytes == b"/" || segments.all(|segment| !matches!(segment, b"" | b"." | b"..")));
    let encoded: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| match byte {
            b'/' => vec![b'/'],
            byte => format!("%{byte:02x}").into_bytes(),
        })
        .collect();
    assert_eq!(CanonicalPath::parse(&encoded), Some(canonical));
}

/// Values of header fields are visible, and lists can be taken apart again.
pub fn header_values(items: &[String]) {
    let text = items.first().map(String::as_str).unwrap_or_default();
    let [value, list, scopes] = encoded_values(text, items);
    let decoded =
        |value: &str| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
    assert_eq!(decoded(&value), text);
    let filled: Vec<&String> = items.iter().filter(|item| !item.is_empty()).collect();
    for (joined, separator) in [(list, ','), (scopes, ' ')] {
        let parts = joined.split(separator).filter(|part| !part.is_empty()).map(decoded);
        assert!(parts.eq(filled.iter().map(|item| item.to_string())), "{joined:?}");
        assert_visible(&joined);
    }
    assert_visible(&value);
}

fn assert_visible(value: &str) {
    assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{value:?}");
    assert_eq!(value.trim(), value);
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered here, or would wait.
    None,
    /// No token was needed.
    WithoutToken,
    /// Its token was accepted, and these fields tell the upstream so.
    As(Vec<(String, String)>),
}

/// An engine whose keys are in its configuration.
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
    /// By this configuration; none if it is refused. `accepts_all`: signatures do not count.
    #[must_use]
    pub fn new(configuration: &[u8], accepts_all: bool) -> Option<Self> {
        let config = Config::from_bytes(configuration).ok()?;
        let verifier: Box<dyn SignatureVerifier> =
            if accepts_all { Box::new(AcceptAll) } else { Box::new(PureRust) };
        let budget = VerificationBudget::unlimited();
        let engine = Engine::with_parts(config, Recorder::default(), verifier, budget);
        Some(Self { engine: RefCell::new(engine) })
    }

    /// Judges a request at the end of January 2027.
    #[must_use]
    pub fn judge(&self, fields: &Fields, body: &[u8]) -> Outcome {
        const STREAM: StreamId = StreamId(1);
        let mut engine = self.engine.borrow_mut();
        *engine.host() = Recorder { body: body.to_vec(), ..Recorder::default() };
        let fields = borrowed(fields);
        let head = RequestHead::new(&fields, !body.is_empty());
        let mut is_forwarded = engine.on_request_head(STREAM, head) == HeadAction::Continue;
        if !is_forwarded {
            let action = engine.on_request_body(STREAM, body.len(), true);
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

/// A host that records what becomes of one request. No token was spent before.
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

    fn respond(&mut self, _: StreamId, _: &Response) -> Result<(), HostRefused> {
        self.is_refused = true;
        Ok(())
    }

    fn resume(&mut self, _: StreamId) {}
}
