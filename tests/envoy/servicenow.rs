//! ServiceNow's flow for ID tokens of third parties: one test for each setting it has, in its
//! words, with what the setting means in front of an MCP server.

use serde_json::{Value, json};
use testbed::{
    Algorithm, Document, Fault, IdentityProvider, Response, ScimDirectory, SigningKey, Stack, now,
};

use crate::support::{
    SOON, add_providers, assert_refusal, assert_tokens_accepted, assert_tokens_refused, claims_of,
    issuer_of, static_provider, token_of, with, with_directory, without,
};

/// Starts with these additional provider records, and these parts of the configuration.
async fn start<const N: usize>(records: [Value; N], parts: Value) -> Stack {
    Stack::builder()
        .configure(move |configuration| {
            add_providers(configuration, records);
            for (name, part) in parts.as_object().expect("they are an object") {
                configuration[name] = part.clone();
            }
        })
        .start()
        .await
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, "k")
}

/// Sends a token that passes, and returns the identity headers that the server gets.
async fn passed(stack: &Stack, token: &str) -> Value {
    let response = stack.call(token).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.whoami().clone()
}

/// Sends a request to another API behind the same Envoy, and returns whether it was reached.
async fn reaches(stack: &Stack, path: &str, token: &str) -> bool {
    let before = stack.server.count();
    let request = Response::mcp_call(stack.client(), &stack.envoy.url(path));
    stack.send(request.bearer_auth(token)).await;
    stack.server.count() > before
}

/// External OIDC provider record: Name, Active.
#[tokio::test(flavor = "multi_thread")]
async fn an_external_oidc_provider_record_has_a_name_and_is_used_while_active() {
    let key = key();
    let record = static_provider("incidents", &[&key], json!({"active": false}));
    let mut stack = Stack::builder()
        .updatable()
        .configure(move |configuration| add_providers(configuration, [record]))
        .start()
        .await;
    let token = key.token(&claims_of("incidents"));
    assert_tokens_refused(&stack, [("inactive", token.clone(), "unknown_issuer")]).await;
    stack.reconfigure(|configuration| configuration["providers"][1]["active"] = json!(true)).await;
    assert_eq!(passed(&stack, &token).await["x-mcp-provider"], "incidents");
}

/// Client ID: equal to `aud`.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_id_of_a_record_is_the_aud_of_its_tokens() {
    let key = key();
    let record = static_provider("portal", &[&key], json!({"client_ids": ["portal-client"]}));
    let stack = start([record], json!({})).await;
    let token = |audience: Value| key.token(&with(&claims_of("portal"), "aud", audience));
    let accepted = [json!("portal-client"), json!(["portal-client", "other"])];
    assert_tokens_accepted(&stack, accepted.map(|aud| (aud.to_string(), token(aud)))).await;
    // The id of another record is not accepted, nor is one that only `azp` has.
    let by_azp = with(&with(&claims_of("portal"), "aud", "other"), "azp", "portal-client");
    let cases = [("another record's", token(json!(Stack::AUDIENCE))), ("azp", key.token(&by_azp))]
        .map(|(name, token)| (name, token, "audience_mismatch"));
    assert_tokens_refused(&stack, cases).await;
}

/// Client ID: selects the record, and so is unique.
#[tokio::test(flavor = "multi_thread")]
async fn each_client_id_selects_one_record() {
    let issuer = issuer_of("shared");
    let keys = [key(), key()];
    let record = |name: &str, key: &SigningKey, client_id: &str| {
        static_provider(name, &[key], json!({"issuer": issuer, "client_ids": [client_id]}))
    };
    let records = [record("web", &keys[0], "web-client"), record("app", &keys[1], "app-client")];
    let stack = start(records.clone(), json!({})).await;
    let claims = |client_id: &str| with(&claims_of("shared"), "aud", client_id);
    let [web, app] = ["web-client", "app-client"].map(claims);
    assert_eq!(passed(&stack, &keys[0].token(&web)).await["x-mcp-provider"], "web");
    assert_eq!(passed(&stack, &keys[1].token(&app)).await["x-mcp-provider"], "app");
    // Only the keys of the selected record are used.
    let cases = [("web", keys[1].token(&web)), ("app", keys[0].token(&app))]
        .map(|(name, token)| (name, token, "bad_signature"));
    assert_tokens_refused(&stack, cases).await;

    let [web, app] = records;
    let app = with(&app, "client_ids", json!(["app-client", "web-client"]));
    let log = Stack::builder()
        .configure(|configuration| add_providers(configuration, [web, app]))
        .expect_refusal();
    assert!(log.await.contains("providers[2].client_ids: \"web-client\" is also one of"));
}

