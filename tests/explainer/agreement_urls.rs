//! `mcp-auth explain --url` gives the same result for odd URLs as the plugin in real Envoy: the
//! server that the URL belongs to once Envoy has normalised it.

use std::fs;

use serde_json::{Value, json};
use testbed::{Stack, raw_exchange};

use crate::support::{file, mcp_auth};

const SERVERS: [(&str, &str); 4] = [
    ("alone", "https://alone.example/mcp"),
    ("one", "https://gateway.example/one/mcp"),
    ("nested", "https://gateway.example/one/mcp/@acme"),
    ("encoded", "https://gateway.example/%7Bid%7D/caf%C3%A9"),
];

const PATHS: [&str; 34] = [
    "/one/mcp",
    "/one/mcp/x?y=//",
    "/one/mcp/",
    "/one//mcp",
    "//one/mcp",
    "/one/./mcp",
    "/two/../one/mcp",
    "/two/%2e%2E/one/mcp",
    "/one/mcp/..",
    "/one/mcp/.",
    "/one/mcp/../mcp",
    "/one/mcp/@acme",
    "/one/mcp/%40acme",
    "/one/mcp//@acme",
    "/one/mcp/x/../@acme/y",
    "/one/m%63p",
    "/%6fne/mcp",
    "/one%2Fmcp",
    "/one%2fmcp/@acme",
    "/one%5Cmcp",
    "/one\\mcp",
    "/one/mcp;x",
    "/one/mcp%00",
    "/one/mcp%",
    "/one/mcp%zz",
    "/ONE/mcp",
    "/one/mcpx",
    "/{id}/caf%C3%A9",
    "/%7Bid%7D/caf%C3%A9",
    "/%7bid%7D/caf%c3%a9",
    "/one/mcp/%",
    "/one/mcp/~%7E^|\"<>`",
    "/",
    "/mcp",
];

/// Hosts; `PORT` stands for the listener's.
const HOSTS: [&str; 14] = [
    "gateway.example",
    "GATEWAY.example",
    "gateway.example:443",
    "gateway.example:PORT",
    "gateway.example:0PORT",
    "gateway.example:8443",
    "gateway.example:",
    "gateway.example.",
    "gateway.example.:PORT",
    "user@gateway.example",
    "alone.example",
    "alone.example:PORT",
    "[::1]",
    "[::1]:PORT",
];

/// The id of the server whose metadata a challenge names.
fn challenged(challenge: &str) -> Option<&'static str> {
    let url = challenge.split_once("resource_metadata=\"")?.1.split('"').next()?;
    let has_url = |(_, server): &&(&str, &str)| {
        url == server.replacen(".example/", ".example/.well-known/oauth-protected-resource/", 1)
    };
    Some(SERVERS.iter().find(has_url)?.0)
}

/// Compares the two for this host and path. Returns the difference, or the server.
async fn compare(
    stack: &Stack,
    config: &str,
    host: &str,
    path: &str,
) -> Result<Option<String>, String> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\
         authorization: Bearer x\r\n\r\n"
    );
    let response = raw_exchange(stack.envoy.address(), request.as_bytes()).await;
    let run =
        mcp_auth(&["explain", config, "--json", "--url", &format!("https://{host}{path}")], "x");
    let explanation = run.json();
    let notes = explanation["notes"].as_array().unwrap().iter();
    let notes: Vec<&str> = notes.map(|note| note.as_str().unwrap()).collect();
    let notes = notes.join("\n");
    let server = response.header("www-authenticate").first().and_then(|text| challenged(text));
    let agrees = match response.status() {
        // Envoy's own responses have no reason.
        400 if !response.body().contains("reason") => notes.contains("itself responds with 400"),
        307 => {
            let location = response.header("location").pop().unwrap_or_default();
            let path = location.split_once(".example").map_or(location.as_str(), |(_, path)| path);
            notes.contains(&format!("itself responds with a redirect to {path}, which"))
        }
        404 => {
            explanation["reason"] == "unknown_resource"
                && response.body().contains("unknown_resource")
        }
        401 => server.is_some() && explanation["resource"].as_str() == server,
        _ => false,
    };
    let is_judged = !notes.contains("itself responds");
    if agrees && (is_judged || matches!(response.status(), 400 | 307)) {
        return Ok(server.map(str::to_owned));
    }
    Err(format!("{host}{path}: {} {server:?}, but {explanation}", response.status()))
}

/// The differences with these settings of the connection manager, and the number of requests for
/// which a server was found.
async fn differences(settings: Value) -> (Vec<String>, usize) {
    let stack = Stack::builder()
        .alone()
        .configure(|configuration| {
            configuration.as_object_mut().unwrap().remove("resource");
            let servers = SERVERS.map(|(id, url)| json!({"id": id, "url": url, "hosts": []}));
            configuration["resources"] = json!(servers);
        })
        .edit(move |bootstrap| {
            let manager = bootstrap.connection_manager().as_object_mut().unwrap();
            for name in ["normalize_path", "merge_slashes", "path_with_escaped_slashes_action"] {
                manager.remove(name);
            }
            manager.extend(settings.as_object().unwrap().clone());
        });
    let path = file(".json", "");
    let written = path.clone();
    let port = testbed::Port::free();
    let number = port.number();
    let stack = stack
        .port(port)
        .edit(move |bootstrap| {
            bootstrap.set_listener_port(number);
            fs::write(written, bootstrap.tree().to_string()).unwrap();
        })
        .start()
        .await;
    let (mut found, mut differ) = (0, Vec::new());
    let hosts = HOSTS.map(|host| host.replace("PORT", &number.to_string()));
    let by_path = PATHS.map(|path| ("gateway.example".to_owned(), path));
    let by_host = hosts.iter().map(|host| {
        let path = if host.starts_with("alone") { "/mcp" } else { "/one/mcp" };
        (host.clone(), path)
    });
    for (host, path_sent) in by_path.into_iter().chain(by_host) {
        match compare(&stack, &path, &host, path_sent).await {
            Ok(server) => found += usize::from(server.is_some()),
            Err(difference) => differ.push(difference),
        }
    }
    (differ, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_and_the_plugin_choose_the_same_server_for_odd_urls() {
    let mut differ = Vec::new();
    let mut found = Vec::new();
    for settings in [
        json!({}),
        json!({
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
            "strip_any_host_port": true,
            "strip_trailing_host_dot": true,
        }),
        json!({
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "strip_matching_host_port": true,
        }),
        json!({
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        }),
    ] {
        let (more, count) = differences(settings.clone()).await;
        differ.extend(more.into_iter().map(|difference| format!("{settings}: {difference}")));
        found.push(count);
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
    // The more Envoy normalises, the more spellings lead to a server.
    assert!(found[0] > 0 && found[0] < found[2] && found[2] < found[1], "{found:?}");
}
