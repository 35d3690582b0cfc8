//! Whole logins, in which the test plays every part.

use serde_json::{Value, json};

use super::discovery::tests::{document, provider};
use super::visit::tests::{NOW, sealer};
use super::*;
use crate::callout::CalloutResponse;
use crate::request::Field;
use crate::response::Response;

const RESOURCE: &str = "https://mcp.example.com/mcp";
const REDIRECT_URI: &str = "http://localhost:7/cb";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn login() -> Login {
    let providers = ProviderMap::new(vec![Some(provider())]);
    let ids: Vec<ProviderId> = providers.entries().map(|(id, _)| id).collect();
    Login {
        issuer: Issuer::parse("https://mcp.example.com").unwrap(),
        has_any_authority: false,
        has_own_host: false,
        path: "/oauth".to_owned(),
        registers: true,
        redirect_policy: RedirectPolicy { allows_loopback: true, uris: vec![] },
        clients: vec![],
        client_documents: None,
        consent: ConsentMode::Always,
        sealer: sealer(),
        providers,
        resources: vec![LoginResource {
            url: RESOURCE.to_owned(),
            name: Some("Incidents".to_owned()),
            audiences: ids.iter().map(|id| (*id, vec!["mcp".to_owned()])).collect(),
            providers: ids,
            scopes_supported: vec!["read".to_owned()],
            known_scopes: ["read".to_owned(), "write".to_owned()].into(),
            shares_tokens_with: vec![],
        }],
    }
}

/// A browser, or a client's HTTP library.
struct Visitor<'a> {
    login: &'a Login,
    cookie: Option<String>,
    seed: u8,
}

impl<'a> Visitor<'a> {
    fn new(login: &'a Login, seed: u8) -> Self {
        Self { login, cookie: None, seed }
    }

    fn random(&mut self) -> Randomness {
        self.seed = self.seed.wrapping_add(16);
        Randomness::from_seed([self.seed; 32])
    }

    fn head(&mut self, method: &str, path: &str, more: &[(&str, &str)]) -> Step {
        let mut fields = vec![(":method", method), (":path", path)];
        fields.extend(more);
        let cookie = self.cookie.clone().unwrap_or_default();
        fields.push(("cookie", &cookie));
        let fields: Vec<Field<'_>> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let head = RequestHead::new(&fields, method == "POST");
        let endpoint = self.login.endpoint(b"mcp.example.com", head.path()).unwrap();
        let random = &mut self.random();
        self.login.on_head(endpoint, head, NOW, random)
    }

    fn body(&mut self, step: Step, pairs: &[(&str, &str)]) -> Step {
        let Step::ReadBody(form) = step else { panic!("no body is read") };
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let random = &mut self.random();
        self.login.on_body(form, Some(body.as_bytes()), NOW, random)
    }

    /// Returns the response, and keeps its cookies.
    fn response(&mut self, step: Step) -> Response {
        let Step::Respond(response, _) = step else { panic!("there is no response yet") };
        if let Some(cookie) = field(&response, "set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        response
    }

    fn discovered(&mut self, step: Step) -> Step {
        let Step::Discover(id, awaiting) = step else { panic!("no endpoints are needed") };
        let provider = self.login.providers[id].as_ref().unwrap();
        let response = json_response(200, &document());
        let endpoints = ProviderEndpoints::from_response(Some(response), provider).unwrap();
        let random = &mut self.random();
        self.login.on_endpoints(id, *awaiting, Ok(&endpoints), NOW, random)
    }

    /// Opens the page. Returns the hidden fields of its form.
    fn page(&mut self, client_id: &str) -> String {
        let path = authorize_path(client_id, &[]);
        let step = self.head("GET", &path, &[]);
        let response = self.response(step);
        let page = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, 200, "{page}");
        between(&page, "name=\"request\" value=\"", "\"").to_owned()
    }

    /// Approves the login. Returns the `state` that the provider gets.
    fn approve(&mut self, pending: &str) -> Option<String> {
        let own = [("origin", "https://mcp.example.com"), ("sec-fetch-site", "same-origin")];
        let step = self.head("POST", "/oauth/authorize", &own);
        let step = self.body(step, &[("request", pending), ("provider", "example")]);
        let Step::Discover(..) = &step else { return None };
        let step = self.discovered(step);
        let response = self.response(step);
        assert_eq!(response.status, 303);
        parameter(field(&response, "location").unwrap(), "state")
    }