/// OIDC provider configuration: from a template or a new one, with its OIDC metadata URL.
#[tokio::test(flavor = "multi_thread")]
async fn an_oidc_provider_configuration_comes_from_a_template_or_is_a_new_one_with_a_metadata_url()
{
    const CLIENT: &str = "madeup.apps.googleusercontent.com";
    let google = IdentityProvider::start().await;
    google.set_issuer("https://accounts.google.com");
    let record = json!({
        "name": "google", "template": "google", "client_ids": [CLIENT],
        "clusters": {"accounts.google.com": "google", "127.0.0.1": "google"},
    });
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [record]))
        .cluster("google", google.address())
        .start()
        .await;
    // The template knows the issuer, the metadata URL, and when an e-mail address is verified.
    let claims = with(&google.claims(CLIENT), "email_verified", true);
    assert_eq!(passed(&stack, &google.token(&claims)).await["x-mcp-user"], "ada@example.com");
    let unverified = google.token(&with(&claims, "email_verified", false));
    assert_tokens_refused(&stack, [("not verified", unverified, "claim_mismatch")]).await;
    // The new one uses its own keys and no others.
    assert_eq!(passed(&stack, &stack.token()).await["x-mcp-provider"], "demo");
    let foreign = google.token(&stack.claims());
    assert_tokens_refused(&stack, [("a key of the other", foreign, "bad_signature")]).await;
    for provider in [&google, &stack.provider] {
        assert_eq!(provider.count(Document::Discovery), 1);
    }
}

/// JWKS URL in the JWT bearer integration, instead of certificates that are uploaded by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_jwks_url_follows_new_keys_where_certificates_are_uploaded_by_hand() {
    let published = IdentityProvider::start().await;
    let uploaded = SigningKey::generate(Algorithm::Rs256, "uploaded");
    let by_url = json!({
        "name": "by-url", "issuer": published.issuer(), "client_ids": [Stack::AUDIENCE],
        "jwks_url": published.jwks_url(), "cluster": "published",
    });
    let by_hand = json!({"certificates": [uploaded.certificate_pem()]});
    let by_hand = without(&static_provider("by-hand", &[], by_hand), "jwks");
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [by_url, by_hand]))
        .cluster("published", published.address())
        .start()
        .await;
    let by_hand = |key: &SigningKey| key.token(&claims_of("by-hand"));
    let first = [("by URL", token_of(&published)), ("by hand", by_hand(&uploaded))];
    assert_tokens_accepted(&stack, first).await;
    let next = published.rotate(Algorithm::Rs256);
    assert_tokens_accepted(&stack, [("the next key, by URL", token_of(&published))]).await;
    let next = ("the next key, by hand", by_hand(&next), "bad_signature");
    assert_tokens_refused(&stack, [next]).await;
    assert_eq!(published.count(Document::Discovery), 0);
}

/// User Claim, User Field.
#[tokio::test(flavor = "multi_thread")]
async fn the_user_claim_is_matched_with_the_user_field_of_a_user() {
    let key = key();
    let record = json!({"user_claim": "number", "user_field": "employee_number"});
    let records = [static_provider("staff", &[&key], record)];
    let users = json!({"records": [
        {"user_name": "ada@example.com", "employee_number": "1815"},
        {"user_name": "1816", "employee_number": "1852"},
    ]});
    let stack = start(records, json!({"users": users})).await;
    let token = |number: Value| key.token(&with(&claims_of("staff"), "number", number));
    let user = passed(&stack, &token(json!(1815))).await;
    assert_eq!(user["x-mcp-user"], "ada@example.com");
    assert_eq!(user["x-mcp-user-field"], "employee_number");
    let cases = [
        ("a number of no user", token(json!(1817)), "user_unknown"),
        ("the value of another field", token(json!("1816")), "user_unknown"),
        ("no user claim", key.token(&claims_of("staff")), "missing_claim"),
    ];
    assert_tokens_refused(&stack, cases).await;
}

