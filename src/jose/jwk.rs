//! A JSON Web Key with its restrictions on use (RFC 7517 §4).

use std::fmt;

use serde_json::{Map, Value};

use super::key_encoding::{decode, url_safe};
use super::public_key::Curve;
use super::{Algorithm, ProtectedHeader, PublicKey, UnusableKey};
use crate::printable::Printable;

/// A key of a key set. An unusable key is kept with the reason, so that a token that names it is
/// refused for that reason rather than for an unknown key.
#[derive(Clone, Debug)]
pub(crate) struct Jwk {
    pub(super) identifiers: Identifiers,
    pub(super) public_key: Result<PublicKey, UnusableKey>,
    /// `alg`, if the publisher binds the key to one algorithm (RFC 7517 §4.4).
    pub(super) algorithm: Option<String>,
    /// `use` (RFC 7517 §4.2).
    pub(super) public_key_use: Option<String>,
    /// `key_ops` (RFC 7517 §4.3).
    pub(super) operations: Option<Vec<String>>,
    pub(super) from_certificate: bool,
}

/// The identifiers by which a token can name the key.
#[derive(Clone, Debug, Default)]
pub(super) struct Identifiers {
    /// Values of `kid` that name this key; empty if the publisher gave none.
    pub(super) kids: Vec<String>,
    /// `x5t` (RFC 7517 §4.8).
    pub(super) sha1_thumbprint: Option<Thumbprint>,
    /// `x5t#S256` (RFC 7517 §4.9).
    pub(super) sha256_thumbprint: Option<Thumbprint>,
}

/// A certificate's thumbprint. It is binary, and a key may encode it differently from a token.
#[derive(Clone, Debug)]
pub(super) struct Thumbprint {
    /// In the encoding of the key.
    written: String,
    /// In base64url without padding.
    url_safe: String,
}

impl Thumbprint {
    pub(super) fn new(written: String) -> Self {
        Self { url_safe: url_safe(&written), written }
    }

    fn is(&self, wanted: &str) -> bool {
        self.written == wanted || self.url_safe == wanted
    }
}

impl Jwk {
    /// Reads one element of `keys`. A member that is null counts as absent, which is what
    /// publishers mean by it.
    ///
    /// # Errors
    ///
    /// The value is not an object with a `kty`, or a member common to all key types has a wrong
    /// type, so that its meaning is unknown.
    pub(crate) fn from_json(value: &Value) -> Result<Self, JwkFault> {
        let members = value.as_object().ok_or(JwkFault::NotAnObject)?;
        let kty = string(members, "kty")?.ok_or(JwkFault::MissingType)?;
        Ok(Self {
            identifiers: Identifiers {
                kids: string(members, "kid")?.into_iter().collect(),
                sha1_thumbprint: string(members, "x5t")?.map(Thumbprint::new),
                sha256_thumbprint: string(members, "x5t#S256")?.map(Thumbprint::new),
            },
            public_key: public_key(&kty, members),
            algorithm: string(members, "alg")?,
            public_key_use: string(members, "use")?,
            operations: strings(members, "key_ops")?,
            from_certificate: false,
        })
    }

    /// The first value of `kid` that names this key.
    #[must_use]
    pub(crate) fn kid(&self) -> Option<&str> {
        self.identifiers.kids.first().map(String::as_str)
    }

    /// True if this key is also tried for a token that names an unknown key: its publisher gave it
    /// no name, or none that the issuer of the token could know.
    pub(crate) fn is_tried_for_any_name(&self) -> bool {
        self.from_certificate || self.identifiers.kids.is_empty()
    }

    /// True if the token names this key: by `kid` if it has one, otherwise by thumbprint.
    pub(crate) fn is_named_by(&self, header: &ProtectedHeader) -> bool {
        if let Some(kid) = header.kid() {
            return self.identifiers.kids.iter().any(|published| published == kid);
        }
        let named = |published: &Option<Thumbprint>, wanted: Option<&str>| {
            published.as_ref().zip(wanted).is_some_and(|(published, wanted)| published.is(wanted))
        };
        named(&self.identifiers.sha256_thumbprint, header.sha256_thumbprint())
            || named(&self.identifiers.sha1_thumbprint, header.sha1_thumbprint())
    }

    /// The key, if it may verify signatures of `algorithm`.
    ///
    /// # Errors
    ///
    /// The key is unusable, or one of its members rules the algorithm out.
    pub(crate) fn for_algorithm(&self, algorithm: Algorithm) -> Result<&PublicKey, KeyMismatch> {
        let key = self.public_key.as_ref().map_err(|why| KeyMismatch::Unusable(why.clone()))?;
        if !key.fits(algorithm) {
            return Err(KeyMismatch::Type { algorithm });
        }
        if let Some(key_algorithm) = &self.algorithm
            && Algorithm::from_name(key_algorithm) != Some(algorithm)
        {
            return Err(KeyMismatch::Algorithm { key_algorithm: key_algorithm.clone(), algorithm });
        }
        self.is_for_signatures()?;
        Ok(key)
    }

