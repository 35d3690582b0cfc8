//! Further observations about a token.

use serde_json::{Map, Value};

use super::remedy;
use super::step::Known;
use super::words::{number, seconds};
use crate::claim::AudienceClaim;
use crate::keys::{ProviderKeys, RemoteKeys};
use crate::provider::TokenIdRule;
use crate::time::UnixTime;

/// Notes on an accepted token that was verified with these keys.
pub(super) fn on_accepted(known: &Known<'_>, keys: Option<&ProviderKeys>) -> Vec<String> {
    let single_use = known
        .provider
        .filter(|provider| provider.token_id_rule == TokenIdRule::SingleUse)
        .map(|_| "it is single-use: only Envoy knows whether it was used before".to_owned());
    [
        on_id_token(known),
        on_missing_audience(known),
        single_use,
        on_clock_skew(known),
        on_dropped_keys(keys.and_then(ProviderKeys::remote), known.now),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A note on a token with milliseconds instead of seconds, which would be valid for millennia.
pub(super) fn on_lifetime(claims: &Map<String, Value>) -> Option<String> {
    let expires = claims.get("exp")?;
    remedy::is_in_milliseconds(expires).then(|| {
        "exp is in milliseconds, and must be in seconds since 1970: read as seconds, the token never \
         expires; fix the issuer of these tokens"
            .to_owned()
    })
}

/// A note on a token that alone exceeds Envoy's limit for header fields, in bytes.
pub(super) fn on_header_limit(token: &[u8], limit: usize) -> Option<String> {
    let size = "authorizationBearer ".len().saturating_add(token.len());
    let shown = |size: usize| number(u64::try_from(size).unwrap_or(u64::MAX));
    (size > limit).then(|| {
        format!(
            "with this token, `Authorization` alone has {} bytes, but Envoy accepts {} for all \
             header fields of a request: it responds with 431 (over HTTP/2 it does not respond), \
             and the plugin never sees the request; raise `max_request_headers_kb` of the HTTP \
             connection manager",
            shown(size),
            shown(limit),
        )
    })
}

fn on_id_token(known: &Known<'_>) -> Option<String> {
    remedy::is_id_token(known.claims).then(|| {
        "this looks like an ID token: it is accepted because its aud is one of client_ids; \
         token_types: [at+jwt] or required_claims would refuse it"
            .to_owned()
    })
}

fn on_missing_audience(known: &Known<'_>) -> Option<String> {
    let is_by_client = known.provider?.claim_rules.audience_claim == AudienceClaim::ClientId;
    (is_by_client && !known.claims.contains_key("aud")).then(|| {
        "it has no audience and is accepted by its client id \
         (audience_claim: client_id): so is any token that this client obtained for another API"
            .to_owned()
    })
}

fn on_clock_skew(known: &Known<'_>) -> Option<String> {
    let expires = UnixTime::from_secs(known.claims.get("exp")?.as_u64()?);
    (expires <= known.now).then(|| {
        let ago = seconds(known.now.since(expires).as_secs());
        format!("it expired {ago} ago and is accepted only because of clock_skew")
    })
}

fn on_dropped_keys(keys: Option<&RemoteKeys>, now: UnixTime) -> Option<String> {
    let (set, _) = keys?.held(now)?;
    let dropped = u64::try_from(set.dropped()).unwrap_or_default();
    (dropped > 0).then(|| {
        let dropped = number(dropped);
        format!("{dropped} elements of the key set are not keys: see `mcp-auth keys`")
    })
}
