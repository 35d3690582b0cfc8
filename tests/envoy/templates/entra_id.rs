//! Entra ID: token versions 1 and 2, services, too many groups, tokens for Microsoft Graph.

use serde_json::{Value, json};
use testbed::{Algorithm, IdentityProvider, SigningKey, Stack, StackBuilder, now};

use super::{Published, assert_identities, builder, called, jwt, x5c};
use crate::support::{SOON, assert_tokens_refused, with, without};

const TENANT: &str = "8d5c1f2e-0000-4000-8000-000000000000";
const OTHER_TENANT: &str = "1b7e0000-0000-4000-8000-00000000000f";
const API: &str = "6a7f0000-0000-4000-8000-000000000000";
const CLIENT: &str = "c11e0000-0000-4000-8000-000000000000";
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

fn issuer(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

fn issuer_v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

async fn provider() -> IdentityProvider {
    let base = format!("https://login.microsoftonline.com/{TENANT}");
    let provider = Published {
        metadata_path: format!("/{TENANT}/v2.0/.well-known/openid-configuration"),
        metadata: json!({
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"],
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer(TENANT),
            "request_uri_parameter_supported": false,
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "http_logout_supported": true,
            "frontchannel_logout_supported": true,
            "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
            "claims_supported": ["sub", "iss", "cloud_instance_name", "aud", "exp", "iat", "tid"],
            "kerberos_endpoint": format!("{base}/kerberos"),
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
            "rbac_url": "https://pas.windows.net",
        }),
        key_set_path: format!("/{TENANT}/discovery/v2.0/keys"),
        edit_keys: |keys| {
            for key in keys {
                // Entra ID's keys have no `alg`.
                *key = without(key, "alg");
                key["x5t"] = key["kid"].clone();
                key["cloud_instance_name"] = json!("microsoftonline.com");
                key["issuer"] = json!(issuer(TENANT));
            }
        },
    }
    .start()
    .await;
    let key = provider.rotate(Algorithm::Rs256);
    let certificate = x5c(&key);
    provider.edit(testbed::Document::KeySet, move |document| {
        document["keys"][0]["x5c"] = certificate.clone();
    });
    provider
}

fn configured(client_ids: Value) -> Value {
    json!({
        "name": "entra",
        "template": "entra_id",
        "tenant": TENANT,
        "client_ids": client_ids,
        "clusters": {"login.microsoftonline.com": "identity_provider"},
    })
}

async fn start_with(fields: Value) -> Stack {
    builder_with(fields).await.start().await
}

async fn builder_with(fields: Value) -> StackBuilder {
    let mut provider_fields = configured(json!([API]));
    for (name, value) in fields.as_object().expect("they are an object") {
        provider_fields[name] = value.clone();
    }
    builder(provider().await, json!([provider_fields]))
}

/// An access token of version 2 for a user who delegated to a client.
fn user_v2() -> Value {
    let now = now();
    json!({
        "aud": API,
        "iss": issuer(TENANT),
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 4500,
        "aio": "AXQAi/8bAAAAmade+up==",
        "azp": CLIENT,
        "azpacr": "0",
        "groups": ["9a1b0000-0000-4000-8000-000000000001", "9a1b0000-0000-4000-8000-000000000002"],
        "name": "Ada Lovelace",
        "oid": "0b1d0000-0000-4000-8000-000000000000",
        "preferred_username": "ada@contoso.com",
        "rh": "1.AAAAmadeup.",
        "roles": ["Incident.Writer"],
        "scp": "Incident.Read Incident.Write",
        "sid": "5e550000-0000-4000-8000-000000000000",
        "sub": "pairwise-subject-of-ada",
        "tid": TENANT,
        "uti": "madeupmadeupmadeupmade",
        "ver": "2.0",
        "xms_ftd": "made-up",
    })
}

/// The same of version 1.
fn user_v1() -> Value {
    let now = now();
    json!({
        "aud": format!("api://{API}"),
        "iss": issuer_v1(TENANT),
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 4500,
        "acr": "1",
        "aio": "AXQAi/8bAAAAmade+up==",
        "amr": ["pwd", "mfa"],
        "appid": CLIENT,
        "appidacr": "0",
        "family_name": "Lovelace",
        "given_name": "Ada",
        "ipaddr": "203.0.113.7",
        "name": "Ada Lovelace",
        "oid": "0b1d0000-0000-4000-8000-000000000000",
        "rh": "1.AAAAmadeup.",
        "scp": "Incident.Read",
        "sub": "pairwise-subject-of-ada",
        "tid": TENANT,
        "unique_name": "ada@contoso.com",
        "upn": "ada@contoso.com",
        "uti": "madeupmadeupmadeupmade",
        "ver": "1.0",
    })
}

/// A client-credentials token, without a user.
fn service_v2() -> Value {
    let now = now();
    json!({
        "aud": API,
        "iss": issuer(TENANT),
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3540,
        "aio": "E2ZgYAmadeup==",
        "azp": CLIENT,
        "azpacr": "1",
        "oid": "5e4c0000-0000-4000-8000-000000000000",
        "rh": "1.AAAAmadeup.",
        "roles": ["Incident.ReadAll"],
        "sub": "5e4c0000-0000-4000-8000-000000000000",
        "tid": TENANT,
        "uti": "madeupmadeupmadeupmade",
        "ver": "2.0",
    })
}

fn service_v1() -> Value {
    let mut claims = without(&without(&service_v2(), "azp"), "azpacr");
    claims["iss"] = json!(issuer_v1(TENANT));
    claims["aud"] = json!(format!("api://{API}"));
    claims["appid"] = json!(CLIENT);
    claims["appidacr"] = json!("1");
    claims["idp"] = json!(issuer_v1(TENANT));
    claims["ver"] = json!("1.0");
    claims
}

fn user_identity() -> Value {
    json!({
        "x-mcp-user": "ada@contoso.com",
        "x-mcp-subject": "pairwise-subject-of-ada",
        "x-mcp-provider": "entra",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "user",
        "x-mcp-scopes": "Incident.Read Incident.Write",
        "x-mcp-roles": "Incident.Writer",
        "x-mcp-groups":
            "9a1b0000-0000-4000-8000-000000000001,9a1b0000-0000-4000-8000-000000000002",
    })
}

fn service_identity() -> Value {
    json!({
        "x-mcp-user": CLIENT,
        "x-mcp-subject": "5e4c0000-0000-4000-8000-000000000000",
        "x-mcp-provider": "entra",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "service",
        "x-mcp-roles": "Incident.ReadAll",
    })
}

/// Version 1 has the key's name twice, as `kid` and `x5t`.
fn jwt_v1(key: &SigningKey, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256", "x5t": key.kid(), "kid": key.kid()});
    key.sign(&header, claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_services_pass_with_tokens_of_both_versions() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let user_v1_identity = {
        let identity = without(&without(&user_identity(), "x-mcp-roles"), "x-mcp-groups");
        with(&identity, "x-mcp-scopes", "Incident.Read")
    };
    let mut cases = Vec::new();
    for (name, claims, identity) in [
        ("user, version 2", user_v2(), user_identity()),
        (
            "user, version 2, with the optional claim upn",
            with(&user_v2(), "upn", "ada.l@contoso.com"),
            with(&user_identity(), "x-mcp-user", "ada.l@contoso.com"),
        ),
        ("user, version 1", user_v1(), user_v1_identity.clone()),
        ("user, version 1, the bare id", with(&user_v1(), "aud", API), user_v1_identity),
        ("service, version 2", service_v2(), service_identity()),
        ("service, version 2, idtyp", with(&service_v2(), "idtyp", "app"), service_identity()),
        ("service, version 1", service_v1(), service_identity()),
    ] {
        let is_v1 = claims["ver"] == "1.0";
        let token = if is_v1 { jwt_v1(&key, &claims) } else { jwt(&key, &claims) };
        cases.push((name, token, claims, identity));
    }
    assert_identities(&stack, cases).await;
    let host = "login.microsoftonline.com".to_owned();
    assert_eq!(
        called(&stack.provider),
        [
            (host.clone(), format!("/{TENANT}/v2.0/.well-known/openid-configuration")),
            (host, format!("/{TENANT}/discovery/v2.0/keys")),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_other_tenants_versions_and_apis_are_refused_although_the_keys_are_the_same() {
    let stack = start_with(json!({"additional_issuers": []})).await;
    let key = stack.provider.key();
    let of = |claims: &Value| jwt(&key, claims);
    let personal = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let id_of_other_api = "6a7f0000-0000-4000-8000-00000000000f";
    let stranger = SigningKey::generate(Algorithm::Rs256, key.kid());
    let unnamed = without(&user_v2(), "preferred_username");
    let cases = [
        ("another tenant", of(&with(&user_v2(), "iss", issuer(OTHER_TENANT))), "unknown_issuer"),
        ("personal account", of(&with(&user_v2(), "iss", issuer(personal))), "unknown_issuer"),
        ("version 1, not configured", jwt_v1(&key, &user_v1()), "unknown_issuer"),
        ("another API", of(&with(&user_v2(), "aud", id_of_other_api)), "audience_mismatch"),
        ("no user name", of(&unnamed), "missing_claim"),
        (
            "an e-mail address is not a user name",
            of(&with(&unnamed, "email", "a@b.c")),
            "missing_claim",
        ),
        ("a stranger's key of this kid", jwt(&stranger, &user_v2()), "bad_signature"),
    ];
    assert_tokens_refused(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_the_same_under_its_id_and_its_uri_but_not_under_a_name() {
    let uri = format!("api://{API}");
    let stack = start_with(json!({"client_ids": [uri]})).await;
    let key = stack.provider.key();
    let cases = [("bare", API), ("uri", &uri)].map(|(name, audience)| {
        let claims = with(&user_v2(), "aud", audience);
        (name, jwt(&key, &claims), claims, user_identity())
    });
    assert_identities(&stack, cases).await;
    let others = [
        ("case", uri.to_uppercase()),
        ("another prefix", format!("spn:{API}")),
        ("a path more", format!("{uri}/more")),
        ("a slash more", format!("{uri}/")),
    ];
    let refused = others.map(|(name, audience)| {
        (name, jwt(&key, &with(&user_v2(), "aud", audience)), "audience_mismatch")
    });
    assert_tokens_refused(&stack, refused).await;

    let stack = start_with(json!({"client_ids": ["api://incident-tools"]})).await;
    let key = stack.provider.key();
    let by_name = with(&user_v1(), "aud", "api://incident-tools");
    let response = stack.call(&jwt_v1(&key, &by_name)).await;
    assert_eq!(response.whoami()["x-mcp-user"], "ada@contoso.com", "{response:?}");
    let cases = [("its id is not known", jwt(&key, &user_v2()), "audience_mismatch")];
    assert_tokens_refused(&stack, cases).await;
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/scopes-oidc>: clients request a scope
/// with the Application ID URI in front of it, and tokens have it without.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_scope_is_named_as_clients_must_request_it() {
    let stack = Stack::builder()
        .provider(provider().await)
        .configure(|configuration| {
            configuration["providers"] = json!([configured(json!([API]))]);
            let scopes =
                ["mcp.tools", "incident.write"].map(|scope| format!("api://{API}/{scope}"));
            configuration["resource"]["scopes_supported"] = json!(scopes);
            configuration["access"] =
                json!({"rules": [{"require": {"scopes": ["incident.write"]}}]});
        })
        .start()
        .await;
    let key = stack.provider.key();
    let token = |scopes: &str| jwt(&key, &with(&user_v2(), "scp", scopes));
    let response = stack.call_refused(&token("mcp.tools User.Read")).await;
    assert_eq!(response.reason(), "insufficient_scope", "{response:?}");
    let asked = format!(r#"scope="api://{API}/incident.write api://{API}/mcp.tools""#);
    let challenge = response.header("www-authenticate");
    assert!(challenge.ends_with(&asked), "{challenge}");
    assert_eq!(stack.call(&token("mcp.tools incident.write")).await.status, 200);
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>: more
/// than 200 groups are not listed.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn groups_that_are_listed_elsewhere_are_reported_as_missing_in_the_log() {
    let stack = builder_with(json!({})).await.alone().start().await;
    let key = stack.provider.key();
    let mut distributed = without(&user_v2(), "groups");
    distributed["_claim_names"] = json!({"groups": "src1"});
    distributed["_claim_sources"] = json!({"src1": {
        "endpoint": format!(
            "https://graph.windows.net/{TENANT}/users/0b1d0000-0000-4000-8000-000000000000/getMemberObjects"
        ),
    }});
    let flagged = with(&without(&user_v2(), "groups"), "hasgroups", true);
    let identity = without(&user_identity(), "x-mcp-groups");
    let line = "provider entra: the token of \"ada@contoso.com\" lists its groups elsewhere \
                (_claim_names), so they are not known here";

    let complete = (user_v2(), user_identity());
    assert_identities(&stack, [("complete", jwt(&key, &complete.0), complete.0, complete.1)]).await;
    assert!(!stack.envoy.log().contains("elsewhere"), "{}", stack.envoy.log());
    for claims in [distributed.clone(), flagged] {
        let before = stack.envoy.log().matches(line).count();
        let case = ("overage", jwt(&key, &claims), claims, identity.clone());
        assert_identities(&stack, [case]).await;
        stack.envoy.await_log(line, SOON).await;
        assert_eq!(stack.envoy.log().matches(line).count(), before + 1);
    }
    assert!(stack.envoy.log().contains("[warning]"));
    // Frequent requests do not fill the log.
    for _ in 0..20 {
        stack.call(&jwt(&key, &distributed)).await;
    }
    assert_eq!(stack.envoy.log().matches(line).count(), 10);

    let group = "9a1b0000-0000-4000-8000-000000000001";
    let mut provider_fields = configured(json!([API]));
    provider_fields["required_claims"] = json!({"groups": group});
    let stack = Stack::builder()
        .alone()
        .provider(provider().await)
        .configure(move |configuration| {
            configuration["providers"] = json!([provider_fields]);
            configuration["errors"] = json!({"details": "full"});
        })
        .start()
        .await;
    let key = stack.provider.key();
    let response = stack.call_refused(&jwt(&key, &distributed)).await;
    assert_eq!(response.reason(), "missing_claim", "{response:?}");
    assert!(response.text.contains("elsewhere (_claim_names)"), "{response:?}");
    let response = stack.call_refused(&jwt(&key, &without(&user_v2(), "groups"))).await;
    assert_eq!(response.reason(), "missing_claim", "{response:?}");
    assert!(!response.text.contains("elsewhere"), "{response:?}");
    let response = stack.call(&jwt(&key, &user_v2())).await;
    assert_eq!(response.status, 200, "{response:?}");

    let stack = Stack::builder()
        .alone()
        .provider(provider().await)
        .configure(move |configuration| {
            configuration["providers"] = json!([configured(json!([API]))]);
            configuration["access"] = json!({"rules": [{"require": {"groups": [group]}}]});
            configuration["errors"] = json!({"details": "full"});
        })
        .start()
        .await;
    let key = stack.provider.key();
    let without_groups = without(&user_v2(), "groups");
    for (claims, listed) in
        [(&distributed, json!("elsewhere (_claim_names)")), (&without_groups, Value::Null)]
    {
        let response = stack.call_refused(&jwt(&key, claims)).await;
        assert_eq!(response.reason(), "access_denied", "{response:?}");
        assert_eq!(response.body["details"]["requires"], "groups");
        assert_eq!(response.body["details"]["listed"], listed);
    }
    assert_eq!(stack.call(&jwt(&key, &user_v2())).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_microsoft_graph_is_named_as_such() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let mut claims = with(&user_v1(), "aud", GRAPH);
    claims["app_displayname"] = json!("Agent");
    claims["scp"] = json!("User.Read openid profile email");
    claims["wids"] = json!(["b79fbf4d-3ef9-4689-8143-76b194e85509"]);
    let header = json!({
        "typ": "JWT", "nonce": "made-up-nonce", "alg": "RS256", "x5t": key.kid(), "kid": key.kid(),
    });
    // Microsoft signs another header than the one in the token.
    let hashed = key.sign(&with(&header, "nonce", "hash of the nonce"), &claims);
    let sent = key.sign(&header, &claims);
    let token = format!(
        "{}.{}",
        sent.rsplit_once('.').expect("it has three parts").0,
        hashed.rsplit_once('.').expect("it has three parts").1
    );
    let uri = key.sign(&header, &with(&claims, "aud", "https://graph.microsoft.com"));
    let cases = [("by id", token, "graph_token"), ("by uri", uri, "graph_token")];
    assert_tokens_refused(&stack, cases).await;
    let refused = stack.call_refused(&key.sign(&header, &claims)).await;
    assert!(refused.text.contains("Microsoft Graph"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_user_claim_replaces_the_templates() {
    let stack = start_with(json!({"user_claim": "oid"})).await;
    let key = stack.provider.key();
    let user = "0b1d0000-0000-4000-8000-000000000000";
    let service = "5e4c0000-0000-4000-8000-000000000000";
    let cases = [
        ("user", user_v2(), with(&user_identity(), "x-mcp-user", user)),
        ("service", service_v2(), with(&service_identity(), "x-mcp-user", service)),
    ]
    .map(|(name, claims, identity)| (name, jwt(&key, &claims), claims, identity));
    assert_identities(&stack, cases).await;
    let stack = start_with(json!({"user_claim": "upn"})).await;
    let key = stack.provider.key();
    let cases = [
        ("user without upn", jwt(&key, &user_v2()), "missing_claim"),
        ("service", jwt(&key, &service_v2()), "missing_claim"),
    ];
    assert_tokens_refused(&stack, cases).await;
}

/// The token that any application of the tenant can get for an API that does not require
/// assignment: valid, but without any permission.
fn service_without_rights() -> Value {
    without(&service_v2(), "roles")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_was_granted_nothing_is_refused() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let of = |claim: &str, value: Value| jwt(&key, &with(&service_without_rights(), claim, value));
    let v1 = without(&service_v1(), "roles");
    // An ID token has the `typ` `JWT` too, and its audience can be the API's own registration.
    let id_token = without(&without(&user_v2(), "scp"), "roles");
    let refused = [
        ("version 2", jwt(&key, &service_without_rights())),
        ("version 1", jwt_v1(&key, &v1)),
        ("an ID token", jwt(&key, &id_token)),
        ("empty scopes", of("scp", json!(""))),
        ("blank scopes", of("scp", json!(" "))),
        ("scopes null", of("scp", Value::Null)),
        ("no roles", of("roles", json!([]))),
        ("an empty role", of("roles", json!([""]))),
        ("roles as an object", of("roles", json!({}))),
        ("roles null", of("roles", Value::Null)),
        ("both empty", jwt(&key, &with(&with(&service_v2(), "roles", json!([])), "scp", ""))),
        ("only another claim", of("wids", json!(["b79fbf4d-3ef9-4689-8143-76b194e85509"]))),
    ]
    .map(|(name, token)| (name, token, "missing_claim"));
    assert_tokens_refused(&stack, refused).await;
    // Its twins pass: one with a role, one with scopes, one with one of the two empty.
    let user = with(&without(&user_v2(), "roles"), "roles", json!([]));
    let cases = [
        ("a role", service_v2(), service_identity()),
        ("scopes", user, without(&user_identity(), "x-mcp-roles")),
        ("a role, and scopes that are empty", with(&service_v2(), "scp", ""), service_identity()),
    ]
    .map(|(name, claims, identity)| (name, jwt(&key, &claims), claims, identity));
    assert_identities(&stack, cases).await;

    // If assignment is required in Entra ID, an operator may accept such tokens.
    let stack = start_with(json!({"required_any_claim": []})).await;
    let key = stack.provider.key();
    let claims = service_without_rights();
    let identity = without(&service_identity(), "x-mcp-roles");
    assert_identities(&stack, [("assigned", jwt(&key, &claims), claims, identity)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_algorithm_that_entra_id_does_not_use_is_refused_although_the_key_fits() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let signed_by = |algorithm| jwt(&key.with_algorithm(algorithm), &user_v2());
    // An attacker would choose this algorithm: it is the most expensive one to verify.
    let refused = [Algorithm::Ps512, Algorithm::Ps256, Algorithm::Rs512]
        .map(|algorithm| (algorithm.name(), signed_by(algorithm), "unsupported_algorithm"));
    assert_tokens_refused(&stack, refused).await;
    let twin = ("RS256", signed_by(Algorithm::Rs256), user_v2(), user_identity());
    assert_identities(&stack, [twin]).await;

    // The operator's list replaces the template's.
    let stack = start_with(json!({"algorithms": ["PS512"]})).await;
    let key = stack.provider.key();
    let signed_by = |algorithm| jwt(&key.with_algorithm(algorithm), &user_v2());
    let listed = ("PS512", signed_by(Algorithm::Ps512), user_v2(), user_identity());
    assert_identities(&stack, [listed]).await;
    let refused = [("RS256", signed_by(Algorithm::Rs256), "unsupported_algorithm")];
    assert_tokens_refused(&stack, refused).await;
}
