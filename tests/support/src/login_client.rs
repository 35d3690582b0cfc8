use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use testkit::random_id;

use crate::login_browser::{SeenLogin, host_of, origin_of, parameter};
use crate::response::Response;

/// An MCP client that knows only the URL of a server, and is as strict as the specifications allow:
/// PKCE, `state`, and the issuer of each response (RFC 9207).
#[derive(Clone, Debug)]
pub struct LoginClient {
    http: Client,
    /// Where the gateway is, whatever host a URL names.
    address: SocketAddr,
    /// The MCP endpoint.
    pub url: String,
    /// The metadata of the authorization server.
    pub metadata: Value,
    /// What it got when it registered.
    pub client_id: String,
    /// Where it wants people to be sent back to.
    pub redirect_uri: String,
    verifier: String,
    state: String,
}

impl LoginClient {
    /// The redirect URI of a client on the person's machine.
    pub const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";

    /// Finds the authorization server from the challenge of an MCP endpoint at this address.
    ///
    /// # Panics
    ///
    /// If that cannot be done as the specifications say.
    pub async fn discover(url: &str, address: SocketAddr) -> Self {
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(60))
            .build()
            .expect("the client has nothing to object to");
        let mut this = Self {
            http,
            address,
            url: url.to_owned(),
            metadata: Value::Null,
            client_id: String::new(),
            redirect_uri: Self::REDIRECT_URI.to_owned(),
            verifier: random_id() + &random_id(),
            state: random_id(),
        };
        let refused = this.call("").await;
        assert_eq!(refused.status, 401, "{refused:?}");
        let challenge = refused.header("www-authenticate");
        let (_, metadata) = challenge.split_once("resource_metadata=\"").expect("it names them");
        let metadata = metadata.split('"').next().unwrap_or_default();
        let resource = this.get(metadata).await;
        assert_eq!(resource.body["resource"], url, "{resource:?}");
        let servers = resource.body["authorization_servers"].as_array().expect("it names some");
        assert_eq!(servers.len(), 1, "clients take the first one: {resource:?}");
        let issuer = servers[0].as_str().expect("it is a URL");
        this.metadata = this.server_metadata(issuer).await;
        this
    }

    /// Registers (RFC 7591), and remembers its id.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn register(&mut self) {
        let redirect_uri = self.redirect_uri.clone();
        let response = self.register_with(json!({
            "client_name": "A client of the tests",
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }));
        let response = response.await;
        assert_eq!(response.status, 201, "{response:?}");
        let client_id = response.body["client_id"].as_str().expect("there is an id");
        client_id.clone_into(&mut self.client_id);
    }

    /// Sends a registration request.
    pub async fn register_with(&self, metadata: Value) -> Response {
        let url = self.endpoint("registration_endpoint");
        self.send(self.http.post(self.reached(&url)).json(&metadata), &url).await
    }

    /// The URL that a browser must open, for these scopes.
    pub fn authorization_url(&self, scope: &str) -> String {
        self.authorization_url_with(&[("scope", scope)])
    }

    /// The same, with these parameters instead of its own, or in addition. An empty value omits
    /// one.
    pub fn authorization_url_with(&self, changes: &[(&str, &str)]) -> String {
        let challenge = testkit::s256(&self.verifier);
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &self.state),
            ("resource", &self.url),
        ];
        for (name, value) in changes {
            pairs.retain(|(own, _)| own != name);
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        format!("{}?{}", self.endpoint("authorization_endpoint"), testkit::form_of(&pairs))
    }

    /// The code of an authorization response that reached the client.
    ///
    /// # Panics
    ///
    /// If a strict client would refuse the response.
    pub fn code(&self, response: &SeenLogin) -> String {
        let url = &response.url;
        assert!(url.starts_with(&format!("{}?", self.redirect_uri)), "{response:?}");
        assert_eq!(parameter(url, "state").as_ref(), Some(&self.state), "{url}");
        assert_eq!(parameter(url, "iss").as_deref(), self.metadata["issuer"].as_str(), "{url}");
        assert_eq!(parameter(url, "error"), None, "{url}");
        parameter(url, "code").unwrap_or_else(|| panic!("no code: {url}"))
    }

    /// The error code of an authorization response that reached the client.
    ///
    /// # Panics
    ///
    /// If there is no error code, or a strict client would refuse the response.
    pub fn error(&self, response: &SeenLogin) -> String {
        let url = &response.url;
        assert!(url.starts_with(&format!("{}?", self.redirect_uri)), "{response:?}");
        assert_eq!(parameter(url, "iss").as_deref(), self.metadata["issuer"].as_str(), "{url}");
        assert_eq!(parameter(url, "code"), None, "{url}");
        parameter(url, "error").unwrap_or_else(|| panic!("no error: {url}"))
    }

    /// Exchanges a code.
    pub async fn redeem(&self, code: &str) -> Response {
        self.redeem_with(code, &[]).await
    }

    /// Exchanges a code with these parameters instead of its own, or in addition.
    pub async fn redeem_with(&self, code: &str, changes: &[(&str, &str)]) -> Response {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &self.verifier),
            ("resource", &self.url),
        ];
        self.token(&pairs, changes).await
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, refresh_token: &str) -> Response {
        self.refresh_with(refresh_token, &[]).await
    }

    /// The same with these parameters instead of its own, or in addition.
    pub async fn refresh_with(&self, refresh_token: &str, changes: &[(&str, &str)]) -> Response {
        let pairs = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("refresh_token", refresh_token),
            ("resource", &self.url),
        ];
        self.token(&pairs, changes).await
    }

    /// Calls the tool `whoami` with this token; without one if it is empty.
    pub async fn call(&self, token: &str) -> Response {
        let request = Response::mcp_call(&self.http, &self.reached(&self.url));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        self.send(request, &self.url).await
    }

    /// Turns to another address under the same URL, as a load balancer does.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The same client with a new verifier and `state`: each login has its own.
    pub fn for_new_login(&self) -> Self {
        Self { verifier: random_id() + &random_id(), state: random_id(), ..self.clone() }
    }

    /// The same client, which does not make a new connection for each request.
    pub fn with_kept_connections(&self) -> Self {
        let http = Client::builder().no_proxy().redirect(Policy::none()).build();
        Self { http: http.expect("the client has nothing to object to"), ..self.clone() }
    }

    /// Its PKCE verifier.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// An endpoint of the authorization server.
    ///
    /// # Panics
    ///
    /// If the metadata does not name it.
    pub fn endpoint(&self, name: &str) -> String {
        let url = self.metadata[name].as_str();
        url.unwrap_or_else(|| panic!("no {name}: {}", self.metadata)).to_owned()
    }

    async fn token(&self, own: &[(&str, &str)], changes: &[(&str, &str)]) -> Response {
        let mut pairs = own.to_vec();
        for (name, value) in changes {
            pairs.retain(|(own, _)| own != name);
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        self.post_form("token_endpoint", &testkit::form_of(&pairs)).await
    }

    /// Sends any form to an endpoint.
    pub async fn post_form(&self, endpoint: &str, form: &str) -> Response {
        let url = self.endpoint(endpoint);
        let request = self
            .http
            .post(self.reached(&url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        self.send(request, &url).await
    }

    async fn server_metadata(&self, issuer: &str) -> Value {
        let response = self.get(&format!("{issuer}/.well-known/oauth-authorization-server")).await;
        assert_eq!(response.status, 200, "{response:?}");
        // RFC 8414 §3.3, and MCP for S256.
        assert_eq!(response.body["issuer"], issuer, "{response:?}");
        let methods = &response.body["code_challenge_methods_supported"];
        assert_eq!(methods, &json!(["S256"]), "{response:?}");
        response.body
    }

    async fn get(&self, url: &str) -> Response {
        self.send(self.http.get(self.reached(url)), url).await
    }

    /// Sends a request for this URL.
    async fn send(&self, request: reqwest::RequestBuilder, url: &str) -> Response {
        let host = host_of(url);
        Response::read(request.header("host", host).send().await.expect("Envoy answers")).await
    }

    /// Where a URL of the gateway is.
    fn reached(&self, url: &str) -> String {
        let path = url.strip_prefix(origin_of(url)).unwrap_or_default();
        format!("http://{}{path}", self.address)
    }
}
