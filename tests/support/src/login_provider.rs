use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey, claims, random_id};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fault::{JSON, ServedResponse, read_whole, serve};
use crate::login_shape::{AccessToken, LoginShape, Refresh, ScopeClaim};
use crate::port::Port;

/// An identity provider at which a person logs in without doing anything, in the shape that a test
/// gives it. It checks what a strict provider checks: client, redirect URI, PKCE, and that a code
/// is used only once.
#[derive(Debug)]
pub struct LoginProvider {
    port: Port,
    shared: Arc<Mutex<State>>,
    /// The endpoint whose requests get no response for now.
    held: watch::Sender<Option<HeldEndpoint>>,
    server: JoinHandle<()>,
}

/// A request that reached a [`LoginProvider`].
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The path without the query.
    pub path: String,
    /// Its parameters: of the query, or of the form.
    pub parameters: BTreeMap<String, String>,
    /// The field `Authorization`, empty if there is none.
    pub authorization: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldEndpoint {
    Metadata,
    Token,
}

/// Changes a document before it is served.
type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

struct State {
    shape: LoginShape,
    /// The origin of its URLs.
    origin: String,
    /// The gateway's id.
    client_id: String,
    key: SigningKey,
    metadata: Vec<Edit>,
    tokens: Vec<Edit>,
    access_claims: Vec<Edit>,
    id_claims: Vec<Edit>,
    names_iss: bool,
    /// The error response of the token endpoint, if it issues no tokens.
    token_fault: Option<(u16, Value)>,
    /// Whether there are no keys.
    lacks_keys: bool,
    /// The error with which the authorization endpoint ends.
    authorization_error: Option<String>,
    codes: BTreeMap<String, Asked>,
    refresh_tokens: BTreeMap<String, Asked>,
    /// All codes and tokens so far.
    issued: Vec<String>,
    requests: Vec<LoginRequest>,
}

/// Scopes of OpenID Connect, which no API knows.
const OPEN_ID: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// The parameters of an authorization request.
type Asked = BTreeMap<String, String>;

impl LoginProvider {
    /// The gateway's id and secret at each of them.
    pub const CLIENT: [&str; 2] = ["gateway", "s3cret of the gateway"];

    /// Starts on a free port. Its access tokens are for this audience.
    pub async fn start(audience: &'static str) -> Self {
        Self::start_as(LoginShape::plain(audience)).await
    }

