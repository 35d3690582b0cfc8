use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey, claims, now};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fault::{Fault, JSON, ServedResponse, send_or_fail, serve};
use crate::port::Port;

/// An OpenID provider that tests control while it runs.
///
/// It serves its discovery document and its key set, on any host name, and at `/token` an access
/// token as plain text for people with `curl`. Each response closes its connection, so that a fault
/// of one request never touches another.
#[derive(Debug)]
pub struct IdentityProvider {
    port: Port,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

impl IdentityProvider {
    /// Starts on a free port with one RS256 key.
    pub async fn start() -> Self {
        Self::start_on(Port::free()).await
    }

    /// Starts on this port with one RS256 key.
    pub async fn start_on(port: Port) -> Self {
        let issuer = format!("http://{}", port.address());
        let mut provider = Self { port, shared: Arc::new(Shared::new(issuer)), server: None };
        provider.rotate(Algorithm::Rs256);
        provider.start_again();
        provider
    }

    /// Listens again on the same port; does nothing if it already listens.
    pub fn start_again(&mut self) {
        if self.server.is_none() {
            let listener = self.port.listen().expect("the port is ours");
            let shared = self.shared.clone();
            let serve_one = move |stream| serve_one(stream, shared.clone());
            self.server = Some(tokio::spawn(serve(listener, serve_one)));
        }
    }

