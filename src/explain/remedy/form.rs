//! Credentials that are not a token, or are of the wrong kind.

use super::super::words::{either, listed, value};
use super::{Case, Remedy};
use crate::explain::utf16::is_utf16;
use crate::jose::{Algorithm, MalformedToken, Segment};
use crate::provider::TokenTypes;
use crate::refusal::{AuthorizationFault, sentence};

/// Several tokens, or what looks like several.
pub(super) fn not_one_token(case: &Case<'_>, fault: AuthorizationFault) -> Remedy {
    dressed(case).unwrap_or_else(|| {
        let meaning = case.refusal.reason().row().meaning;
        Remedy::new(sentence(&format!("{meaning}: {fault}")), case.fix())
    })
}

/// A token with extra characters around it.
fn dressed(case: &Case<'_>) -> Option<Remedy> {
    if is_utf16(case.token) {
        return Some(Remedy::new(
            "The token is in UTF-16, as Windows PowerShell writes files (`>`, `Out-File`): two bytes \
             for each character. Tokens are ASCII.",
            "Save the file as UTF-8 or ASCII (in PowerShell: `Set-Content -Encoding ascii`), for the \
             client too.",
        ));
    }
    let text = String::from_utf8_lossy(case.token);
    if text.starts_with('\u{feff}') {
        return Some(Remedy::new(
            "There is a byte order mark (EF BB BF) between `Bearer` and the token: the client \
             read a file that begins with one, and sends it too.",
            "Save the file that the client reads without a byte order mark.",
        ));
    }
    let scheme = text.split_whitespace().next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Remedy::new(
            "`Bearer` occurs twice (`Authorization: Bearer Bearer …`): the client adds it to a \
             string that already begins with it.",
            "Give the client the token alone, without `Bearer`.",
        ));
    }
    let quotes = ['"', '\'', '“', '”', '‘', '’'];
    (text.starts_with(quotes) || text.ends_with(quotes)).then(|| {
        Remedy::new(
            "The token is in quotes, which are not part of it.",
            "Remove the quotes where the client reads its token.",
        )
    })
}

pub(super) fn malformed(case: &Case<'_>, fault: &MalformedToken) -> Remedy {
    if let Some(remedy) = dressed(case) {
        return remedy;
    }
    if let MalformedToken::TooLong { limit } = fault {
        return Remedy::new(
            format!(
                "The token has {} bytes, but the limit is {limit}. Many groups or roles make \
                 tokens long.",
                case.token.len()
            ),
            "Raise `max_token_size`, or have the provider put fewer groups into its tokens.",
        );
    }
    if let Some(remedy) = unreadable(case, fault) {
        return remedy;
    }
    match fault {
        MalformedToken::Unsigned => Remedy::new(
            "The token has no signature: its third part is empty.",
            "Copy the whole token. If it is complete, no identity provider issued it: have the \
             client request one there.",
        ),
        MalformedToken::Padded(segment) => padded(*segment),
        MalformedToken::PlainBase64(segment) => plain_base64(*segment),
        MalformedToken::HeaderMember(name) => header_member(case, name),
        MalformedToken::MissingAlgorithm => Remedy::new(
            "The token's header does not say how it is signed: it has no `alg`.",
            "Have the client send the token that the identity provider issued. If this is that \
             token, fix the issuer of these tokens.",
        ),
        MalformedToken::Base64(_)
        | MalformedToken::Json(_)
        | MalformedToken::NotAnObject(_)
        | MalformedToken::Repeated(..)
        | MalformedToken::Segments
        | MalformedToken::TooLong { .. } => damaged(fault),
    }
}