    /// Returns from the provider.
    fn callback(&mut self, state: &str) -> Response {
        let path = format!("/oauth/callback/example?code=provider-code&state={state}");
        let step = self.head("GET", &path, &[]);
        self.response(step)
    }

    fn redeem(&mut self, client_id: &str, code: &str, more: &[(&str, &str)]) -> Step {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        pairs.extend(more);
        self.token(client_id, &pairs)
    }

    fn token(&mut self, client_id: &str, pairs: &[(&str, &str)]) -> Step {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let step = self.head("POST", "/oauth/token", &form);
        let mut all = vec![("client_id", client_id)];
        all.extend(pairs);
        self.body(step, &all)
    }
}

fn authorize_path(client_id: &str, more: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "client-state"),
            ("scope", "read write"),
            ("resource", RESOURCE),
        ])
        .extend_pairs(more)
        .finish();
    format!("/oauth/authorize?{query}")
}

fn registered(visitor: &mut Visitor<'_>) -> String {
    let step = visitor.head("POST", "/oauth/register", &[]);
    let Step::ReadBody(form) = step else { panic!("no body is read") };
    let body = json!({"redirect_uris": [REDIRECT_URI], "client_name": "Client"}).to_string();
    let random = &mut visitor.random();
    let step = visitor.login.on_body(form, Some(body.as_bytes()), NOW, random);
    let response = visitor.response(step);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["client_id"].as_str().unwrap().to_owned()
}

fn json_response(status: u16, body: &Value) -> CalloutResponse {
    let body = body.to_string().into_bytes();
    CalloutResponse {
        status: Some(status),
        body_length: body.len(),
        body,
        ..CalloutResponse::default()
    }
}

fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut fields = response.headers.iter();
    fields.find(|(own, _)| *own == name).map(|(_, value)| &**value)
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?').unwrap();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

#[test]
fn a_client_logs_in_and_refreshes() {
    let login = login();
    let mut client = Visitor::new(&login, 1);
    let mut browser = Visitor::new(&login, 2);
    let client_id = registered(&mut client);
    let pending = browser.page(&client_id);
    let state = browser.approve(&pending).unwrap();
    let response = browser.callback(&state);
    let location = field(&response, "location").unwrap();
    assert!(location.starts_with("http://localhost:7/cb?code="), "{location}");
    assert_eq!(parameter(location, "state").as_deref(), Some("client-state"));
    assert_eq!(parameter(location, "iss").as_deref(), Some("https://mcp.example.com"));
    let code = parameter(location, "code").unwrap();
    let step = client.redeem(&client_id, &code, &[("resource", RESOURCE)]);
    let body = handed_on(&mut client, step, "authorization_code", Some("r-1"));
    let refresh_token = body["refresh_token"].as_str().unwrap();
    assert_eq!(body["access_token"], "a.b.c");
    let step = client
        .token(&client_id, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]);
    let body = handed_on(&mut client, step, "refresh_token", None);
    assert!(body["refresh_token"].is_string(), "the old one stays valid");
}

/// Plays the provider's token endpoint and the judgement of its token. Returns the client's
/// response.
fn handed_on(client: &mut Visitor<'_>, step: Step, grant: &str, refresh: Option<&str>) -> Value {
    let step = client.discovered(step);
    let Step::Exchange(id, request, exchange) = step else {
        panic!("the provider gets no request")
    };
    let form: Vec<(String, String)> =
        form_urlencoded::parse(request.body.as_deref().unwrap()).into_owned().collect();
    assert_eq!(form.first().unwrap().1, grant);
    let mut tokens = json!({"access_token": "a.b.c", "token_type": "Bearer"});
    if let Some(refresh) = refresh {
        tokens["refresh_token"] = json!(refresh);
    }
    let response = Ok(json_response(200, &tokens));
    let Step::Judge(id, issued, stage) = client.login.on_exchanged(id, *exchange, response) else {
        panic!("the token is not judged")
    };
    assert_eq!(issued.token(), "a.b.c");
    let accepted = TokenJudgement::Accepted { expires: UnixTime::from_secs(1_800_003_600) };
    let random = &mut client.random();
    let step = client.login.on_judged(id, stage, *issued, accepted, NOW, random);
    let response = client.response(step);
    assert_eq!(response.status, 200);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["expires_in"], 3600, "the time until its own end");
    body
}

