//! A flood of unauthenticated requests blocks no login of others, and hides no line of the log.

use std::time::Duration;

use serde_json::json;

use crate::host::{Outcome, log, log_of};
use crate::login_support::{
    Browser, FORM, Gateway, REDIRECT_URI, assert_error, authorize, code_request, is_waiting,
    logged, refresh_request, respond_with_endpoints, responded, token_call, with_login,
};

/// Opens this many token requests, each with the code of a separate login.
fn redeem(gateway: &Gateway, client_id: &str, count: usize) -> Vec<u32> {
    let codes: Vec<String> = (0..count).map(|_| gateway.code(client_id)).collect();
    codes.iter().map(|code| gateway.open_token(&code_request(client_id, code))).collect()
}

#[test]
fn at_most_32_codes_are_exchanged_at_a_provider() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let streams = redeem(&gateway, &client_id, 33);
    respond_with_endpoints(&gateway.vm);
    assert_eq!(gateway.vm.calls().len(), 32);
    assert_error(&responded(&gateway.vm.outcome(streams[32])), 503, "temporarily_unavailable");
    // If clients disconnect, the proxy's callouts continue.
    streams[..32].iter().for_each(|id| gateway.vm.close(*id));
    let late = redeem(&gateway, &client_id, 1)[0];
    assert_error(&responded(&gateway.vm.outcome(late)), 503, "temporarily_unavailable");
    gateway.vm.fail(&gateway.vm.calls()[0]);
    assert!(is_waiting(&gateway, redeem(&gateway, &client_id, 1)[0]));
}

#[test]
fn codes_that_wait_for_a_provider_do_not_block_refreshes() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let issued: Vec<String> = (0..33).map(|_| refresh_token(&gateway, &client_id)).collect();
    redeem(&gateway, &client_id, 33);
    let open = |token: &String| gateway.open_token(&refresh_request(&client_id, token));
    let streams: Vec<u32> = issued.iter().map(open).collect();
    assert_eq!(gateway.vm.calls().len(), 64);
    assert!(streams[..32].iter().all(|id| is_waiting(&gateway, *id)));
    assert_error(&responded(&gateway.vm.outcome(streams[32])), 503, "temporarily_unavailable");
}

/// Logs in. Returns the refresh token, of which each login gets another one.
fn refresh_token(gateway: &Gateway, client_id: &str) -> String {
    let code = gateway.code(client_id);
    let tokens = json!({"access_token": gateway.token(), "refresh_token": format!("of {code}")});
    let issued = gateway.exchange(client_id, &code, &tokens).json();
    issued["refresh_token"].as_str().unwrap().to_owned()
}

#[test]
fn one_refresh_token_takes_eight_places_at_most() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let [replayed, other] = [(); 2].map(|()| refresh_token(&gateway, &client_id));
    let open = |token: &String| gateway.open_token(&refresh_request(&client_id, token));
    // A client that makes several calls at once refreshes for each of them.
    let refreshes: Vec<u32> = (0..8).map(|_| open(&replayed)).collect();
    assert!(refreshes.iter().all(|id| is_waiting(&gateway, *id)));
    for _ in 0..36 {
        let response = responded(&gateway.vm.outcome(open(&replayed)));
        assert_error(&response, 503, "temporarily_unavailable");
        assert!(response.header("retry-after").is_some(), "{response:?}");
    }
    assert_eq!(gateway.vm.calls().len(), 8);
    assert!(is_waiting(&gateway, open(&other)));
    let refused = br#"{"error":"invalid_grant"}"#;
    gateway.vm.respond(&gateway.vm.calls()[0], "400", &[], refused);
    assert_error(&responded(&gateway.vm.outcome(refreshes[0])), 400, "invalid_grant");
    assert!(is_waiting(&gateway, open(&replayed)), "the first one is over");
}

#[test]
fn one_code_of_a_login_is_exchanged() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[]));
    let to_provider = browser.approve(&gateway, &page);
    // A user who has approved a login once can return with any number of made-up codes.
    let code = |made_up: &str| {
        let back = browser.return_from_provider(&gateway, &to_provider, &[("code", made_up)]);
        back.parameters["code"].clone()
    };
    let codes = [code("g1"), code("g2")];
    let open = |code: &str| gateway.open_token(&code_request(&client_id, code));
    let first = open(&codes[0]);
    for code in &codes {
        assert_error(&responded(&gateway.vm.outcome(open(code))), 400, "invalid_grant");
    }
    assert_eq!(gateway.vm.calls().len(), 1);
    let other_login = redeem(&gateway, &client_id, 1)[0];
    assert!(is_waiting(&gateway, other_login));
    let refused = br#"{"error":"invalid_grant"}"#;
    gateway.vm.respond(&gateway.vm.calls()[0], "400", &[], refused);
    assert_error(&responded(&gateway.vm.outcome(first)), 400, "invalid_grant");
    for code in &codes {
        assert_error(&responded(&gateway.vm.outcome(open(code))), 400, "invalid_grant");
    }
    assert_eq!(gateway.vm.calls().len(), 1, "the exchange of the other login");
}