/// Enable JTI claim verification.
#[tokio::test(flavor = "multi_thread")]
async fn enable_jti_claim_verification_makes_a_token_single_use() {
    let key = key();
    let records = [("verified", "single_use"), ("not-verified", "ignore")]
        .map(|(name, rule)| static_provider(name, &[&key], json!({"jti": rule})));
    let stack = start(records, json!({})).await;
    let token = key.token(&claims_of("verified"));
    assert_tokens_accepted(&stack, [("once", token.clone())]).await;
    // The claim must be named `jti`, whatever other ids the provider's tokens have.
    let named_otherwise = with(&without(&claims_of("verified"), "jti"), "uti", "x");
    let cases = [
        ("twice", token, "jti_replayed"),
        ("another name", key.token(&named_otherwise), "jti_missing"),
    ];
    assert_tokens_refused(&stack, cases).await;
    let token = key.token(&claims_of("not-verified"));
    assert_tokens_accepted(&stack, [("once", token.clone()), ("twice", token)]).await;
}

/// Clock skew.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_skew_is_300_seconds_by_default() {
    let key = key();
    let records = [("default", json!({})), ("narrow", json!({"clock_skew": "60s"}))]
        .map(|(name, fields)| static_provider(name, &[&key], fields));
    let stack = start(records, json!({})).await;
    let token =
        |provider: &str, name: &str, time: u64| key.token(&with(&claims_of(provider), name, time));
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    for (provider, skew) in [("default", 300), ("narrow", 60)] {
        let (inside, outside) = (skew - 30, skew + 30);
        accepted.push((provider, token(provider, "exp", now() - inside)));
        accepted.push((provider, token(provider, "nbf", now() + inside)));
        refused.push((provider, token(provider, "exp", now() - outside), "expired"));
        refused.push((provider, token(provider, "nbf", now() + outside), "not_yet_valid"));
    }
    assert_tokens_accepted(&stack, accepted).await;
    assert_tokens_refused(&stack, refused).await;
}

/// Enforce token restrictions, REST API access policy.
#[tokio::test(flavor = "multi_thread")]
async fn enforce_token_restrictions_requires_a_rest_api_access_policy_that_names_the_record() {
    let key = key();
    let records = [("enforced", true), ("not-enforced", false)].map(|(name, is_enforced)| {
        static_provider(name, &[&key], json!({"restrict_to_policies": is_enforced}))
    });
    let access = json!({"default": "allow", "rules": [
        {"match": {"paths": ["/named"]}, "require": {"providers": ["enforced", "not-enforced"]}},
        {"match": {"paths": ["/not-named"]}},
    ]});
    let stack = start(records, json!({"access": access})).await;
    let [enforced, not_enforced] =
        ["enforced", "not-enforced"].map(|name| key.token(&claims_of(name)));
    for (path, is_open) in [("/named", true), ("/not-named", false), ("/without-policy", false)] {
        assert_eq!(reaches(&stack, path, &enforced).await, is_open, "{path}");
        assert!(reaches(&stack, path, &not_enforced).await, "{path}");
    }
    assert_tokens_refused(&stack, [("at /mcp", enforced, "access_denied")]).await;
}

/// Client type: iframe embedded, integration as a user, integration as a service.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_type_distinguishes_integrations_as_users_and_as_services() {
    let key = key();
    let types = ["user", "service"];
    let records = types.map(|name| static_provider(name, &[&key], json!({"client_type": name})));
    let rule = |name: &str| json!({"match": {"paths": [format!("/{name}")]}, "require": {"client_types": [name]}});
    let rules = [rule("user"), rule("service"), json!({"match": {"paths": ["/mcp"]}})];
    let stack = start(records, json!({"access": {"rules": rules}})).await;
    for (record, other) in [("user", "/service"), ("service", "/user")] {
        // At both providers the token says the same about its client.
        let token = key.token(&claims_of(record));
        assert_eq!(passed(&stack, &token).await["x-mcp-client-type"], record);
        assert!(reaches(&stack, &format!("/{record}"), &token).await, "{record}");
        assert!(!reaches(&stack, other, &token).await, "{record} at {other}");
    }
}

