//! Tokens for another audience.

use serde_json::{Map, Value};

use super::super::words::{either, value};
use super::{Case, Remedy};
use crate::claim::CLIENT_ID_CLAIMS;
use crate::refusal::Reason;

/// Microsoft Graph: its application id and its URI.
const GRAPH: [&str; 2] = ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com"];

pub(super) fn mismatch(case: &Case<'_>) -> Remedy {
    let found = audiences(case.claims);
    if found.is_empty() {
        return missing(case);
    }
    if found.iter().any(|found| GRAPH.contains(&found.trim_end_matches('/'))) {
        return Remedy::new(Reason::GraphToken.sentence(), Reason::GraphToken.row().fix);
    }
    if is_id_token(case.claims) {
        return Remedy::new(
            format!(
                "This is an ID token, not an access token: it is for the client that requested it \
                 (`aud` {}), and identifies the user to that client.",
                value(case.claims.get("aud"))
            ),
            "Have the client send its access token (`access_token` in the provider's response, not \
             `id_token`), and request a scope of this API so that the token is for it.",
        );
    }
    spelling(case, &found).unwrap_or_else(|| foreign(case, &found))
}

/// Tokens without an audience.
fn missing(case: &Case<'_>) -> Remedy {
    let cause = "The token does not name its audience: it has no `aud`.";
    let name_this_api = "Have the client name this API when it asks for a token (`audience`, \
                         `resource` or `scope`).";
    if case.template() == "keycloak" {
        return Remedy::new(
            cause,
            format!(
                "In Keycloak: Client scopes → Add mapper → Audience, with a name from `{}`.",
                case.audiences().1
            ),
        );
    }
    let client = CLIENT_ID_CLAIMS.iter().find_map(|name| case.text(name));
    match client.filter(|_| case.template() == "generic" && !case.claims.contains_key("aud")) {
        None => Remedy::new(cause, name_this_api),
        Some(client) => Remedy::new(
            cause,
            format!(
                "{name_this_api} If this provider never writes `aud` into access tokens (Amazon \
                 Cognito, Clerk and WorkOS do not), set `{}: client_id` and add {client:?} to `{}`; \
                 but a token that this client obtained for any other API is then accepted here \
                 too.",
                case.at("audience_claim"),
                case.audiences().1
            ),
        ),
    }
}

/// Audiences that mean this server to people, but not to the plugin.
fn spelling(case: &Case<'_>, found: &[&str]) -> Option<Remedy> {
    let (configured, field) = case.audiences();
    let accepted = either(&configured);
    let is_twin = |plain: fn(&str) -> String| {
        found.iter().find(|found| configured.iter().any(|audience| plain(audience) == plain(found)))
    };
    if let Some(twin) = is_twin(without_scheme) {
        return Some(Remedy::new(
            format!(
                "`aud` is {twin:?}, but only {accepted} is accepted: they differ only by \
                 `api://`, and are compared exactly."
            ),
            format!("Write {twin:?} in `{field}`, in addition to the present values."),
        ));
    }
    if let Some(twin) = is_twin(without_case_and_slash) {
        return Some(Remedy::new(
            format!(
                "`aud` is {twin:?}, but only {accepted} is accepted: they differ by capital \
                 letters or a slash at the end, and are compared exactly."
            ),
            format!("Write {twin:?} in `{field}`."),
        ));
    }
    let resource = &case.setup.config.resources[case.resource?];
    let resource = without_case_and_slash(resource.url.as_str());
    let twin = found.iter().find(|found| without_case_and_slash(found) == resource)?;
    Some(Remedy::new(
        format!(
            "The token is for this server (`aud` {twin:?}), but `{field}` lists only {accepted}."
        ),
        format!("Add {twin:?} to `{field}`."),
    ))
}

fn without_scheme(audience: &str) -> String {
    audience.strip_prefix("api://").unwrap_or(audience).to_owned()
}

fn without_case_and_slash(audience: &str) -> String {
    audience.trim_end_matches('/').to_ascii_lowercase()
}

/// Tokens that seem to be for another server.
fn foreign(case: &Case<'_>, found: &[&str]) -> Remedy {
    let (configured, field) = case.audiences();
    let seen = value(case.claims.get("aud"));
    let cause = format!(
        "The token is for another audience: `aud` is {seen}, but only {} is accepted.",
        either(&configured)
    );
    let fix = match case.template() {
        "keycloak" if found.iter().all(|found| *found == "account") => format!(
            "Keycloak names this API only if configured to: Client scopes → Add mapper → Audience, \
             with a name that `{field}` lists."
        ),
        "auth0" => format!(
            "Have the client send `audience=<Identifier of your API>` when it asks for a token; \
             `{field}` must list that identifier exactly."
        ),
        "okta" => format!(
            "`{field}` must list the Audience of the authorization server (Security → API; \
             `api://default` at first). If {seen} is that, add it."
        ),
        "adfs" if found.iter().any(|found| found.starts_with("urn:microsoft:userinfo")) => format!(
            "Have the client name the Web API by `resource=<its identifier>` when it asks for a token; \
             `{field}` must list that identifier."
        ),
        "entra_id" => format!(
            "Have the client ask for a scope of this API, `<Application ID URI>/<scope>`. If {seen} is \
             this API, add it to `{field}`."
        ),
        "google" => format!(
            "The token was issued to another client of Google. If you trust that client, add its id \
             to `{field}`."
        ),
        _ => format!(
            "If these tokens are meant for this server, add their `aud` to `{field}`. Otherwise have \
             the client request a token for this server (`resource`, `audience` or scope)."
        ),
    };
    Remedy::new(cause, fix)
}

/// A token that was issued to another client, where `client_ids` are compared with the client.
pub(super) fn foreign_client(case: &Case<'_>) -> Remedy {
    let (configured, field) = case.audiences();
    let named = CLIENT_ID_CLAIMS.iter().filter(|name| case.claims.contains_key(**name));
    let named: Vec<String> =
        named.map(|name| format!("`{name}` {}", value(case.claims.get(*name)))).collect();
    let compared = format!(
        "With `{}: client_id`, `{field}` is compared with the client: only {} is accepted.",
        case.at("audience_claim"),
        either(&configured)
    );
    match named.as_slice() {
        [] => Remedy::new(
            format!(
                "The token does not name the client that it was issued to: it has none of {}. \
                 {compared}",
                CLIENT_ID_CLAIMS.join(", ")
            ),
            "Have the client send its access token. ID tokens name the client only in `aud`, and \
             are not accepted here.",
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
                "If they are the same client, have the provider write its id the same way in each \
                 claim. If you trust it, add its id to `{field}`."
            ),
        ),
    }
}

/// True if the claims include one that only ID tokens have.
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
