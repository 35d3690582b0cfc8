//! Set-ups of the providers that have a template.

use super::*;

/// A URL as `iss`, with everything else valid.
fn issued_by(issuer: &str) -> Value {
    json!({ "iss": issuer })
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn set_ups_of_entra_id_are_explained() {
    let entra = Sound::entra();
    let none = json!({});
    let own_issuer = json!({
        "template": null, "tenant": null, "issuer": v2(TENANT),
        "metadata_url": format!("{}/.well-known/openid-configuration", v2(TENANT)),
    });
    let other_key = SigningKey::generate(Algorithm::Rs256, "own-key-of-the-application");
    let without_rights = json!({"upn": null, "scp": null, "azp": "c"});
    assert_explained([
        entra.broken(
            "wrong tenant",
            none.clone(),
            entra.token(issued_by(&v2(OTHER_TENANT))),
            [
                "unknown_issuer",
                "from another tenant: 1b7e0000-0000-4000-8000-00000000000f",
                "providers[0].tenant",
            ],
        ),
        entra.broken(
            "personal account",
            none.clone(),
            entra.token(issued_by(&v2(PERSONAL))),
            ["unknown_issuer", "personal Microsoft account", "account of the tenant 8d5c1f2e"],
        ),
        entra.broken(
            "v1 token with v2 issuer",
            own_issuer,
            entra.token(issued_by(&v1(TENANT))),
            ["unknown_issuer", "the token is of version 1", "`requestedAccessTokenVersion` to 2"],
        ),
        entra.broken(
            "v1 refused by an empty list",
            json!({"additional_issuers": []}),
            entra.token(issued_by(&v1(TENANT))),
            ["unknown_issuer", "only the issuer of version 2", "providers[0].additional_issuers"],
        ),
        entra.broken(
            "Graph token",
            none.clone(),
            entra
                .token_with_header(json!({"nonce": "n"}), json!({"aud": GRAPH, "iss": v1(TENANT)})),
            ["graph_token", "token is for Microsoft Graph", "api://<application id>/<scope>"],
        ),
        entra.broken(
            "Graph token without nonce",
            none.clone(),
            entra.token(json!({ "aud": GRAPH })),
            [
                "audience_mismatch",
                "token is for Microsoft Graph",
                "api://<application id>/.default",
            ],
        ),
        entra.broken(
            "missing api://",
            json!({"client_ids": ["incident-tools"]}),
            entra.token(json!({"aud": "api://incident-tools"})),
            ["audience_mismatch", "differ only by `api://`", "Write \"api://incident-tools\""],
        ),
        entra.broken(
            "ID token instead of access token",
            none.clone(),
            entra.token(json!({"aud": "c11e0000-0000-4000-8000-000000000000", "nonce": "n"})),
            [
                "audience_mismatch",
                "This is an ID token",
                "`access_token` in the provider's response",
            ],
        ),
        entra.broken(
            "no upn",
            none.clone(),
            entra.token(json!({"upn": null})),
            ["missing_claim", "no upn or preferred_username", "providers[0].user_claim: oid"],
        ),
        entra.broken(
            "no permission for this API",
            none.clone(),
            entra.token(without_rights.clone()),
            [
                "missing_claim",
                "grants this client nothing at this API: the token carries nothing in scp or roles",
                "set *Assignment required* at the API's enterprise application, and \
                 `providers[0].required_any_claim: []`",
            ],
        ),
        entra.broken(
            "ID token that is for this API",
            none.clone(),
            entra.token(json!({"scp": null, "nonce": "n"})),
            ["missing_claim", "This is an ID token", "send its access token"],
        ),
        entra.broken(
            "roles that are too many",
            none.clone(),
            entra.token(json!({"scp": null, "_claim_names": {"roles": "src1"}})),
            ["missing_claim", "`scp or roles` because there are too many", "use app roles"],
        ),
        entra.broken(
            "another algorithm than Entra ID's",
            none.clone(),
            entra.key.with_algorithm(Algorithm::Ps512).token(&entra.claims),
            [
                "unsupported_algorithm",
                "signed with PS512, but according to the template entra_id, its provider signs with RS256",
                "write `providers[0].algorithms: [RS256, PS512]`",
            ],
        ),
        entra.broken(
            "an algorithm that is left out",
            json!({"algorithms": ["PS256"]}),
            entra.token(none.clone()),
            ["unsupported_algorithm", "configuration leaves out", "Add RS256 to `providers[0]."],
        ),
        entra.broken(
            "groups that are too many",
            json!({"required_claims": {"groups": "g1"}}),
            entra.token(json!({"_claim_names": {"groups": "src1"}})),
            ["missing_claim", "too many", "Groups assigned to the application"],
        ),
        entra.broken(
            "own signing key",
            none,
            other_key.token(&entra.claims),
            ["unknown_kid", "key \"own-key-of-the-application\"", "omit `--keys`"],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn set_ups_of_keycloak_okta_auth0_and_google_are_explained() {
    let (kc, okta, auth0, google) =
        (Sound::keycloak(), Sound::okta(), Sound::auth0(), Sound::google());
    let none = || json!({});
    let hmac = kc.token_with_header(json!({"alg": "HS512"}), none());
    let jwe = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
    assert_explained([
        kc.broken(
            "Keycloak without audience mapper",
            none(),
            kc.token(json!({"aud": "account"})),
            ["audience_mismatch", "`aud` is \"account\"", "Add mapper → Audience"],
        ),
        kc.broken(
            "Keycloak's ID token",
            none(),
            kc.token(json!({"typ": "ID"})),
            ["claim_mismatch", "its claim `typ` is \"ID\"", "send its access token"],
        ),
        kc.broken(
            "Keycloak's refresh token",
            none(),
            hmac,
            ["unsupported_algorithm", "signed with HS512", "not the refresh token"],
        ),
        kc.broken(
            "Keycloak under another address",
            none(),
            kc.token(issued_by("http://keycloak:8080/realms/tools")),
            ["unknown_issuer", "under another address", "Keycloak's `hostname`"],
        ),
        kc.broken(
            "another realm",
            none(),
            kc.token(issued_by("https://kc.example.com/realms/master")),
            ["unknown_issuer", "from another realm", "providers[0].realm"],
        ),
        okta.broken(
            "Okta's org server",
            none(),
            okta.token(issued_by("https://dev-1.okta.com")),
            ["unknown_issuer", "org authorization server", "custom authorization server"],
        ),
        okta.broken(
            "another authorization server of Okta",
            none(),
            okta.token(issued_by("https://dev-1.okta.com/oauth2/aus1")),
            ["unknown_issuer", "another authorization server", "providers[0].authorization_server"],
        ),
        okta.broken(
            "Okta's custom domain",
            none(),
            okta.token(issued_by("https://login.contoso.com/oauth2/default")),
            [
                "unknown_issuer",
                "under another domain",
                "`providers[0].domain` to \"login.contoso.com\"",
            ],
        ),
        auth0.broken(
            "opaque token of Auth0",
            none(),
            "SlAV32hkKG",
            ["malformed_token", "The token is opaque", "`audience=<Identifier of your API>`"],
        ),
        auth0.broken(
            "encrypted token of Auth0",
            none(),
            format!("{jwe}..YQ.YQ.YQ"),
            ["malformed_token", "encrypted", "`audience=<Identifier of your API>`"],
        ),
        auth0.broken(
            "issuer without its slash",
            json!({"issuer": "https://contoso.eu.auth0.com"}),
            auth0.token(none()),
            ["unknown_issuer", "differ only by the slash", "Remove `providers[0].issuer`"],
        ),
        google.broken(
            "Google's access token",
            none(),
            "ya29.a0AfH6SNotReal",
            ["malformed_token", "access token of Google", "ID token"],
        ),
        google.broken(
            "another client of Google",
            none(),
            google.token(json!({"aud": "2.apps.googleusercontent.com"})),
            ["audience_mismatch", "for another audience", "another client of Google"],
        ),
    ]);
}