/// Auth scopes, `useraccount`.
#[tokio::test(flavor = "multi_thread")]
async fn auth_scopes_bound_what_a_client_may_do_and_useraccount_does_not() {
    let key = key();
    let records = [("bounded", "incident.read"), ("unbounded", "useraccount")]
        .map(|(name, scope)| static_provider(name, &[&key], json!({"auth_scopes": [scope]})));
    let rule = |path: &str, scope: &str| json!({"match": {"paths": [path]}, "require": {"scopes": [scope]}});
    let rules = [rule("/mcp", "incident.read"), rule("/write", "incident.write")];
    let stack = start(records, json!({"access": {"rules": rules}})).await;
    let both = "incident.read incident.write";
    for (name, scopes, may_write) in
        [("bounded", "incident.read", false), ("unbounded", both, true)]
    {
        let token = key.token(&with(&claims_of(name), "scope", both));
        assert_eq!(passed(&stack, &token).await["x-mcp-scopes"], scopes);
        assert_eq!(reaches(&stack, "/write", &token).await, may_write, "{name}");
    }
    // ID tokens have no scopes: these get exactly the configured ones, and none if none are
    // configured.
    let [bounded, unbounded] =
        ["bounded", "unbounded"].map(|name| key.token(&without(&claims_of(name), "scope")));
    assert_eq!(passed(&stack, &bounded).await["x-mcp-scopes"], "incident.read");
    assert_tokens_refused(&stack, [("no scope", unbounded, "insufficient_scope")]).await;
}

/// Service accounts: Web service access only, roles and groups.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_has_web_service_access_only_and_its_own_roles_and_groups() {
    let key = key();
    let record = json!({"client_type": "service", "user_claim": "client_id"});
    let records = [static_provider("robots", &[&key], record)];
    let users = json!({"records": [
        {
            "user_name": "importer", "web_service_access_only": true,
            "roles": ["import"], "groups": ["night"],
        },
        {"user_name": "idle", "web_service_access_only": true, "groups": ["night"]},
        {"user_name": "idler", "web_service_access_only": true, "roles": ["import"]},
        {"user_name": "ada", "roles": ["import"], "groups": ["night"]},
        {"user_name": "bob", "active": false},
    ]});
    let access = json!({"rules": [{"require": {"roles": ["import"], "groups": ["night"]}}]});
    let stack = start(records, json!({"users": users, "access": access})).await;
    let token = |client: &str| key.token(&with(&claims_of("robots"), "client_id", client));
    let importer = passed(&stack, &token("importer")).await;
    assert_eq!(importer["x-mcp-user"], "importer");
    assert_eq!(importer["x-mcp-roles"], "import");
    assert_eq!(importer["x-mcp-groups"], "night");
    let cases = [
        ("a person", token("ada"), "user_not_service_account"),
        ("a person who left, which comes first", token("bob"), "user_inactive"),
        ("without the role", token("idle"), "access_denied"),
        ("without the group", token("idler"), "access_denied"),
    ];
    assert_tokens_refused(&stack, cases).await;
}