    /// Cuts all connections and stops listening: from now on connections are refused.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // The listener is closed only once the task has ended.
            let _cancelled = server.await;
        }
    }

    /// Publishes exactly these keys; the last one mints.
    pub fn set_keys(&self, keys: impl IntoIterator<Item = SigningKey>) {
        self.state().keys = keys.into_iter().collect();
    }

    /// Publishes one more key, which mints from now on.
    pub fn add_key(&self, key: SigningKey) {
        self.state().keys.push(key);
    }

    /// Stops publishing the keys of this name.
    pub fn remove_key(&self, kid: &str) {
        self.state().keys.retain(|key| key.kid() != kid);
    }

    /// Replaces all keys by a new one, and returns it. Its `kid` was never used here.
    pub fn rotate(&self, algorithm: Algorithm) -> SigningKey {
        let kid = {
            let mut state = self.state();
            state.rotations += 1;
            format!("key-{}", state.rotations)
        };
        // Outside the lock: generating a key takes a while.
        let key = SigningKey::generate(algorithm, kid);
        self.set_keys([key.clone()]);
        key
    }

    /// Uses another `issuer` in the discovery document and in [`claims`](Self::claims).
    pub fn set_issuer(&self, issuer: impl Into<String>) {
        self.state().issuer = issuer.into();
    }

    /// Sends this `Cache-Control` with the key set; none by default.
    pub fn set_cache_control(&self, value: impl Into<String>) {
        self.state().cache_control = Some(value.into());
    }

    /// Sends this document with this `Content-Type`, or none; `application/json` by default.
    pub fn set_content_type(&self, document: Document, value: Option<&str>) {
        self.state().control(document).content_type = value.map(str::to_owned);
    }

    /// Serves this document only at another path.
    pub fn serve_at(&self, document: Document, path: impl Into<String>) {
        self.state().control(document).path = Some(path.into());
    }

    /// From now on edits each response with this document before it is sent.
    pub fn edit(&self, document: Document, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        let mut state = self.state();
        state.control(document).edits.push(Arc::new(edit));
    }

    /// Undoes all calls of [`edit`](Self::edit).
    pub fn undo_edits(&self, document: Document) {
        self.state().control(document).edits.clear();
    }

    /// Responds to requests for this document with a fault until [`heal`](Self::heal).
    pub fn fail(&self, document: Document, fault: Fault) {
        self.state().control(document).fault = Some(fault);
        self.shared.touch();
    }

    /// Removes all faults; hanging requests get their responses now.
    pub fn heal(&self, document: Document) {
        self.state().control(document).fault = None;
        self.shared.touch();
    }

    /// Forgets the requests so far, and the greatest number in flight.
    pub fn clear_log(&self) {
        let mut state = self.state();
        state.requests.clear();
        for control in state.controls.values_mut() {
            control.max_in_flight = control.in_flight;
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> String {
        self.state().issuer.clone()
    }

    /// The URL of its discovery document.
    pub fn metadata_url(&self) -> String {
        self.url(&self.state().path(Document::Discovery))
    }

    /// The URL of its key set.
    pub fn jwks_url(&self) -> String {
        self.url(&self.state().path(Document::KeySet))
    }

    /// The URL of any of its paths.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The published keys.
    pub fn keys(&self) -> Vec<SigningKey> {
        self.state().keys.clone()
    }

    /// The key that mints: the last one published.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn key(&self) -> SigningKey {
        self.state().minting_key()
    }

    /// An access token by the key that mints.
    pub fn token(&self, claims: &Value) -> String {
        self.key().token(claims)
    }

    /// Ordinary claims of this issuer; see [`claims`](testkit::claims()).
    pub fn claims(&self, audience: &str) -> Value {
        claims(&self.issuer(), audience)
    }

    /// Issues tokens for this audience at `/token`, valid for one hour.
    pub fn offer_tokens(&self, audience: impl Into<String>) {
        self.state().offered_audience = Some(audience.into());
    }

    /// The requests so far, whatever their responses, in the order of their arrival.
    pub fn requests(&self) -> Vec<ProviderRequest> {
        self.state().requests.clone()
    }

    /// The number of requests for this document that have arrived.
    pub fn count(&self, document: Document) -> usize {
        self.state().count(document)
    }

    /// The times between consecutive requests for this document.
    pub fn gaps(&self, document: Document) -> Vec<Duration> {
        let requests = self.requests().into_iter();
        let times: Vec<Instant> = requests
            .filter(|request| request.document == Some(document))
            .map(|request| request.at)
            .collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// The greatest number of simultaneous requests for this document.
    pub fn max_in_flight(&self, document: Document) -> usize {
        self.state().control(document).max_in_flight
    }

    /// Waits until at least `count` requests for this document have arrived.
    ///
    /// # Panics
    ///
    /// If the deadline passes first.
    pub async fn await_count(&self, document: Document, count: usize, deadline: Duration) {
        let mut changes = self.shared.changes.subscribe();
        let arrived = changes.wait_for(|_| self.count(document) >= count);
        if timeout(deadline, arrived).await.is_err() {
            panic!(
                "{} requests of {document:?} instead of {count} after {deadline:?}",
                self.count(document)
            );
        }
    }

    /// Waits until no request for this document is in flight.
    ///
    /// # Panics
    ///
    /// If the deadline passes first.
    pub async fn await_idle(&self, document: Document, deadline: Duration) {
        let mut changes = self.shared.changes.subscribe();
        let idle = changes.wait_for(|()| self.state().control(document).in_flight == 0);
        if timeout(deadline, idle).await.is_err() {
            panic!("requests of {document:?} are still in flight after {deadline:?}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

/// A document that an [`IdentityProvider`] serves to the plugin.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Document {
    /// `/.well-known/openid-configuration`, unless it is served elsewhere.
    Discovery,
    /// `/jwks`, unless it is served elsewhere.
    KeySet,
}

impl Document {
    const ALL: [Self; 2] = [Self::Discovery, Self::KeySet];

    fn usual_path(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::KeySet => "/jwks",
        }
    }
}

/// A request that reached an [`IdentityProvider`].
#[derive(Clone, Debug)]
pub struct ProviderRequest {
    /// When its head was read.
    pub at: Instant,
    /// The requested document; `None` for other paths.
    pub document: Option<Document>,
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes tasks that wait for a request or for the end of a fault.
    changes: watch::Sender<()>,
}

impl Shared {
    fn new(issuer: String) -> Self {
        Self {
            state: Mutex::new(State {
                issuer,
                keys: Vec::new(),
                rotations: 0,
                cache_control: None,
                offered_audience: None,
                controls: BTreeMap::new(),
                requests: Vec::new(),
            }),
            changes: watch::Sender::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    fn touch(&self) {
        self.changes.send_replace(());
    }
}

#[derive(Debug)]
struct State {
    issuer: String,
    keys: Vec<SigningKey>,
    rotations: usize,
    cache_control: Option<String>,
    offered_audience: Option<String>,
    controls: BTreeMap<Document, Control>,
    requests: Vec<ProviderRequest>,
}

impl State {
    fn control(&mut self, document: Document) -> &mut Control {
        self.controls.entry(document).or_default()
    }

    fn path(&self, document: Document) -> String {
        let path = self.controls.get(&document).and_then(|control| control.path.clone());
        path.unwrap_or_else(|| document.usual_path().to_owned())
    }

    fn at(&self, path: &str) -> Option<Document> {
        Document::ALL.into_iter().find(|document| self.path(*document) == path)
    }

    fn count(&self, document: Document) -> usize {
        self.requests.iter().filter(|request| request.document == Some(document)).count()
    }

    fn minting_key(&self) -> SigningKey {
        self.keys.last().expect("the provider has a key").clone()
    }

    fn respond(&mut self, document: Document, address: SocketAddr) -> ServedResponse {
        let mut content = match document {
            Document::Discovery => json!({
                "issuer": self.issuer,
                "jwks_uri": format!("http://{address}{}", self.path(Document::KeySet)),
                "authorization_endpoint": format!("http://{address}/authorize"),
                "token_endpoint": format!("http://{address}/token"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported":
                    self.keys.iter().map(|key| key.algorithm().name()).collect::<Vec<_>>(),
                "scopes_supported": ["openid", "email", "mcp.tools"],
            }),
            Document::KeySet => json!({
                "keys": self.keys.iter().map(SigningKey::public_jwk).collect::<Vec<_>>(),
            }),
        };
        for edit in &self.control(document).edits {
            edit(&mut content);
        }
        let mut response = ServedResponse::new(200, JSON, content.to_string().into_bytes());
        response.headers = match &self.control(document).content_type {
            Some(value) => vec![("content-type", value.clone())],
            None => Vec::new(),
        };
        if document == Document::KeySet
            && let Some(value) = &self.cache_control
        {
            response.headers.push(("cache-control", value.clone()));
        }
        response
    }

    fn token_response(&self) -> ServedResponse {
        match (&self.offered_audience, self.keys.last()) {
            (Some(audience), Some(key)) => {
                let mut claims = claims(&self.issuer, audience);
                claims["exp"] = json!(now() + 3600);
                ServedResponse::new(200, "text/plain", key.token(&claims).into_bytes())
            }
            _ => ServedResponse::status(404),
        }
    }
}

type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

struct Control {
    path: Option<String>,
    fault: Option<Fault>,
    edits: Vec<Edit>,
    content_type: Option<String>,
    in_flight: usize,
    max_in_flight: usize,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            path: None,
            fault: None,
            edits: Vec::new(),
            content_type: Some(JSON.to_owned()),
            in_flight: 0,
            max_in_flight: 0,
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control({:?}, {} edits)", self.fault, self.edits.len())
    }
}

/// Counts a request as in flight while this value lives, even if its task is aborted.
struct InFlight {
    shared: Arc<Shared>,
    document: Document,
}

impl InFlight {
    fn new(shared: &Arc<Shared>, document: Document) -> Self {
        let mut state = shared.state();
        let control = state.control(document);
        control.in_flight += 1;
        control.max_in_flight = control.max_in_flight.max(control.in_flight);
        drop(state);
        Self { shared: shared.clone(), document }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.state().control(self.document).in_flight -= 1;
        self.shared.touch();
    }
}

async fn serve_one(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let Some(request) = read_request(&mut stream, &shared).await? else {
        return Ok(());
    };
    let document = request.document;
    let path = request.path.clone();
    shared.state().requests.push(request);
    let _in_flight = document.map(|document| InFlight::new(&shared, document));
    shared.touch();

    let Some(document) = document else {
        let response = match path.as_str() {
            "/token" => shared.state().token_response(),
            _ => ServedResponse::status(404),
        };
        return response.send(stream).await;
    };
    let address = stream.local_addr()?;
    let fault = || shared.state().control(document).fault.clone();
    let right = || shared.state().respond(document, address);
    send_or_fail(stream, shared.changes.subscribe(), fault, right).await
}

/// Reads one request without a body; `None` if the connection was closed before its end.
async fn read_request(
    stream: &mut TcpStream,
    shared: &Shared,
) -> io::Result<Option<ProviderRequest>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&bytes);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some(ProviderRequest {
        at: Instant::now(),
        document: shared.state().at(path.split('?').next().unwrap_or_default()),
        method,
        path,
        headers,
    }))
}

#[cfg(test)]
mod tests;