/// A token that only its provider can read: opaque or encrypted.
fn unreadable(case: &Case<'_>, fault: &MalformedToken) -> Option<Remedy> {
    let text = String::from_utf8_lossy(case.token);
    let dots = text.matches('.').count();
    if text.starts_with("ya29.") {
        return Some(Remedy::new(
            "This is an access token of Google, which is not a JWT: only Google can read it.",
            "Have the client send Google's ID token (`id_token` in the same response) instead.",
        ));
    }
    if dots == 4 && case.header.contains_key("enc") {
        return Some(Remedy::new(
            "The token is encrypted (a JWE), so only its addressee can read it.",
            jwt_fix(case),
        ));
    }
    (*fault == MalformedToken::Segments && dots != 2).then(|| {
        Remedy::new(
            format!(
                "The token is opaque: a JWT has three parts with two dots between them, and this has \
                 {dots}. A part may also have been lost while it was copied.",
            ),
            jwt_fix(case),
        )
    })
}

fn padded(segment: Segment) -> Remedy {
    Remedy::new(
        format!(
            "The {segment} of the token is padded with `=` at its end. The parts of a JWT are \
             base64url without padding (RFC 7515 §2)."
        ),
        "If the identity provider issued it without `=`, have the client send it unchanged. If \
         not, fix the issuer of these tokens: the signature covers the parts as they are sent.",
    )
}

fn plain_base64(segment: Segment) -> Remedy {
    Remedy::new(
        format!(
            "The {segment} of the token is plain base64, with `+` or `/`. The parts of a JWT are \
             base64url, which has `-` and `_` instead (RFC 7515 §2)."
        ),
        "If the identity provider issued it with `-` and `_`, have the client send it unchanged. \
         If not, fix the issuer of these tokens: the signature covers the parts as they are sent.",
    )
}

fn header_member(case: &Case<'_>, name: &str) -> Remedy {
    Remedy::new(
        format!(
            "`{name}` in the token's header is {}, and must be a string (RFC 7515 §4.1).",
            value(case.header.get(name))
        ),
        match name {
            "alg" => "Fix the issuer of these tokens: `alg` names the algorithm.".to_owned(),
            name => format!(
                "Fix the issuer of these tokens: have it write `{name}` as a string, or leave \
                 it out."
            ),
        },
    )
}

fn damaged(fault: &MalformedToken) -> Remedy {
    Remedy::new(
        format!("The token is damaged, or is not a JWT: {fault}."),
        "Compare it with the token that the identity provider issued. Spaces, line breaks and \
         missing ends are the usual damage.",
    )
}