    /// True if the key can verify at least one algorithm.
    pub(crate) fn is_usable(&self) -> bool {
        self.public_key.as_ref().is_ok_and(|key| {
            Algorithm::ALL.into_iter().any(|algorithm| {
                key.fits(algorithm)
                    && self
                        .algorithm
                        .as_ref()
                        .is_none_or(|name| Algorithm::from_name(name) == Some(algorithm))
            })
        }) && self.is_for_signatures().is_ok()
    }

    fn is_for_signatures(&self) -> Result<(), KeyMismatch> {
        if let Some(other) = self.public_key_use.as_ref().filter(|value| *value != "sig") {
            return Err(KeyMismatch::Use(other.clone()));
        }
        match &self.operations {
            Some(operations) if operations.iter().all(|operation| operation != "verify") => {
                Err(KeyMismatch::Operations)
            }
            _ => Ok(()),
        }
    }
}

/// Why a key that was found may not verify this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyMismatch {
    /// The `alg` of the key differs from that of the token.
    Algorithm {
        /// The `alg` of the key.
        key_algorithm: String,
        /// The `alg` of the token.
        algorithm: Algorithm,
    },
    /// Its `key_ops` lack `verify`.
    Operations,
    /// Its type or curve does not match the token's algorithm.
    Type {
        /// The `alg` of the token.
        algorithm: Algorithm,
    },
    /// It cannot verify any supported algorithm.
    Unusable(UnusableKey),
    /// Its `use` is not `sig`.
    Use(String),
}

impl fmt::Display for KeyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { key_algorithm, algorithm } => {
                write!(
                    f,
                    "the key is for {}, the token says {algorithm}",
                    Printable::line(key_algorithm)
                )
            }
            Self::Operations => f.write_str("its key_ops lack verify"),
            Self::Type { algorithm } => write!(f, "its type or curve is not that of {algorithm}"),
            Self::Unusable(why) => why.fmt(f),
            Self::Use(other) => write!(f, "its use is {}, not sig", Printable::line(other)),
        }
    }
}

/// Why a value in `keys` is not a JWK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwkFault {
    /// A member common to all key types has a type other than the one in RFC 7517 §4.
    Member(&'static str),
    /// It is not a JSON object.
    NotAnObject,
    /// It has no `kty`.
    MissingType,
}

impl fmt::Display for JwkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => write!(f, "its {name} has a wrong type"),
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::MissingType => f.write_str("it has no kty"),
        }
    }
}

fn public_key(kty: &str, members: &Map<String, Value>) -> Result<PublicKey, UnusableKey> {
    match kty {
        "RSA" => PublicKey::rsa(&bytes(members, "n")?, &bytes(members, "e")?),
        "EC" => {
            let name = text(members, "crv")?;
            let curve =
                Curve::from_name(name).ok_or_else(|| UnusableKey::Type(format!("EC {name}")))?;
            let x = coordinate(members, "x", curve)?;
            let y = coordinate(members, "y", curve)?;
            // SEC 1 §2.3.3: 4 marks an uncompressed point.
            PublicKey::elliptic(curve, &[&[4][..], &x, &y].concat())
        }
        "OKP" => match text(members, "crv")? {
            "Ed25519" => PublicKey::ed25519(&bytes(members, "x")?),
            other => Err(UnusableKey::Type(format!("OKP {other}"))),
        },
        other => Err(UnusableKey::Type(other.to_owned())),
    }
}

/// Pads or trims a coordinate to the length of RFC 7518 §6.2.1.2: some publishers encode it as a
/// number, without leading zeros or with one too many.
fn coordinate(
    members: &Map<String, Value>,
    member: &'static str,
    curve: Curve,
) -> Result<Vec<u8>, UnusableKey> {
    let expected = curve.coordinate_length();
    let bytes = bytes(members, member)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let number = bytes.get(zeros..).unwrap_or_default();
    let padding = expected.checked_sub(number.len()).ok_or(UnusableKey::CoordinateLength {
        member,
        found: number.len(),
        expected,
    })?;
    Ok([&vec![0; padding], number].concat())
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, UnusableKey> {
    match members.get(name) {
        None | Some(Value::Null) => Err(UnusableKey::Missing(name)),
        Some(value) => value.as_str().ok_or(UnusableKey::NotAString(name)),
    }
}

fn bytes(members: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, UnusableKey> {
    decode(text(members, member)?).map_err(|fault| UnusableKey::Encoding { member, fault })
}

fn string(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, JwkFault> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(JwkFault::Member(name)),
    }
}

fn strings(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<Vec<String>>, JwkFault> {
    let fault = JwkFault::Member(name);
    let elements = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_array().ok_or(fault)?,
    };
    let strings = elements.iter().map(|element| element.as_str().map(str::to_owned).ok_or(fault));
    strings.collect::<Result<_, _>>().map(Some)
}