#[test]
fn a_token_that_would_be_refused_is_not_issued_and_the_reason_is_named() {
    let login = login();
    let mut client = Visitor::new(&login, 1);
    let client_id = registered(&mut client);
    let mut browser = Visitor::new(&login, 2);
    let pending = browser.page(&client_id);
    let state = browser.approve(&pending).unwrap();
    let response = browser.callback(&state);
    let code = parameter(field(&response, "location").unwrap(), "code").unwrap();
    let step = client.redeem(&client_id, &code, &[]);
    let Step::Exchange(id, _, exchange) = client.discovered(step) else { panic!() };
    let response = json_response(200, &json!({"access_token": "a.b.c"}));
    let Step::Judge(id, issued, stage) = login.on_exchanged(id, *exchange, Ok(response)) else {
        panic!()
    };
    let refused = TokenJudgement::Refused {
        reason: "audience_mismatch",
        cause: "the token is for another audience".to_owned(),
        values: "aud: x; configured: y".to_owned(),
        fix: "Add it to client_ids.",
        details: "{}".to_owned(),
    };
    let step =
        login.on_judged(id, stage, *issued, refused, NOW, &mut Randomness::from_seed([1; 32]));
    let response = client.response(step);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &body["error"]), (400, &json!("invalid_grant")));
    let description = body["error_description"].as_str().unwrap();
    assert_eq!(
        description,
        "the token that the identity provider issued would be refused here (audience_mismatch): \
         the token is for another audience (aud: x; configured: y). Add it to client_ids."
    );
    assert!(!body.to_string().contains("a.b.c"));
}

#[test]
fn a_consent_in_one_browser_is_not_valid_in_another() {
    let login = login();
    let client_id = registered(&mut Visitor::new(&login, 1));
    let mut attacker = Visitor::new(&login, 2);
    let mut victim = Visitor::new(&login, 3);
    let pending = attacker.page(&client_id);
    victim.page(&client_id);
    assert_eq!(victim.approve(&pending), None, "the page was made for the attacker's browser");
    let state = attacker.approve(&pending).unwrap();
    assert_eq!(victim.callback(&state).status, 400);
    assert_eq!(attacker.callback(&state).status, 303, "the twin");
}

#[test]
fn an_approval_without_the_page_of_this_gateway_is_refused() {
    let login = login();
    let client_id = registered(&mut Visitor::new(&login, 1));
    let mut browser = Visitor::new(&login, 2);
    browser.page(&client_id);
    for more in [
        &[][..],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://mcp.example.com"), ("sec-fetch-dest", "iframe")],
    ] {
        let step = browser.head("POST", "/oauth/authorize", more);
        assert_eq!(browser.response(step).status, 400, "{more:?}");
    }
}

