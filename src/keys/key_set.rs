//! A key set (RFC 7517 §5) and the lookup of a token's key in it.

use std::fmt;

use serde_json::Value;

use super::KeyAccount;
use super::document::{self, DocumentFault};
use crate::jose::{Algorithm, Jwk, KeyMismatch, ProtectedHeader, PublicKey};
use crate::printable::clipped;

/// The keys of one provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Jwk>,
    dropped: usize,
}

impl KeySet {
    /// Maximum number of keys in a set.
    const MAX_KEYS: usize = 1000;
    /// Maximum number of keys tried for a token that does not name its key: each costs a
    /// verification.
    const MAX_CANDIDATES: usize = 8;

    /// A key set from configured keys.
    pub(crate) fn from_keys(keys: Vec<Jwk>) -> Self {
        Self { keys, dropped: 0 }
    }

    /// Reads a JWK Set document. An element that is not a JWK is dropped and counted.
    ///
    /// # Errors
    ///
    /// The document is not a key set, has more than 1000 keys, or has no key that can verify a
    /// token.
    pub(crate) fn from_json(document: &[u8]) -> Result<Self, KeySetFault> {
        let document = document::read(document).map_err(KeySetFault::NotAKeySet)?;
        Self::from_value(&document)
    }

    /// Like [`Self::from_json`], for a document that was parsed before.
    pub(crate) fn from_value(document: &Value) -> Result<Self, KeySetFault> {
        let elements = document::elements(document).map_err(KeySetFault::NotAKeySet)?;
        if elements.len() > Self::MAX_KEYS {
            return Err(KeySetFault::TooManyKeys(elements.len()));
        }
        let keys: Vec<Jwk> =
            elements.iter().filter_map(|element| Jwk::from_json(element).ok()).collect();
        if !keys.iter().any(Jwk::is_usable) {
            return Err(KeySetFault::NoUsableKey(UnusableKeys::new(elements)));
        }
        Ok(Self { dropped: elements.len() - keys.len(), keys })
    }

    /// The keys that may verify a token with this header, which uses `algorithm`.
    #[must_use]
    pub(crate) fn find(&self, header: &ProtectedHeader, algorithm: Algorithm) -> KeySetLookup<'_> {
        let named = || self.keys.iter().filter(|key| key.is_named_by(header));
        if let Some(first) = named().next() {
            let fitting: Vec<_> = named()
                .filter_map(|key| key.for_algorithm(algorithm).ok())
                .take(Self::MAX_CANDIDATES)
                .collect();
            return match first.for_algorithm(algorithm) {
                Err(mismatch) if fitting.is_empty() => KeySetLookup::KeyMismatch(mismatch),
                _ => KeySetLookup::Candidates(Candidates { keys: fitting, are_named: true }),
            };
        }
        let keys: Vec<_> = self
            .keys
            .iter()
            .filter(|key| !header.names_a_key() || key.is_tried_for_any_name())
            .filter_map(|key| key.for_algorithm(algorithm).ok())
            .take(Self::MAX_CANDIDATES)
            .collect();
        match keys.is_empty() {
            true => KeySetLookup::NotFound,
            false => KeySetLookup::Candidates(Candidates { keys, are_named: false }),
        }
    }

    /// The `kid` values of the keys.
    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.kid().unwrap_or("(no kid)"))
    }

    /// All keys, in the order of the document.
    pub(crate) fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// How many elements were not JWKs.
    #[must_use]
    pub(crate) fn dropped(&self) -> usize {
        self.dropped
    }
}

/// Keys that may verify a token.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    /// At least one and at most 8.
    pub keys: Vec<&'a PublicKey>,
    /// Whether the token names them. If not, its key may be one that has not been fetched yet.
    pub are_named: bool,
}

/// The result of a lookup.
#[derive(Debug)]
pub(crate) enum KeySetLookup<'a> {
    /// Keys to try in turn.
    Candidates(Candidates<'a>),
    /// The key that the token names exists but may not verify it.
    KeyMismatch(KeyMismatch),
    /// No key has this name or, for a token that names none, this type.
    NotFound,
}

/// Why a document is not a usable key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySetFault {
    /// It is not a JSON object with an array `keys`.
    NotAKeySet(DocumentFault),
    /// None of its keys can verify a token.
    NoUsableKey(UnusableKeys),
    /// It has this many keys.
    TooManyKeys(usize),
}

/// Why none of the keys can verify a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnusableKeys {
    first: Vec<KeyAccount>,
    /// The number of keys.
    count: usize,
}

impl UnusableKeys {
    /// How many keys are described, to keep the log line short.
    const MAX_DESCRIBED: usize = 2;

    fn new(elements: &[Value]) -> Self {
        let first =
            elements.iter().take(Self::MAX_DESCRIBED).map(KeyAccount::from_element).collect();
        Self { first, count: elements.len() }
    }
}

