//! `sessions.bind`: a session can be used only by the user who started it.

use serde_json::{Value, json};
use testbed::{Algorithm, McpServer, SigningKey, Stack, StackBuilder};

use crate::login_support::{OTHER_SECRET, SECRET};
use crate::session_support::{ID, METHODS, PROVIDERS, Setup, bound};
use crate::support::{assert_none, assert_refusal, await_request, with};
use crate::two_servers::set_resources;

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_session_is_refused_for_every_other_user() {
    let setup = Setup::start().await;
    let ada = setup.token(json!({}));
    let session = setup.begin(&ada).await;
    let field = format!("mcp-session-id: {session}\r\n");
    let mut faults = Vec::new();
    for (what, thief) in [
        ("another user", setup.token(json!({"sub": "bob"}))),
        ("a subject with the same beginning", setup.token(json!({"sub": "ada2"}))),
        ("a subject in another case", setup.token(json!({"sub": "Ada"}))),
        ("the same subject of another provider", setup.token_of(PROVIDERS[1], json!({}))),
    ] {
        faults.extend(setup.faults_of_refusals(what, &thief, &field).await);
        // The same user without the session is served.
        let response = setup.call("POST", &thief, "").await;
        let own = response.header("mcp-session-id").to_owned();
        setup.server.take_requests();
        if own.is_empty() || own == session {
            faults.push(format!("{what}: gets {own:?}"));
        }
        faults.extend(setup.faults_of_service(what, &thief, &own).await);
    }
    faults.extend(setup.faults_of_service("its holder", &ada, &session).await);
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_accepts_a_new_token_of_the_same_user() {
    let setup = Setup::with(Stack::builder(), |configuration| {
        configuration["token_cache"] = json!({"entries": 1});
    })
    .await;
    let session = setup.begin(&setup.token(json!({}))).await;
    let mut faults = Vec::new();
    for (what, claims) in [
        ("renewed", json!({"jti": "2", "exp": testbed::now() + 60})),
        ("with more scopes", json!({"scope": "mcp.tools mcp.admin"})),
        ("by another client", json!({"client_id": "another"})),
        ("with another e-mail address", json!({"email": "lovelace@example.com"})),
    ] {
        let token = setup.token(claims);
        faults.extend(setup.faults_of_service(what, &token, &session).await);
    }
    assert_none(&faults);
}

/// A token without `sub` is identified by its user claim.
#[tokio::test(flavor = "multi_thread")]
async fn users_without_subject_have_sessions_of_their_own() {
    let setup = Setup::with(Stack::builder(), |configuration| {
        for provider in configuration["providers"].as_array_mut().unwrap() {
            provider["user_claim"] = json!("email");
        }
    })
    .await;
    let token = |sub: Value, email: &str| setup.token(json!({"sub": sub, "email": email}));
    let ada = token(Value::Null, "ada@example.com");
    let session = setup.begin(&ada).await;
    let field = format!("mcp-session-id: {session}\r\n");
    let mut faults = setup.faults_of_service("its holder", &ada, &session).await;
    for (what, thief) in [
        ("another user", token(Value::Null, "bob@example.com")),
        ("a subject of the same name", token(json!("ada@example.com"), "bob@example.com")),
    ] {
        faults.extend(setup.faults_of_refusals(what, &thief, &field).await);
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_valid_at_its_own_resource_only() {
    let setup = Setup::with(Stack::builder(), |configuration| {
        let resource = |id: &str| {
            let url = format!("https://mcp.example.com/{id}");
            json!({"id": id, "url": url, "audiences": [Stack::AUDIENCE]})
        };
        configuration["providers"][1].as_object_mut().unwrap().remove("client_ids");
        set_resources(configuration, json!([resource("mcp"), resource("other")]));
    })
    .await;
    let token = setup.token(json!({}));
    let at_one = setup.begin(&token).await;
    let other = async |session: &str| {
        let fields = format!("authorization: Bearer {token}\r\nmcp-session-id: {session}\r\n");
        setup.send("POST", "/other", &fields).await
    };
    assert_refusal(&other(&at_one).await, "session_mismatch");
    assert_eq!(setup.received().len(), 0);
    let fields = format!("authorization: Bearer {token}\r\n");
    let response = setup.send("POST", "/other", &fields).await;
    let at_other = response.header("mcp-session-id").to_owned();
    setup.server.take_requests();
    assert_eq!(other(&at_other).await.status, 200);
    assert_eq!(setup.received(), [[ID]]);
    assert_refusal(&setup.resume("POST", &token, &at_other).await, "session_mismatch");
    assert_eq!(setup.resume("POST", &token, &at_one).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_depends_on_neither_worker_nor_replica_nor_restart() {
    let key = SigningKey::generate(Algorithm::Es256, "one");
    let start =
        async |builder: StackBuilder| Setup::replica(builder, &key, [SECRET, ""], |_| {}).await;
    let first = start(Stack::builder().workers(4)).await;
    let token = first.token(json!({}));
    let session = first.begin(&token).await;
    let accepted = async || first.stack.envoy.connections_per_worker().await;
    let mut faults = Vec::new();
    // A worker that has not taken over the listener yet has no counter.
    let is_missing =
        |accepted: &[u64]| accepted.len() < 4 || accepted.iter().any(|count| *count < 2);
    while is_missing(&accepted().await) {
        faults.extend(first.faults_of_service("a worker", &token, &session).await);
        assert_none(&faults);
    }
    let second = start(Stack::builder()).await;
    faults.extend(second.faults_of_service("another replica", &token, &session).await);
    drop(first);
    let again = start(Stack::builder().alone()).await;
    faults.extend(again.faults_of_service("after a restart", &token, &session).await);
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_a_rotation_of_the_secret() {
    let key = SigningKey::generate(Algorithm::Es256, "one");
    let start = async |secrets| Setup::replica(Stack::builder(), &key, secrets, |_| {}).await;
    let old = start([SECRET, ""]).await;
    let rotated = start([OTHER_SECRET, SECRET]).await;
    let new = start([OTHER_SECRET, ""]).await;
    let token = old.token(json!({}));
    let before = old.begin(&token).await;
    let mut faults = rotated.faults_of_service("the previous one", &token, &before).await;
    let field = format!("mcp-session-id: {before}\r\n");
    faults.extend(new.faults_of_refusals("after the rotation", &token, &field).await);
    // A response seals the id again, with the new secret.
    let response = rotated.resume("POST", &token, &before).await;
    let after = response.header("mcp-session-id").to_owned();
    rotated.server.take_requests();
    assert_ne!(before, after);
    for (what, setup) in [("rotated", &rotated), ("new", &new)] {
        faults.extend(setup.faults_of_service(what, &token, &after).await);
    }
    let field = format!("mcp-session-id: {after}\r\n");
    faults.extend(old.faults_of_refusals("before the rotation", &token, &field).await);
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_official_client_keeps_its_session_and_a_thief_cannot_use_it() {
    let server = McpServer::start_with_sessions().await;
    let stack = bound(Stack::builder().server(server), [SECRET, ""]).start().await;
    let session = stack.session(&stack.token()).await.unwrap();
    await_request(&stack, "GET").await;
    assert_eq!(session.whoami().await.unwrap()["x-mcp-user"], "ada@example.com");
    // The server always sees its own id.
    let requests = stack.server.requests();
    let ids: Vec<_> =
        requests.iter().flat_map(|request| request.header("mcp-session-id")).collect();
    assert!(ids.len() >= 3 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let id = String::from_utf8(ids[0].to_vec()).unwrap();
    let bob = stack.provider.token(&with(&stack.claims(), "sub", "bob"));
    for method in METHODS {
        for token in [&bob, &stack.token()] {
            let request = stack.client().request(method.parse().unwrap(), stack.url());
            let request = request.bearer_auth(token).header("mcp-session-id", &id);
            let response = stack.send_refused(request).await;
            assert_refusal(&response, "session_mismatch");
        }
    }
    assert_eq!(session.whoami().await.unwrap()["x-mcp-user"], "ada@example.com");
    session.close().await;
    // The client has ended its session at the server.
    await_request(&stack, "DELETE").await;
}
