//! Claims that are missing or have another value.

use serde_json::Value;

use super::super::words::value;
use super::{Case, Remedy, is_id_token};
use crate::claim::{CLIENT_ID_CLAIMS, ClaimPath, any_of};

pub(super) fn mismatch(case: &Case<'_>, claim: &str) -> Remedy {
    let found = value(case.claims.get(claim));
    if claim == "typ" && case.template() == "keycloak" {
        return Remedy::new(
            format!(
                "This is not an access token of Keycloak: its claim `typ` is {found}, not \"Bearer\"."
            ),
            "Have the client send its access token (`access_token` in Keycloak's response, not \
             `id_token` or `refresh_token`).",
        );
    }
    if claim == "email_verified" {
        return Remedy::new(
            "The user's address was never verified (`email_verified`), so it proves nothing.",
            format!(
                "Have the user verify it, or choose another claim as `{}`.",
                case.at("user_claim")
            ),
        );
    }
    Remedy::new(
        format!("The claim `{claim}` is {found}; {} is required.", accepted(case, claim)),
        format!(
            "Add the value to `{}` if such tokens should be accepted; otherwise the refusal is \
             correct.",
            case.at(&format!("required_claims.{claim}"))
        ),
    )
}

pub(super) fn missing(case: &Case<'_>, claim: &str, is_elsewhere: bool) -> Remedy {
    if is_elsewhere {
        return listed_elsewhere(claim);
    }
    if case.template() == "google" {
        return Remedy::new(
            format!(
                "The token has no `{claim}`: {}.",
                if claim == "hd" {
                    "it is of a private account, not of a Workspace"
                } else {
                    "the client did not ask for the scope `email`"
                }
            ),
            "Have the client ask for `openid email`, and the user sign in with the right account.",
        );
    }
    Remedy::new(
        format!("The token has no claim `{claim}`; {} is required.", accepted(case, claim)),
        format!(
            "Have the provider put it into access tokens, or remove `{}`.",
            case.at(&format!("required_claims.{claim}"))
        ),
    )
}

/// Tokens without a usable claim that identifies the user.
pub(super) fn missing_user(case: &Case<'_>, claim: &str) -> Remedy {
    let paths = user_claims(case, claim);
    if let Some((path, found)) =
        paths.iter().find_map(|path| Some((path, path.find(&case.claims.into())?.into())))
    {
        return unusable_user(case, path, &found);
    }
    let field = case.at(user_field(case, claim));
    let cause = format!("The token does not identify the user: it has no {claim}.");
    let fix = match case.template() {
        "entra_id" => format!(
            "Have the client ask for the scope `profile`; or add the optional claim `upn` (Token \
             configuration); or set `{field}: oid`."
        ),
        "keycloak" => format!(
            "Give the client the scope `profile`, and have `preferred_username` added to access \
             tokens (lightweight ones lack it); or set `{field}: sub`."
        ),
        "okta" => {
            format!("Correct the claim `sub` of the authorization server, or set `{field}: uid`.")
        }
        "adfs" => {
            "Add a transform rule for the UPN to the Web API (Issuance Transform Rules).".to_owned()
        }
        "google" => "Have the client ask for `openid email`.".to_owned(),
        _ if is_id_token(case.claims) => {
            "This looks like an ID token. Have the client send its access token.".to_owned()
        }
        _ if may_be_of_a_service(case) => format!(
            "If a service obtained it for itself (client credentials; some providers issue such \
             tokens without `sub`), set `{}` to the claim that names its client, but only if \
             every person's token has `sub` or `{field}`. Otherwise have the provider put {claim} \
             into access tokens.",
            case.at("service_user_claim")
        ),
        _ => format!(
            "Have the provider put it into access tokens, or set `{field}` to a claim that they have: \
             {}.",
            names(case)
        ),
    };
    Remedy::new(cause, fix)
}

