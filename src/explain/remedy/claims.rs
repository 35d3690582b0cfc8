//! Claims that are missing or say something else.

use serde_json::Value;

use super::super::words::value;
use super::{Case, Remedy, is_id_token};

pub(super) fn mismatch(case: &Case<'_>, claim: &str) -> Remedy {
    let found = value(case.claims.get(claim));
    if claim == "typ" && case.template() == "keycloak" {
        return Remedy::new(
            format!(
                "This is no access token of Keycloak: its claim `typ` is {found}, not \"Bearer\"."
            ),
            "Let the client send its access token (`access_token` in Keycloak's answer, not \
             `id_token` or `refresh_token`).",
        );
    }
    if claim == "email_verified" {
        return Remedy::new(
            "The user's address was never verified (`email_verified`), so it proves nothing.",
            format!(
                "Let the user verify it, or choose another claim as `{}`.",
                case.at("user_claim")
            ),
        );
    }
    Remedy::new(
        format!("The claim `{claim}` is {found}; {} is required.", accepted(case, claim)),
        format!(
            "Add the value to `{}` if such tokens may pass; else they are kept out as they should be.",
            case.at(&format!("required_claims.{claim}"))
        ),
    )
}

pub(super) fn missing(case: &Case<'_>, claim: &str, is_elsewhere: bool) -> Remedy {
    if is_elsewhere {
        return Remedy::new(
            format!(
                "The token does not carry `{claim}` because there are too many: it says where they \
                 could be fetched (`_claim_names`)."
            ),
            "In Entra ID: Token configuration → Groups claim → Groups assigned to the application; or \
             use app roles.",
        );
    }
    let required = case
        .provider
        .into_iter()
        .flat_map(|own| &own.required_claims)
        .any(|required| required.name == claim && !required.may_be_absent);
    if required && case.template() == "google" {
        return Remedy::new(
            format!(
                "The token has no `{claim}`: {}.",
                if claim == "hd" {
                    "it is of a private account, not of a Workspace"
                } else {
                    "the client did not ask for the scope `email`"
                }
            ),
            "Let the client ask for `openid email`, and the user sign in with the right account.",
        );
    }
    if required {
        return Remedy::new(
            format!("The token has no claim `{claim}`; {} is required.", accepted(case, claim)),
            format!(
                "Let the provider put it into access tokens, or remove `{}`.",
                case.at(&format!("required_claims.{claim}"))
            ),
        );
    }
    let field = case.at("user_claim");
    let cause = format!("The token does not say who the user is: it has no {claim}.");
    let cure = match case.template() {
        "entra_id" => format!(
            "Let the client ask for the scope `profile`; or add the optional claim `upn` (Token \
             configuration); or set `{field}: oid`."
        ),
        "keycloak" => format!(
            "Give the client the scope `profile`, and let `preferred_username` be added to access \
             tokens (lightweight ones lack it); or set `{field}: sub`."
        ),
        "okta" => {
            format!("Correct the claim `sub` of the authorization server, or set `{field}: uid`.")
        }
        "adfs" => {
            "Add a transform rule for the UPN to the Web API (Issuance Transform Rules).".to_owned()
        }
        "google" => "Let the client ask for `openid email`.".to_owned(),
        _ if is_id_token(case.claims) => {
            "This looks like an ID token. Let the client send its access token.".to_owned()
        }
        _ => format!(
            "Let the provider put it into access tokens, or set `{field}` to a claim that they have: \
             {}.",
            names(case)
        ),
    };
    Remedy::new(cause, cure)
}

pub(super) fn token_id(case: &Case<'_>) -> Remedy {
    Remedy::new(
        format!("The token has no `jti` that is text, and `{}` asks for one.", case.at("jti")),
        format!("Let the provider issue tokens with `jti`, or remove `{}`.", case.at("jti")),
    )
}

fn accepted(case: &Case<'_>, claim: &str) -> String {
    let mut required = case.provider.into_iter().flat_map(|own| &own.required_claims);
    let accepted = required.find(|required| required.name == claim).map(|own| &own.accepted);
    let accepted: Vec<String> = accepted.into_iter().flatten().map(Value::to_string).collect();
    accepted.join(" or ")
}

/// The claims that could identify a user.
fn names(case: &Case<'_>) -> String {
    const USUAL: [&str; 6] = ["sub", "email", "preferred_username", "upn", "oid", "username"];
    let there: Vec<&str> = USUAL
        .into_iter()
        .filter(|name| case.claims.get(*name).is_some_and(Value::is_string))
        .collect();
    if there.is_empty() { "it has none of the usual ones".to_owned() } else { there.join(", ") }
}