#[test]
fn a_cancelled_login_returns_access_denied() {
    let login = login();
    let client_id = registered(&mut Visitor::new(&login, 1));
    let mut browser = Visitor::new(&login, 2);
    let pending = browser.page(&client_id);
    let own = [("origin", "https://mcp.example.com")];
    let step = browser.head("POST", "/oauth/authorize", &own);
    let step = browser.body(step, &[("request", &pending), ("cancel", "1")]);
    let response = browser.response(step);
    let location = field(&response, "location").unwrap();
    assert_eq!(parameter(location, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(location, "iss").as_deref(), Some("https://mcp.example.com"));
}

#[test]
fn a_remembered_consent_skips_the_page_only_if_the_person_started_the_login() {
    let login = Login { consent: ConsentMode::Remember, ..login() };
    let client_id = registered(&mut Visitor::new(&login, 1));
    let mut browser = Visitor::new(&login, 2);
    let pending = browser.page(&client_id);
    let own = [("origin", "https://mcp.example.com")];
    let step = browser.head("POST", "/oauth/authorize", &own);
    let step = browser.body(step, &[("request", &pending), ("provider", "example")]);
    let step = browser.discovered(step);
    let response = browser.response(step);
    let cookies = response.headers.iter().filter(|(name, _)| *name == "set-cookie");
    let cookies: Vec<&str> = cookies.map(|(_, value)| value.split(';').next().unwrap()).collect();
    browser.cookie = Some(cookies.join("; "));
    for (site, hint, skips) in [
        (Some("none"), None, true),
        (Some("same-origin"), None, true),
        (Some("same-site"), None, false),
        (Some("cross-site"), None, false),
        (None, None, false),
        (Some("none"), Some(("login_hint", "ada@example.com")), false),
    ] {
        let path = authorize_path(&client_id, hint.as_slice());
        let fields: Vec<_> = site.iter().map(|site| ("sec-fetch-site", *site)).collect();
        let step = browser.head("GET", &path, &fields);
        assert_eq!(matches!(step, Step::Discover(..)), skips, "{site:?} {hint:?}");
    }
}

#[test]
fn an_unknown_client_is_told_to_register_again() {
    let login = login();
    let mut client = Visitor::new(&login, 1);
    let step = client.token("forged", &[("grant_type", "refresh_token")]);
    let response = client.response(step);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &body["error"]), (401, &json!("invalid_client")));
    let step = client.head("GET", &authorize_path("forged", &[]), &[]);
    let response = client.response(step);
    assert_eq!((response.status, field(&response, "location")), (400, None));
}

#[test]
fn the_login_serves_only_the_paths_of_its_endpoints() {
    let login = login();
    let endpoint =
        |authority: &str, path: &str| login.endpoint(authority.as_bytes(), path.as_bytes());
    assert_eq!(endpoint("mcp.example.com", "/oauth/token"), Some(LoginEndpoint::Token));
    assert_eq!(endpoint("MCP.example.com:443", "/oauth/token"), Some(LoginEndpoint::Token));
    for path in [
        "/oauth/tokens",
        "/oauth/callback/other",
        "/oauth/callback/example/x",
        // A route that limits `/oauth/token` does not match these paths.
        "/oauth/token/",
        "/oauth/%74oken",
    ] {
        assert_eq!(endpoint("mcp.example.com", path), Some(LoginEndpoint::Missing), "{path}");
    }
    for (authority, path) in [
        ("mcp.example.com", "/oauth"),
        ("mcp.example.com", "/oauthx/token"),
        ("mcp.example.com", "/mcp"),
        ("other.example.com", "/oauth/token"),
        ("mcp.example.com:8443", "/oauth/token"),
    ] {
        assert_eq!(endpoint(authority, path), None, "{authority}{path}");
    }
}

#[test]
fn a_host_for_the_login_serves_nothing_else() {
    let mut login = login();
    login.issuer = Issuer::parse("https://login.example.com").unwrap();
    let of = |login: &Login, authority: &str, path: &str| {
        login.endpoint(authority.as_bytes(), path.as_bytes())
    };
    let others = ["/", "/mcp", "/healthz", "/oauth", "/oauth/token/", "/a%2fb", "*"];
    for path in others {
        assert_ne!(of(&login, "login.example.com:8443", path), Some(LoginEndpoint::Missing));
    }
    login.has_own_host = true;
    for path in others {
        for authority in ["login.example.com", "LOGIN.example.com:443", "login.example.com:8443"] {
            let found = of(&login, authority, path);
            assert_eq!(found, Some(LoginEndpoint::Missing), "{authority} {path}");
        }
        assert_eq!(of(&login, "mcp.example.com", path), None, "{path}");
    }
    for (path, endpoint) in [
        ("/oauth/token", LoginEndpoint::Token),
        ("/.well-known/oauth-authorization-server", LoginEndpoint::Metadata),
    ] {
        assert_eq!(of(&login, "login.example.com", path), Some(endpoint), "{path}");
        assert_eq!(of(&login, "mcp.example.com", path), None, "{path}");
    }
}
