//! A key set (RFC 7517 §5) and the search for a token's key in it.

use std::fmt;

use serde_json::Value;

use crate::jose::{Algorithm, Jwk, Misfit, ProtectedHeader, PublicKey};

/// The keys of one provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Jwk>,
    dropped: usize,
}

impl KeySet {
    /// Most keys that a set may hold.
    const MAX_KEYS: usize = 1000;
    /// Most keys tried for a token that does not name its key: each costs a verification.
    const MAX_CANDIDATES: usize = 8;

    /// A set of keys that were configured by hand.
    pub(crate) fn from_keys(keys: Vec<Jwk>) -> Self {
        Self { keys, dropped: 0 }
    }

    /// Reads a JWK Set document. An element that is no JWK is dropped and counted.
    ///
    /// # Errors
    ///
    /// The document is no key set, has more than 1000 keys, or has none that could verify a token.
    pub(crate) fn from_json(document: &[u8]) -> Result<Self, KeySetFault> {
        let document = serde_json::from_slice(document).map_err(|_| KeySetFault::NoKeySet)?;
        Self::from_value(&document)
    }

    /// Like [`Self::from_json`], of a document that was read already.
    pub(crate) fn from_value(document: &Value) -> Result<Self, KeySetFault> {
        let elements =
            document.get("keys").and_then(Value::as_array).ok_or(KeySetFault::NoKeySet)?;
        if elements.len() > Self::MAX_KEYS {
            return Err(KeySetFault::TooManyKeys(elements.len()));
        }
        let keys: Vec<Jwk> =
            elements.iter().filter_map(|element| Jwk::from_json(element).ok()).collect();
        if !keys.iter().any(Jwk::is_usable) {
            return Err(KeySetFault::NoUsableKey);
        }
        Ok(Self { dropped: elements.len() - keys.len(), keys })
    }

    /// The keys that may verify a token with this header, which uses `algorithm`.
    #[must_use]
    pub(crate) fn find(&self, header: &ProtectedHeader, algorithm: Algorithm) -> Lookup<'_> {
        let named = || self.keys.iter().filter(|key| key.is_named_by(header));
        if let Some(first) = named().next() {
            let fitting: Vec<_> = named()
                .filter_map(|key| key.for_algorithm(algorithm).ok())
                .take(Self::MAX_CANDIDATES)
                .collect();
            return match first.for_algorithm(algorithm) {
                Err(misfit) if fitting.is_empty() => Lookup::Misfit(misfit),
                _ => Lookup::Candidates(fitting),
            };
        }
        let candidates: Vec<_> = self
            .keys
            .iter()
            .filter(|key| !header.names_a_key() || key.answers_to_any_name())
            .filter_map(|key| key.for_algorithm(algorithm).ok())
            .take(Self::MAX_CANDIDATES)
            .collect();
        if candidates.is_empty() { Lookup::NotFound } else { Lookup::Candidates(candidates) }
    }

    /// The names of the keys, for people.
    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.kid().unwrap_or("(no kid)"))
    }

    /// How many elements were no JWK.
    #[must_use]
    pub(crate) fn dropped(&self) -> usize {
        self.dropped
    }
}

/// What a set holds for a token.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// Keys to try in turn.
    Candidates(Vec<&'a PublicKey>),
    /// The key that the token names is there and must not verify it.
    Misfit(Misfit),
    /// No key of this name or, for a token that names none, of this type.
    NotFound,
}

/// Why a document is not taken as a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySetFault {
    /// It is no JSON object with an array `keys`.
    NoKeySet,
    /// No key in it could verify a token here.
    NoUsableKey,
    /// It has this many keys.
    TooManyKeys(usize),
}

impl fmt::Display for KeySetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeySet => f.write_str("it is not a JSON Web Key Set"),
            Self::NoUsableKey => f.write_str("it holds no key that could verify a token"),
            Self::TooManyKeys(count) => write!(f, "it holds {count} keys, more than 1000"),
        }
    }
}