    /// Starts on a free port, in this shape.
    pub async fn start_as(shape: LoginShape) -> Self {
        let port = Port::free();
        let listener = port.listen().expect("the port is ours");
        let shared = Arc::new(Mutex::new(State {
            names_iss: shape.names_iss,
            shape,
            origin: format!("http://{}", port.address()),
            client_id: Self::CLIENT[0].to_owned(),
            key: SigningKey::generate(Algorithm::Rs256, "login-key"),
            metadata: Vec::new(),
            tokens: Vec::new(),
            access_claims: Vec::new(),
            id_claims: Vec::new(),
            token_fault: None,
            lacks_keys: false,
            authorization_error: None,
            codes: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            issued: Vec::new(),
            requests: Vec::new(),
        }));
        let state = shared.clone();
        let (held, holding) = watch::channel(None);
        let serve_one = move |stream| serve_one(stream, state.clone(), holding.clone());
        Self { port, shared, held, server: tokio::spawn(serve(listener, serve_one)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its name in metadata and ID tokens.
    pub fn issuer(&self) -> String {
        self.state().issuer()
    }

    /// Its shape.
    pub fn shape(&self) -> LoginShape {
        self.state().shape.clone()
    }

    /// Writes this origin into its URLs from now on; it still listens where it did.
    pub fn set_origin(&self, origin: &str) {
        origin.clone_into(&mut self.state().origin);
    }

    /// Knows the gateway under this id from now on.
    pub fn set_client_id(&self, client_id: &str) {
        client_id.clone_into(&mut self.state().client_id);
    }

    /// The plugin's configuration of this provider under this name, with a cluster of that name.
    pub fn configuration(&self, name: &str) -> Value {
        let state = self.state();
        let mut configuration = json!({
            "name": name,
            "issuer": state.issuer(),
            "client_ids": [state.shape.audience],
            "metadata_url": state.metadata_url(),
            "cluster": name,
            "login": {"client_id": Self::CLIENT[0], "client_secret_env": "LOGIN_SECRET"},
        });
        if state.shape.template != "generic" {
            configuration["template"] = json!(state.shape.template);
        }
        merge(&mut configuration, &state.shape.fields);
        configuration
    }

    /// Changes its metadata document from now on.
    pub fn edit_metadata(&self, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.state().metadata.push(Arc::new(edit));
    }

    /// Changes its token responses from now on.
    pub fn edit_tokens(&self, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.state().tokens.push(Arc::new(edit));
    }

    /// Changes the claims of its access tokens from now on.
    pub fn edit_access_claims(&self, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.state().access_claims.push(Arc::new(edit));
    }

    /// Changes the claims of its ID tokens from now on.
    pub fn edit_id_claims(&self, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.state().id_claims.push(Arc::new(edit));
    }

    /// Names its issuer in authorization responses from now on, and announces it (RFC 9207).
    pub fn name_iss(&self) {
        self.state().names_iss = true;
    }

    /// Ends each login with this error from now on.
    pub fn refuse_logins(&self, error: &str) {
        self.state().authorization_error = Some(error.to_owned());
    }

    /// Responds to token requests with this status and body from now on.
    pub fn fail_token(&self, status: u16, body: Value) {
        self.state().token_fault = Some((status, body));
    }

    /// Gives no response to token requests until it is [healed](Self::heal).
    pub fn hold_tokens(&self) {
        self.held.send_replace(Some(HeldEndpoint::Token));
    }

    /// Gives no response to requests for its metadata until it is [healed](Self::heal).
    pub fn hold_metadata(&self) {
        self.held.send_replace(Some(HeldEndpoint::Metadata));
    }

    /// Publishes no keys from now on.
    pub fn withhold_keys(&self) {
        self.state().lacks_keys = true;
    }

    /// Signs with another key from now on, which it publishes.
    pub fn rotate_key(&self) {
        self.state().key = SigningKey::generate(Algorithm::Rs256, "next-login-key");
    }

    /// Publishes keys, logs people in and gives tokens again.
    pub fn heal(&self) {
        self.held.send_replace(None);
        let mut state = self.state();
        state.token_fault = None;
        state.lacks_keys = false;
        state.authorization_error = None;
    }

    /// The requests so far at this path.
    pub fn requests(&self, path: &str) -> Vec<LoginRequest> {
        let state = self.state();
        state.requests.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// The authorization requests so far.
    pub fn authorization_requests(&self) -> Vec<LoginRequest> {
        let path = self.state().shape.paths.authorize;
        self.requests(path)
    }

    /// The requests for its metadata so far.
    pub fn metadata_requests(&self) -> Vec<LoginRequest> {
        let path = self.state().metadata_path();
        self.requests(&path)
    }

    /// The token requests so far.
    pub fn token_requests(&self) -> Vec<LoginRequest> {
        let path = self.state().shape.paths.token;
        self.requests(path)
    }

    /// All values that must stay with the gateway and this provider: its codes and refresh tokens,
    /// and the secret.
    pub fn secrets(&self) -> Vec<String> {
        let issued = self.state().issued.clone();
        issued.into_iter().chain([Self::CLIENT[1].to_owned()]).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().expect("no holder of the lock panics")
    }
}

impl Drop for LoginProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({}, {} requests)", self.origin, self.requests.len())
    }
}

impl State {
    fn issuer(&self) -> String {
        format!("{}{}", self.origin, self.shape.issuer)
    }

    fn metadata_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer().trim_end_matches('/'))
    }

    fn metadata_path(&self) -> String {
        self.metadata_url().trim_start_matches(&self.origin).to_owned()
    }

    fn respond(&mut self, request: &LoginRequest) -> ServedResponse {
        let paths = self.shape.paths;
        let path = request.path.as_str();
        if path == self.metadata_path() {
            self.metadata()
        } else if path == paths.keys && self.lacks_keys {
            ServedResponse::status(503)
        } else if path == paths.keys {
            json_response(200, &json!({"keys": [self.key.public_jwk()]}))
        } else if path == paths.authorize {
            self.authorize(&request.parameters)
        } else if path == paths.token {
            match self.token_fault.clone() {
                Some((status, body)) => json_response(status, &body),
                None => self.token(request),
            }
        } else {
            ServedResponse::status(404)
        }
    }

    fn metadata(&self) -> ServedResponse {
        let paths = self.shape.paths;
        let url = |path: &str| format!("{}{path}", self.origin);
        let mut document = json!({
            "issuer": self.issuer(),
            "jwks_uri": url(paths.keys),
            "authorization_endpoint": url(paths.authorize),
            "token_endpoint": url(paths.token),
            "response_types_supported": ["code"],
        });
        merge(&mut document, &self.shape.metadata);
        if self.names_iss {
            document["authorization_response_iss_parameter_supported"] = json!(true);
        }
        for edit in &self.metadata {
            edit(&mut document);
        }
        json_response(200, &document)
    }

