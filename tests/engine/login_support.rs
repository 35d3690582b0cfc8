//! A login in the scripted host: the tests play the client, the browser and the provider.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{SigningKey, form, form_of, s256};

use crate::host::{Call, LocalResponse, Outcome, SharedData, Vm};
use crate::provider::{AUDIENCE, ISSUER, claims, configuration, fetch, key, start};

pub const ORIGIN: &str = "https://mcp.example.com";
pub const HOST: &str = "mcp.example.com";
pub const RESOURCE: &str = "https://mcp.example.com/mcp";
pub const REDIRECT_URI: &str = "http://localhost:7777/callback";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A configuration with one provider at which people log in.
pub fn with_login() -> Value {
    let mut configuration = configuration();
    configuration["secret"] = json!({"env": "SECRET"});
    configuration["login"] = json!({});
    configuration["resource"]["scopes_supported"] = json!(["read"]);
    configuration["providers"][0]["login"] =
        json!({"client_id": "gateway", "client_secret_env": "GATEWAY_SECRET"});
    configuration
}

/// A gateway that has fetched the keys of its provider.
pub struct Gateway {
    pub vm: Vm,
    pub key: SigningKey,
}

impl Gateway {
    pub fn start() -> Self {
        Self::start_with(&with_login())
    }

    pub fn start_with(configuration: &Value) -> Self {
        Self::start_sharing(configuration, &SharedData::default())
    }

    pub fn start_sharing(configuration: &Value, shared: &SharedData) -> Self {
        let key = key("one");
        let vm = start(configuration, shared);
        fetch(&vm, &[&key]);
        Self { vm, key }
    }

    /// A gateway, a client, and a code for the client.
    pub fn with_code(configuration: &Value) -> (Self, String, String) {
        let gateway = Self::start_with(configuration);
        let client_id = gateway.register();
        let code = gateway.code(&client_id);
        (gateway, client_id, code)
    }

    /// A token of the provider for this server.
    pub fn token(&self) -> String {
        self.key.token(&claims(ISSUER, AUDIENCE))
    }

    /// Registers a client. Returns its id.
    pub fn register(&self) -> String {
        let metadata = json!({"redirect_uris": [REDIRECT_URI], "client_name": "Test client"});
        let response = self.post("/oauth/register", JSON, metadata.to_string().as_bytes());
        assert_eq!(response.status, 201, "{response:?}");
        response.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// Sends a request with a body. Returns the response, which must arrive at once.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> LocalResponse {
        responded(&self.vm.outcome(self.open_post(path, content_type, body)))
    }

    /// Sends a request with a body whose response may arrive later. Returns the stream.
    pub fn open_post(&self, path: &str, content_type: &str, body: &[u8]) -> u32 {
        let (id, outcome) = self.vm.open(&[
            (":method", b"POST"),
            (":path", path.as_bytes()),
            (":authority", HOST.as_bytes()),
            ("content-type", content_type.as_bytes()),
        ]);
        if matches!(outcome, Outcome::Paused) {
            self.vm.send_body(id, body, true);
        }
        id
    }

    pub fn get(&self, path: &str) -> LocalResponse {
        let fields = [(":method", "GET"), (":path", path), (":authority", HOST)];
        let fields = fields.map(|(name, value)| (name, value.as_bytes()));
        responded(&self.vm.request(&fields).1)
    }

    /// Runs a login up to the client's code.
    pub fn code(&self, client_id: &str) -> String {
        let mut browser = Browser::default();
        let page = browser.open(self, &authorize(client_id, &[]));
        let to_provider = browser.approve(self, &page);
        let location = browser.return_from_provider(self, &to_provider, &[("code", "p-code")]);
        location.parameters["code"].clone()
    }

    /// A token request, and its stream.
    pub fn open_token(&self, pairs: &[(&str, &str)]) -> u32 {
        self.open_post("/oauth/token", FORM, form_of(pairs).as_bytes())
    }

