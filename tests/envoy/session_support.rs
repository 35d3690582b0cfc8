//! What the tests of bound sessions start and observe.

use serde_json::{Value, json};
use testbed::{
    Algorithm, RawRequest, RawServer, Response, SigningKey, Stack, StackBuilder, raw_exchange,
};

use crate::login_support::SECRET;
use crate::support::{claims_of, close_at_once, faults_of_refusal, named, parsed, static_provider};

/// The session id that the server returns.
pub const ID: &str = "3f0c1f5d-7e9b-4a53";
pub const METHODS: [&str; 3] = ["POST", "GET", "DELETE"];
pub const PROVIDERS: [&str; 2] = ["house", "annex"];

/// An Envoy that binds sessions, in front of a server that returns the same id in each response.
pub struct Setup {
    pub stack: Stack,
    pub server: RawServer,
    pub key: SigningKey,
}

/// The option that binds sessions with these secrets: the current and the previous one.
pub fn bound(builder: StackBuilder, [current, previous]: [&str; 2]) -> StackBuilder {
    let variables = json!({"CURRENT_SECRET": current, "PREVIOUS_SECRET": previous});
    let has_previous = !previous.is_empty();
    builder
        .configure(move |configuration| {
            configuration["sessions"] = json!({"bind": true});
            configuration["secret"] = json!({"env": "CURRENT_SECRET"});
            if has_previous {
                configuration["secret"]["previous_env"] = json!("PREVIOUS_SECRET");
            }
        })
        .edit(move |bootstrap| {
            bootstrap.plugin()["vm_config"]["environment_variables"] =
                json!({"key_values": variables});
            close_at_once(bootstrap);
            bootstrap.connection_manager()["common_http_protocol_options"] =
                json!({"headers_with_underscores_action": "ALLOW"});
        })
}

impl Setup {
    pub async fn start() -> Self {
        Self::with(Stack::builder(), |_| {}).await
    }

    pub async fn with(
        builder: StackBuilder,
        configure: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, "one");
        Self::replica(builder, &key, [SECRET, ""], configure).await
    }

    /// One of several Envoys that differ only in their secrets.
    pub async fn replica(
        builder: StackBuilder,
        key: &SigningKey,
        secrets: [&'static str; 2],
        configure: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Self {
        let server = RawServer::start().await;
        let providers = PROVIDERS.map(|name| static_provider(name, &[key], json!({})));
        let stack = bound(builder, secrets)
            .cluster("mcp_server", server.address())
            .configure(move |configuration| {
                configuration["resource"]["url"] = json!("https://mcp.example.com/mcp");
                configuration["providers"] = json!(providers);
                configure(configuration);
            })
            .start()
            .await;
        let this = Self { stack, server, key: key.clone() };
        this.give(&format!("mcp-session-id: {ID}\r\n"));
        this
    }

    /// Makes the server respond with these header fields from now on.
    pub fn give(&self, fields: &str) {
        self.give_with("200 OK", fields);
    }

    pub fn give_with(&self, status: &str, fields: &str) {
        let response = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: 2\r\n{fields}\r\n{{}}"
        );
        self.server.respond_with(&[response.as_bytes()]);
    }

    /// A token of the first provider with these additional claims.
    pub fn token(&self, claims: Value) -> String {
        self.token_of(PROVIDERS[0], claims)
    }

    pub fn token_of(&self, provider: &str, claims: Value) -> String {
        let mut all = claims_of(provider);
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.key.token(&all)
    }

    /// Sends a request with these header fields, and with a message if it is a POST.
    pub async fn send(&self, method: &str, path: &str, fields: &str) -> Response {
        let body =
            if method == "POST" { r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"# } else { "" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{fields}\r\n{body}",
            body.len()
        );
        parsed(&raw_exchange(self.stack.envoy.address(), request.as_bytes()).await)
    }

    pub async fn call(&self, method: &str, token: &str, fields: &str) -> Response {
        let fields = format!("authorization: Bearer {token}\r\n{fields}");
        self.send(method, "/mcp", &fields).await
    }

    /// Uses a session.
    pub async fn resume(&self, method: &str, token: &str, session: &str) -> Response {
        self.call(method, token, &format!("mcp-session-id: {session}\r\n")).await
    }

    /// Starts a session, and returns the id that the client gets.
    pub async fn begin(&self, token: &str) -> String {
        let response = self.call("POST", token, "").await;
        assert_eq!(response.status, 200, "{response:?}");
        let given = response.header("mcp-session-id").to_owned();
        assert!(given.ends_with(&format!(".{ID}")), "{given}");
        self.server.take_requests();
        given
    }

    /// The session ids in the requests that reached the server since the last call.
    pub fn received(&self) -> Vec<Vec<String>> {
        let ids = |request: RawRequest| {
            let fields = request.headers.into_iter();
            let named = fields.filter(|(name, _)| name.contains("session"));
            named.map(|(_, value)| value).collect()
        };
        self.server.take_requests().into_iter().map(ids).collect()
    }

    /// What is wrong unless the session is valid for this token with each method.
    pub async fn faults_of_service(&self, what: &str, token: &str, session: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for method in METHODS {
            let response = self.resume(method, token, session).await;
            let received = self.received();
            if response.status != 200 || received != [[ID]] {
                faults.push(format!("{what}, {method}: {received:?}, {response:?}"));
            }
        }
        faults
    }

    /// What is wrong unless a request with these header fields is refused for its session with each
    /// method.
    pub async fn faults_of_refusals(&self, what: &str, token: &str, fields: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for method in METHODS {
            let response = self.call(method, token, fields).await;
            faults.extend(named(what, faults_of_refusal(&response, "session_mismatch")));
            let received = self.received();
            if !received.is_empty() {
                faults.push(format!("{what}, {method}: reached the server"));
            }
        }
        faults
    }
}
