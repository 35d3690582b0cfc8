use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey, claims, random_id};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::fault::{JSON, ServedAnswer, serve};
use crate::port::Port;

/// An identity provider at which a person logs in without doing anything, in the shape that a test
/// gives it. It checks what a strict provider checks: client, redirect URI, PKCE, and that a code
/// serves once.
#[derive(Debug)]
pub struct LoginProvider {
    port: Port,
    shared: Arc<Mutex<State>>,
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

/// Changes a document before it is served.
type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

struct State {
    address: SocketAddr,
    key: SigningKey,
    audience: String,
    metadata: Vec<Edit>,
    tokens: Vec<Edit>,
    access_claims: Vec<Edit>,
    id_claims: Vec<Edit>,
    names_iss: bool,
    /// What the token endpoint says instead of giving tokens.
    token_fault: Option<(u16, Value)>,
    /// The error with which the authorization endpoint ends.
    authorization_error: Option<String>,
    codes: BTreeMap<String, BTreeMap<String, String>>,
    refresh_tokens: Vec<String>,
    requests: Vec<LoginRequest>,
}

impl LoginProvider {
    /// The gateway's id and secret at each of them.
    pub const CLIENT: [&str; 2] = ["gateway", "s3cret of the gateway"];

    /// Starts on a free port. Its access tokens are for this audience.
    pub async fn start(audience: &str) -> Self {
        let port = Port::free();
        let listener = port.listen().expect("the port is ours");
        let shared = Arc::new(Mutex::new(State {
            address: port.address(),
            key: SigningKey::generate(Algorithm::Rs256, "login-key"),
            audience: audience.to_owned(),
            metadata: Vec::new(),
            tokens: Vec::new(),
            access_claims: Vec::new(),
            id_claims: Vec::new(),
            names_iss: false,
            token_fault: None,
            authorization_error: None,
            codes: BTreeMap::new(),
            refresh_tokens: Vec::new(),
            requests: Vec::new(),
        }));
        let state = shared.clone();
        let answer_one = move |stream| answer_one(stream, state.clone());
        Self { port, shared, server: tokio::spawn(serve(listener, answer_one)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its name in tokens and metadata.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The plugin's configuration of this provider under this name, with a cluster of that name.
    pub fn configuration(&self, name: &str) -> Value {
        let audience = self.state().audience.clone();
        json!({
            "name": name,
            "issuer": self.issuer(),
            "client_ids": [audience],
            "metadata_url": format!("{}/.well-known/openid-configuration", self.issuer()),
            "cluster": name,
            "login": {"client_id": Self::CLIENT[0], "client_secret_env": "LOGIN_SECRET"},
        })
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

    /// Gives tokens again.
    pub fn heal(&self) {
        self.state().token_fault = None;
    }

    /// The requests so far at this path.
    pub fn requests(&self, path: &str) -> Vec<LoginRequest> {
        let state = self.state();
        state.requests.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// All values that must stay with the gateway and this provider: its codes and refresh tokens,
    /// and the secret.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.state();
        let codes = state.codes.keys().cloned();
        codes.chain(state.refresh_tokens.clone()).chain([Self::CLIENT[1].to_owned()]).collect()
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
        write!(f, "State({}, {} requests)", self.address, self.requests.len())
    }
}

impl State {
    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn answer(&mut self, request: &LoginRequest) -> ServedAnswer {
        match request.path.as_str() {
            "/.well-known/openid-configuration" => self.metadata(),
            "/jwks" => json_answer(200, &json!({"keys": [self.key.public_jwk()]})),
            "/authorize" => self.authorize(&request.parameters),
            "/token" => match self.token_fault.clone() {
                Some((status, body)) => json_answer(status, &body),
                None => self.token(request),
            },
            _ => ServedAnswer::status(404),
        }
    }

    fn metadata(&self) -> ServedAnswer {
        let issuer = self.issuer();
        let mut document = json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/jwks"),
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        });
        if self.names_iss {
            document["authorization_response_iss_parameter_supported"] = json!(true);
        }
        for edit in &self.metadata {
            edit(&mut document);
        }
        json_answer(200, &document)
    }

    /// The person is logged in already.
    fn authorize(&mut self, parameters: &BTreeMap<String, String>) -> ServedAnswer {
        let get = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        let mut response = vec![("state", get("state"))];
        match &self.authorization_error {
            Some(error) => response.push(("error", error.clone())),
            None => {
                let code = format!("provider-code-{}", random_id());
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
        let mut answer = ServedAnswer::status(302);
        answer.headers.push(("location", format!("{}?{query}", get("redirect_uri"))));
        answer
    }

    fn token(&mut self, request: &LoginRequest) -> ServedAnswer {
        let get = |name: &str| request.parameters.get(name).cloned().unwrap_or_default();
        let refuse = |error: &str| json_answer(400, &json!({"error": error}));
        if !is_authenticated(request) {
            return json_answer(401, &json!({"error": "invalid_client"}));
        }
        let mut id_claims = claims(&self.issuer(), Self::client_id());
        match get("grant_type").as_str() {
            "authorization_code" => {
                // A code serves once.
                let Some(asked) = self.codes.remove(&get("code")) else {
                    return refuse("invalid_grant");
                };
                let is_bound = asked.get("redirect_uri") == Some(&get("redirect_uri"))
                    && asked.get("code_challenge").map(String::as_str)
                        == Some(&testkit::s256(&get("code_verifier")));
                if !is_bound {
                    return refuse("invalid_grant");
                }
                id_claims["nonce"] = json!(asked.get("nonce"));
            }
            "refresh_token" => {
                if !self.refresh_tokens.contains(&get("refresh_token")) {
                    return refuse("invalid_grant");
                }
            }
            _ => return refuse("unsupported_grant_type"),
        }
        let mut access_claims = claims(&self.issuer(), &self.audience);
        for edit in &self.access_claims {
            edit(&mut access_claims);
        }
        for edit in &self.id_claims {
            edit(&mut id_claims);
        }
        let refresh_token = format!("provider-refresh-{}", random_id());
        self.refresh_tokens.push(refresh_token.clone());
        let mut tokens = json!({
            "access_token": self.key.token(&access_claims),
            "id_token": self.key.token(&id_claims),
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": refresh_token,
        });
        for edit in &self.tokens {
            edit(&mut tokens);
        }
        json_answer(200, &tokens)
    }

    fn client_id() -> &'static str {
        LoginProvider::CLIENT[0]
    }
}

/// Whether the gateway's secret came in one of the two ways of RFC 6749 §2.3.1.
fn is_authenticated(request: &LoginRequest) -> bool {
    let [id, secret] = LoginProvider::CLIENT;
    let encoded = |string: &str| string.replace(' ', "+");
    let basic = testkit::base64(format!("{}:{}", encoded(id), encoded(secret)));
    let form = |name: &str| request.parameters.get(name).map(String::as_str);
    request.authorization == format!("Basic {basic}")
        || (form("client_id") == Some(id) && form("client_secret") == Some(secret))
}

fn json_answer(status: u16, body: &Value) -> ServedAnswer {
    ServedAnswer::new(status, JSON, body.to_string().into_bytes())
}

async fn answer_one(mut stream: TcpStream, shared: Arc<Mutex<State>>) -> io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    let answer = {
        let mut state = shared.lock().expect("no holder of the lock panics");
        state.requests.push(request.clone());
        state.answer(&request)
    };
    answer.send(stream).await
}

/// A whole request; none when the connection was closed before its end.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<LoginRequest>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(request) = parsed(&String::from_utf8_lossy(&bytes)) {
            return Ok(Some(request));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
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

/// The content of a chunked body; none while its end is missing.
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
