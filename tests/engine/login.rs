//! A whole login: registration, page, approval, the visit at the provider, code, token, refresh.

use serde_json::json;
use testkit::form;

use crate::host::{Outcome, SharedData};
use crate::login_support::{
    Browser, Gateway, HOST, JSON, Location, ORIGIN, REDIRECT_URI, RESOURCE, authorize,
    code_request, logged, refresh_request, respond_with_tokens, responded, text, token_call,
    with_login,
};
use crate::provider::{ISSUER, assert_accepted, key, start};

#[test]
fn a_client_gets_the_providers_token_and_calls_the_server_with_it() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    let token = gateway.token();
    let tokens = json!({"access_token": token, "refresh_token": "p-refresh", "scope": "read"});
    let response = gateway.exchange(&client_id, &code, &tokens);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    let body = response.json();
    assert_eq!(body["access_token"], token);
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("read")));
    assert!(!text(&response).contains("p-refresh"), "the refresh token is sealed");
    assert_accepted(&gateway.vm, &token);
}

#[test]
fn the_provider_is_asked_with_pkce_and_without_resource() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[("login_hint", "ada@example.com")]));
    assert_eq!(page.status, 200, "{}", text(&page));
    let Location { url, parameters } = browser.approve(&gateway, &page);
    assert_eq!(url, format!("{ISSUER}/authorize"));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "gateway"),
        ("redirect_uri", "https://mcp.example.com/oauth/callback/example"),
        ("scope", "openid profile offline_access read"),
        ("code_challenge_method", "S256"),
        ("login_hint", "ada@example.com"),
    ] {
        assert_eq!(parameters[name], value, "{name}");
    }
    for absent in ["resource", "prompt", "response_mode"] {
        assert!(!parameters.contains_key(absent), "{absent}");
    }
    assert!(!parameters["state"].contains("client-state"));
}

#[test]
fn the_gateway_exchanges_the_providers_code_with_its_own_verifier_and_secret() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[]));
    let to_provider = browser.approve(&gateway, &page);
    let back = browser.return_from_provider(&gateway, &to_provider, &[("code", "p-code")]);
    assert_eq!(back.url, REDIRECT_URI);
    assert_eq!(back.parameters["state"], "client-state");
    assert_eq!(back.parameters["iss"], ORIGIN);
    assert!(gateway.vm.calls().is_empty(), "no code is exchanged yet");

    gateway.open_token(&code_request(&client_id, &back.parameters["code"]));
    let call = token_call(&gateway.vm);
    let sent = form(std::str::from_utf8(&call.body).unwrap());
    assert_eq!(sent["grant_type"], "authorization_code");
    assert_eq!(sent["code"], "p-code");
    assert_eq!(sent["redirect_uri"], to_provider.parameters["redirect_uri"]);
    assert_eq!(testkit::s256(&sent["code_verifier"]), to_provider.parameters["code_challenge"]);
    let credentials = call.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    assert!(credentials.1.starts_with(b"Basic "));
    assert!(!sent.contains_key("client_secret") && !sent.contains_key("resource"));
    assert_eq!(call.cluster, "provider");
}

#[test]
fn a_refresh_token_gets_a_new_token_and_a_new_refresh_token() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    let tokens = json!({"access_token": gateway.token(), "refresh_token": "p-1"});
    let first = gateway.exchange(&client_id, &code, &tokens).json();
    let first = first["refresh_token"].as_str().unwrap();
    for (given, sent) in [(None, "p-1"), (Some("p-2"), "p-1")] {
        let id = gateway.open_token(&refresh_request(&client_id, first));
        let call = token_call(&gateway.vm);
        let form = form(std::str::from_utf8(&call.body).unwrap());
        assert_eq!(form["grant_type"], "refresh_token");
        assert_eq!(form["refresh_token"], sent);
        let mut tokens = json!({"access_token": gateway.token()});
        if let Some(given) = given {
            tokens["refresh_token"] = json!(given);
        }
        respond_with_tokens(&gateway.vm, &tokens);
        let second = responded(&gateway.vm.outcome(id)).json();
        let second = second["refresh_token"].as_str().unwrap();
        assert_ne!(second, first);
        gateway.open_token(&refresh_request(&client_id, second));
        let form = token_call(&gateway.vm);
        let form = testkit::form(std::str::from_utf8(&form.body).unwrap());
        assert_eq!(form["refresh_token"], given.unwrap_or("p-1"));
        respond_with_tokens(&gateway.vm, &tokens);
    }
}

