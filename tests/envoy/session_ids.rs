//! Ids of bound sessions in requests and responses, in every form.

use serde_json::json;
use testbed::Stack;

use crate::session_support::{ID, PROVIDERS, Setup};
use crate::support::{SOON, assert_none, assert_refusal, claims_of, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_not_sealed_here_is_refused() {
    let setup = Setup::start().await;
    let token = setup.token(json!({}));
    let session = setup.begin(&token).await;
    let (seal, _) = session.split_once('.').unwrap();
    let changed = if session.starts_with('A') { "B" } else { "A" };
    let field = |value: &str| format!("mcp-session-id: {value}\r\n");
    let mut faults = Vec::new();
    for (what, fields) in [
        ("unsealed", field(ID)),
        ("empty", field("")),
        ("a seal alone", field(seal)),
        ("no id", field(&format!("{seal}."))),
        ("another id", field(&format!("{seal}.{ID}0"))),
        ("another seal", field(&format!("{changed}{}", &session[1..]))),
        ("another alphabet", field(&format!("{seal}={}", &session[seal.len()..]))),
        ("twice the same", field(&session).repeat(2)),
        ("two different ones", field(&session) + &field(ID)),
        ("with an empty one", field(&session) + &field("")),
        ("joined", field(&format!("{session}, {session}"))),
        ("sealed twice", field(&format!("{seal}.{session}"))),
        ("with a space", field(&session.replace('.', ". "))),
        ("bytes", field("\u{e9}\u{1f600}")),
        ("garbage", field(&"%00../\\\"'".repeat(20))),
        ("overlong", field(&"a".repeat(20_000))),
        ("overlong, sealed", field(&format!("{seal}.{}", "a".repeat(5000)))),
    ] {
        faults.extend(setup.faults_of_refusals(what, &token, &fields).await);
    }
    faults.extend(setup.faults_of_service("unspoiled", &token, &session).await);
    assert_none(&faults);
}

/// A server that reads header fields as CGI variables would read these as the session id.
#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_never_reach_the_server() {
    let setup = Setup::start().await;
    let token = setup.token(json!({}));
    let session = setup.begin(&token).await;
    for name in ["mcp_session_id", "Mcp-Session_Id", "mcp.session.id"] {
        let response = setup.call("POST", &token, &format!("{name}: {ID}\r\n")).await;
        assert_eq!((response.status, setup.received()), (200, vec![vec![]]), "{name}");
        let fields = format!("{name}: other\r\nmcp-session-id: {session}\r\n");
        assert_eq!(setup.call("POST", &token, &fields).await.status, 200, "{name}");
        assert_eq!(setup.received(), [[ID]], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_sealed_whatever_the_status_and_always_in_the_same_way() {
    let setup = Setup::start().await;
    let token = setup.token(json!({}));
    let session = setup.begin(&token).await;
    for status in ["200 OK", "202 Accepted", "400 Bad Request", "404 Not Found", "500 Oops"] {
        setup.give_with(status, &format!("Mcp-Session-Id: {ID}\r\n"));
        let response = setup.resume("POST", &token, &session).await;
        let given: Vec<_> = response.headers.get_all("mcp-session-id").iter().collect();
        assert_eq!(given, [&session], "{status}");
    }
    setup.give("");
    let response = setup.resume("POST", &token, &session).await;
    assert_eq!(response.header("mcp-session-id"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_sealed_does_not_reach_the_client() {
    let setup = Setup::start().await;
    let token = setup.token(json!({}));
    let field = |value: &str| format!("mcp-session-id: {value}\r\n");
    for (what, fields) in [
        ("empty", field("")),
        ("two", field("swordfish") + &field("swordfish")),
        ("with a space", field("swordfish id")),
        ("not ASCII", field("swordf\u{e9}sh")),
        ("too long", field(&"swordfish".repeat(500))),
    ] {
        setup.give(&fields);
        let response = setup.call("POST", &token, "").await;
        assert_eq!(response.status, 200, "{what}: {response:?}");
        assert!(response.headers.get("mcp-session-id").is_none(), "{what}: {response:?}");
    }
    let log = setup.stack.envoy.log_of_all();
    assert!(log.contains("removed a session id from the server"), "{log}");
    assert!(!log.contains("swordfish"), "{log}");
    // The longest id that is sealed is accepted again.
    let longest = "l".repeat(4096);
    setup.give(&field(&longest));
    let response = setup.call("POST", &token, "").await;
    setup.server.take_requests();
    let session = response.header("mcp-session-id").to_owned();
    assert_eq!(setup.resume("POST", &token, &session).await.status, 200);
    assert_eq!(setup.received(), [[longest]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exempt_paths_forward_no_session_id_in_either_direction() {
    let setup = Setup::with(Stack::builder(), |configuration| {
        configuration["exempt"] = json!([{"path": "/open"}]);
    })
    .await;
    let token = setup.token(json!({}));
    let session = setup.begin(&token).await;
    for value in [session.as_str(), ID, ""] {
        let fields = format!(
            "authorization: Bearer {token}\r\nmcp-session-id: {value}\r\nmcp_session_id: {ID}\r\n"
        );
        let response = setup.send("POST", "/open", &fields).await;
        assert_eq!((response.status, setup.received()), (200, vec![vec![]]), "{value}");
        assert!(response.headers.get("mcp-session-id").is_none(), "{response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn report_mode_forwards_only_valid_sessions() {
    let setup = Setup::with(Stack::builder().alone(), |configuration| {
        configuration["mode"] = json!("report");
        configuration["access"] = json!({"rules": [
            {"name": "readers", "require": {"scopes": ["mcp.tools"]}},
        ]});
    })
    .await;
    let ada = setup.token(json!({}));
    let session = setup.begin(&ada).await;
    let bob = setup.token(json!({"sub": "bob"}));
    let narrow = setup.token(json!({"scope": "none"}));
    let past = with(&claims_of(PROVIDERS[0]), "exp", 1);
    let expired = setup.key.token(&past);
    for (what, token, session, received, reason) in [
        ("right", &ada, session.as_str(), Some(ID), None),
        ("stolen", &bob, &session, None, Some("session_mismatch")),
        ("unsealed", &ada, ID, None, Some("session_mismatch")),
        // Refused for another reason, with a known user.
        ("right, without scopes", &narrow, &session, Some(ID), Some("insufficient_scope")),
        ("of an unknown user", &expired, &session, None, Some("expired")),
    ] {
        let response = setup.resume("POST", token, session).await;
        let expected: Vec<String> = received.into_iter().map(str::to_owned).collect();
        assert_eq!((response.status, setup.received()), (200, vec![expected]), "{what}");
        let given = response.header("mcp-session-id");
        assert_eq!(given.is_empty(), what == "of an unknown user", "{what}: {given}");
        assert_ne!(given, ID, "{what}");
        if let Some(reason) = reason {
            let line = format!("allowed (report mode), would be refused: reason={reason} ");
            setup.stack.envoy.await_log(&line, SOON).await;
        }
    }
}

/// Lists and messages are read in the same callbacks.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bound_where_rules_read_messages_and_lists() {
    let setup = Setup::with(Stack::builder(), |configuration| {
        configuration["access"] = json!({"default": "allow", "rules": [
            {"name": "open", "match": {"mcp_methods": ["tools/call"], "mcp_names": ["open"]}},
            {"name": "none", "match": {"mcp_methods": ["tools/call"]}, "require": {"roles": ["x"]}},
        ]});
    })
    .await;
    let token = setup.token(json!({}));
    let session = setup.begin(&token).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"open"},{"name":"shut"}]}}"#;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    for (media, body, shown) in [
        ("application/json", list.to_owned(), list.replace(r#",{"name":"shut"}"#, "")),
        (
            "text/event-stream",
            format!("data: {list}\n\n"),
            format!("data: {}\n\n", list.replace(r#",{"name":"shut"}"#, "")),
        ),
    ] {
        let response = format!("{head}mcp-session-id: {ID}\r\ncontent-type: {media}\r\n\r\n{body}");
        setup.server.respond_with(&[response.as_bytes()]);
        let request = setup.stack.request().bearer_auth(&token).header("mcp-session-id", &session);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let response = setup.stack.send(request.json(&message)).await;
        assert_eq!(response.text, shown, "{media}");
        assert_eq!(response.header("mcp-session-id"), session, "{media}");
        assert_eq!(setup.received(), [[ID]], "{media}");
    }
    // Refused by its head, before any of its message arrives.
    let bob = setup.token(json!({"sub": "bob"}));
    assert_refusal(&setup.resume("POST", &bob, &session).await, "session_mismatch");
    assert_eq!(setup.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_ids_pass_unchanged() {
    let setup = Setup::with(Stack::builder(), |configuration| {
        configuration["sessions"] = json!({"bind": false});
    })
    .await;
    let token = setup.token(json!({}));
    let response = setup.resume("POST", &token, "unsealed").await;
    assert_eq!(response.header("mcp-session-id"), ID);
    assert_eq!(setup.received(), [["unsealed"]]);
}
