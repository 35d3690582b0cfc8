//! The cookies of the login belong to the gateway: servers neither see nor set them.

use serde_json::json;

use crate::host::{Fields, Outcome};
use crate::login_support::{Browser, Gateway, HOST, authorize, with_login};
use crate::provider::configuration;

/// Sends a request, and lets the server set these cookies in its response. Returns the cookies that
/// the client gets.
#[track_caller]
fn cookies_after(gateway: &Gateway, fields: &[(&str, &[u8])], set: &[&[u8]]) -> Vec<Vec<u8>> {
    let head: [(&str, &[u8]); 2] = [(":method", b"GET"), (":authority", HOST.as_bytes())];
    let (id, outcome) = gateway.vm.request(&[head.as_slice(), fields].concat());
    assert!(matches!(outcome, Outcome::Forwarded(_)), "{outcome:?}");
    let mut response: Vec<(&str, &[u8])> = vec![(":status", b"200")];
    response.extend(set.iter().map(|cookie| ("set-cookie", *cookie)));
    match gateway.vm.respond_from_upstream(id, &response) {
        Outcome::Forwarded(fields) => cookies(fields),
        other => panic!("{other:?}"),
    }
}

fn cookies(fields: Fields) -> Vec<Vec<u8>> {
    let cookies = fields.into_iter().filter(|(name, _)| name == "set-cookie");
    cookies.map(|(_, value)| value).collect()
}

const PLANTED: &[u8] = b"__Host-mcp-auth-login=attackers; Path=/; Secure";
const OTHER: &[u8] = b"session=1; Path=/";

#[test]
fn no_response_of_a_server_sets_a_cookie_of_the_gateway() {
    let mut configuration = with_login();
    configuration["exempt"] = json!([{"path": "/public"}]);
    let gateway = Gateway::start_with(&configuration);
    let authorization = format!("Bearer {}", gateway.token());
    let with_token: &[(&str, &[u8])] =
        &[(":path", b"/mcp"), ("authorization", authorization.as_bytes())];
    let exempt: &[(&str, &[u8])] = &[(":path", b"/public")];
    for fields in [with_token, exempt] {
        for planted in [
            PLANTED,
            b"__Host-mcp-auth-consent=x",
            b"mcp-auth-login=x",
            b" =mcp-auth-login=x",
            b"__Host-mcp-auth-login=\xff",
        ] {
            assert_eq!(cookies_after(&gateway, fields, &[planted]), Vec::<Vec<u8>>::new());
            let left = cookies_after(&gateway, fields, &[OTHER, planted, b"a=b"]);
            assert_eq!(left, [OTHER.to_vec(), b"a=b".to_vec()]);
        }
        // Without a cookie of the gateway, they are unchanged.
        let left = cookies_after(&gateway, fields, &[OTHER, b"raw=\xff"]);
        assert_eq!(left, [OTHER.to_vec(), b"raw=\xff".to_vec()]);
    }
}

#[test]
fn in_report_mode_no_server_sets_a_cookie_of_the_gateway_either() {
    let mut configuration = with_login();
    configuration["mode"] = json!("report");
    let gateway = Gateway::start_with(&configuration);
    let left = cookies_after(&gateway, &[(":path", b"/mcp")], &[PLANTED, OTHER]);
    assert_eq!(left, [OTHER.to_vec()]);
}

/// Sends a request that is forwarded to the server. Returns its stream.
fn send_with_token(gateway: &Gateway) -> u32 {
    let authorization = format!("Bearer {}", gateway.token());
    let (id, _) = gateway.vm.request(&[
        (":method", b"GET"),
        (":path", b"/mcp"),
        (":authority", HOST.as_bytes()),
        ("authorization", authorization.as_bytes()),
    ]);
    id
}

#[test]
fn a_response_whose_cookies_cannot_be_removed_does_not_reach_the_client() {
    let gateway = Gateway::start();
    for (cookie, passes) in [(PLANTED, false), (OTHER, true)] {
        let id = send_with_token(&gateway);
        gateway.vm.keep_response_head(id);
        let response = [(":status", &b"200"[..]), ("set-cookie", cookie)];
        let outcome = gateway.vm.respond_from_upstream(id, &response);
        assert_eq!(matches!(outcome, Outcome::Forwarded(_)), passes, "{outcome:?}");
    }
}

#[test]
fn only_responses_to_forwarded_requests_are_checked_and_none_without_login() {
    let gateway = Gateway::start();
    let id = send_with_token(&gateway);
    assert!(gateway.vm.reads_response(id));
    gateway.vm.close(id);
    assert!(!gateway.vm.reads_response(id), "it has ended");
    let client_id = gateway.register();
    let id = Browser::default().visit(&gateway, &authorize(&client_id, &[]), "none");
    assert!(!gateway.vm.reads_response(id), "the gateway's own page sets its cookie");

    let without = Gateway::start_with(&configuration());
    let id = send_with_token(&without);
    assert!(!without.vm.reads_response(id));
}
