use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, IdentityProvider, LoginBrowser, LoginClient, LoginProvider, LoginShape,
    McpServer, Port, Response, SigningKey, Stack, now, random_id,
};

use crate::report::{Outcome, Report, Seen};

/// The name in the record of the user whose tokens say `ada@example.com`.
const USER: &str = "ada";
const ROLE: &str = "itil";
const SERVICE_ACCOUNT: &str = "incident-robot";
/// The client that calls on its own behalf, and the audience that distinguishes its tokens.
const CLIENT: &str = "robot-client";
const ROBOTS: &str = "robots";
/// The provider at which people log in through the gateway, and the audience of its tokens.
const LOGIN: &str = "login";
const LOGIN_AUDIENCE: &str = "people";

/// Starts the parts, makes the calls and prints the table; fails if a result is unexpected.
pub(crate) async fn run() -> ExitCode {
    eprintln!("Starting an identity provider and an MCP server ...");
    let provider = IdentityProvider::start().await;
    let rs256 = provider.key();
    let es256 = SigningKey::generate(Algorithm::Es256, "key-of-es256");
    provider.add_key(es256.clone());
    let server = McpServer::start().await;
    let login = LoginProvider::start_as(LoginShape::plain(LOGIN_AUDIENCE)).await;
    let configured = login.configuration(LOGIN);
    eprintln!("  identity provider  {}", provider.issuer());
    eprintln!("  MCP server         {}", server.url());

    eprintln!("Starting Envoy with the plugin, as envoy/envoy.yaml says, on free ports ...");
    let stack = crate::builder()
        .alone()
        .workers(2)
        .provider(provider)
        .server(server)
        .cluster(LOGIN, login.address())
        .configure(add_users)
        .configure(|configuration| add_login(configuration, configured))
        .edit(add_secrets)
        .start()
        .await;
    eprintln!("  protected          {}", stack.url());

    eprintln!("Calling the MCP server's tool `whoami` through Envoy ...");
    let mut teller = Teller { stack, login, report: Report::default() };
    let allowed = teller.allowed(&rs256, &es256).await;
    teller.users(&rs256).await;
    let refused = teller.refused(&rs256).await;
    teller.rotation().await;
    eprintln!("Holding a session with the official MCP client ...");
    teller.session().await;
    eprintln!("Logging in as a client that no one has registered ...");
    teller.login().await;
    eprintln!("Starting another Envoy, as envoy/gateway.yaml says: three MCP servers ...");
    teller.servers().await;
    show_identity(&allowed);
    show_refusal(&refused);
    let colourful = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
    print!("\n{}", teller.report.text(colourful));
    match teller.report.surprises() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Records of a user and of a service account; tokens of clients are matched by another claim.
fn add_users(configuration: &mut Value) {
    configuration["users"] = json!({"records": [
        {"user_name": USER, "email": "ada@example.com", "roles": [ROLE]},
        {"user_name": SERVICE_ACCOUNT, "client_id": CLIENT, "web_service_access_only": true},
    ]});
    let people = &mut configuration["providers"][0];
    people["user_claim"] = json!("email");
    people["user_field"] = json!("email");
    let mut robots = people.clone();
    robots["name"] = json!(ROBOTS);
    robots["client_ids"] = json!([ROBOTS]);
    robots["user_claim"] = json!("client_id");
    robots["user_field"] = json!("client_id");
    if let Some(providers) = configuration["providers"].as_array_mut() {
        providers.push(robots);
    }
}

/// The gateway as the authorization server that clients see.
fn add_login(configuration: &mut Value, provider: Value) {
    configuration["secret"] = json!({"env": "MCP_AUTH_SECRET"});
    configuration["login"] = json!({});
    if let Some(providers) = configuration["providers"].as_array_mut() {
        providers.push(provider);
    }
}

fn add_secrets(bootstrap: &mut Bootstrap) {
    bootstrap.plugin()["vm_config"]["environment_variables"] = json!({"key_values": {
        "MCP_AUTH_SECRET": random_id() + &random_id(),
        "LOGIN_SECRET": LoginProvider::CLIENT[1],
    }});
}

struct Teller {
    stack: Stack,
    login: LoginProvider,
    report: Report,
}

impl Teller {
    /// Returns the identity headers of the first call.
    async fn allowed(
        &mut self,
        rs256: &SigningKey,
        es256: &SigningKey,
    ) -> BTreeMap<String, String> {
        let claims = self.stack.claims();
        self.call("a good token, RS256", &rs256.token(&claims), Outcome::allowed(USER, "demo"))
            .await;
        let requests = self.stack.server.requests();
        let identity = requests.first().map(|request| request.identity()).unwrap_or_default();
        self.call("a good token, ES256", &es256.token(&claims), Outcome::allowed(USER, "demo"))
            .await;
        let forged = self
            .stack
            .request()
            .bearer_auth(rs256.token(&claims))
            .header("x-mcp-user", "root")
            .header("x-mcp-roles", "admin");
        let expected = Outcome::allowed(USER, "demo");
        self.send("a good token, and forged x-mcp-user: root", forged, expected).await;
        identity
    }

    /// The users of the tokens, and that no other user passes.
    async fn users(&mut self, rs256: &SigningKey) {
        let mut claims = self.stack.claims();
        claims["aud"] = json!(ROBOTS);
        claims["client_id"] = json!(CLIENT);
        claims["sub"] = json!(CLIENT);
        let expected = Outcome::allowed(SERVICE_ACCOUNT, ROBOTS);
        self.call("a client's token for itself", &rs256.token(&claims), expected).await;

        let mut claims = self.stack.claims();
        claims["email"] = json!("mallory@example.com");
        let expected = Outcome::refused(403, "user_unknown");
        self.call("a token of a user without a record", &rs256.token(&claims), expected).await;
    }

    /// Returns the response to the call without a token.
    async fn refused(&mut self, rs256: &SigningKey) -> Response {
        let none = self.stack.request();
        let expected = Outcome::refused(401, "missing_token");
        let response = self.send("no token", none, expected).await;

        let expected = Outcome::refused(401, "malformed_token");
        self.call("something that is not a token", "garbage", expected).await;

        let mut claims = self.stack.claims();
        claims["exp"] = json!(now() - 3600);
        let expected = Outcome::refused(401, "expired");
        self.call("a token that expired an hour ago", &rs256.token(&claims), expected).await;

        let mut claims = self.stack.claims();
        claims["aud"] = json!("another-service");
        let expected = Outcome::refused(401, "audience_mismatch");
        self.call("a token for another service", &rs256.token(&claims), expected).await;

        let mut claims = self.stack.claims();
        claims["iss"] = json!("https://stranger.example.com");
        let expected = Outcome::refused(401, "unknown_issuer");
        self.call("a token of an unknown issuer", &rs256.token(&claims), expected).await;

        let forger = SigningKey::generate(Algorithm::Rs256, rs256.kid());
        let token = forger.token(&self.stack.claims());
        let expected = Outcome::refused(401, "bad_signature");
        self.call("a token signed by a forger's key", &token, expected).await;
        response
    }

    /// A new key is accepted without a restart, an unpublished key is not.
    async fn rotation(&mut self) {
        eprintln!("Rotating the identity provider's keys ...");
        let new = self.stack.provider.rotate(Algorithm::Rs256);
        let claims = self.stack.claims();
        let token = new.token(&claims);
        self.call("a token of the provider's new key", &token, Outcome::allowed(USER, "demo"))
            .await;
        // Last, because an unknown key makes the plugin fetch keys, but not again within the
        // cooldown.
        let stranger = SigningKey::generate(Algorithm::Rs256, "unpublished-key");
        let expected = Outcome::refused(401, "unknown_kid");
        self.call("a token of an unpublished key", &stranger.token(&claims), expected).await;
    }

    async fn session(&mut self) {
        self.stack.server.clear();
        let status = match self.hold_session().await {
            Ok(()) => "200".to_owned(),
            Err(error) => {
                eprintln!("  it failed: {error}");
                "failed".to_owned()
            }
        };
        let actual = Outcome { status, reason: String::new(), seen: self.seen() };
        let call = "a session: initialize, list tools, call";
        self.report.add(call, Outcome::allowed(USER, "demo"), actual);
    }

    async fn hold_session(&self) -> Result<(), String> {
        let session = self.stack.session(&self.stack.token()).await?;
        let tools = session.tools().await?;
        if !tools.iter().any(|tool| tool == "whoami") {
            return Err(format!("no tool whoami among {tools:?}"));
        }
        let identity = session.whoami().await?;
        session.close().await;
        match identity["x-mcp-user"] == USER {
            true => Ok(()),
            false => Err(format!("whoami says {identity}")),
        }
    }

    /// From the URL of the server alone: the client registers, a person approves it on the page and
    /// logs in, and the client calls with the token.
    async fn login(&mut self) {
        self.stack.server.clear();
        let address = self.stack.envoy.address();
        let mut client = LoginClient::discover(&self.stack.url(), address).await;
        client.register().await;
        let mut browser = LoginBrowser::new([
            (self.stack.envoy.url(""), address),
            (self.login.issuer(), self.login.address()),
        ]);
        let page = browser.open(&client.authorization_url("mcp.tools")).await;
        let approved = browser.press(&page, "provider", LOGIN).await;
        let issued = client.redeem(&client.code(&approved)).await;
        let token = issued.body["access_token"].as_str().unwrap_or_default();
        let response = client.call(token).await;
        let actual = Outcome {
            status: response.status.to_string(),
            reason: response.reason().to_owned(),
            seen: self.seen(),
        };
        let call = "register, sign in by the page, call";
        self.report.add(call, Outcome::allowed(USER, LOGIN), actual);
    }

    /// A token for one of several servers, at that server and at another one.
    async fn servers(&mut self) {
        let partners = IdentityProvider::start().await;
        let staff = &self.stack.provider;
        let port = Port::free();
        let number = port.number();
        let issuers = [staff.issuer(), partners.issuer()];
        let issuers = issuers.each_ref().map(String::as_str);
        let mut bootstrap = Bootstrap::gateway_example(number, issuers);
        bootstrap.set_cluster("staff", staff.address());
        bootstrap.set_cluster("partners", partners.address());
        for server in ["incidents", "reports", "payroll"] {
            bootstrap.set_cluster(server, self.stack.server.address());
        }
        let envoy = crate::with_module(bootstrap).port(port).start().await;

        let url = |path: &str| format!("http://localhost:{number}{path}");
        let token = partners.token(&partners.claims(&url("/reports/mcp")));
        for (what, path, expected) in [
            (
                "a token for the server `reports`, there",
                "/reports/mcp",
                Outcome::allowed(USER, "partners"),
            ),
            (
                "the same token at the server `incidents`",
                "/incidents/mcp",
                Outcome::refused(401, "audience_mismatch"),
            ),
        ] {
            let request = Response::mcp_call(self.stack.client(), &url(path)).bearer_auth(&token);
            self.send(what, request, expected).await;
        }
        drop(envoy);
    }

    async fn call(&mut self, what: &str, token: &str, expected: Outcome) -> Response {
        let request = self.stack.request().bearer_auth(token);
        self.send(what, request, expected).await
    }

    async fn send(&mut self, what: &str, request: RequestBuilder, expected: Outcome) -> Response {
        self.stack.server.clear();
        let response = self.stack.send(request).await;
        let actual = Outcome {
            status: response.status.to_string(),
            reason: response.reason().to_owned(),
            seen: self.seen(),
        };
        self.report.add(what, expected, actual);
        response
    }

    /// From the MCP server's own record: what arrived, not what the response suggests.
    fn seen(&self) -> Seen {
        let requests = self.stack.server.requests();
        if requests.iter().any(|request| !request.header("authorization").is_empty()) {
            return Seen::Wrong("the caller's token");
        }
        let mut roles = requests.iter().flat_map(|request| request.header("x-mcp-roles"));
        if roles.any(|roles| roles != ROLE.as_bytes()) {
            return Seen::Wrong("roles that were not granted");
        }
        let mut identities = requests.iter().map(|request| {
            let mut identity = request.identity();
            identity.retain(|name, _| Seen::SHOWN.contains(&name.as_str()));
            identity
        });
        let Some(first) = identities.next() else {
            return Seen::Nothing;
        };
        match identities.all(|other| other == first) {
            true => Seen::Identity(first),
            false => Seen::Wrong("several identities in one call"),
        }
    }
}

fn show_identity(identity: &BTreeMap<String, String>) {
    println!();
    println!("The identity headers that the MCP server got with the first call (not the token):");
    for (name, value) in identity {
        println!("  {name}: {value}");
    }
}

fn show_refusal(response: &Response) {
    println!();
    println!("The response to the caller without a token:");
    println!("  HTTP status {}", response.status);
    println!("  www-authenticate: {}", response.header("www-authenticate"));
    println!("  {}", response.text.trim_end());
}