/// Automatic user provisioning: data source, transform map, roles of provisioned users.
#[tokio::test(flavor = "multi_thread")]
async fn automatic_user_provisioning_creates_the_record_at_first_login_by_the_transform_map() {
    let directory = ScimDirectory::start().await;
    let users = json!({"unknown": "provision", "provision": {
        "roles": ["snc_external"],
        "fields": {"user_name": "preferred_username", "email": "email", "given_name": "given_name"},
    }});
    let record =
        |configuration: &mut Value| configuration["providers"][0]["user_field"] = json!("email");
    let stack = with_directory(Stack::builder().configure(record), &directory, users).start().await;
    let claims = with(&stack.claims(), "preferred_username", "ada");
    let token = stack.provider.token(&with(&claims, "given_name", "Ada"));
    for _ in 0..2 {
        let whoami = passed(&stack, &token).await;
        assert_eq!(
            (&whoami["x-mcp-user"], &whoami["x-mcp-roles"]),
            (&json!("ada"), &json!("snc_external"))
        );
    }
    let users = directory.users().await;
    assert_eq!(users.len(), 1, "{users:?}");
    assert_eq!(users[0]["userName"], "ada");
    assert_eq!(users[0]["name"]["givenName"], "Ada");
    assert_eq!(users[0]["emails"][0]["value"], claims["email"]);
    assert_eq!(users[0]["roles"][0]["value"], "snc_external");
    // The transform map creates no record without a name.
    let nameless = with(&stack.claims(), "email", "grace@example.com");
    let cases = [("nameless", stack.provider.token(&nameless), "user_unknown")];
    assert_tokens_refused(&stack, cases).await;
    assert_eq!(directory.users().await.len(), 1);
}

/// 401 `User Not Authenticated`, `Required to provide Auth information`.
#[tokio::test(flavor = "multi_thread")]
async fn the_opaque_401_user_not_authenticated_keeps_its_shape_and_says_what_is_wrong() {
    let stack = start([], json!({"errors": {"format": "servicenow"}})).await;
    let claims = stack.claims();
    let token = |name: &str, value: Value| Some(stack.provider.token(&with(&claims, name, value)));
    let cases = [
        ("missing_token", None),
        ("expired", token("exp", json!(1))),
        ("audience_mismatch", token("aud", json!("other"))),
        ("unknown_issuer", token("iss", json!("https://other.example"))),
        ("unknown_kid", Some(stack.provider.key().with_kid("other").token(&claims))),
    ];
    for (reason, token) in cases {
        let request =
            token.iter().fold(stack.request(), |request, value| request.bearer_auth(value));
        let response = stack.send_refused(request).await;
        assert_eq!(response.status, 401);
        let mut body = response.body.clone();
        let detail = body["error"]["detail"].take();
        assert!(detail.as_str().is_some_and(|detail| !detail.is_empty()), "{response:?}");
        let error = json!({"message": "User Not Authenticated", "detail": null});
        assert_eq!(body, json!({"error": error, "status": "failure", "reason": reason}));
    }
    assert_tokens_accepted(&stack, [("good", stack.token())]).await;
}

/// MCP server: `Key ID not found in JWKS`.
#[tokio::test(flavor = "multi_thread")]
async fn key_id_not_found_in_jwks_is_not_caused_by_rotation_and_names_its_cause() {
    let unreachable = IdentityProvider::start().await;
    unreachable.fail(Document::KeySet, Fault::Status(500));
    let record = json!({
        "name": "unreachable", "issuer": unreachable.issuer(), "client_ids": [Stack::AUDIENCE],
        "jwks_url": unreachable.jwks_url(), "cluster": "unreachable",
    });
    let stack = Stack::builder()
        .alone()
        .configure(|configuration| {
            add_providers(configuration, [record]);
            configuration["errors"] = json!({"details": "full"});
        })
        .cluster("unreachable", unreachable.address())
        .start()
        .await;
    let old = stack.provider.key();
    assert_tokens_accepted(&stack, [("held", stack.token())]).await;
    let new = stack.provider.rotate(Algorithm::Rs256);
    assert_tokens_accepted(&stack, [("rotated", stack.token())]).await;
    let response = stack.call_refused(&old.token(&stack.claims())).await;
    assert_refusal(&response, "unknown_kid");
    assert_eq!(response.body["details"], json!({"kid": old.kid(), "published": [new.kid()]}));
    // The published keys are not known, which is not the token's fault.
    let token = token_of(&unreachable);
    assert_tokens_refused(&stack, [("unreachable", token, "keys_unavailable")]).await;
    let line = "reason=keys_unavailable provider=unreachable";
    stack.envoy.await_log(line, SOON).await;
}
