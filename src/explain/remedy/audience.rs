//! Tokens for somebody else.

use serde_json::{Map, Value};

use super::super::words::{either, value};
use super::{Case, Remedy};
use crate::claim::CLIENT_ID_CLAIMS;
use crate::refusal::Reason;

/// Microsoft Graph: its application id and its URI.
const GRAPH: [&str; 2] = ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com"];

pub(super) fn mismatch(case: &Case<'_>) -> Remedy {
    let field = case.at("client_ids");
    let found = audiences(case.claims);
    let configured =
        case.provider.map(|provider| provider.claim_rules.audiences.clone()).unwrap_or_default();
    let (seen, accepted) = (value(case.claims.get("aud")), either(&configured));
    let is_twin = |differ: &dyn Fn(&str) -> String| {
        found
            .iter()
            .find(|found| configured.iter().any(|audience| differ(audience) == differ(found)))
    };
    let bare = |audience: &str| audience.strip_prefix("api://").unwrap_or(audience).to_owned();
    let plain = |audience: &str| audience.trim_end_matches('/').to_ascii_lowercase();

    if found.is_empty() && !case.claims.contains_key("aud") && case.template() == "generic" {
        let client = CLIENT_ID_CLAIMS.iter().find_map(|name| case.text(name));
        let by_client = client.map_or_else(String::new, |client| {
            format!(
                " If this provider never writes `aud` into access tokens (Amazon Cognito, Clerk and \
                 WorkOS do not), set `{}: client_id` and add {client:?} to `{field}`; but then a \
                 token that this client got for any other API passes here, too.",
                case.at("audience_claim")
            )
        });
        return Remedy::new(
            "The token does not say for whom it is: it has no `aud`.",
            format!(
                "Let the client name this API when it asks for a token (`audience`, `resource` or \
                 `scope`).{by_client}"
            ),
        );
    }
    if found.is_empty() {
        let mapper = if case.template() == "keycloak" {
            "In Keycloak: Client scopes → Add mapper → Audience, with the name that `client_ids` has."
        } else {
            "Let the client name this API when it asks for a token (`audience`, `resource` or `scope`)."
        };
        return Remedy::new("The token does not say for whom it is: it has no `aud`.", mapper);
    }
    if found.iter().any(|found| GRAPH.contains(&found.trim_end_matches('/'))) {
        return Remedy::new(Reason::GraphToken.sentence(), Reason::GraphToken.row().fix);
    }
    if is_id_token(case.claims) {
        return Remedy::new(
            format!(
                "This is an ID token, not an access token: it is for the client that asked for it \
                 (`aud` {seen}), and tells that client who logged in."
            ),
            "Let the client send its access token (`access_token` in the provider's answer, not \
             `id_token`), and ask for a scope of this API so that it gets one for it.",
        );
    }
    if let Some(twin) = is_twin(&bare) {
        return Remedy::new(
            format!(
                "`aud` is {twin:?}, and accepted are {accepted}: they differ by `api://` alone, \
                 and are compared to the letter."
            ),
            format!("Write {twin:?} in `{field}`, beside what stands there."),
        );
    }
    if let Some(twin) = is_twin(&plain) {
        return Remedy::new(
            format!(
                "`aud` is {twin:?}, and accepted are {accepted}: they differ by capital letters or \
                 a slash at the end, and are compared to the letter."
            ),
            format!("Write {twin:?} in `{field}`."),
        );
    }
    let resource = case.setup.config.resource.url.as_str();
    if let Some(twin) = found.iter().find(|found| plain(found) == plain(resource)) {
        return Remedy::new(
            format!(
                "The token is for this very server (`aud` {twin:?}), which `{field}` does not list: \
                 accepted are {accepted}."
            ),
            format!("Add {twin:?} to `{field}`."),
        );
    }
    let cause =
        format!("The token is for somebody else: `aud` is {seen}, accepted are {accepted}.");
    let fix = match case.template() {
        "keycloak" if found.iter().all(|found| *found == "account") => format!(
            "Keycloak names this API only if it is told to: Client scopes → Add mapper → Audience, \
             with a name that `{field}` lists."
        ),
        "auth0" => format!(
            "Let the client send `audience=<Identifier of your API>` when it asks for a token; \
             `{field}` must list that identifier to the letter."
        ),
        "okta" => format!(
            "`{field}` must list the Audience of the authorization server (Security → API; \
             `api://default` at first). If {seen} is that, add it."
        ),
        "adfs" if found.iter().any(|found| found.starts_with("urn:microsoft:userinfo")) => format!(
            "Let the client name the Web API by `resource=<its identifier>` when it asks for a token; \
             `{field}` must list that identifier."
        ),
        "entra_id" => format!(
            "Let the client ask for a scope of this API, `<Application ID URI>/<scope>`. If {seen} is \
             this API, add it to `{field}`."
        ),
        "google" => format!(
            "The token was issued to another client of Google. If you trust that client, add its id \
             to `{field}`."
        ),
        _ => format!(
            "If {seen} names this server, add it to `{field}`. If not, let the client name this \
             server when it asks for a token (`audience`, `resource` or `scope`)."
        ),
    };
    Remedy::new(cause, fix)
}

/// A token that was issued to another client, where that counts instead of `aud`.
pub(super) fn foreign_client(case: &Case<'_>) -> Remedy {
    let field = case.at("client_ids");
    let configured =
        case.provider.map(|provider| provider.claim_rules.audiences.clone()).unwrap_or_default();
    let named = CLIENT_ID_CLAIMS.iter().filter(|name| case.claims.contains_key(**name));
    let named: Vec<String> =
        named.map(|name| format!("`{name}` {}", value(case.claims.get(*name)))).collect();
    let compared = format!(
        "`{}: client_id` lets `{field}` be compared with the client: accepted are {}.",
        case.at("audience_claim"),
        either(&configured)
    );
    match named.as_slice() {
        [] => Remedy::new(
            format!(
                "The token does not say to which client it was issued: it has none of {}. {compared}",
                CLIENT_ID_CLAIMS.join(", ")
            ),
            "Let the client send its access token. ID tokens name the client in `aud` alone, and do \
             not pass here.",
        ),
        [one] => Remedy::new(
            format!("The token was issued to another client: {one}. {compared}"),
            format!("If you trust that client, add its id to `{field}`."),
        ),
        several => Remedy::new(
            format!(
                "The token names its client in several ways: {}. All must be the same accepted one. \
                 {compared}",
                several.join(", ")
            ),
            format!(
                "If they are the same client, let the provider write its id alike everywhere. If you \
                 trust it, add its id to `{field}`."
            ),
        ),
    }
}

/// True when the claims have what only ID tokens have.
pub(in super::super) fn is_id_token(claims: &Map<String, Value>) -> bool {
    ["at_hash", "c_hash", "nonce"].iter().any(|name| claims.contains_key(*name))
        || claims.get("typ").is_some_and(|typ| typ == "ID")
        || claims.get("token_use").is_some_and(|single_use_token| single_use_token == "id")
}

fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}