impl fmt::Display for KeySetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKeySet(why) => write!(f, "it is not a JSON Web Key Set: {why}"),
            Self::NoUsableKey(why) => write!(f, "it holds no key that could verify a token: {why}"),
            Self::TooManyKeys(count) => write!(f, "it holds {count} keys, more than 1000"),
        }
    }
}

impl fmt::Display for UnusableKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARACTERS: usize = 100;
        let short = |text: &str| clipped(text, MAX_CHARACTERS);
        if self.count == 0 {
            return f.write_str("its list of keys is empty");
        }
        for (index, KeyAccount { kid, problem, .. }) in self.first.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let problem = short(problem.as_deref().unwrap_or_default());
            match kid {
                Some(kid) => write!(f, "{separator}{:?}: {problem}", short(kid))?,
                None => write!(f, "{separator}key {index} (no kid): {problem}")?,
            }
        }
        match self.count.saturating_sub(self.first.len()) {
            0 => Ok(()),
            others => write!(f, "; and {others} others"),
        }
    }
}

/// Whether this is a key set. However many keys it has, few are tried.
#[cfg(any(fuzzing, test))]
pub fn fuzz_key_set(document: &[u8]) -> bool {
    let Ok(set) = KeySet::from_json(document) else { return false };
    let token = crate::jose::CompactJws::parse(b"eyJhbGciOiJFUzI1NiJ9.e30.");
    let Ok((token, _)) = token else { return false };
    for algorithm in Algorithm::ALL {
        if let KeySetLookup::Candidates(candidates) = set.find(token.header(), algorithm) {
            assert!(candidates.keys.len() <= 8);
        }
    }
    assert!(set.kids().count() <= 1000);
    true
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;
    use testkit::SigningKey;

    use super::*;
    use crate::jose::{CompactJws, UnusableKey};

    fn key(kid: &str) -> Value {
        SigningKey::generate(testkit::Algorithm::Es256, kid).public_jwk()
    }

    fn with(mut key: Value, members: Value) -> Value {
        for (name, value) in members.as_object().unwrap() {
            match value {
                Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
                value => key[name] = value.clone(),
            }
        }
        key
    }

    fn jws(header: Value) -> CompactJws {
        let token = format!("{}.e30.", URL_SAFE_NO_PAD.encode(header.to_string()));
        CompactJws::parse(token.as_bytes()).unwrap().0
    }

    /// The number of candidates, or the reason why there are none.
    fn find(keys: &[Value], header: Value, algorithm: Algorithm) -> Result<usize, String> {
        let set = KeySet::from_value(&json!({ "keys": keys })).unwrap();
        match set.find(jws(header).header(), algorithm) {
            KeySetLookup::Candidates(candidates) => Ok(candidates.keys.len()),
            KeySetLookup::KeyMismatch(mismatch) => Err(mismatch.to_string()),
            KeySetLookup::NotFound => Err("not found".to_owned()),
        }
    }

    fn find_es256(keys: &[Value], kid: Option<&str>) -> Result<usize, String> {
        let mut header = json!({"alg": "ES256"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        find(keys, header, Algorithm::Es256)
    }

    #[test]
    fn a_kid_finds_its_key_and_is_compared_exactly() {
        let keys = [key("a"), key("b")];
        assert_eq!(find_es256(&keys, Some("a")), Ok(1));
        for kid in ["A", "a ", "", "c"] {
            assert_eq!(find_es256(&keys, Some(kid)), Err("not found".to_owned()), "{kid:?}");
        }
    }

    #[test]
    fn a_token_without_kid_is_tried_with_at_most_eight_keys_that_fit() {
        let keys: Vec<Value> = (0..20).map(|index| key(&index.to_string())).collect();
        assert_eq!(find_es256(&keys, None), Ok(8));
        assert_eq!(find_es256(&keys[..3], None), Ok(3));
        let not_found = Err("not found".to_owned());
        assert_eq!(find(&keys, json!({"alg": "RS256"}), Algorithm::Rs256), not_found);
    }

    #[test]
    fn a_key_without_kid_is_tried_when_no_key_has_the_tokens() {
        let keys = [key("a"), with(key("b"), json!({"kid": null}))];
        assert_eq!(find_es256(&keys, Some("unheard of")), Ok(1));
        assert_eq!(find_es256(&keys, Some("a")), Ok(1));
    }

    #[test]
    fn a_thumbprint_selects_a_key_when_there_is_no_kid() {
        let keys =
            [with(key("a"), json!({"x5t": "t1"})), with(key("b"), json!({"x5t#S256": "t2"}))];
        let find = |header| find(&keys, header, Algorithm::Es256);
        assert_eq!(find(json!({"alg": "ES256", "x5t": "t1"})), Ok(1));
        assert_eq!(find(json!({"alg": "ES256", "x5t#S256": "t2"})), Ok(1));
        assert_eq!(find(json!({"alg": "ES256", "x5t": "t2"})), Err("not found".to_owned()));
        let kid_and_thumbprint = json!({"alg": "ES256", "kid": "c", "x5t": "t1"});
        assert_eq!(find(kid_and_thumbprint), Err("not found".to_owned()));
    }

    #[test]
    fn a_key_is_used_only_as_its_publisher_allows() {
        for (members, problem) in [
            (json!({}), None),
            (json!({"alg": null, "use": null}), None),
            (json!({"key_ops": ["sign", "verify"]}), None),
            (json!({"use": "enc"}), Some("its use is enc, not sig")),
            (json!({"key_ops": ["encrypt"]}), Some("its key_ops lack verify")),
            (json!({"key_ops": []}), Some("its key_ops lack verify")),
            (json!({"alg": "ES384"}), Some("the key is for ES384, the token says ES256")),
            (json!({"alg": "HS256"}), Some("the key is for HS256, the token says ES256")),
            (json!({"y": null}), Some("its y is missing")),
            (json!({"y": 5}), Some("its y is not a string")),
            (json!({"x": "!"}), Some("its x is not valid base64url: character 1 is '!'")),
            (json!({"x": "AAAA"}), Some("its values are not a valid public key")),
            (json!({"crv": "secp256k1"}), Some("its type EC secp256k1 is not supported")),
            (json!({"kty": "oct", "k": "AAAA"}), Some("its type oct is not supported")),
            (json!({"crv": "P-384"}), Some("its values are not a valid public key")),
        ] {
            let keys = [with(key("a"), members), key("spare")];
            let expected = problem.map_or(Ok(1), |problem| Err(problem.to_owned()));
            assert_eq!(find_es256(&keys, Some("a")), expected);
        }
        let keys = [key("a")];
        let find = |algorithm: Algorithm| {
            find(&keys, json!({"alg": algorithm.name(), "kid": "a"}), algorithm)
        };
        for algorithm in Algorithm::ALL.into_iter().filter(|other| *other != Algorithm::Es256) {
            let problem = format!("its type or curve is not that of {algorithm}");
            assert_eq!(find(algorithm), Err(problem));
        }
    }

    #[test]
    fn the_matching_keys_of_several_with_one_kid_are_tried() {
        let rsa = SigningKey::generate(testkit::Algorithm::Rs256, "a").public_jwk();
        assert_eq!(find_es256(&[rsa, key("a"), key("a")], Some("a")), Ok(2));
    }

    #[test]
    fn both_names_of_ed25519_fit_both_kinds_of_keys() {
        let signer = SigningKey::generate(testkit::Algorithm::EdDsa, "a");
        for name in ["EdDSA", "Ed25519"] {
            let keys = [with(signer.public_jwk(), json!({"alg": name}))];
            let header = json!({"alg": "Ed25519", "kid": "a"});
            assert_eq!(find(&keys, header, Algorithm::EdDsa), Ok(1));
        }
    }

    #[test]
    fn small_rsa_keys_are_named_and_not_used() {
        let small = SigningKey::generate_rsa(testkit::Algorithm::Rs256, "a", 1024).public_jwk();
        let problem = UnusableKey::RsaSize(1024).to_string();
        let header = json!({"alg": "RS256", "kid": "a"});
        assert_eq!(find(&[small, key("b")], header, Algorithm::Rs256), Err(problem));
    }

    /// The key with the bytes of this member changed.
    fn rewritten(key: &Value, member: &str, change: impl Fn(Vec<u8>) -> String) -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(key[member].as_str().unwrap()).unwrap();
        with(key.clone(), json!({ member: change(bytes) }))
    }

    fn with_a_zero_before(bytes: Vec<u8>) -> String {
        URL_SAFE_NO_PAD.encode([vec![0], bytes].concat())
    }

    #[test]
    fn keys_are_read_in_every_encoding_of_their_bytes() {
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
        for (algorithm, members) in [
            (testkit::Algorithm::Rs256, &["n", "e"][..]),
            (testkit::Algorithm::Es256, &["x", "y"]),
            (testkit::Algorithm::Es384, &["x", "y"]),
            (testkit::Algorithm::Es512, &["x", "y"]),
            (testkit::Algorithm::EdDsa, &["x"]),
        ] {
            let signer = SigningKey::generate(algorithm, "a");
            let expected = Jwk::from_json(&signer.public_jwk()).unwrap();
            let key_algorithm =
                Algorithm::from_name(signer.header()["alg"].as_str().unwrap()).unwrap();
            for member in members {
                for engine in [&URL_SAFE, &STANDARD, &STANDARD_NO_PAD] {
                    let key = rewritten(&signer.public_jwk(), member, |bytes| engine.encode(bytes));
                    let key = Jwk::from_json(&key).unwrap();
                    assert!(
                        key.for_algorithm(key_algorithm).is_ok(),
                        "{member} of {key_algorithm}"
                    );
                }
                let key = rewritten(&signer.public_jwk(), member, with_a_zero_before);
                let read = Jwk::from_json(&key).unwrap();
                // An Ed25519 key is not a number: it always has 32 bytes.
                let may_be_longer = key_algorithm != Algorithm::EdDsa;
                assert_eq!(read.is_usable(), may_be_longer, "{member} of {key_algorithm}");
            }
            assert!(expected.is_usable());
        }
    }

    #[test]
    fn a_coordinate_of_another_length_is_read_only_if_it_differs_by_leading_zeros() {
        let key = key("a");
        let longer =
            rewritten(&key, "x", |bytes| URL_SAFE_NO_PAD.encode([vec![1], bytes].concat()));
        let problem = "its x has 33 bytes, and those of its curve 32";
        let spare = self::key("spare");
        assert_eq!(find_es256(&[longer, spare.clone()], Some("a")), Err(problem.to_owned()));
        let padded =
            rewritten(&key, "x", |bytes| URL_SAFE_NO_PAD.encode([vec![0; 10_000], bytes].concat()));
        assert_eq!(find_es256(&[padded, spare], Some("a")), Ok(1));
    }

    #[test]
    fn members_that_are_null_are_absent() {
        let mut key = key("a");
        for name in ["alg", "use", "key_ops", "x5t", "x5t#S256", "x5c", "x5u"] {
            key[name] = Value::Null;
        }
        assert_eq!(find_es256(&[key.clone()], Some("a")), Ok(1));
        key["kid"] = Value::Null;
        assert_eq!(find_es256(&[key.clone()], Some("a")), Ok(1), "it has no name");
        for (name, problem) in [
            ("x", "key 0 (no kid): its x is missing"),
            ("crv", "key 0 (no kid): its crv is missing"),
            ("kty", "key 0 (no kid): it has no kty"),
        ] {
            let mut key = key.clone();
            key[name] = Value::Null;
            let fault = KeySet::from_value(&json!({"keys": [key]})).unwrap_err();
            let expected = format!("it holds no key that could verify a token: {problem}");
            assert_eq!(fault.to_string(), expected);
        }
    }

    #[test]
    fn a_thumbprint_of_a_key_may_be_plain_base64() {
        let keys =
            [with(key("a"), json!({"x5t": "ab+/"})), with(key("b"), json!({"x5t": "abcd="}))];
        let find = |x5t| find(&keys, json!({"alg": "ES256", "x5t": x5t}), Algorithm::Es256);
        assert_eq!(find("ab-_"), Ok(1));
        assert_eq!(find("ab+/"), Ok(1));
        assert_eq!(find("abcd"), Ok(1));
        for other in ["ab-/", "ab+_", "ab-_=", "abcd=="] {
            assert_eq!(find(other), Err("not found".to_owned()), "{other}");
        }
    }

    #[test]
    fn a_key_set_without_a_usable_key_names_the_fault_of_the_first() {
        let fault = |keys: Value| {
            let fault = KeySet::from_value(&json!({ "keys": keys })).unwrap_err().to_string();
            fault.strip_prefix("it holds no key that could verify a token: ").unwrap().to_owned()
        };
        assert_eq!(fault(json!([])), "its list of keys is empty");
        let rsa = json!({"kty": "RSA", "kid": "a", "e": "AQAB", "n": "ab+c!"});
        let expected = "\"a\": its n is not valid plain base64: character 5 is '!'";
        assert_eq!(fault(json!([rsa])), expected);
        let others = json!([rsa, {"kty": "EC", "alg": 5}, 1, 2, 3]);
        let expected =
            format!("{expected}; key 1 (no kid): its alg has a wrong type; and 3 others");
        assert_eq!(fault(others), expected);
        let hostile = json!([{"kty": "RSA\n\u{1b}[2J".repeat(1000), "kid": "k\n".repeat(1000)}]);
        let expected = fault(hostile);
        assert!(!expected.contains(char::is_control) && expected.len() < 500, "{expected:?}");
    }

    #[test]
    fn elements_that_are_not_jwks_are_dropped_and_counted() {
        let elements = json!({"keys": [1, {}, {"kty": 5}, {"kty": "EC", "kid": 5}, key("a")]});
        let set = KeySet::from_value(&elements).unwrap();
        assert_eq!((set.dropped(), set.kids().collect::<Vec<_>>()), (4, vec!["a"]));
    }
}