/// How to make each provider issue JWTs.
fn jwt_fix(case: &Case<'_>) -> &'static str {
    let config = case.setup;
    let templates: Vec<&str> = config
        .config
        .providers
        .iter()
        .filter_map(|provider| config.written(provider))
        .map(|written| written.template())
        .collect();
    match templates.as_slice() {
        ["auth0"] => {
            "Auth0 gives opaque or encrypted tokens to clients that name no API: have the client \
             send `audience=<Identifier of your API>` when it asks for a token, or set a Default \
             Audience for the tenant."
        }
        ["google"] => "Have the client send Google's ID token, not its access token.",
        ["okta"] => {
            "Have the client ask a custom authorization server (`/oauth2/default/v1/token`), whose \
             access tokens are JWTs."
        }
        _ => {
            "Have the identity provider issue access tokens as signed JWTs (RFC 9068) for this API. \
             Often it does so once the client names the API (`audience`, `resource` or `scope`)."
        }
    }
}

pub(super) fn algorithm(case: &Case<'_>, found: &str) -> Remedy {
    if let Some(provider) = case.provider {
        let field = case.at("algorithms");
        if case.gives("algorithms") {
            return Remedy::new(
                format!(
                    "The token is signed with {found}, which this provider's configuration leaves out."
                ),
                format!("Add {found} to `{field}`."),
            );
        }
        let known: Vec<&str> =
            provider.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        return Remedy::new(
            format!(
                "The token is signed with {found}, but according to the template {}, its provider \
                 signs with {}.",
                case.template(),
                known.join(" or ")
            ),
            format!(
                "Have the provider sign with {}. If it really signs with {found}, write `{field}: [{}, {found}]`.",
                known.join(" or "),
                known.join(", ")
            ),
        );
    }
    if found.eq_ignore_ascii_case("none") {
        return Remedy::new(
            "The token is not signed (`alg` is none): anyone could have written it.",
            "Have the client send a token that the identity provider signed.",
        );
    }
    if found.starts_with("HS") {
        return Remedy::new(
            format!(
                "The token is signed with {found}, with a secret that the provider shares with one \
                 client. That is never accepted here. Keycloak's refresh tokens are like this, and \
                 APIs of Auth0 that are set to HS256."
            ),
            "Send the access token, not the refresh token; and have the provider sign access tokens \
             by RS256 or ES256 (Auth0: APIs → Settings → Signing Algorithm; Keycloak: Realm \
             settings → Tokens).",
        );
    }
    Remedy::new(
        format!("The token is signed with {found}, which the plugin does not verify."),
        format!(
            "Have the provider sign with one of {}.",
            listed(&Algorithm::ALL.map(Algorithm::name), "or")
        ),
    )
}

pub(super) fn critical(case: &Case<'_>, name: &str) -> Remedy {
    Remedy::new(
        format!(
            "The header requires the extension {name:?} (`crit`), which the plugin does not \
             support."
        ),
        case.fix(),
    )
}

pub(super) fn token_type(case: &Case<'_>, found: Option<&str>) -> Remedy {
    let field = case.at("token_types");
    if let Some(found) = case.header.get("typ").filter(|typ| !typ.is_string()) {
        let types = case.provider.map(|provider| &provider.claim_rules.token_types);
        let right = match types {
            Some(TokenTypes::Listed(listed)) => format!("write it as {}", either(listed)),
            _ => "write it as \"at+jwt\" or \"JWT\", or leave it out".to_owned(),
        };
        return Remedy::new(
            format!(
                "`typ` in the token's header is {}, and must be a string (RFC 7515 §4.1.9).",
                value(Some(found))
            ),
            format!("Fix the issuer of these tokens: have it {right}."),
        );
    }
    let Some(found) = found else {
        return Remedy::new(
            format!("The token's header has no `typ`, and `{field}` lists only named types."),
            format!("Remove `{field}` if this provider's access tokens have no `typ`."),
        );
    };
    match TokenTypes::normalised(found).as_str() {
        "dpop+jwt" => Remedy::new(
            "This is a DPoP proof, not an access token.",
            "Have the client send the access token in `Authorization`.",
        ),
        "logout+jwt" => Remedy::new(
            "This is a logout token, not an access token.",
            "Have the client send the access token in `Authorization`.",
        ),
        "oauth-id-jag+jwt" => Remedy::new(
            "This is an identity assertion (ID-JAG), which must be exchanged for an access token.",
            "Have the client send it to the token endpoint of the authorization server, and the \
             access token that it gets to this server.",
        ),
        _ => Remedy::new(
            format!(
                "`typ` in the token's header is {found:?}, which `{field}` does not list. With \
                 [at+jwt] alone, ID tokens are refused, and so are access tokens of providers \
                 that do not follow RFC 9068."
            ),
            format!(
                "If this is the access token, add {found:?} to `{field}`. If it is an ID token, \
                     have the client send its access token."
            ),
        ),
    }
}

pub(super) fn bound(case: &Case<'_>) -> Remedy {
    let how = if case.claims.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some()) {
        "a key of the client by DPoP (RFC 9449)"
    } else if case.claims.get("cnf").is_some_and(|cnf| cnf.get("x5t#S256").is_some()) {
        "a certificate of the client (RFC 8705)"
    } else {
        "a key of the client"
    };
    Remedy::new(
        format!(
            "The token is bound to {how}, in its claim `cnf`, and the plugin cannot check that \
             its sender holds the key."
        ),
        case.fix(),
    )
}
