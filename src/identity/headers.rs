//! Header fields that tell the upstream who is calling, and the removal of those that the client
//! sent under the same names.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{VerifiedIdentity, encoding};
use crate::json::Json;
use crate::request::{RequestHead, is_spelling};
use crate::token::ClaimPath;

/// The header fields of an identity.
#[derive(Clone, Debug)]
pub(crate) struct IdentityHeaders {
    names: [String; 12],
    claims: Vec<ClaimHeader>,
    /// All of these names, in lower case and with `-` for `_`.
    reserved: Vec<String>,
    /// Bit n is set when one of them is n bytes long, the last bit when one is longer.
    reserved_lengths: u64,
}

/// What is told of an identity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdentityFields {
    /// Names and values of header fields, for the upstream.
    pub headers: Vec<(String, String)>,
    /// The mapped user, for access logs.
    pub user: String,
    /// The provider's name, for access logs.
    pub provider: String,
}

/// A claim that gets a header field of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimHeader {
    /// Where the claim stands.
    pub claim: ClaimPath,
    /// The field's name, in lower case.
    pub header: String,
}

impl IdentityHeaders {
    /// What follows the prefix.
    const SUFFIXES: [&str; 12] = [
        "user",
        "user-field",
        "subject",
        "issuer",
        "provider",
        "client-id",
        "client-type",
        "scopes",
        "roles",
        "groups",
        "token-id",
        "token-expires",
    ];

    /// Fields under this prefix, and those of `claims`.
    #[must_use]
    pub(crate) fn new(prefix: &str, claims: Vec<ClaimHeader>) -> Self {
        let names = Self::SUFFIXES.map(|suffix| format!("{prefix}{suffix}"));
        let all = names.iter().chain(claims.iter().map(|claim| &claim.header));
        let reserved: Vec<_> =
            all.map(|name| name.to_ascii_lowercase().replace('_', "-")).collect();
        let reserved_lengths =
            reserved.iter().fold(0, |bits, name| bits | length_bit(name.as_bytes()));
        Self { names, claims, reserved, reserved_lengths }
    }

    /// The names of the fields in a request that only this plugin may set. Servers that hand
    /// fields on as variables (CGI, WSGI) take `_` for `-`, so both spellings count.
    #[must_use]
    pub(crate) fn forged(&self, head: RequestHead<'_>) -> Vec<Cow<'static, str>> {
        let mut forged: Vec<Cow<'static, str>> = Vec::new();
        for name in head.names() {
            if self.is_reserved(name) && !forged.iter().any(|known| known.as_bytes() == name) {
                // All that is reserved is ASCII, so nothing is lost.
                forged.push(Cow::Owned(String::from_utf8_lossy(name).into_owned()));
            }
        }
        forged
    }

    /// True when only this plugin may set a field of this name.
    #[must_use]
    pub(crate) fn is_reserved(&self, name: &[u8]) -> bool {
        self.reserved_lengths & length_bit(name) != 0
            && self.reserved.iter().any(|own| is_spelling(name, own))
    }

    /// The fields that tell of `identity`. What it lacks has none.
    #[must_use]
    pub(crate) fn of(&self, identity: &VerifiedIdentity) -> IdentityFields {
        let user = encoding::value(&identity.user);
        let optional = |value: &Option<String>| value.as_deref().and_then(encoding::value);
        let values = [
            user.clone(),
            encoding::value(&identity.user_field),
            optional(&identity.subject),
            optional(&identity.issuer),
            encoding::value(&identity.provider),
            optional(&identity.client_id),
            encoding::value(identity.client_type.as_str()),
            encoding::scopes(&identity.scopes),
            encoding::list(&identity.roles),
            encoding::list(&identity.groups),
            optional(&identity.token_id),
            Some(identity.token_expires.as_secs().to_string()),
        ];
        let claims = self
            .claims
            .iter()
            .map(|own| (&own.header, own.claim.find(&identity.claims).and_then(claim_value)));
        let headers = self.names.iter().zip(values).chain(claims);
        IdentityFields {
            headers: headers.filter_map(|(name, value)| Some((name.clone(), value?))).collect(),
            user: user.unwrap_or_default(),
            provider: identity.provider.clone(),
        }
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

fn claim_value(claim: Json<'_>) -> Option<String> {
    match claim {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(plain).collect();
            encoding::list(&items)
        }
        claim => encoding::value(&plain(claim)?),
    }
}

fn plain(claim: Json<'_>) -> Option<String> {
    match claim {
        Json::Null => None,
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(value) => Some(value.to_string()),
        Json::String(value) => Some(value.to_owned()),
        Json::Array(_) | Json::Object(_) => {
            Some(URL_SAFE_NO_PAD.encode(Value::from(claim).to_string()))
        }
    }
}