/// Tokens with none of the claims of which one is required.
pub(super) fn missing_all(case: &Case<'_>, claims: &str, is_elsewhere: bool) -> Remedy {
    let field = case.at("required_any_claim");
    if is_elsewhere {
        return listed_elsewhere(claims);
    }
    if case.template() != "entra_id" {
        return Remedy::new(
            format!("The token carries nothing in {claims}, and `{field}` requires one of them."),
            format!("Have the provider put one into access tokens, or correct `{field}`."),
        );
    }
    let otherwise = format!(
        "To accept such tokens, set *Assignment required* at the API's enterprise application, \
         and `{field}: []` here."
    );
    if is_id_token(case.claims) {
        return Remedy::new(
            format!("This is an ID token, not an access token: it carries nothing in {claims}."),
            format!(
                "Have the client send its access token (`access_token` in the provider's response, \
                 not `id_token`), and request a scope of this API. {otherwise}"
            ),
        );
    }
    Remedy::new(
        format!(
            "Entra ID grants this client nothing at this API: the token carries nothing in {claims}. \
             Any application of the tenant gets such tokens for any API that does not require \
             assignment."
        ),
        format!(
            "Give the application an app role of this API, as Application permission with admin \
             consent; a client with a user asks for one of its scopes. {otherwise}"
        ),
    )
}

fn listed_elsewhere(claim: &str) -> Remedy {
    Remedy::new(
        format!(
            "The token does not carry `{claim}` because there are too many: it only says where \
             they could be fetched (`_claim_names`)."
        ),
        "In Entra ID: Token configuration → Groups claim → Groups assigned to the application; or \
         use app roles.",
    )
}

/// A claim that should identify the user, is present, and cannot.
fn unusable_user(case: &Case<'_>, path: &ClaimPath, found: &Value) -> Remedy {
    let field = case.at("user_claim");
    let others: Vec<&str> =
        usable_names(case).into_iter().filter(|name| *name != path.top_level()).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!("; or set `{field}` to one that names the user: {}", others.join(", ")),
    };
    Remedy::new(
        format!(
            "The token does not identify the user: its `{path}` is {}, but must be a string that \
             is not empty, or an integer.",
            value(Some(found))
        ),
        format!("Have the provider write the user into `{path}`{others}."),
    )
}

/// The claims that a refusal reports as missing.
fn user_claims<'a>(case: &Case<'a>, named: &str) -> &'a [ClaimPath] {
    let Some(rules) = case.provider.map(|provider| &provider.identity_rules) else { return &[] };
    if any_of(&rules.user_claims) == named {
        &rules.user_claims
    } else {
        &rules.service_user_claims
    }
}

/// The field that selects these claims.
fn user_field(case: &Case<'_>, named: &str) -> &'static str {
    let rules = case.provider.map(|provider| &provider.identity_rules);
    match rules {
        Some(rules) if rules.userless_is_service && any_of(&rules.user_claims) != named => {
            "service_user_claim"
        }
        _ => "user_claim",
    }
}

/// Whether the token may be a service's while no claim is configured for the user of a service.
fn may_be_of_a_service(case: &Case<'_>) -> bool {
    let is_asked_for =
        case.provider.is_some_and(|provider| provider.identity_rules.userless_is_service);
    let has_client = CLIENT_ID_CLAIMS.iter().any(|name| case.text(name).is_some());
    has_client && !is_asked_for && !case.claims.contains_key("sub")
}

pub(super) fn token_id(case: &Case<'_>) -> Remedy {
    Remedy::new("The token has no `jti` that is a string.", case.fix_at("jti"))
}

fn accepted(case: &Case<'_>, claim: &str) -> String {
    let mut required = case.provider.into_iter().flat_map(|provider| &provider.required_claims);
    let accepted = required.find(|required| required.name == claim).map(|rule| &rule.accepted);
    let accepted: Vec<String> = accepted.into_iter().flatten().map(Value::to_string).collect();
    accepted.join(" or ")
}

/// The claims that could identify a user.
fn names(case: &Case<'_>) -> String {
    let there = usable_names(case);
    if there.is_empty() { "it has none of the usual ones".to_owned() } else { there.join(", ") }
}

fn usable_names(case: &Case<'_>) -> Vec<&'static str> {
    const USUAL: [&str; 6] = ["sub", "email", "preferred_username", "upn", "oid", "username"];
    USUAL.into_iter().filter(|name| case.text(name).is_some_and(|text| !text.is_empty())).collect()
}
