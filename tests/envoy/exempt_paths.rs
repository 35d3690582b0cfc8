//! Paths that need no token.

use serde_json::json;
use testbed::{Stack, raw_exchange};

async fn start() -> Stack {
    Stack::builder()
        .configure(|configuration| {
            configuration["exempt"] = json!([{"path": "/healthz"}, {"path": "/a b/"}]);
            configuration["allowed_origins"] = json!(["https://app.example.com"]);
        })
        .start()
        .await
}

async fn send(stack: &Stack, line: &str, fields: &str) -> u16 {
    let request =
        format!("{line} HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n{fields}\r\n");
    raw_exchange(stack.envoy.address(), request.as_bytes()).await.status()
}

// Requirement: token-no-others
#[tokio::test(flavor = "multi_thread")]
async fn exempt_paths_pass_without_a_token_and_without_an_identity() {
    let stack = start().await;
    let forged = "x-mcp-user: root\r\nX-Mcp-Roles: admin\r\n";
    for line in ["GET /healthz", "POST /healthz/", "GET /healthz?x", "GET /a%20b", "GET /he%61lthz"]
    {
        stack.server.clear();
        send(&stack, line, forged).await;
        let requests = stack.server.requests();
        assert_eq!(requests.len(), 1, "{line}");
        assert!(requests[0].identity().is_empty(), "{line}: {requests:?}");
    }
    // Even a valid token gives no identity there, and it is not forwarded.
    stack.server.clear();
    send(&stack, "GET /healthz", &format!("authorization: Bearer {}\r\n", stack.token())).await;
    let requests = stack.server.requests();
    assert!(requests[0].identity().is_empty() && requests[0].header("authorization").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_and_neighbouring_paths_need_a_token() {
    let stack = start().await;
    for line in [
        "GET /",
        "GET /mcp",
        "GET /healthz/x",
        "GET /healthzx",
        "GET /Healthz",
        "GET /healthz;x",
        "GET /healthz/../mcp",
        "GET /mcp?/healthz",
        "GET /mcp#/healthz",
    ] {
        let status = send(&stack, line, "").await;
        assert!(matches!(status, 400 | 401), "{line}: {status}");
    }
    // The origin of a web page is still checked there.
    assert_eq!(send(&stack, "GET /healthz", "origin: https://evil.example\r\n").await, 403);
    assert_eq!(stack.server.count(), 0);
}

/// Envoy merges slashes only where that is configured.
#[tokio::test(flavor = "multi_thread")]
async fn one_slash_at_the_end_is_ignored_and_two_are_not() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["exempt"] = json!([{"path": "/healthz"}, {"path": "/a.b/"}]);
            configuration["access"] = json!({"default": "allow", "rules": [
                {"match": {"paths": ["/mcp"]}, "require": {"roles": ["missing"]}},
            ]});
        })
        .edit(|bootstrap| bootstrap.connection_manager()["merge_slashes"] = json!(false))
        .start()
        .await;
    let metadata = "/.well-known/oauth-protected-resource";
    for path in ["/healthz", "/healthz/", "/a.b", "/a.b/", metadata, &format!("{metadata}/mcp/")] {
        assert_eq!(send(&stack, &format!("GET {path}"), "").await, 200, "{path}");
    }
    let reached = stack.server.count();
    assert_eq!(reached, 4);
    let mut paths = ["/healthz", "/a.b", metadata, &format!("{metadata}/mcp")]
        .iter()
        .flat_map(|path| [format!("{path}//"), format!("{path}///"), format!("/{path}")])
        .chain(["//".to_owned()])
        .collect::<Vec<_>>();
    paths.extend(paths.clone().into_iter().map(|path| format!("{path}?a=b")));
    for path in paths {
        assert_eq!(send(&stack, &format!("GET {path}"), "").await, 401, "{path}");
    }
    // An exempt path does not bypass an access rule either.
    let token = format!("authorization: Bearer {}\r\n", stack.token());
    for path in ["/mcp", "/mcp/", "/mcp//", "/mcp///", "//mcp"] {
        assert_eq!(send(&stack, &format!("GET {path}"), &token).await, 403, "{path}");
    }
    assert_eq!(stack.server.count(), reached);
}