    /// The person is logged in already.
    fn authorize(&mut self, parameters: &Asked) -> ServedResponse {
        let get = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        if let Some(fault) = self.fault_of_request(parameters) {
            return page(400, fault);
        }
        let mut response = vec![("state", get("state"))];
        match &self.authorization_error {
            Some(error) => response.push(("error", error.clone())),
            None if !self.knows_all_scopes(parameters) => {
                response.push(("error", "invalid_scope".to_owned()));
            }
            None => {
                let code = self.issue("provider-code-");
                response.push(("code", code.clone()));
                self.codes.insert(code, parameters.clone());
            }
        }
        if self.names_iss {
            response.push(("iss", self.issuer()));
        }
        let response: Vec<(&str, &str)> =
            response.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let query = testkit::form_of(&response);
        let mut response = ServedResponse::status(302);
        response.headers.push(("location", format!("{}?{query}", get("redirect_uri"))));
        response
    }

    /// The error that a person sees instead of being sent back.
    fn fault_of_request(&self, parameters: &Asked) -> Option<&'static str> {
        let is = |name: &str, value: &str| parameters.get(name).is_some_and(|own| own == value);
        if self.shape.refuses_resource && parameters.contains_key("resource") {
            return Some("AADSTS9010010: The resource parameter does not match the scopes.");
        }
        let is_right = is("client_id", &self.client_id)
            && is("response_type", "code")
            && is("code_challenge_method", "S256")
            && parameters.get("code_challenge").is_some_and(|challenge| challenge.len() == 43);
        (!is_right).then_some("This request is refused.")
    }

    fn knows_all_scopes(&self, parameters: &Asked) -> bool {
        let prefix = self.shape.scope_prefix;
        let known = ["mcp.tools", "mcp.admin"].map(|scope| format!("{prefix}{scope}"));
        let is_google = self.shape.access_token == AccessToken::Opaque;
        scopes(parameters).all(|scope| {
            OPEN_ID.contains(&scope) && !(is_google && scope == "offline_access")
                || !is_google && known.iter().any(|known| known == scope)
        })
    }

    fn token(&mut self, request: &LoginRequest) -> ServedResponse {
        let get = |name: &str| request.parameters.get(name).cloned().unwrap_or_default();
        let refuse = |error: &str| json_response(400, &json!({"error": error}));
        if !self.is_authenticated(request) {
            return json_response(401, &json!({"error": "invalid_client"}));
        }
        if self.shape.refuses_resource && request.parameters.contains_key("resource") {
            let problem = "AADSTS9010010: The resource parameter does not match the scopes.";
            let body = json!({"error": "invalid_target", "error_description": problem});
            return json_response(400, &body);
        }
        let (asked, is_refresh) = match get("grant_type").as_str() {
            "authorization_code" => {
                // A code can be used once.
                let Some(asked) = self.codes.remove(&get("code")) else {
                    return refuse("invalid_grant");
                };
                let is_bound = asked.get("redirect_uri") == Some(&get("redirect_uri"))
                    && asked.get("code_challenge").map(String::as_str)
                        == Some(&testkit::s256(&get("code_verifier")));
                if !is_bound {
                    return refuse("invalid_grant");
                }
                (asked, false)
            }
            "refresh_token" => match self.refresh_tokens.get(&get("refresh_token")) {
                Some(asked) => (asked.clone(), true),
                None => return refuse("invalid_grant"),
            },
            _ => return refuse("unsupported_grant_type"),
        };
        let mut tokens = json!({
            "access_token": self.access_token(&asked),
            "id_token": self.id_token(&asked, is_refresh),
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": asked.get("scope"),
        });
        if let Some(refresh_token) = self.refresh_token(&asked, is_refresh) {
            tokens["refresh_token"] = json!(refresh_token);
        }
        for edit in &self.tokens {
            edit(&mut tokens);
        }
        json_response(200, &tokens)
    }

    fn access_token(&mut self, asked: &Asked) -> String {
        let is_jwt = match self.shape.access_token {
            AccessToken::Jwt => true,
            AccessToken::JwtForAudience => {
                asked.get("audience").map(String::as_str) == Some(self.shape.audience)
            }
            AccessToken::Opaque => false,
        };
        if !is_jwt {
            return self.issue("opaque-access-");
        }
        let issuer = self.shape.access_issuer.map_or_else(|| self.issuer(), str::to_owned);
        let mut access = claims(&issuer, self.shape.audience);
        let prefix = self.shape.scope_prefix;
        let of_api = scopes(asked).filter(|scope| !OPEN_ID.contains(scope));
        let granted: Vec<&str> = of_api.filter_map(|scope| scope.strip_prefix(prefix)).collect();
        if let Some(access) = access.as_object_mut() {
            access.remove("scope");
        }
        match self.shape.scope_claim {
            ScopeClaim::Scope => access["scope"] = json!(granted.join(" ")),
            ScopeClaim::Scp => access["scp"] = json!(granted.join(" ")),
            ScopeClaim::ScpArray => access["scp"] = json!(granted),
        }
        merge(&mut access, &self.shape.access_claims);
        for edit in &self.access_claims {
            edit(&mut access);
        }
        self.key.token(&access)
    }

    fn id_token(&self, asked: &Asked, is_refresh: bool) -> String {
        let mut id = claims(&self.issuer(), &self.client_id);
        if let Some(id) = id.as_object_mut() {
            id.remove("scope");
            id.remove("client_id");
        }
        if !is_refresh {
            id["nonce"] = json!(asked.get("nonce"));
        }
        merge(&mut id, &self.shape.id_claims);
        for edit in &self.id_claims {
            edit(&mut id);
        }
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key.kid()});
        self.key.sign(&header, &id)
    }

    fn refresh_token(&mut self, asked: &Asked, is_refresh: bool) -> Option<String> {
        let is_offline = scopes(asked).any(|scope| scope == "offline_access");
        let is_issued = match self.shape.refresh {
            Refresh::Always => true,
            Refresh::OfflineAccess => is_offline,
            Refresh::OfflineAccessOnce => is_offline && !is_refresh,
            Refresh::AccessType => {
                asked.get("access_type").is_some_and(|own| own == "offline") && !is_refresh
            }
        };
        is_issued.then(|| {
            let token = self.issue("provider-refresh-");
            self.refresh_tokens.insert(token.clone(), asked.clone());
            token
        })
    }

    /// Whether the gateway's secret was sent in one of the two ways of RFC 6749 §2.3.1.
    fn is_authenticated(&self, request: &LoginRequest) -> bool {
        let (id, secret) = (self.client_id.as_str(), LoginProvider::CLIENT[1]);
        let encoded = |string: &str| testkit::form_of(&[("", string)])[1..].to_owned();
        let basic = testkit::base64(format!("{}:{}", encoded(id), encoded(secret)));
        let form = |name: &str| request.parameters.get(name).map(String::as_str);
        request.authorization == format!("Basic {basic}")
            || (form("client_id") == Some(id) && form("client_secret") == Some(secret))
    }

    fn issue(&mut self, prefix: &str) -> String {
        let value = format!("{prefix}{}", random_id());
        self.issued.push(value.clone());
        value
    }
}

