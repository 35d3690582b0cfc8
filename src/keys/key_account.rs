//! How a key can be used, for people.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document;
use crate::jose::{Algorithm, Jwk, KeyMismatch};
use crate::printable::Printable;

/// How a key can be used, or why it cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyAccount {
    /// The `kid` of the key.
    pub kid: Option<String>,
    /// The algorithms whose signatures it verifies.
    pub algorithms: Vec<String>,
    /// Whether it is left out of the key set.
    pub is_dropped: bool,
    /// Why it verifies no signatures.
    pub problem: Option<String>,
}

impl KeyAccount {
    /// Describes a key of a key set.
    pub(crate) fn from_jwk(key: &Jwk) -> Self {
        let fits = Algorithm::ALL.map(|algorithm| (algorithm, key.for_algorithm(algorithm)));
        let algorithms: Vec<String> = fits
            .iter()
            .filter_map(|(algorithm, fit)| fit.as_ref().ok().map(|_| algorithm.name().to_owned()))
            .collect();
        let mismatches = || fits.iter().filter_map(|(_, fit)| fit.as_ref().err());
        // A mismatch with an algorithm of another key type says nothing about the key.
        let telling = mismatches()
            .find(|mismatch| {
                !matches!(mismatch, KeyMismatch::Type { .. } | KeyMismatch::Algorithm { .. })
            })
            .map(ToString::to_string);
        let foreign = mismatches().find_map(|mismatch| match mismatch {
            KeyMismatch::Algorithm { key_algorithm, .. } => {
                Some(format!("its alg {} does not fit its type", Printable::line(key_algorithm)))
            }
            _ => None,
        });
        let problem = algorithms
            .is_empty()
            .then(|| telling.or(foreign).unwrap_or_else(|| "it fits no algorithm".to_owned()));
        Self { kid: key.kid().map(str::to_owned), algorithms, is_dropped: false, problem }
    }

    /// Describes each element of a key set document; empty if it is not a key set.
    pub(crate) fn from_document(document: &[u8]) -> Vec<Self> {
        Self::from_elements(&document::read(document).unwrap_or_default())
    }

    /// Like [`Self::from_document`], for a document that was parsed before.
    pub(crate) fn from_elements(document: &Value) -> Vec<Self> {
        document::elements(document).unwrap_or_default().iter().map(Self::from_element).collect()
    }

    /// Describes one element of a key set.
    pub(crate) fn from_element(element: &Value) -> Self {
        match Jwk::from_json(element) {
            Ok(key) => Self::from_jwk(&key),
            Err(why) => Self {
                kid: element.get("kid").and_then(Value::as_str).map(str::to_owned),
                algorithms: vec![],
                is_dropped: true,
                problem: Some(why.to_string()),
            },
        }
    }
}
