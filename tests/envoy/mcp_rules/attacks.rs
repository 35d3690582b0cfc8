//! Tool calls written so that plugin and server may read them differently.

use super::*;

/// Ways to call `add` without permission, and the status with which each is refused.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn attacks() -> Vec<(Wire, u16)> {
    const ARGUMENTS: &str = r#""arguments":{"a":1,"b":2}"#;
    let (old, new) = (old_call("add"), new_call("add"));
    let wire = |name, body: &str| Wire::new(name, body);
    let written =
        |name, members: &str| wire(name, &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,{members}}}"));
    let params = |name: &str| format!("{{\"name\":\"{name}\",{ARGUMENTS}}}");
    let (add, whoami) = (params("add"), params("whoami"));
    // An uncompressed block in gzip format: the plugin does not read its content.
    let length = u16::try_from(old.len()).unwrap();
    let frame = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    let gzip = [frame.as_slice(), &lengths, old.as_bytes()].concat();
    vec![
        (wire("openly", &old), 403),
        (wire("openly, by 2026-07-28", &new).announcing("2026-07-28", "tools/call", "add"), 403),
        (wire("escaped", &old.replace("add", "a\\u0064d")), 403),
        (wire("in another case", &old.replace("add", "ADD")), 403),
        (wire("forged name", &new).announcing("2026-07-28", "tools/call", "whoami"), 400),
        (
            wire("forged name in base64", &new).announcing(
                "2026-07-28",
                "tools/call",
                "=?base64?d2hvYW1p?=",
            ),
            400,
        ),
        (wire("forged method", &new).announcing("2026-07-28", "tools/list", "whoami"), 400),
        (
            wire("forged name, older version", &old).announcing(
                "2025-11-25",
                "tools/call",
                "whoami",
            ),
            400,
        ),
        (
            wire("forged name, no version", &old)
                .with("mcp-method", "tools/call")
                .with("mcp-name", "whoami"),
            400,
        ),
        (
            wire("older version, newer body", &new).announcing("2025-11-25", "tools/call", "add"),
            400,
        ),
        (wire("two names", &old).with("mcp-name", "whoami").with("mcp-name", "add"), 400),
        (wire("two names, reversed", &old).with("mcp-name", "add").with("mcp-name", "whoami"), 400),
        (wire("malformed name", &old).with("mcp-name", "=?base64?d2hvYW1?="), 400),
        (wire("batch", &format!("[{old}]")), 400),
        (wire("batch behind spaces", &format!(" \n[{old}]")), 400),
        (
            written(
                "method twice",
                &format!(r#""method":"tools/list","method":"tools/call","params":{add}"#),
            ),
            400,
        ),
        (
            written(
                "method twice, reversed",
                &format!(r#""method":"tools/call","method":"tools/list","params":{add}"#),
            ),
            400,
        ),
        (
            written(
                "method twice, escaped",
                &format!(r#""m\u0065thod":"tools/call","method":"tools/list","params":{add}"#),
            ),
            400,
        ),
        (
            written(
                "method in another case",
                &format!(r#""METHOD":"tools/call","result":1,"params":{add}"#),
            ),
            400,
        ),
        (
            written(
                "params twice",
                &format!(r#""method":"tools/call","params":{whoami},"params":{add}"#),
            ),
            400,
        ),
        (
            written(
                "params twice, reversed",
                &format!(r#""method":"tools/call","params":{add},"params":{whoami}"#),
            ),
            400,
        ),
        (
            written(
                "name twice",
                &format!(
                    r#""method":"tools/call","params":{{"name":"whoami","name":"add",{ARGUMENTS}}}"#
                ),
            ),
            400,
        ),
        (
            written(
                "name in another case",
                &format!(
                    r#""method":"tools/call","params":{{"name":"whoami","Name":"add",{ARGUMENTS}}}"#
                ),
            ),
            400,
        ),
        (
            written(
                "params by position",
                r#""method":"tools/call","params":["add",{"a":1,"b":2}]"#,
            ),
            400,
        ),
        (
            written(
                "call and response",
                &format!(r#""method":"tools/call","params":{add},"result":{{}}"#),
            ),
            400,
        ),
        (
            wire(
                "two JSON values",
                &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{}}}}{old}"),
            ),
            400,
        ),
        (wire("byte order mark", &format!("\u{feff}{old}")), 400),
        (
            Wire::new("UTF-16", old.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            400,
        ),
        (wire("as UTF-16", &old).with("content-type", "application/json; charset=utf-16"), 400),
        (wire("as plain text", &old).with("content-type", "text/plain"), 400),
        (wire("as JSON and text", &old).with("content-type", "application/json, text/plain"), 400),
        (Wire::new("compressed", gzip.clone()).with("content-encoding", "gzip"), 400),
        (Wire::new("compressed without content-encoding", gzip), 400),
    ]
}

// Requirement: access-per-primitive
// Requirement: sentinel-decoding
// Requirement: header-mismatch
// Requirement: header-faults-of-intermediaries
// Requirement: header-values-untrusted
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_call_runs_a_forbidden_tool() {
    let mut faults = Vec::new();
    for policy in policies() {
        let stack = stack(policy).start().await;
        let token = stack.token();
        for (attack, status) in attacks() {
            let response = attack.send(&stack, &token).await;
            if response.status() != status {
                faults.push(format!("{}: {} {}", attack.name, response.status(), response.body()));
            }
            if !stack.server.tool_runs().is_empty() || stack.server.count() != 0 {
                faults.push(format!("{}: reached the MCP server", attack.name));
                stack.server.clear();
            }
        }
        assert_vm_lives(&stack).await;
    }
    assert_none(&faults);
}

/// Shows that the attacks are real: without the filter, the server runs the tool for these.
#[tokio::test(flavor = "multi_thread")]
async fn older_servers_run_the_tool_in_the_body_despite_forged_headers() {
    let server = McpServer::start().await;
    let mut ran = Vec::new();
    for (attack, _) in attacks() {
        raw_exchange(server.address(), &attack.bytes("")).await;
        if server.tool_runs().iter().any(|tool| tool == "add") {
            ran.push(attack.name);
        }
        server.clear();
    }
    for name in ["openly", "forged name, older version", "forged name, no version", "two names"] {
        assert!(ran.contains(&name), "{ran:?}");
    }
}

/// MCP messages are in POSTs only: for other methods the head decides, and the server ignores the
/// body.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_in_the_body_of_another_method_runs_no_tool() {
    let [allowing, denying] = policies();
    for (policy, passes) in [(allowing, true), (denying, false)] {
        let stack = stack(policy).start().await;
        let token = stack.token();
        for method in ["PUT", "GET", "DELETE"] {
            stack.server.clear();
            let response = Wire::new("", old_call("add")).by(method).send(&stack, &token).await;
            assert_eq!(stack.server.count(), usize::from(passes), "{method}: {}", response.body());
            assert_eq!(stack.server.tool_runs(), [""; 0], "{method}");
        }
    }
}
