//! Users of a SCIM directory: a real one, with faults injected in front of it.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{
    Algorithm, Fault, ScimDirectory, SigningKey, Stack, StackBuilder, with_one_worker_and_with_four,
};

use crate::support::{
    SOON, add_providers, assert_none, assert_refusal, assert_vm_lives, call_together, call_until,
    claims_of, faults_of_refusal, named, set_secret, static_provider, with, with_directory,
    without,
};

/// The example, with users looked up in the directory by their names.
fn looking_up(directory: &ScimDirectory, users: Value) -> StackBuilder {
    let own_claim = |configuration: &mut Value| {
        configuration["providers"][0]["user_claim"] = json!("sub");
    };
    with_directory(Stack::builder().configure(own_claim), directory, users)
}

fn found_by_email(configuration: &mut Value) {
    let provider = &mut configuration["providers"][0];
    provider["user_claim"] = json!("email");
    provider["user_field"] = json!("email");
}

/// Unknown users are created from their tokens.
fn creating() -> Value {
    json!({"unknown": "provision", "provision": {
        "roles": ["snc_external"],
        "fields": {
            "user_name": "preferred_username", "email": "email", "given_name": "given_name",
            "employee_number": ["employee", "number"], "title": "title",
        },
    }})
}

/// Sends a token of this user, and returns the identity headers that the MCP server got.
async fn identity_of(stack: &Stack, user: &str) -> Value {
    identity(stack, &token_of(stack, user)).await
}

async fn identity(stack: &Stack, token: &str) -> Value {
    let response = stack.call(token).await;
    assert_eq!(response.status, 200, "{response:?}\n{}", stack.envoy.log_of_all());
    json!(stack.server.requests().pop().unwrap().identity())
}

fn token_of(stack: &Stack, user: &str) -> String {
    stack.provider.token(&with(&stack.claims(), "sub", user))
}

