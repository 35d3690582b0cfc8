//! Unknown users, and requests that the access policy denies.

use serde_json::Value;

use super::super::words::either;
use super::{Case, Remedy};
use crate::claim::{ListClaim, UnreadList};
use crate::refusal::{AccountStatus, Denial};

pub(super) fn unknown(claim: &str, field: &str, cause: Option<&str>) -> Remedy {
    let not_found = format!(
        "The token is valid, but no user here has its {claim} as `{field}`; the two are compared exactly."
    );
    if let Some(cause) = cause {
        return Remedy::new(
            format!("{not_found} Closest match: {cause}."),
            format!(
                "If it is the same person, give the record the `{field}` that the token has, \
                 or choose a `user_claim` or `user_field` with the same values; if a record is \
                 not for this provider, name it in the record's `provider`."
            ),
        );
    }
    Remedy::new(
        not_found,
        format!(
            "Add the user to `users.records` or to the directory, with that `{field}`; or set \
             `users.unknown: allow`."
        ),
    )
}

pub(super) fn inactive(case: &Case<'_>, user: &str, account_status: AccountStatus) -> Remedy {
    Remedy::new(
        format!("The token is valid, but the user {user:?} is {} here.", account_status.as_str()),
        case.fix(),
    )
}

pub(super) fn no_service_account(case: &Case<'_>, user: &str) -> Remedy {
    Remedy::new(
        format!(
            "The token is a service's own, and {user:?} is a person's record: services may only use service accounts."
        ),
        format!(
            "Set `web_service_access_only: true` in the record of {user:?}; or, if the token \
             belongs to a person, `{}: user`.",
            case.at("client_type")
        ),
    )
}

pub(super) fn denied(case: &Case<'_>, denial: &Denial) -> Remedy {
    match denial {
        Denial::AmbiguousMethod => Remedy::new(
            "The HTTP method has lower-case letters, and an access rule names methods or messages.",
            "Have the client send the method in upper case, such as POST.",
        ),
        Denial::AmbiguousName => Remedy::new(
            "The name in the message is ambiguous, so it is unclear which rule applies.",
            "Have the client write the name exactly as in the rules, and the MCP method as the \
             specification spells it.",
        ),
        Denial::AmbiguousPath => Remedy::new(
            "The path is ambiguous, so it is unclear which rule applies.",
            "Have the client send the path in normalised form: no dot segments, no repeated \
             slashes, no escapes, the same letter case as in the rules.",
        ),
        Denial::Misread { rule, line, claim, found } => misread(case, rule, line, claim, *found),
        Denial::NoRule => no_rule(case),
        Denial::Restricted { rule } => Remedy::new(
            format!(
                "The token is valid, but its provider may be used only where an access rule names it, and the rule {rule:?} does not."
            ),
            format!(
                "Add the provider to `require.providers` of that rule, or remove `{}`.",
                case.at("restrict_to_policies")
            ),
        ),
        Denial::Rule { rule, line, is_elsewhere: true } => Remedy::new(
            format!(
                "The token is valid, but the access rule {rule:?} requires {line}, and the user \
                 has so many that the token only says where they are listed (_claim_names)."
            ),
            "Have the provider put fewer into its tokens: in Entra ID, *Groups assigned to the \
             application*, or app roles.",
        ),
        Denial::Rule { rule, line, is_elsewhere: false } => Remedy::new(
            format!("The token is valid, but the access rule {rule:?} requires other {line}."),
            format!(
                "Give the user what `require.{line}` of that rule lists, at the provider or in \
                 `users.records`; or change the rule."
            ),
        ),
    }
}

fn no_rule(case: &Case<'_>) -> Remedy {
    if case.provider.is_some_and(|provider| provider.restrict_to_policies) {
        return Remedy::new(
            "The token is valid, but its provider may be used only where an access rule names it, \
             and no rule matches this request.",
            format!(
                "Add a rule with this provider under `require.providers` to `access.rules`, or remove \
                 `{}`.",
                case.at("restrict_to_policies")
            ),
        );
    }
    Remedy::new(
        "The token is valid, but no access rule matches this request, and `access.default` is \
         deny.",
        "Add a rule whose `match` has this path and method to `access.rules`.",
    )
}

/// A claim with a list that cannot be read.
fn misread(case: &Case<'_>, rule: &str, line: &str, claim: &str, found: UnreadList) -> Remedy {
    let holds_scopes = line == "scopes";
    let field = if holds_scopes { "scope_claim".to_owned() } else { format!("{line}_claim") };
    let field = case.at(&field);
    let names = if found == UnreadList::ObjectForList && !holds_scopes {
        format!(
            " If its members have the {line} as their names, as Zitadel writes them, put its \
             name, or path, under `keys_of`: `{field}: {{keys_of: {}}}`.",
            written(case, claim)
        )
    } else {
        String::new()
    };
    Remedy::new(
        format!(
            "The token is valid, but the access rule {rule:?} requires {line}, and none can be \
             read from the claim `{claim}`: it is {found}."
        ),
        format!(
            "Set `{field}` to a claim that lists the {line} as strings, or have the provider \
             write this one that way.{names}"
        ),
    )
}

/// The claim with this name or path, as written in a configuration.
fn written(case: &Case<'_>, claim: &str) -> String {
    let rules = case.provider.map(|provider| &provider.identity_rules);
    let lists =
        rules.into_iter().flat_map(|rules| rules.roles_claims.iter().chain([&rules.groups_claim]));
    let path = lists.map(ListClaim::path).find(|path| path.to_string() == claim);
    match path.and_then(|path| serde_json::to_value(path).ok()) {
        Some(Value::Array(names)) if names.len() > 1 => Value::Array(names).to_string(),
        _ => format!("{claim:?}"),
    }
}

pub(super) fn scope(case: &Case<'_>, rule: &str, scopes: &[String]) -> Remedy {
    let how = match case.template() {
        "entra_id" => {
            " In Entra ID clients ask for `<Application ID URI>/<scope>`; services get roles instead \
             of scopes."
        }
        _ => "",
    };
    Remedy::new(
        format!("The token is valid, but the access rule {rule:?} requires scopes that it lacks."),
        format!("Have the client ask for {}, and the provider grant it.{how}", either(scopes)),
    )
}
