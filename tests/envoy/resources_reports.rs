//! Where the resource appears: metrics, log, access log and status page.

use serde_json::{Value, json};
use testbed::Stack;

use crate::support::SOON;
use crate::two_servers::{ALONE, ONE, TWO, TwoServers};

async fn requests(servers: &TwoServers) -> Vec<String> {
    let text = servers.stack.envoy.admin("/stats/prometheus").await;
    let lines = text.lines().filter(|line| line.starts_with("mcp_auth_requests{"));
    let mut lines: Vec<String> =
        lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_label_resource_except_for_requests_of_no_resource() {
    let servers = TwoServers::start(Stack::builder().alone().workers(2), |configuration| {
        configuration["exempt"] = json!([{"path": "/healthz"}]);
        configuration["resources"][2]["id"] = json!("two_-2");
    })
    .await;
    let token = servers.token(ONE.audience);
    for _ in 0..2 {
        assert_eq!(servers.call_at(ONE, &token).await.status, 200);
        assert_eq!(servers.call_at(TWO, &token).await.status, 401);
    }
    servers.send(ALONE.host, ALONE.path, "").await;
    servers.get(ALONE.host, "/.well-known/oauth-protected-resource").await;
    servers.send("other.example", "/mcp", "").await;
    servers.send("other.example", "/healthz", "").await;
    let line = |resource: &str, provider: &str, outcome: &str, reason: &str, count: u32| {
        let labels = [
            format!("provider=\"{provider}\""),
            format!("outcome=\"{outcome}\""),
            format!("reason=\"{reason}\""),
            format!("resource=\"{resource}\""),
        ];
        (labels, count)
    };
    let expected = [
        line("alone", "none", "metadata", "none", 1),
        line("alone", "none", "refused", "missing_token", 1),
        line("none", "none", "exempt", "none", 1),
        line("none", "none", "refused", "unknown_resource", 1),
        line("one", "demo", "allowed", "none", 2),
        line("two_-2", "demo", "refused", "audience_mismatch", 2),
    ];
    let found = requests(&servers).await;
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (labels, count) in expected {
        let is_it = |line: &&String| {
            labels.iter().all(|label| line.contains(label)) && line.ends_with(&format!(" {count}"))
        };
        assert_eq!(found.iter().filter(is_it).count(), 1, "{labels:?} in {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_logs_and_the_log_name_the_resource() {
    let servers = TwoServers::start(
        Stack::builder().alone().edit(|bootstrap| {
            let format = &mut bootstrap.connection_manager()["access_log"][0]["typed_config"]
                ["log_format"]["json_format"];
            format["resource"] = json!("%FILTER_STATE(wasm.mcp_auth.resource:PLAIN)%");
        }),
        |_| {},
    )
    .await;
    servers.send(ONE.host, "/one/mcp/refused", "").await;
    servers.send("other.example", "/of-no-server", "").await;
    servers.call(TWO.host, "/two/mcp/passes", &servers.token(TWO.audience)).await;
    for (path, resource, reason) in [
        ("/one/mcp/refused", json!("one"), json!("missing_token")),
        ("/of-no-server", Value::Null, json!("unknown_resource")),
        ("/two/mcp/passes", json!("two"), Value::Null),
    ] {
        let member = format!("\"path\":\"{path}\"");
        servers.stack.envoy.await_log(&member, SOON).await;
        let log = servers.stack.envoy.log();
        let line = log.lines().find(|line| line.contains(&member)).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["resource"], &line["reason"]), (&resource, &reason), "{line}");
    }
    let line = "refused: reason=missing_token resource=one provider=- ";
    servers.stack.envoy.await_log(line, SOON).await;
    let line = "refused: reason=unknown_resource provider=- details={\"ambiguous_path\":false,\
                \"authority\":\"other.example\"}";
    servers.stack.envoy.await_log(line, SOON).await;
}