/// A token that a client got for itself.
fn service_token(stack: &Stack, client: &str) -> String {
    let claims = with(&stack.claims(), "client_id", client);
    stack.provider.token(&with(&claims, "sub", client))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_directory_has_its_name_roles_and_groups() {
    let directory = ScimDirectory::start_extended().await;
    let roles = json!([{"value": "itil"}, {"value": "admin", "display": "Admin"}]);
    let groups = json!([{"value": "7", "display": "ops"}, {"value": "dev"}]);
    directory.add_user(json!({"userName": "ada", "roles": roles, "groups": groups})).await;
    let stack = looking_up(&directory, json!({})).start().await;
    let claims = with(&stack.claims(), "roles", json!(["mcp", "itil"]));
    let seen = identity(&stack, &stack.provider.token(&claims)).await;
    assert_eq!(seen["x-mcp-user"], "ada");
    assert_eq!(seen["x-mcp-roles"], "itil,admin,mcp");
    assert_eq!(seen["x-mcp-groups"], "ops,dev");
    let requests = directory.gateway.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].path, "/Users?filter=userName%20eq%20%22ada%22");
    assert_eq!(requests[0].header("accept"), "application/scim+json, application/json");
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_the_attribute_that_user_field_maps_to() {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let directory = ScimDirectory::start().await;
    let ada = json!({
        "userName": "ada", "externalId": "x-7", "title": "Countess",
        "emails": [{"value": "home@example.com"}, {"value": "ada@example.com", "primary": true}],
        ENTERPRISE: {"employeeNumber": "1815", "department": "Engines"},
    });
    directory.add_user(ada).await;
    let cases = [
        ("email", json!("ada@example.com"), json!("Ada@example.com")),
        ("external_id", json!("x-7"), json!("x-8")),
        ("employee_number", json!(1815), json!(1816)),
        ("title", json!("Countess"), json!("countess")),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            json!("Engines"),
            json!("Engine"),
        ),
    ];
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let providers: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(index, (field, ..))| {
            let fields = json!({"user_claim": "who", "user_field": field});
            static_provider(&format!("by-{index}"), &[&key], fields)
        })
        .collect();
    let stack = looking_up(&directory, json!({}))
        .configure(move |configuration| add_providers(configuration, providers))
        .start()
        .await;
    for (index, (field, right, wrong)) in cases.into_iter().enumerate() {
        let claims = claims_of(&format!("by-{index}"));
        let seen = identity(&stack, &key.token(&with(&claims, "who", right))).await;
        assert_eq!(seen["x-mcp-user"], "ada", "{field}");
        assert_eq!(seen["x-mcp-user-field"], field);
        let response = stack.call_refused(&key.token(&with(&claims, "who", wrong))).await;
        assert_refusal(&response, "user_unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_looks_a_user_up_once_for_any_number_of_requests() {
    with_one_worker_and_with_four(|workers| async move {
        let directory = ScimDirectory::start().await;
        directory.add_user(json!({"userName": "ada"})).await;
        let stack = looking_up(&directory, json!({})).workers(workers).start().await;
        for _ in 0..2 {
            let responses = call_together(&stack, vec![stack.token(); 50]).await;
            assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
            let asked = directory.gateway.requests().len();
            assert!((1..=workers).contains(&asked), "{workers} workers, {asked} calls");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_looked_up_once_and_passes_once_the_directory_has_it() {
    let directory = ScimDirectory::start().await;
    let stack = looking_up(&directory, json!({"scim": {"cache_ttl": "2s"}})).start().await;
    for _ in 0..3 {
        assert_refusal(&stack.call_refused(&stack.token()).await, "user_unknown");
    }
    assert_eq!(directory.gateway.requests().len(), 1);
    directory.add_user(json!({"userName": "ada"})).await;
    call_until(&stack, &stack.token(), 200, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_user_is_refused_once_the_cached_result_expires() {
    let directory = ScimDirectory::start().await;
    let ada = directory.add_user(json!({"userName": "ada", "active": true})).await;
    let stack = looking_up(&directory, json!({"scim": {"cache_ttl": "1s"}})).start().await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    directory.set(&ada, "active", json!(false)).await;
    let response = call_until(&stack, &stack.token(), 403, SOON).await;
    assert_refusal(&response, "user_inactive");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_need_a_service_account_in_the_directory() {
    let directory = ScimDirectory::start_extended().await;
    let with_flag = |user: &str, flag: &str| json!({"userName": user, (ScimDirectory::EXTENSION): {flag: true}});
    directory.add_user(with_flag("robot", "webServiceAccessOnly")).await;
    directory.add_user(with_flag("eve", "locked")).await;
    directory.add_user(json!({"userName": "ada"})).await;
    let stack = looking_up(&directory, json!({})).start().await;
    let seen = identity(&stack, &service_token(&stack, "robot")).await;
    assert_eq!(
        (&seen["x-mcp-user"], &seen["x-mcp-client-type"]),
        (&json!("robot"), &json!("service"))
    );
    let response = stack.call_refused(&service_token(&stack, "ada")).await;
    assert_refusal(&response, "user_not_service_account");
    assert_refusal(&stack.call_refused(&token_of(&stack, "eve")).await, "user_inactive");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_form_are_found_and_none_changes_the_query() {
    let directory = ScimDirectory::start().await;
    let names = [
        "o\"brien",
        "back\\slash",
        "jürgen",
        "a b&c=d#e?f/g%22+h",
        "x\" or userName pr or userName eq \"y",
        "{[(*)]}",
    ];
    for name in names {
        directory.add_user(json!({"userName": name})).await;
    }
    let stack = looking_up(&directory, json!({})).start().await;
    for name in names {
        let token = token_of(&stack, name);
        assert_eq!(stack.call(&token).await.status, 200, "{name}\n{}", stack.envoy.log_of_all());
    }
    for stranger in ["\" or userName pr or \"\" eq \"", "*", "o\\\"brien", "JÜRGEN", "a", "\u{0}"]
    {
        let response = stack.call_refused(&token_of(&stack, stranger)).await;
        assert_refusal(&response, "user_unknown");
    }
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_only_the_directory_considers_equal_do_not_match() {
    let directory = ScimDirectory::start().await;
    directory.add_user(json!({"userName": "Ada"})).await;
    let stack = looking_up(&directory, creating()).alone().start().await;
    let claims = with(&stack.claims(), "preferred_username", "ada");
    let response = stack.call_refused(&stack.provider.token(&claims)).await;
    assert_refusal(&response, "user_unknown");
    // A user with that name cannot be created either.
    assert_eq!(directory.users().await.len(), 1);
    assert!(stack.envoy.log().contains("another user has the same name"), "{}", stack.envoy.log());
    assert!(!response.text.contains("another user has"), "{response:?}");
    assert_eq!(identity_of(&stack, "Ada").await["x-mcp-user"], "Ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_usable_responses_admits_no_user() {
    let directory = ScimDirectory::start().await;
    directory.add_user(json!({"userName": "ada"})).await;
    let users = json!({"unknown": "allow", "scim": {
        "cache_ttl": "1s", "timeout": "500ms", "max_body": "4KiB",
    }});
    let stack = looking_up(&directory, users).alone().start().await;
    let list = |list: Value| Fault::Body(list.to_string().into_bytes());
    let mut faults = Vec::new();
    for (name, fault, cause) in [
        ("hangs", Fault::Hang, "timeout"),
        ("late", Fault::Delay(Duration::from_secs(2)), "timeout"),
        ("half", Fault::HalfResponse, "no response"),
        ("half, then nothing", Fault::HalfThenHang, "timeout"),
        ("reset", Fault::Reset, "status 503"),
        ("500", Fault::Status(500), "status 500"),
        ("404", Fault::Status(404), "status 404"),
        ("wrong status", Fault::RightBody(206), "status 206"),
        ("redirect", Fault::Redirect("/Users".to_owned()), "status 302"),
        ("too long", Fault::Oversize(5000), "users.scim.max_body"),
        ("no JSON", Fault::Body(b"<html>".to_vec()), "not a SCIM list"),
        ("nothing", Fault::Body(Vec::new()), "not a SCIM list"),
        ("no list", list(json!({"userName": "ada"})), "not a SCIM list"),
        (
            "a boolean as a string",
            list(json!({"totalResults": 1, "Resources": [{"userName": "ada", "active": "no"}]})),
            "no active, or one of the wrong type",
        ),
    ] {
        directory.gateway.fail(fault);
        let logged = stack.envoy.log().len();
        let response = call_until(&stack, &stack.token(), 503, SOON).await;
        faults.extend(named(name, faults_of_refusal(&response, "directory_unavailable")));
        let log = stack.envoy.log().split_off(logged);
        if response.text.contains("cause") || !log.contains(cause) {
            faults.push(format!("{name}: {cause} is not the cause, or in the response: {log}"));
        }
        directory.gateway.heal();
        call_until(&stack, &stack.token(), 200, SOON).await;
    }
    assert_none(&faults);
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_rejects_the_secret_is_logged_and_the_secret_is_not() {
    let directory = ScimDirectory::start().await;
    directory.add_user(json!({"userName": "ada"})).await;
    let stack = looking_up(&directory, json!({}))
        .edit(|bootstrap| set_secret(bootstrap, "another-s3cret"))
        .component_log_level("wasm:trace")
        .alone()
        .start()
        .await;
    let response = stack.call_refused(&stack.token()).await;
    assert_refusal(&response, "directory_unavailable");
    let log = stack.envoy.log();
    assert!(log.contains("looking up a user failed: the response has status 401"), "{log}");
    assert!(log.contains("reason=directory_unavailable provider=demo"), "{log}");
    assert!(!log.contains("another-s3cret"), "{log}");
    assert_eq!(directory.gateway.requests()[0].header("authorization"), "Bearer another-s3cret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_refused_with_the_configuration() {
    let directory = ScimDirectory::start().await;
    let log = looking_up(&directory, json!({}))
        .edit(|bootstrap| bootstrap.plugin()["vm_config"]["environment_variables"] = json!({}))
        .expect_refusal()
        .await;
    let fault = "users.scim.bearer_token_env: the environment variable \"SCIM_TOKEN\" is not set";
    assert!(log.contains(fault), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_created_by_the_transform_map_with_the_configured_roles() {
    let directory = ScimDirectory::start().await;
    let stack = looking_up(&directory, creating()).configure(found_by_email).alone().start().await;
    let mut claims = stack.claims();
    for (name, value) in [
        ("preferred_username", json!("grace")),
        ("email", json!("grace@example.com")),
        ("given_name", json!("Grace")),
        ("employee", json!({"number": 1906})),
        ("title", json!(["no text"])),
        ("roles", json!(["mcp"])),
    ] {
        claims[name] = value;
    }
    for _ in 0..3 {
        let seen = identity(&stack, &stack.provider.token(&claims)).await;
        assert_eq!(seen["x-mcp-user"], "grace");
        assert_eq!(seen["x-mcp-roles"], "snc_external,mcp");
    }
    let users = directory.users().await;
    assert_eq!(users.len(), 1, "{users:?}");
    let grace = &users[0];
    assert_eq!(grace["userName"], "grace");
    assert_eq!(grace["active"], true);
    assert_eq!(grace["emails"], json!([{"value": "grace@example.com", "primary": true}]));
    assert_eq!(grace["name"], json!({"givenName": "Grace"}));
    assert_eq!(grace["roles"], json!([{"value": "snc_external"}]));
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    assert_eq!(grace[enterprise], json!({"employeeNumber": "1906"}));
    assert!(grace.get("title").is_none(), "{grace}");
    assert_eq!(directory.gateway.count("POST"), 1);
    let log = stack.envoy.log();
    assert!(log.contains("created the user \"grace\""), "{log}");
    assert!(!log.contains("grace@example.com"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_race_create_one_user() {
    let directory = ScimDirectory::start().await;
    let stack = looking_up(&directory, creating()).workers(4).start().await;
    let claims = with(&stack.claims(), "preferred_username", "ada");
    // Each worker finds no user before the first of them creates it.
    directory.gateway.fail_methods([("GET", Fault::Delay(Duration::from_millis(500)))]);
    let responses = call_together(&stack, vec![stack.provider.token(&claims); 50]).await;
    let refused: Vec<_> = responses.iter().filter(|response| response.status != 200).collect();
    assert!(refused.is_empty(), "{refused:?}\n{}", stack.envoy.log_of_all());
    assert!(directory.gateway.count("POST") > 1, "the workers did not race");
    let users = directory.users().await;
    assert_eq!(users.len(), 1, "{users:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_never_leads_to_another_users_account() {
    let directory = ScimDirectory::start().await;
    let root = json!({"userName": "root", "emails": [{"value": "root@example.com"}]});
    directory.add_user(root).await;
    let stack = looking_up(&directory, creating()).configure(found_by_email).alone().start().await;
    let claims = with(&stack.claims(), "preferred_username", "root");
    let response = stack.call_refused(&stack.provider.token(&claims)).await;
    assert_refusal(&response, "user_unknown");
    let nameless = with(&without(&claims, "preferred_username"), "email", "x@example.com");
    assert_refusal(&stack.call_refused(&stack.provider.token(&nameless)).await, "user_unknown");
    let log = stack.envoy.log();
    assert!(log.contains("the token lacks the claim preferred_username"), "{log}");
    assert_eq!(directory.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_creation_admits_no_user() {
    let directory = ScimDirectory::start().await;
    let stack = looking_up(&directory, creating()).start().await;
    let claims = with(&stack.claims(), "preferred_username", "ada");
    let token = stack.provider.token(&claims);
    let mut faults = Vec::new();
    let other = json!({"userName": "root"}).to_string().into_bytes();
    for (name, fault) in [
        ("refused", Fault::RightBody(403)),
        ("another user", Fault::Body(other)),
        ("reset", Fault::Reset),
    ] {
        // The user does not exist yet.
        let no_users = json!({"totalResults": 0, "Resources": []}).to_string().into_bytes();
        directory.gateway.fail_methods([("GET", Fault::Body(no_users)), ("POST", fault)]);
        let response = call_until(&stack, &token, 503, SOON).await;
        faults.extend(named(name, faults_of_refusal(&response, "directory_unavailable")));
    }
    assert_none(&faults);
    assert_eq!(stack.server.count(), 0);
    directory.gateway.heal();
    // A user that the directory did create is found.
    assert_eq!(call_until(&stack, &token, 200, SOON).await.status, 200);
    assert_eq!(directory.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_not_created() {
    let directory = ScimDirectory::start().await;
    let stack = looking_up(&directory, creating()).start().await;
    let response = stack.call_refused(&service_token(&stack, "robot")).await;
    assert_refusal(&response, "user_unknown");
    assert_eq!(directory.gateway.count("POST"), 0);
    assert!(directory.users().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_before_the_directory() {
    let directory = ScimDirectory::start().await;
    directory.add_user(json!({"userName": "bob", "roles": [{"value": "guest"}]})).await;
    directory.add_user(json!({"userName": "ada", "active": false})).await;
    let users = json!({"unknown": "allow", "records": [{"user_name": "ada", "roles": ["itil"]}]});
    let stack = looking_up(&directory, users).start().await;
    assert_eq!(identity_of(&stack, "ada").await["x-mcp-roles"], "itil");
    assert!(directory.gateway.requests().is_empty());
    assert_eq!(identity_of(&stack, "bob").await["x-mcp-roles"], "guest");
    assert_eq!(identity_of(&stack, "stranger").await["x-mcp-user"], "stranger");
    assert_eq!(directory.gateway.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_fails_another_check_causes_no_look_up() {
    let directory = ScimDirectory::start().await;
    directory.add_user(json!({"userName": "ada"})).await;
    let stack = looking_up(&directory, creating()).start().await;
    let forger = SigningKey::generate(Algorithm::Rs256, stack.provider.key().kid());
    let claims = stack.claims();
    for (token, reason) in [
        ("a.b".to_owned(), "malformed_token"),
        (forger.token(&claims), "bad_signature"),
        (stack.provider.token(&with(&claims, "exp", 1)), "expired"),
        (stack.provider.token(&with(&claims, "aud", "other")), "audience_mismatch"),
        (stack.provider.token(&with(&claims, "cnf", json!({}))), "bound_token"),
        (stack.provider.token(&without(&claims, "sub")), "missing_claim"),
    ] {
        assert_refusal(&stack.call_refused(&token).await, reason);
    }
    assert!(directory.gateway.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_user_does_not_spend_the_token() {
    let directory = ScimDirectory::start().await;
    let stack = looking_up(&directory, json!({"scim": {"cache_ttl": "1s"}}))
        .configure(|configuration| configuration["providers"][0]["jti"] = json!("single_use"))
        .start()
        .await;
    let token = stack.token();
    assert_refusal(&stack.call_refused(&token).await, "user_unknown");
    directory.gateway.fail(Fault::Status(500));
    let response = call_until(&stack, &token, 503, SOON).await;
    assert_refusal(&response, "directory_unavailable");
    directory.gateway.heal();
    directory.add_user(json!({"userName": "ada"})).await;
    call_until(&stack, &token, 200, SOON).await;
    assert_refusal(&stack.call_refused(&token).await, "jti_replayed");
    assert_eq!(stack.server.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_are_counted() {
    let directory = ScimDirectory::start().await;
    directory.add_user(json!({"userName": "ada"})).await;
    let stack = looking_up(&directory, creating()).alone().start().await;
    stack.call(&stack.token()).await;
    stack.call_refused(&service_token(&stack, "robot")).await;
    let claims = with(&stack.claims(), "sub", "grace");
    stack.call(&stack.provider.token(&with(&claims, "preferred_username", "grace"))).await;
    directory.gateway.fail(Fault::Status(500));
    stack.call_refused(&token_of(&stack, "bob")).await;
    let stats = stack.envoy.admin("/stats/prometheus").await;
    for result in ["known", "unknown", "created", "failure"] {
        let line = format!("mcp_auth_user_lookups{{result=\"{result}\"}} 1");
        assert!(stats.contains(&line), "{line}\n{stats}");
    }
}