#[test]
fn a_code_that_the_provider_has_not_decided_on_can_be_sent_again() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    let open = || gateway.open_token(&code_request(&client_id, &code));
    let first = open();
    gateway.vm.respond(&token_call(&gateway.vm), "503", &[], b"");
    assert_error(&responded(&gateway.vm.outcome(first)), 503, "temporarily_unavailable");
    assert!(is_waiting(&gateway, open()));
}

/// Begins a registration whose body does not arrive. Returns its stream.
fn open_body(gateway: &Gateway) -> u32 {
    let (id, outcome) = begin_registration(gateway);
    assert!(matches!(outcome, Outcome::Paused));
    id
}

fn begin_registration(gateway: &Gateway) -> (u32, Outcome) {
    gateway.vm.open(&[
        (":method", b"POST"),
        (":path", b"/oauth/register"),
        (":authority", b"mcp.example.com"),
        ("content-type", b"application/json"),
    ])
}

#[test]
fn bodies_that_never_arrive_make_room_for_one_that_does() {
    let gateway = Gateway::start();
    let open: Vec<u32> = (0..1024)
        .map(|index| {
            if index == 1 {
                gateway.vm.advance(Duration::from_millis(10));
            }
            open_body(&gateway)
        })
        .collect();
    assert!(open.iter().all(|id| is_waiting(&gateway, *id)));
    gateway.register();
    assert_eq!(gateway.vm.tick_period(), Some(Duration::from_millis(1)));
    gateway.vm.tick();
    assert_eq!(responded(&gateway.vm.outcome(open[0])).status, 408, "the oldest");
    assert!(open[1..].iter().all(|id| is_waiting(&gateway, *id)));
    // A request whose body has arrived frees its place.
    gateway.register();
    gateway.vm.tick();
    assert!(is_waiting(&gateway, open[1]));
}

#[test]
fn bodies_are_bounded_even_before_a_tick_makes_room() {
    let gateway = Gateway::start();
    let open: Vec<u32> = (0..1280).map(|_| open_body(&gateway)).collect();
    assert!(open.iter().all(|id| is_waiting(&gateway, *id)));
    let (_, further) = begin_registration(&gateway);
    assert_eq!(responded(&further).status, 503);
    for _ in 0..5 {
        gateway.vm.tick();
    }
    assert_eq!(open.iter().filter(|id| is_waiting(&gateway, **id)).count(), 1023);
    gateway.register();
}

#[test]
fn requests_whose_bodies_never_arrive_are_ended_a_few_at_a_time() {
    let gateway = Gateway::start();
    let open: Vec<u32> = (0..150).map(|_| open_body(&gateway)).collect();
    gateway.vm.advance(Duration::from_secs(10));
    for left in [86, 22, 0] {
        gateway.vm.tick();
        assert_eq!(open.iter().filter(|id| is_waiting(&gateway, **id)).count(), left);
        let period = gateway.vm.tick_period();
        assert_eq!(period == Some(Duration::from_millis(1)), left > 0, "{period:?}");
    }
}

/// A gateway that accepts client metadata documents of a host.
fn with_documents() -> Gateway {
    let mut configuration = with_login();
    configuration["login"]["client_metadata"] = json!({"client.example": "client"});
    Gateway::start_with(&configuration)
}

const GENUINE: &str = "https://client.example/genuine.json";

/// Opens the page for the genuine document. Returns the stream.
fn visit(gateway: &Gateway) -> u32 {
    Browser::default().visit(gateway, &authorize(GENUINE, &[]), "cross-site")
}

fn respond_with_document(gateway: &Gateway) {
    let call = gateway.vm.call();
    assert_eq!(call.path(), "/genuine.json");
    let document = json!({"client_id": GENUINE, "redirect_uris": [REDIRECT_URI]});
    gateway.vm.respond(&call, "200", &[], document.to_string().as_bytes());
}

