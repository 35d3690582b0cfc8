//! A door for the targets in fuzz/, compiled only with them: what strangers may send is read, and
//! what the readers promise is asserted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::access::CanonicalPath;
use crate::authenticator::{Authenticator, Body, Decision, Examined, RequestEdits, WorkerView};
use crate::config::Config;
use crate::identity::encoded_values;
use crate::jose::{
    Algorithm, CompactJws, KnownHeaders, PublicKey, PureRust, SignatureVerifier, certificate_key,
};
use crate::keys::{KeySet, KeySetLookup, KeySettings, KeySource, ProviderKeys};
use crate::provider::ProviderMap;
use crate::request::{Field, RequestHead};
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

/// An authenticator whose keys stand in its configuration.
pub struct Harness {
    authenticator: Authenticator,
    keys: ProviderMap<ProviderKeys>,
    trusts_all: bool,
}

/// Takes every signature for a good one, so that what comes after it can be reached.
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
    /// By this configuration; none if it is refused. `trusts_all`: signatures do not count.
    #[must_use]
    pub fn new(configuration: &[u8], trusts_all: bool) -> Option<Self> {
        let config = Config::from_bytes(configuration).ok()?;
        let keys =
            config.providers.map(|provider| ProviderKeys::new(provider.key_source.clone(), 0));
        Some(Self { authenticator: Authenticator::new(config), keys, trusts_all })
    }

    /// Judges a request at the end of January 2027.
    #[must_use]
    pub fn judge(&self, fields: &Fields, body: &[u8]) -> Outcome {
        let now = UnixTime::from_secs(1_800_000_000);
        let verifier: &dyn SignatureVerifier = if self.trusts_all { &AcceptAll } else { &PureRust };
        let budget = &VerificationBudget::unlimited();
        let view = WorkerView { keys: &self.keys, users: None, verifier, budget };
        let fields = borrowed(fields);
        let head = RequestHead::new(&fields, !body.is_empty());
        let mut decision = match self.authenticator.examine(head) {
            Examined::Decided(decision) => *decision,
            Examined::Bearer(request) => match self.authenticator.read(request, now) {
                Ok(request) => self.authenticator.judge(request, view, now).decision,
                Err(decision) => *decision,
            },
        };
        let mut added = Vec::new();
        loop {
            decision = match decision {
                Decision::Forward(edits, attribution) => {
                    added.extend(added_fields(&edits));
                    return match attribution {
                        Some(_) => Outcome::As(added),
                        None => Outcome::WithoutToken,
                    };
                }
                Decision::AwaitBody(request) => {
                    self.authenticator.judge_body(*request, Body::Whole(body))
                }
                Decision::Spend(request) => self.authenticator.conclude(request, Ok(())),
                Decision::Refuse(refused) => {
                    drop(self.authenticator.response(&refused));
                    return Outcome::None;
                }
                _ => return Outcome::None,
            };
        }
    }
}

/// The header fields that are added.
fn added_fields(edits: &RequestEdits) -> Vec<(String, String)> {
    let headers = edits.identity.iter().flat_map(|identity| identity.headers());
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
