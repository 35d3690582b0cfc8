//! The status page, in a process of its own: it has few places, which the configurations of other
//! tests would use up.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod envoy;
mod provider;
mod sequences;

use self::provider::{Provider, open, start};

#[test]
fn the_status_page_shows_what_all_configurations_have_counted() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    open(&envoy, config, "no-token", true);
    let page = envoy.configure("mcp_auth_status", "{}").unwrap();
    let fields: [(&str, &[u8]); 4] = [
        (":method", b"GET"),
        (":path", b"/status.json"),
        (":authority", b"localhost"),
        ("host", b"localhost"),
    ];
    let stream = envoy.open(page, &fields, true, 0);
    let response = envoy.response(stream).unwrap();
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    let body = String::from_utf8(response.body).unwrap();
    assert!(body.contains(&provider.issuer), "{body}");
    assert!(body.contains("malformed_token"), "{body}");
}