    /// A token request whose response arrives at once.
    pub fn token_request(&self, pairs: &[(&str, &str)]) -> LocalResponse {
        responded(&self.vm.outcome(self.open_token(pairs)))
    }

    /// Exchanges a code for which the provider issues these tokens.
    pub fn exchange(&self, client_id: &str, code: &str, tokens: &Value) -> LocalResponse {
        let id = self.open_token(&code_request(client_id, code));
        respond_with_tokens(&self.vm, tokens);
        responded(&self.vm.outcome(id))
    }
}

pub const FORM: &str = "application/x-www-form-urlencoded";
pub const JSON: &str = "application/json";

pub fn code_request<'a>(client_id: &'a str, code: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ]
}

pub fn refresh_request<'a>(client_id: &'a str, token: &'a str) -> [(&'a str, &'a str); 3] {
    [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", token)]
}

/// The path of an authorization request, with these parameters in place of the defaults.
pub fn authorize(client_id: &str, changes: &[(&str, &str)]) -> String {
    let challenge = s256(VERIFIER);
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "client-state"),
        ("resource", RESOURCE),
    ];
    for (name, value) in changes {
        pairs.retain(|(own, _)| own != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    format!("/oauth/authorize?{}", form_of(&pairs))
}

/// The URL that a response redirects a browser to.
#[derive(Debug)]
pub struct Location {
    pub url: String,
    pub parameters: BTreeMap<String, String>,
}

impl Location {
    #[track_caller]
    pub fn of(response: &LocalResponse) -> Self {
        assert_eq!(response.status, 303, "{response:?}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let (url, query) = response.header("location").unwrap().split_once('?').unwrap();
        Self { url: url.to_owned(), parameters: form(query) }
    }
}

/// A browser with its cookies.
#[derive(Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn cookie(&self) -> String {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        cookies.collect::<Vec<_>>().join("; ")
    }

    fn fields<'a>(method: &'a str, path: &'a str, cookie: &'a str) -> Vec<(&'a str, &'a [u8])> {
        let mut fields = vec![
            (":method", method.as_bytes()),
            (":path", path.as_bytes()),
            (":authority", HOST.as_bytes()),
            ("sec-fetch-dest", b"document"),
            ("sec-fetch-mode", b"navigate"),
        ];
        if !cookie.is_empty() {
            fields.push(("cookie", cookie.as_bytes()));
        }
        fields
    }

    /// Keeps the cookies of a response.
    pub fn keep(&mut self, response: &LocalResponse) {
        for (_, cookie) in response.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let cookie = std::str::from_utf8(cookie).unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Opens a path with this `Sec-Fetch-Site`. Returns the stream.
    pub fn visit(&self, gateway: &Gateway, path: &str, site: &str) -> u32 {
        let cookie = self.cookie();
        let mut fields = Self::fields("GET", path, &cookie);
        fields.push(("sec-fetch-site", site.as_bytes()));
        gateway.vm.request(&fields).0
    }

    /// Opens a page by a link from another site.
    #[track_caller]
    pub fn open(&mut self, gateway: &Gateway, path: &str) -> LocalResponse {
        let id = self.visit(gateway, path, "cross-site");
        let response = responded(&gateway.vm.outcome(id));
        self.keep(&response);
        response
    }

    /// Sends the form of a page. Returns the stream.
    pub fn submit(
        &self,
        gateway: &Gateway,
        page: &LocalResponse,
        button: (&str, &str),
        more: &[(&str, &str)],
    ) -> u32 {
        let sealed = hidden(page, "request");
        let body = form_of(&[("request", &sealed), button]);
        let cookie = self.cookie();
        let mut fields = Self::fields("POST", "/oauth/authorize", &cookie);
        fields.push(("content-type", FORM.as_bytes()));
        for (name, value) in [("origin", ORIGIN), ("sec-fetch-site", "same-origin")] {
            match more.iter().find(|(own, _)| *own == name) {
                Some((_, "")) => {}
                Some((_, other)) => fields.push((name, other.as_bytes())),
                None => fields.push((name, value.as_bytes())),
            }
        }
        let (id, outcome) = gateway.vm.open(&fields);
        if matches!(outcome, Outcome::Paused) {
            gateway.vm.send_body(id, body.as_bytes(), true);
        }
        id
    }

    /// Chooses the provider on a page. Returns the URL that this leads to, at the provider.
    #[track_caller]
    pub fn approve(&mut self, gateway: &Gateway, page: &LocalResponse) -> Location {
        let id = self.submit(gateway, page, ("provider", "example"), &[]);
        respond_with_endpoints(&gateway.vm);
        let response = responded(&gateway.vm.outcome(id));
        self.keep(&response);
        Location::of(&response)
    }

    /// Returns from the provider with these parameters, and `state`.
    pub fn come_back(
        &self,
        gateway: &Gateway,
        to_provider: &Location,
        pairs: &[(&str, &str)],
    ) -> LocalResponse {
        let state = ("state", to_provider.parameters["state"].as_str());
        let query = form_of(&[pairs, &[state]].concat());
        let path = format!("/oauth/callback/example?{query}");
        let cookie = self.cookie();
        // After a redirect by another site, the fetch metadata does not matter.
        let fields = Self::fields("GET", &path, &cookie);
        responded(&gateway.vm.request(&fields).1)
    }

    /// Returns from the provider in a login that succeeds.
    #[track_caller]
    pub fn return_from_provider(
        &self,
        gateway: &Gateway,
        to_provider: &Location,
        pairs: &[(&str, &str)],
    ) -> Location {
        Location::of(&self.come_back(gateway, to_provider, pairs))
    }
}

