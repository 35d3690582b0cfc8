//! What an identity may do: the first rule that matches decides.

use serde_json::{Value, json};
use testbed::{Algorithm, RawResponse, SigningKey, Stack, raw_exchange};

use crate::support::{
    add_providers, assert_none, assert_refusal, claims_of, close_at_once, faults_of_refusal, named,
    static_provider, with, without,
};

async fn start(access: Value) -> Stack {
    Stack::builder().configure(move |configuration| configuration["access"] = access).start().await
}

/// A rule for every request, with these requirements.
fn for_all(require: Value) -> Value {
    json!({"rules": [{"name": "all", "require": require}]})
}

/// Sends a request with exactly this request line, and a token.
async fn send_raw(stack: &Stack, line: &str, token: &str) -> RawResponse {
    let request = format!(
        "{line} HTTP/1.1\r\nhost: mcp.example.com\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    );
    raw_exchange(stack.envoy.address(), request.as_bytes()).await
}

/// Sends tokens with these claims (null removes one) and asserts the reason for each refusal.
/// `None` means that the token passes.
async fn assert_outcomes(stack: &Stack, cases: &[(Value, Option<&str>)]) {
    let mut faults = Vec::new();
    for (claims, reason) in cases {
        let mut all = stack.claims();
        for (name, value) in claims.as_object().unwrap() {
            all =
                if value.is_null() { without(&all, name) } else { with(&all, name, value.clone()) };
        }
        let before = stack.server.count();
        let response = stack.call(&stack.provider.token(&all)).await;
        match reason {
            None if response.status == 200 => {}
            None => faults.push(format!("{claims}: {} {}", response.status, response.text)),
            Some(reason) => {
                let case_faults = faults_of_refusal(&response, reason);
                faults.extend(named(&claims.to_string(), case_faults));
                if stack.server.count() != before {
                    faults.push(format!("{claims}: reached the MCP server"));
                }
            }
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn each_field_of_a_rule_must_hold() {
    const DENIED: Option<&str> = Some("access_denied");
    const SCOPE: Option<&str> = Some("insufficient_scope");
    let lines = [
        (
            json!({"scopes": ["a", "b"]}),
            vec![
                (json!({"scope": "a b"}), None),
                (json!({"scope": "b c a"}), None),
                (json!({"scope": "a"}), SCOPE),
                (json!({"scope": "A b"}), SCOPE),
                (json!({"scope": "ab"}), SCOPE),
                (json!({"scope": ""}), SCOPE),
                (json!({"scope": null}), SCOPE),
            ],
        ),
        (
            json!({"any_scope": ["a", "b"]}),
            vec![
                (json!({"scope": "b"}), None),
                (json!({"scope": "c a"}), None),
                (json!({"scope": "c"}), SCOPE),
            ],
        ),
        (
            json!({"roles": ["itil", "admin"]}),
            vec![
                (json!({"roles": ["admin"]}), None),
                (json!({"roles": "itil"}), None),
                (json!({"roles": ["user"]}), DENIED),
                (json!({"roles": ["Admin"]}), DENIED),
                (json!({"roles": [["admin"]]}), DENIED),
                (json!({}), DENIED),
            ],
        ),
        (
            json!({"groups": ["ops", "dev"]}),
            vec![
                (json!({"groups": ["x", "ops"]}), None),
                (json!({"groups": "dev"}), None),
                (json!({"groups": "op"}), DENIED),
            ],
        ),
        (
            json!({"client_types": ["service"]}),
            vec![
                (json!({"idtyp": "app"}), None),
                (json!({"sub": "demo-agent"}), None),
                (json!({}), DENIED),
            ],
        ),
        (
            json!({"claims": {"amr": ["mfa", "hwk"], "level": 2}}),
            vec![
                (json!({"amr": ["pwd", "mfa"], "level": 2}), None),
                (json!({"amr": "hwk", "level": 2}), None),
                (json!({"amr": ["pwd"], "level": 2}), DENIED),
                (json!({"amr": ["mfa"], "level": "2"}), DENIED),
                (json!({"amr": ["mfa"]}), DENIED),
            ],
        ),
        (
            json!({"scopes": ["a"], "roles": ["itil"]}),
            vec![
                (json!({"scope": "a", "roles": ["itil"]}), None),
                (json!({"scope": "b", "roles": ["itil"]}), SCOPE),
                // A broader scope would not help.
                (json!({"scope": "b", "roles": []}), DENIED),
                (json!({"scope": "a", "roles": []}), DENIED),
            ],
        ),
        (json!({}), vec![(json!({"scope": null}), None)]),
    ];
    for (require, cases) in lines {
        assert_outcomes(&start(for_all(require)).await, &cases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_can_require_the_provider() {
    let key = SigningKey::generate(Algorithm::Es256, "other");
    let other = static_provider("other", &[&key], json!({}));
    let stack = Stack::builder()
        .configure(move |configuration| {
            add_providers(configuration, [other]);
            configuration["access"] = for_all(json!({"providers": ["demo"]}));
        })
        .start()
        .await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    let response = stack.call_refused(&key.token(&claims_of("other"))).await;
    assert_refusal(&response, "access_denied");
}

// Requirement: scope-consistency
// Requirement: no-offline-access
// Requirement: step-up-challenge
// Requirement: step-up-all-scopes
// Requirement: step-up-consistency
// Requirement: scope-hierarchy
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_names_the_smallest_sufficient_set_of_scopes() {
    let configure = |configuration: &mut Value| {
        configuration["resource"]["scopes_supported"] =
            json!(["mcp.tools", "incident.read", "openid"]);
        configuration["access"] = json!({
            "rules": [{
                "name": "write",
                "require": {
                    "scopes": ["incident.write"], "any_scope": ["audit.read", "audit.all"],
                },
            }],
            "scope_hierarchy": {"incident.admin": ["incident.read", "incident.write"]},
        });
        configuration["errors"] = json!({"details": "full"});
    };
    let stack = Stack::builder().configure(configure).start().await;
    for (granted, asked, missing) in [
        // Scopes of the token that the server knows are kept. Unknown scopes and those of the login
        // itself are left out.
        (
            "mcp.tools openid offline_access unheard.of",
            "incident.write audit.read mcp.tools",
            json!(["incident.write", "audit.read", "audit.all"]),
        ),
        ("audit.all", "incident.write audit.all", json!(["incident.write"])),
        (
            "incident.admin",
            "incident.write audit.read incident.admin",
            json!(["audit.read", "audit.all"]),
        ),
        ("", "incident.write audit.read", json!(["incident.write", "audit.read", "audit.all"])),
    ] {
        let token = stack.provider.token(&with(&stack.claims(), "scope", granted));
        let response = stack.call_refused(&token).await;
        assert_refusal(&response, "insufficient_scope");
        let challenge = response.header("www-authenticate");
        assert!(challenge.ends_with(&format!(", scope=\"{asked}\"")), "{granted}: {challenge}");
        assert!(challenge.contains("resource_metadata=\""), "{challenge}");
        assert_eq!(
            response.body["details"],
            json!({"rule": "write", "missing": missing}),
            "{granted}"
        );
    }
    // A broader scope implies narrower ones.
    for granted in ["incident.write audit.all", "incident.admin audit.read"] {
        let token = stack.provider.token(&with(&stack.claims(), "scope", granted));
        assert_eq!(stack.call(&token).await.status, 200, "{granted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_matches_decides() {
    let stack = start(json!({
        "rules": [
            {"match": {"paths": ["/mcp"], "methods": ["DELETE"]}, "require": {"roles": ["admin"]}},
            {"match": {"paths": ["/mcp"]}},
            {"match": {"path_prefixes": ["/files"]}, "require": {"groups": ["ops"]}},
            {"match": {"path_prefixes": ["/files/public"]}},
        ],
    }))
    .await;
    let token = stack.token();
    for (line, status) in [
        ("POST /mcp", 200),
        ("POST /mcp/", 200),
        ("POST /mcp?x=/files", 200),
        ("DELETE /mcp", 403),
        ("DELETE /mcp/", 403),
        ("GET /files", 403),
        ("GET /files/public", 403),
        // With rules, a request that no rule matches is refused.
        ("GET /", 403),
        ("GET /mcp/x", 403),
        ("GET /mcpx", 403),
        ("GET /filesx", 403),
    ] {
        let before = stack.server.count();
        let response = send_raw(&stack, line, &token).await;
        assert_eq!(response.status() == 403, status == 403, "{line}: {}", response.body());
        assert_eq!(stack.server.count() - before, usize::from(status != 403), "{line}");
    }
    let ops = stack.provider.token(&with(&stack.claims(), "groups", json!(["ops"])));
    for line in ["GET /files", "GET /files/", "GET /files/a/b", "GET /files?x"] {
        let before = stack.server.count();
        send_raw(&stack, line, &ops).await;
        assert_eq!(stack.server.count(), before + 1, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_path_passes_where_no_rule_names_a_path() {
    let stack = start(json!({
        "rules": [{"match": {"methods": ["DELETE"]}, "require": {"roles": ["admin"]}}, {}],
    }))
    .await;
    let token = stack.token();
    for path in ["/mcp", "/mcp;x", "/mcp%253b", "/MCP"] {
        for (method, passes) in [("GET", 1), ("DELETE", 0)] {
            let before = stack.server.count();
            send_raw(&stack, &format!("{method} {path}"), &token).await;
            assert_eq!(stack.server.count() - before, passes, "{method} {path}");
        }
    }
}

/// Every spelling of a path that some server would resolve to one named by a rule.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn no_spelling_of_a_path_bypasses_a_rule() {
    const WAYS: [&str; 26] = [
        "/secret",
        "/secret/",
        "/secret?x",
        "/secret/x",
        "/%73ecret",
        "/%53ECRET",
        "/Secret",
        "/SECRET/x",
        "//secret",
        "/./secret",
        "/a/../secret",
        "/a/%2e%2e/secret",
        "/a/%2E./secret",
        "/a/..%2fsecret",
        "/a/..%5csecret",
        "/a\\..\\secret",
        "/secret;x=1",
        "/secret%3bx=1",
        "/secret%2f",
        "/secret%2fx",
        "/secret%252fx",
        "/%2573ecret",
        "/secret%00",
        "/secret//",
        "/secret/.",
        "/secret/../secret",
    ];
    let access = json!({
        "default": "allow",
        "rules": [{"match": {"path_prefixes": ["/secret"]}, "require": {"roles": ["admin"]}}],
    });
    for normalises in [true, false] {
        let access = access.clone();
        let stack = Stack::builder()
            .configure(move |configuration| configuration["access"] = access)
            .edit(close_at_once)
            .edit(move |bootstrap| {
                if !normalises {
                    let manager = bootstrap.connection_manager();
                    manager["normalize_path"] = json!(false);
                    manager["merge_slashes"] = json!(false);
                    manager["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
                }
            })
            .start()
            .await;
        let token = stack.token();
        for way in WAYS {
            let response = send_raw(&stack, &format!("GET {way}"), &token).await;
            assert!(
                matches!(response.status(), 400 | 403),
                "{way}: {} {}",
                response.status(),
                response.body()
            );
            assert_eq!(stack.server.count(), 0, "{way} (normalises: {normalises})");
        }
        // Other paths pass.
        for way in ["/mcp", "/secrets", "/a/secret", "/100%25", "/a%20b", "/?/secret"] {
            let before = stack.server.count();
            send_raw(&stack, &format!("GET {way}"), &token).await;
            assert_eq!(stack.server.count(), before + 1, "{way}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_provider_passes_only_where_a_rule_names_it() {
    let key = SigningKey::generate(Algorithm::Es256, "robots");
    let robots = static_provider("robots", &[&key], json!({"restrict_to_policies": true}));
    let stack = Stack::builder()
        .configure(move |configuration| {
            add_providers(configuration, [robots]);
            configuration["access"] = json!({
                "default": "allow",
                "rules": [
                    {"match": {"paths": ["/open"]}},
                    {"match": {"paths": ["/mcp"]}, "require": {"providers": ["demo", "robots"]}},
                ],
            });
        })
        .start()
        .await;
    let robot = key.token(&claims_of("robots"));
    assert_eq!(stack.call(&robot).await.status, 200);
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    for path in ["/open", "/elsewhere"] {
        let before = stack.server.count();
        let response = send_raw(&stack, &format!("GET {path}"), &robot).await;
        assert_eq!(response.status(), 403, "{path}");
        assert!(response.body().contains("\"access_denied\""), "{}", response.body());
        assert_eq!(stack.server.count(), before, "{path}");
        send_raw(&stack, &format!("GET {path}"), &stack.token()).await;
        assert_eq!(stack.server.count(), before + 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scopes_of_a_provider_can_be_limited() {
    for (auth_scopes, granted, carried) in [
        (json!(["a", "b"]), json!("a c"), "a"),
        (json!(["a", "b"]), json!("c"), ""),
        (json!(["a", "b"]), Value::Null, "a b"),
        (json!(["useraccount"]), json!("a c"), "a c"),
        (json!([]), json!("a c"), "a c"),
    ] {
        let stack = Stack::builder()
            .configure(move |configuration| {
                configuration["providers"][0]["auth_scopes"] = auth_scopes;
                configuration["access"] = for_all(json!({"any_scope": ["a"]}));
            })
            .start()
            .await;
        let claims = match granted {
            Value::Null => without(&stack.claims(), "scope"),
            granted => with(&stack.claims(), "scope", granted),
        };
        let token = stack.provider.token(&claims);
        if carried.split(' ').any(|scope| scope == "a") {
            assert_eq!(stack.call(&token).await.status, 200);
            let request = stack.server.requests().pop().unwrap();
            assert_eq!(request.identity()["x-mcp-scopes"], carried);
        } else {
            assert_refusal(&stack.call_refused(&token).await, "insufficient_scope");
        }
    }
}