fn scopes(asked: &Asked) -> impl Iterator<Item = &str> {
    asked.get("scope").into_iter().flat_map(|scope| scope.split(' '))
}

/// Sets these members.
fn merge(object: &mut Value, members: &Value) {
    for (name, value) in members.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
}

fn page(status: u16, text: &str) -> ServedResponse {
    ServedResponse::new(status, "text/html", text.as_bytes().to_vec())
}

fn json_response(status: u16, body: &Value) -> ServedResponse {
    ServedResponse::new(status, JSON, body.to_string().into_bytes())
}

async fn serve_one(
    mut stream: TcpStream,
    shared: Arc<Mutex<State>>,
    mut held: watch::Receiver<Option<HeldEndpoint>>,
) -> io::Result<()> {
    let Some(request) = read_whole(&mut stream, parsed).await? else { return Ok(()) };
    let state = || shared.lock().expect("no holder of the lock panics");
    let endpoint = {
        let mut state = state();
        state.requests.push(request.clone());
        if request.path == state.shape.paths.token {
            Some(HeldEndpoint::Token)
        } else {
            (request.path == state.metadata_path()).then_some(HeldEndpoint::Metadata)
        }
    };
    let is_served = |held: &Option<HeldEndpoint>| held.is_none() || *held != endpoint;
    if held.wait_for(is_served).await.is_err() {
        return Ok(());
    }
    let response = state().respond(&request);
    response.send(stream).await
}

fn parsed(text: &str) -> Option<LoginRequest> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?;
    let fields: BTreeMap<String, &str> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let is_chunked = fields.contains_key("transfer-encoding");
    let body = if is_chunked { unchunked(body)? } else { body.to_owned() };
    let length = fields.get("content-length").map_or(0, |own| own.parse().unwrap_or(0));
    if body.len() < length {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = if body.is_empty() { query } else { &body };
    Some(LoginRequest {
        path: path.to_owned(),
        parameters: testkit::form(parameters),
        authorization: fields.get("authorization").copied().unwrap_or_default().to_owned(),
    })
}

/// The content of a chunked body; `None` while its end is missing.
fn unchunked(mut rest: &str) -> Option<String> {
    let mut content = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        content.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}