/// The value of a hidden field of a page.
#[track_caller]
pub fn hidden(page: &LocalResponse, name: &str) -> String {
    let body = text(page);
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = body.split_once(&start).unwrap_or_else(|| panic!("no {name}: {body}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The body of a response.
pub fn text(response: &LocalResponse) -> String {
    String::from_utf8(response.body.clone()).unwrap()
}

pub fn is_waiting(gateway: &Gateway, id: u32) -> bool {
    matches!(gateway.vm.outcome(id), Outcome::Paused)
}

#[track_caller]
pub fn responded(outcome: &Outcome) -> LocalResponse {
    let Outcome::Refused(response) = outcome else { panic!("no response: {outcome:?}") };
    response.clone()
}

/// Asserts that an endpoint for programs refused with this error.
#[track_caller]
pub fn assert_error(response: &LocalResponse, status: u32, error: &str) {
    assert_eq!((response.status, response.json()["error"].as_str()), (status, Some(error)));
    assert_eq!(response.header("retry-after").is_some(), status == 503);
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

/// The provider's metadata.
pub fn endpoints() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/jwks"),
    })
}

/// Responds to the request for the provider's metadata, if there is one.
pub fn respond_with_endpoints(vm: &Vm) {
    for call in vm.calls() {
        if call.path() == "/.well-known/openid-configuration" {
            vm.respond(&call, "200", &[], endpoints().to_string().as_bytes());
        }
    }
}

/// The callout to the provider's token endpoint, after that for its metadata.
#[track_caller]
pub fn token_call(vm: &Vm) -> Call {
    respond_with_endpoints(vm);
    let call = vm.call();
    assert_eq!(call.path(), "/token");
    call
}

/// Lets the provider's token endpoint return these tokens.
pub fn respond_with_tokens(vm: &Vm, tokens: &Value) {
    vm.respond(&token_call(vm), "200", &[], tokens.to_string().as_bytes());
}

/// Whether a line of the log contains this.
pub fn logged(string: &str) -> bool {
    crate::host::log().iter().any(|line| line.contains(string))
}
