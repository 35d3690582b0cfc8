//! The protected header of a JWS (RFC 7515 §4).

use super::MalformedToken;
use crate::json::{Json, Object};

/// The members of a protected header that affect verification. Keys inside the token (`jwk`, `jku`,
/// `x5c`, `x5u`) are not among them: a token could then vouch for itself.
#[derive(Debug)]
pub(crate) struct ProtectedHeader {
    algorithm: String,
    kid: Option<String>,
    sha1_thumbprint: Option<String>,
    sha256_thumbprint: Option<String>,
    token_type: TokenType,
    critical: Option<String>,
    has_nonce: bool,
}

/// The value of `typ` (RFC 7515 §4.1.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    Absent,
    Named(String),
    NotAString,
}

impl ProtectedHeader {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// `alg` is missing, or a member that must be a string is not one.
    pub(super) fn from_members(members: &Object) -> Result<Self, MalformedToken> {
        Ok(Self {
            algorithm: string(members, "alg")?.ok_or(MalformedToken::MissingAlgorithm)?,
            kid: string(members, "kid")?,
            sha1_thumbprint: string(members, "x5t")?,
            sha256_thumbprint: string(members, "x5t#S256")?,
            token_type: match members.get("typ") {
                None => TokenType::Absent,
                Some(Json::String(name)) => TokenType::Named(name.to_owned()),
                Some(_) => TokenType::NotAString,
            },
            critical: critical(members),
            has_nonce: members.contains_key("nonce"),
        })
    }

    /// The value of `alg`.
    #[must_use]
    pub(crate) fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The value of `kid`.
    #[must_use]
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The value of `x5t`.
    #[must_use]
    pub(crate) fn sha1_thumbprint(&self) -> Option<&str> {
        self.sha1_thumbprint.as_deref()
    }

    /// The value of `x5t#S256`.
    #[must_use]
    pub(crate) fn sha256_thumbprint(&self) -> Option<&str> {
        self.sha256_thumbprint.as_deref()
    }

    /// True if the token names its key in any way.
    pub(crate) fn names_a_key(&self) -> bool {
        self.kid.is_some() || self.sha1_thumbprint.is_some() || self.sha256_thumbprint.is_some()
    }

    pub(crate) fn token_type(&self) -> &TokenType {
        &self.token_type
    }

    /// A member that must be understood to process this token and is not supported: anything in
    /// `crit` (RFC 7515 §4.1.11), or an unencoded payload (RFC 7797 §3).
    pub(crate) fn critical(&self) -> Option<&str> {
        self.critical.as_deref()
    }

    /// True if there is a `nonce`, which Microsoft puts into tokens for its own services.
    pub(crate) fn has_nonce(&self) -> bool {
        self.has_nonce
    }
}

fn string(members: &Object, name: &'static str) -> Result<Option<String>, MalformedToken> {
    match members.get(name) {
        None => Ok(None),
        Some(Json::String(value)) => Ok(Some(value.to_owned())),
        Some(_) => Err(MalformedToken::HeaderMember(name)),
    }
}

fn critical(members: &Object) -> Option<String> {
    if let Some(names) = members.get("crit") {
        let first = names.as_array().and_then(|names| names.iter().next()).and_then(Json::as_str);
        return Some(first.unwrap_or("crit").to_owned());
    }
    match members.get("b64") {
        None | Some(Json::Bool(true)) => None,
        Some(_) => Some("b64".to_owned()),
    }
}
