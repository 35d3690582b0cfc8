//! Tokens of any provider.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn tokens_of_any_provider_are_explained() {
    let sound = Sound::generic();
    let none = || json!({});
    let small = SigningKey::generate_rsa(Algorithm::Rs256, "small", 1024);
    let good = sound.token(none());
    let other = SigningKey::generate(Algorithm::Es256, "k1").token(&sound.claims);
    let pasted = json!({"jwks_url": null, "cluster": null, "jwks": key_set(&[&sound.key])});
    let renewed = SigningKey::generate(Algorithm::Es256, "k2").token(&sound.claims);
    let expired = sound.token(json!({"iat": now() - 7212, "exp": now() - 3612}));
    let small_key = Broken {
        keys: Some(key_set(&[&small, &sound.key])),
        ..sound.broken(
            "small RSA key",
            none(),
            small.token(&sound.claims),
            ["key_mismatch", "1024", "2048 to 4096 bits"],
        )
    };
    let pasted_key = Broken {
        keys: None,
        ..sound.broken(
            "rotated key, pasted key set",
            pasted,
            renewed,
            [
                "unknown_kid",
                "has changed its key since",
                "providers[0].jwks`; or give `metadata_url`",
            ],
        )
    };
    let switched_off = {
        let other = json!({
            "name": "other", "issuer": "https://other.example.com", "client_ids": ["mcp"],
            "jwks": key_set(&[&sound.key]),
        });
        let off = with(&sound.provider, json!({"active": false}));
        Broken {
            configuration: configuration(json!([other, off])),
            ..sound.broken(
                "provider switched off",
                none(),
                good.clone(),
                ["unknown_issuer", "configured but inactive", "providers[1].active"],
            )
        }
    };
    assert_explained([
        sound.broken(
            "expired token",
            none(),
            expired,
            ["expired", "The token expired 3,61", "get a new token"],
        ),
        sound.broken(
            "milliseconds",
            none(),
            sound.token(json!({"iat": now() * 1000})),
            ["not_yet_valid", "in milliseconds", "Fix the issuer of these tokens"],
        ),
        sound.broken(
            "too old",
            json!({"max_token_age": "1h"}),
            sound.token(json!({"iat": now() - 7200})),
            ["token_too_old", "allows 3,600 s", "providers[0].max_token_age"],
        ),
        sound.broken(
            "capital letters",
            none(),
            sound.token(json!({"aud": "MCP"})),
            [
                "audience_mismatch",
                "differ by capital letters",
                "Write \"MCP\" in `providers[0].client_ids`",
            ],
        ),
        sound.broken(
            "token for the server's URL",
            none(),
            sound.token(json!({"aud": "https://mcp.example.com/mcp"})),
            ["audience_mismatch", "for this server", "Add \"https://mcp.example.com/mcp\""],
        ),
        sound.broken(
            "changed token",
            none(),
            other,
            ["bad_signature", "was changed afterwards", "Copy the token again"],
        ),
        sound.broken(
            "DPoP",
            none(),
            sound.token(json!({"cnf": {"jkt": "t"}})),
            ["bound_token", "DPoP (RFC 9449)", "Switch off sender-constrained tokens"],
        ),
        sound.broken(
            "typ is JWT and only at+jwt is listed",
            json!({"token_types": ["at+jwt"]}),
            sound.token_with_header(json!({"typ": "JWT"}), none()),
            ["wrong_token_type", "header is \"JWT\"", "providers[0].token_types"],
        ),
        sound.broken(
            "quotes",
            none(),
            format!("\"{good}\""),
            ["malformed_token", "is in quotes", "Remove the quotes"],
        ),
        sound.broken(
            "too long",
            none(),
            sound.token(json!({"groups": vec!["g"; 3000]})),
            ["malformed_token", "the limit is 8192", "`max_token_size`"],
        ),
        sound
            .broken(
                "user without a record",
                none(),
                good.clone(),
                ["user_unknown", "no user here has its sub", "`users.records`"],
            )
            .with("users", json!({"records": [{"user_name": "bob"}]})),
        sound
            .broken(
                "locked user",
                none(),
                good.clone(),
                ["user_inactive", "\"ada\" is locked", "correct `active` or `locked`"],
            )
            .with("users", json!({"records": [{"user_name": "ada", "locked": true}]})),
        sound
            .broken(
                "service on a person's record",
                none(),
                sound.token(json!({"client_id": "ada"})),
                ["user_not_service_account", "a service's own", "`web_service_access_only: true`"],
            )
            .with("users", json!({"records": [{"user_name": "ada"}]})),
        sound
            .broken(
                "scope is lacking",
                none(),
                good.clone(),
                ["insufficient_scope", "rule \"write\"", "ask for \"incident.write\""],
            )
            .with(
                "access",
                json!({"rules": [{
                    "name": "write", "match": {"paths": ["/mcp"]},
                    "require": {"scopes": ["incident.write"]},
                }]}),
            ),
        sound.broken(
            "no rule for a restricted provider",
            json!({"restrict_to_policies": true}),
            good,
            [
                "access_denied",
                "only where an access rule names it",
                "providers[0].restrict_to_policies",
            ],
        ),
        small_key,
        pasted_key,
        switched_off,
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn malformed_tokens_are_explained() {
    let sound = Sound::generic();
    let none = || json!({});
    let good = sound.token(none());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let header_in_plain_base64 =
        BASE64_STANDARD_NO_PAD.encode(json!({"alg": "ES256", "kid": "???>>>???"}).to_string());
    assert!(header_in_plain_base64.contains(['+', '/']));
    let malformed = |name, token: String, [cause, fix]: [&'static str; 2]| {
        sound.broken(name, none(), token, ["malformed_token", cause, fix])
    };
    let with_kid = |kid: Value| sound.token_with_header(json!({ "kid": kid }), none());
    let null = |member: &str| {
        let mut header = sound.key.header();
        header[member] = Value::Null;
        sound.key.sign(&header, &sound.claims)
    };
    assert_explained([
        malformed(
            "padded signature",
            format!("{good}=="),
            ["The signature of the token is padded with `=`", "have the client send it unchanged"],
        ),
        malformed(
            "padded payload",
            format!("{header}.{payload}=.{signature}"),
            ["The payload of the token is padded with `=`", "as they are sent"],
        ),
        malformed(
            "plain base64",
            format!("{header_in_plain_base64}.{payload}.{signature}"),
            ["The header of the token is plain base64, with `+` or `/`", "with `-` and `_`"],
        ),
        malformed(
            "damaged",
            format!("{good}!"),
            ["is damaged, or is not a JWT: its signature is not base64url", "missing ends"],
        ),
        malformed(
            "kid is a number",
            with_kid(json!(7)),
            ["`kid` in the token's header is 7, and must be a string", "or leave it out"],
        ),
        malformed(
            "kid is null",
            null("kid"),
            ["`kid` in the token's header is null", "write `kid` as a string, or leave it out"],
        ),
        malformed(
            "x5t is null",
            null("x5t"),
            ["`x5t` in the token's header is null", "write `x5t` as a string, or leave it out"],
        ),
        malformed(
            "alg is null",
            null("alg"),
            ["`alg` in the token's header is null", "`alg` names the algorithm"],
        ),
        malformed(
            "no alg",
            sound.token_with_header(json!({"alg": null}), none()),
            ["it has no `alg`", "the token that the identity provider issued"],
        ),
        sound.broken(
            "typ is null",
            none(),
            null("typ"),
            [
                "wrong_token_type",
                "`typ` in the token's header is null, and must be a string",
                "write it as \"at+jwt\" or \"JWT\", or leave it out",
            ],
        ),
        sound.broken(
            "typ is a number, and types are listed",
            json!({"token_types": ["at+jwt"]}),
            sound.token_with_header(json!({"typ": 1}), none()),
            [
                "wrong_token_type",
                "`typ` in the token's header is 1",
                "have it write it as \"at+jwt\"",
            ],
        ),
        sound.broken(
            "no typ, and types are listed",
            json!({"token_types": ["at+jwt"]}),
            sound.token_with_header(json!({"typ": null}), none()),
            ["wrong_token_type", "has no `typ`", "Remove `providers[0].token_types`"],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn unusable_claims_are_explained() {
    let sound = Sound::generic();
    let none = || json!({});
    let mut subject_is_null = sound.claims.clone();
    subject_is_null["sub"] = Value::Null;
    let by_client = json!({"audience_claim": "client_id", "client_ids": ["agent"]});
    let rule = |line: &str| {
        let require = json!({ line: ["admin"] });
        json!({"rules": [{"name": "admin", "match": {"paths": ["/mcp"]}, "require": require}]})
    };
    let zitadel = json!({"admin": {"1": "acme.example"}});
    assert_explained([
        sound.broken(
            "sub is empty",
            none(),
            sound.token(json!({"sub": "", "email": "a@b.c"})),
            [
                "missing_claim",
                "its `sub` is \"\", but must be a string that is not empty",
                "set `providers[0].user_claim` to one that names the user: email",
            ],
        ),
        sound.broken(
            "sub is null",
            none(),
            sound.key.token(&subject_is_null),
            ["missing_claim", "its `sub` is null", "Have the provider write the user into `sub`"],
        ),
        sound.broken(
            "sub is an object",
            none(),
            sound.token(json!({"sub": {"id": 1}})),
            ["missing_claim", "its `sub` is {\"id\":1}", "write the user into `sub`."],
        ),
        sound.broken(
            "machine without sub",
            none(),
            sound.token(json!({"sub": null, "client_id": "agent"})),
            [
                "missing_claim",
                "it has no sub",
                "set `providers[0].service_user_claim` to the claim that names its client, but \
                 only",
            ],
        ),
        sound.broken(
            "service without its claim",
            json!({"service_user_claim": "azp"}),
            sound.token(json!({"sub": null, "client_id": "agent"})),
            ["missing_claim", "it has no azp", "set `providers[0].service_user_claim` to a claim"],
        ),
        sound.broken(
            "no audience",
            none(),
            sound.token(json!({"aud": null, "client_id": "agent"})),
            [
                "audience_mismatch",
                "it has no `aud`",
                "set `providers[0].audience_claim: client_id` and add \"agent\" to \
                 `providers[0].client_ids`; but a token that this client obtained for any other API",
            ],
        ),
        sound.broken(
            "another client",
            by_client.clone(),
            sound.token(json!({"aud": null, "client_id": "other"})),
            ["audience_mismatch", "to another client: `client_id` \"other\"", "trust that client"],
        ),
        sound.broken(
            "two clients",
            by_client.clone(),
            sound.token(json!({"aud": null, "client_id": "agent", "azp": "other"})),
            [
                "audience_mismatch",
                "in several ways: `azp` \"other\", `client_id` \"agent\"",
                "write its id the same way in each claim",
            ],
        ),
        sound.broken(
            "no client",
            by_client.clone(),
            sound.token(json!({"aud": "agent"})),
            ["audience_mismatch", "does not name the client", "ID tokens name the client only in `aud`"],
        ),
        sound.broken(
            "the right client and another audience",
            by_client,
            sound.token(json!({"aud": "other", "client_id": "agent"})),
            ["audience_mismatch", "`aud` is \"other\", but only \"agent\"", "client_ids"],
        ),
        sound.broken(
            "no scope or role where one is required",
            json!({"required_any_claim": ["scope", ["realm", "roles"]]}),
            sound.token(json!({"scope": " ", "realm": {"roles": []}})),
            [
                "missing_claim",
                "carries nothing in scope or realm.roles",
                "`providers[0].required_any_claim`",
            ],
        ),
        sound.broken(
            "roles in an object",
            json!({"roles_claim": "urn:zitadel:iam:org:project:roles"}),
            sound.token(json!({"urn:zitadel:iam:org:project:roles": zitadel})),
            [
                "access_denied",
                "none can be read from the claim `urn:zitadel:iam:org:project:roles`: it is an object, \
                 not a list",
                "`providers[0].roles_claim: {keys_of: \"urn:zitadel:iam:org:project:roles\"}`",
            ],
        )
        .with("access", rule("roles")),
        sound.broken(
            "groups in an object in an object",
            json!({"groups_claim": ["realm", "groups"]}),
            sound.token(json!({"realm": {"groups": zitadel}})),
            [
                "access_denied",
                "requires groups, and none can be read from the claim `realm.groups`",
                "`providers[0].groups_claim: {keys_of: [\"realm\",\"groups\"]}`",
            ],
        )
        .with("access", rule("groups")),
        sound.broken(
            "a list where an object is required",
            json!({"roles_claim": {"keys_of": "roles"}}),
            sound.token(json!({"roles": ["admin"]})),
            ["access_denied", "claim `roles`: it is a list, not an object", "providers[0].roles_claim"],
        )
        .with("access", rule("roles")),
        sound.broken(
            "roles that are not there",
            none(),
            sound.token(none()),
            ["access_denied", "requires other roles", "`require.roles`"],
        )
        .with("access", rule("roles")),
    ]);
}

#[test]
fn times_in_milliseconds_are_explained() {
    let sound = Sound::generic();
    let in_milliseconds = now() * 1000;
    assert_explained([
        sound.broken(
            "nbf in milliseconds",
            json!({}),
            sound.token(json!({"nbf": in_milliseconds})),
            ["not_yet_valid", "`nbf` is in milliseconds", "Fix the issuer of these tokens"],
        ),
        sound.broken(
            "iat in milliseconds, with a fraction",
            json!({}),
            sound.token(json!({"iat": 1.8e12})),
            ["not_yet_valid", "`iat` is in milliseconds", "Fix the issuer of these tokens"],
        ),
    ]);
    let config = file(".json", &configuration(json!([sound.provider])).to_string());
    let keys = file(".jwks", &key_set(&[&sound.key]).to_string());
    let note = "exp is in milliseconds";
    for (claims, code, is_noticed) in [
        (json!({"exp": in_milliseconds}), 0, true),
        (json!({"exp": 1.8e12}), 0, true),
        // Whatever else is wrong with the token.
        (json!({"exp": in_milliseconds, "aud": "other"}), 1, true),
        (json!({}), 0, false),
        (json!({"aud": "other"}), 1, false),
    ] {
        let arguments = ["explain", &config, "--json", "--keys", &keys];
        let run = mcp_auth(&arguments, &sound.token(claims.clone()));
        assert_eq!(run.code, Some(code), "{claims}: {run:?}");
        let notes = run.json()["notes"].to_string();
        assert_eq!(notes.contains(note), is_noticed, "{claims}: {notes}");
    }
}

#[test]
fn a_token_accepted_only_by_its_client_is_noted() {
    let sound = Sound::generic();
    let provider =
        with(&sound.provider, json!({"audience_claim": "client_id", "client_ids": ["agent"]}));
    let config = file(".json", &configuration(json!([provider])).to_string());
    let keys = file(".jwks", &key_set(&[&sound.key]).to_string());
    for (aud, is_said) in [(Value::Null, true), (json!("agent"), false)] {
        let token = sound.token(json!({"aud": aud, "client_id": "agent"}));
        let run = mcp_auth(&["explain", &config, "--json", "--keys", &keys], &token);
        assert_eq!(run.code, Some(0), "{run:?}");
        let notes = run.json()["notes"].to_string();
        assert_eq!(
            notes.contains("has no audience and is accepted by its client id"),
            is_said,
            "{notes}"
        );
    }
}