#[test]
fn the_metadata_name_the_gateway_as_the_authorization_server() {
    let gateway = Gateway::start();
    let resource = gateway.get("/.well-known/oauth-protected-resource/mcp").json();
    assert_eq!(resource["authorization_servers"], json!([ORIGIN]));
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let response = gateway.get(path);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        let document = response.json();
        assert_eq!(document["issuer"], ORIGIN);
        assert_eq!(document["authorization_endpoint"], format!("{ORIGIN}/oauth/authorize"));
        assert_eq!(document["token_endpoint"], format!("{ORIGIN}/oauth/token"));
        assert_eq!(document["registration_endpoint"], format!("{ORIGIN}/oauth/register"));
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(document["scopes_supported"], json!(["read", "offline_access"]));
    }
}

#[test]
fn another_replica_with_the_same_secret_can_continue_at_each_step() {
    let replicas = [0; 5].map(|_| Gateway::start());
    let client_id = replicas[0].register();
    let mut browser = Browser::default();
    let page = browser.open(&replicas[1], &authorize(&client_id, &[]));
    let to_provider = browser.approve(&replicas[2], &page);
    let back = browser.return_from_provider(&replicas[3], &to_provider, &[("code", "c")]);
    let tokens = json!({"access_token": replicas[4].token()});
    let response = replicas[4].exchange(&client_id, &back.parameters["code"], &tokens);
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn a_client_id_metadata_document_is_fetched_once_for_several_logins() {
    let mut configuration = with_login();
    configuration["login"]["client_metadata"] = json!({"client.example": "client"});
    let gateway = Gateway::start_with(&configuration);
    let url = "https://client.example/client.json";
    let streams = [0; 2].map(|_| {
        let browser = Browser::default();
        browser.visit(&gateway, &authorize(url, &[]), "cross-site")
    });
    let call = gateway.vm.call();
    assert_eq!((call.cluster.as_str(), call.path().as_str()), ("client", "/client.json"));
    let document = json!({
        "client_id": url, "client_name": "Known by its host", "redirect_uris": [REDIRECT_URI],
    });
    gateway.vm.respond(&call, "200", &[], document.to_string().as_bytes());
    for id in streams {
        let page = responded(&gateway.vm.outcome(id));
        assert_eq!(page.status, 200);
        assert!(text(&page).contains("client.example"), "{}", text(&page));
    }
    let browser = Browser::default();
    let id = browser.visit(&gateway, &authorize(url, &[]), "cross-site");
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200, "the document is cached");
}

#[test]
fn the_cookies_of_the_gateway_never_reach_the_server() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    browser.open(&gateway, &authorize(&client_id, &[]));
    let cookie = browser.cookie();
    assert!(cookie.starts_with("__Host-mcp-auth-"), "{cookie}");
    let authorization = format!("Bearer {}", gateway.token());
    for (sent, left) in [
        (format!("a=b; {cookie}; c=d"), Some("a=b; c=d")),
        (cookie, None),
        ("a=b".to_owned(), Some("a=b")),
    ] {
        let (_, outcome) = gateway.vm.request(&[
            (":method", b"POST"),
            (":path", b"/mcp"),
            (":authority", HOST.as_bytes()),
            ("authorization", authorization.as_bytes()),
            ("cookie", sent.as_bytes()),
        ]);
        let Outcome::Forwarded(fields) = outcome else { panic!("{outcome:?}") };
        let cookies: Vec<_> = fields.iter().filter(|(name, _)| name == "cookie").collect();
        let cookies: Vec<&str> =
            cookies.iter().map(|(_, value)| std::str::from_utf8(value).unwrap()).collect();
        assert_eq!(cookies, left.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn each_step_is_counted() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    gateway.exchange(&client_id, &code, &json!({"access_token": gateway.token()}));
    gateway.token_request(&code_request(&client_id, "forged"));
    let metrics = gateway.vm.metrics();
    for (labels, count) in [
        ("provider.none.step.register.result.ok", 1),
        ("provider.none.step.authorize.result.ok", 1),
        ("provider.example.step.approve.result.ok", 1),
        ("provider.example.step.callback.result.ok", 1),
        ("provider.example.step.token.result.ok", 1),
        ("provider.none.step.token.result.refused", 1),
    ] {
        assert_eq!(metrics.get(&format!("mcp_auth_logins.{labels}")), Some(&count), "{labels}");
    }
    assert!(logged("login refused: step=token"));
}

#[test]
fn without_login_its_paths_belong_to_the_server() {
    let vm = start(&crate::provider::configuration(), &SharedData::default());
    for (method, path, status) in [
        ("GET", "/oauth/authorize", 401),
        ("POST", "/oauth/token", 401),
        ("GET", "/.well-known/oauth-authorization-server", 404),
    ] {
        let fields = [(":method", method), (":path", path), (":authority", HOST)];
        let fields = fields.map(|(name, value)| (name, value.as_bytes()));
        assert_eq!(responded(&vm.request(&fields).1).status, status, "{path}");
    }
}

#[test]
fn the_page_names_client_destination_server_and_scopes() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[]));
    let always = "openid profile offline_access";
    for part in ["Test client", "localhost", RESOURCE, "read", always, "example", "Cancel"] {
        assert!(text(&page).contains(part), "{part}: {}", text(&page));
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("form-action"));
    assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
}