/// Visits the page for this many documents that do not exist.
fn flood(gateway: &Gateway, name: &str, count: usize) {
    for index in 0..count {
        let url = format!("https://client.example/{name}/{index}.json");
        Browser::default().visit(gateway, &authorize(&url, &[]), "cross-site");
        gateway.vm.calls().iter().for_each(|call| gateway.vm.respond(call, "404", &[], b""));
    }
}

#[test]
fn documents_that_do_not_exist_do_not_affect_a_known_client() {
    let gateway = with_documents();
    let id = visit(&gateway);
    respond_with_document(&gateway);
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
    for (name, seconds) in [("a", 60), ("b", 241)] {
        flood(&gateway, name, 70);
        assert_eq!(responded(&gateway.vm.outcome(visit(&gateway))).status, 200);
        gateway.vm.advance(Duration::from_secs(seconds));
    }
    // The document is fetched again when it is due, whatever else was requested.
    flood(&gateway, "c", 70);
    let id = visit(&gateway);
    respond_with_document(&gateway);
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
    // While its host fails, the cached document is still used.
    gateway.vm.advance(Duration::from_secs(301));
    let id = visit(&gateway);
    gateway.vm.respond(&gateway.vm.call(), "503", &[], b"");
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
}

#[test]
fn a_crowd_that_waits_for_one_document_does_not_stop_clients_of_other_hosts() {
    let mut configuration = with_login();
    configuration["login"]["client_metadata"] =
        json!({"client.example": "client", "slow.example": "slow"});
    let gateway = Gateway::start_with(&configuration);
    let slow = authorize("https://slow.example/page.json", &[]);
    let open = || Browser::default().visit(&gateway, &slow, "cross-site");
    let crowd: Vec<u32> = (0..256).map(|_| open()).collect();
    assert_eq!(gateway.vm.calls().len(), 1, "all wait for the same document");
    assert_eq!(responded(&gateway.vm.outcome(open())).status, 503);
    let id = visit(&gateway);
    assert!(is_waiting(&gateway, id), "the document of the other host is fetched");
    assert_eq!(crowd.iter().filter(|id| is_waiting(&gateway, **id)).count(), 128);
    let call = gateway.vm.calls().remove(1);
    let document = json!({"client_id": GENUINE, "redirect_uris": [REDIRECT_URI]});
    gateway.vm.respond(&call, "200", &[], document.to_string().as_bytes());
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
}

#[test]
fn a_missing_cluster_does_not_stop_a_known_client() {
    let gateway = with_documents();
    let id = visit(&gateway);
    respond_with_document(&gateway);
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
    gateway.vm.advance(Duration::from_secs(301));
    gateway.vm.refuse_calls(true);
    assert_eq!(responded(&gateway.vm.outcome(visit(&gateway))).status, 200);
    gateway.vm.advance(Duration::from_secs(1800));
    assert_eq!(responded(&gateway.vm.outcome(visit(&gateway))).status, 400);
    assert!(logged("login failed: step=authorize"), "{:?}", log());
}

#[test]
fn a_flood_hides_no_fault_of_the_operator() {
    let gateway = with_documents();
    let client_id = gateway.register();
    let codes: Vec<String> = (0..34).map(|_| gateway.code(&client_id)).collect();
    for _ in 0..3 {
        flood(&gateway, "x", 70);
        gateway.post("/oauth/token", FORM, b"client_id=unknown");
    }
    let open = |code: &String| gateway.open_token(&code_request(&client_id, code));
    let streams: Vec<u32> = codes.iter().map(open).collect();
    assert_error(&responded(&gateway.vm.outcome(streams[33])), 503, "temporarily_unavailable");
    let call = token_call_of(&gateway);
    gateway.vm.respond(&call, "401", &[], br#"{"error":"invalid_client"}"#);
    let warnings = log_of(log::Level::Warn);
    let is_logged = |line: &str| warnings.iter().any(|logged| logged.contains(line));
    assert!(is_logged(
        "login failed: step=token provider=example: the provider refused the gateway"
    ));
    assert!(is_logged("login refused: step=token provider=example: too many logins"));
    let metrics = gateway.vm.metrics();
    let count = |step: &str, result: &str| {
        let of = metrics.iter().filter(|(name, _)| {
            name.starts_with("mcp_auth_logins")
                && name.contains(&format!(".{step}."))
                && name.ends_with(result)
        });
        of.map(|(_, count)| count).sum::<u64>()
    };
    assert_eq!((count("authorize", "failed"), count("token", "failed")), (0, 1), "{metrics:?}");
}

/// The first of several callouts to the token endpoint.
fn token_call_of(gateway: &Gateway) -> crate::host::Call {
    let call = gateway.vm.calls().remove(0);
    assert_eq!(call.path(), "/token");
    call
}
