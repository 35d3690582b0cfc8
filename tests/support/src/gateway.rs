use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use reqwest::Client;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::child::await_that;
use crate::fault::{Fault, ServedResponse, send_or_fail, serve};
use crate::port::Port;

/// A proxy between Envoy and a real server: forwards requests, records them, and injects faults
/// into responses when a test asks for them.
#[derive(Debug)]
pub struct Gateway {
    port: Port,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// A request that got a response through a [`Gateway`].
#[derive(Clone, Debug)]
pub struct GatewayRequest {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl GatewayRequest {
    /// The value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Gateway {
    /// Starts in front of this server.
    pub async fn before(server: SocketAddr) -> Self {
        let port = Port::free();
        let shared = Arc::new(Shared {
            server,
            client: Client::builder().no_proxy().build().expect("nothing is wrong with that"),
            state: Mutex::default(),
            changes: watch::Sender::new(()),
        });
        let listener = port.listen().expect("the port is ours");
        let pass_on = {
            let shared = shared.clone();
            move |stream| pass_on(stream, shared.clone())
        };
        Self { port, shared, server: tokio::spawn(serve(listener, pass_on)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Injects a fault until [`heal`](Self::heal). The server still gets the requests.
    pub fn fail(&self, fault: Fault) {
        self.set_faults(vec![(None, fault)]);
    }

    /// Injects faults for requests of these methods only, one for each method.
    pub fn fail_methods(&self, faults: impl IntoIterator<Item = (&'static str, Fault)>) {
        self.set_faults(faults.into_iter().map(|(method, fault)| (Some(method), fault)).collect());
    }

    /// Removes all faults; hanging requests get their responses now.
    pub fn heal(&self) {
        self.set_faults(Vec::new());
    }

    fn set_faults(&self, faults: Vec<(Option<&'static str>, Fault)>) {
        self.shared.state().faults = faults;
        self.shared.changes.send_replace(());
    }

    /// The requests that the server has responded to so far.
    pub fn requests(&self) -> Vec<GatewayRequest> {
        self.shared.state().requests.clone()
    }

    /// How many of them have this method.
    pub fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method).count()
    }

    /// Waits until the server has responded to this many requests.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn await_requests(&self, count: usize) {
        await_that("requests reach the server", || ready(self.requests().len() >= count)).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    client: Client,
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// One for each method, or one for all.
    faults: Vec<(Option<&'static str>, Fault)>,
    requests: Vec<GatewayRequest>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    fn fault(&self, method: &str) -> Option<Fault> {
        let faults = &self.state().faults;
        let fault = faults.iter().find(|(fault, _)| fault.is_none_or(|fault| fault == method));
        fault.map(|(_, fault)| fault.clone())
    }

    async fn ask_server(&self, request: &GatewayRequest) -> reqwest::Result<ServedResponse> {
        let url = format!("http://{}{}", self.server, request.path);
        let method = request.method.parse().expect("it is a method");
        let mut question = self.client.request(method, url).body(request.body.clone());
        for (name, value) in &request.headers {
            if !["connection", "content-length", "host", "transfer-encoding"].contains(&&**name) {
                question = question.header(name, value);
            }
        }
        let response = question.send().await?;
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        Ok(ServedResponse::new(status, &kind, response.bytes().await?.to_vec()))
    }
}

async fn pass_on(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    let right = shared.ask_server(&request).await;
    let right = right.unwrap_or_else(|_| ServedResponse::status(502));
    let method = request.method.clone();
    shared.state().requests.push(request);
    let fault = || shared.fault(&method);
    send_or_fail(stream, shared.changes.subscribe(), fault, || right.clone()).await
}

/// A whole request; `None` if the connection was closed before its end.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<GatewayRequest>> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let request = parsed(head, body);
            if body.len() >= request.header("content-length").parse().unwrap_or(0) {
                return Ok(Some(request));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn parsed(head: &str, body: &str) -> GatewayRequest {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    GatewayRequest {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers,
        body: body.to_owned(),
    }
}