/// Three servers behind the login: two whose tokens are the same, and one with another provider.
fn several() -> Gateway {
    let mut configuration = with_login();
    configuration.as_object_mut().unwrap().remove("resource");
    let server = |id: &str, provider: &str| {
        json!({
            "id": id, "url": format!("{ORIGIN}/{id}/mcp"), "audiences": [format!("of-{provider}")],
            "providers": [provider],
        })
    };
    configuration["resources"] =
        json!([server("a", "example"), server("b", "example"), server("c", "other")]);
    configuration["providers"][0].as_object_mut().unwrap().remove("client_ids");
    let other = json!({
        "name": "other", "issuer": "https://other.example", "cluster": "provider",
        "metadata_url": "https://other.example/.well-known/openid-configuration",
        "login": {"client_id": "gateway"},
    });
    configuration["providers"].as_array_mut().unwrap().push(other);
    Gateway { vm: start(&configuration, &SharedData::default()), key: key("one") }
}

#[test]
fn the_page_names_all_servers_that_the_token_opens_and_offers_only_their_providers() {
    let gateway = several();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let resource = format!("{ORIGIN}/a/mcp");
    let page = browser.open(&gateway, &authorize(&client_id, &[("resource", &resource)]));
    let body = text(&page);
    for (part, is_there) in [
        ("https://mcp.example.com/a/mcp", true),
        ("https://mcp.example.com/b/mcp", true),
        ("https://mcp.example.com/c/mcp", false),
        ("value=\"example\"", true),
        ("value=\"other\"", false),
    ] {
        assert_eq!(body.contains(part), is_there, "{part}: {body}");
    }
    let calls = gateway.vm.calls().len();
    let id = browser.submit(&gateway, &page, ("provider", "other"), &[]);
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 400);
    assert_eq!(gateway.vm.calls().len(), calls, "the provider of another server gets no request");
}

#[test]
fn without_registration_earlier_registrations_are_void() {
    let client_id = Gateway::start().register();
    let mut configuration = with_login();
    configuration["login"] = json!({
        "registration": false,
        "clients": [{"client_id": "known", "redirect_uris": [REDIRECT_URI]}],
    });
    let gateway = Gateway::start_with(&configuration);
    for (client_id, status) in [(client_id.as_str(), 400), ("known", 200)] {
        let page = Browser::default().open(&gateway, &authorize(client_id, &[]));
        assert_eq!(page.status, status, "{client_id}: {}", text(&page));
    }
}

#[test]
fn the_name_of_a_client_cannot_end_its_quotation_marks() {
    let gateway = Gateway::start();
    let name = "Claude” of claude.ai: go on “\"x\"＂❞";
    let metadata = json!({"redirect_uris": [REDIRECT_URI], "client_name": name});
    let response = gateway.post("/oauth/register", JSON, metadata.to_string().as_bytes());
    let client_id = response.json()["client_id"].as_str().unwrap().to_owned();
    let page = Browser::default().open(&gateway, &authorize(&client_id, &[]));
    let quoted = "“Claude&#39; of claude.ai: go on &#39;x&#39;”";
    assert!(text(&page).contains(quoted), "{}", text(&page));
}
