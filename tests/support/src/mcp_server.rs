use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, Implementation, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::port::Port;

/// A real MCP server over Streamable HTTP, made with the official SDK, at `/mcp`.
///
/// Its tool `whoami` returns the identity headers that reached it. By default it keeps no sessions,
/// so that one POST of `tools/call` is enough. It records each request before the SDK sees it, and
/// each tool that runs.
#[derive(Debug)]
pub struct McpServer {
    port: Port,
    record: Record,
    runs: Runs,
    server: JoinHandle<()>,
}

impl McpServer {
    /// Starts on a free port.
    pub async fn start() -> Self {
        Self::start_on(Port::free()).await
    }

    /// Starts on this port.
    pub async fn start_on(port: Port) -> Self {
        Self::serve_on(port, false)
    }

    /// Starts on a free port, with sessions for clients whose revision has them.
    pub async fn start_with_sessions() -> Self {
        Self::serve_on(Port::free(), true)
    }

    fn serve_on(port: Port, keeps_sessions: bool) -> Self {
        let (record, runs) = (Record::default(), Runs::default());
        let listener = port.listen().expect("the port is ours");
        let service = service(runs.clone(), keeps_sessions);
        let server = tokio::spawn(serve(listener, service, record.clone()));
        Self { port, record, runs, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address())
    }

    /// All requests that reached the server, on any path.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.record.lock().expect("no holder panics").clone()
    }

    /// The number of requests that reached the server.
    pub fn count(&self) -> usize {
        self.record.lock().expect("no holder panics").len()
    }

    /// The names of the tools that ran, in their order.
    pub fn tool_runs(&self) -> Vec<String> {
        self.runs.lock().expect("no holder panics").clone()
    }

    /// Forgets the requests so far, and the tools that ran.
    pub fn clear(&self) {
        self.record.lock().expect("no holder panics").clear();
        self.runs.lock().expect("no holder panics").clear();
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A request as it reached an [`McpServer`].
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

impl RecordedRequest {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// The identity headers: all that begin with `x-mcp-`. A repeated one shows all its values,
    /// joined by ` and `.
    pub fn identity(&self) -> BTreeMap<String, String> {
        let mut identity: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &self.headers {
            if !name.starts_with("x-mcp-") {
                continue;
            }
            let value = String::from_utf8_lossy(value);
            identity
                .entry(name.clone())
                .and_modify(|values| *values = format!("{values} and {value}"))
                .or_insert_with(|| value.to_string());
        }
        identity
    }
}

type Record = Arc<Mutex<Vec<RecordedRequest>>>;
type Runs = Arc<Mutex<Vec<String>>>;
type Service = StreamableHttpService<Tools, LocalSessionManager>;

fn service(runs: Runs, keeps_sessions: bool) -> Service {
    StreamableHttpService::new(
        move || Ok(Tools { runs: runs.clone() }),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(keeps_sessions)
            .with_json_response(!keeps_sessions)
            // Envoy forwards the client's Host unchanged.
            .disable_allowed_hosts(),
    )
}

async fn serve(listener: TcpListener, service: Service, record: Record) {
    // Dropped, and with it all connections, when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let service = service.clone();
                let record = record.clone();
                let respond = service_fn(move |request| {
                    respond(request, service.clone(), record.clone())
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), respond);
                connections.spawn(async move {
                    // The other side may hang up at any time.
                    let _hung_up = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    service: Service,
    record: Record,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path().to_owned();
    record.lock().expect("no holder panics").push(RecordedRequest {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: body.clone(),
    });
    if path == "/mcp" {
        let request = Request::from_parts(parts, Full::new(body));
        return Ok(service.handle(request).await);
    }
    Ok(Response::new(Full::from("ok\n").boxed()))
}

#[derive(Clone, Debug)]
struct Tools {
    runs: Runs,
}

impl Tools {
    fn note_run(&self, tool: &str) {
        self.runs.lock().expect("no holder panics").push(tool.to_owned());
    }
}

#[tool_router]
impl Tools {
    #[tool(description = "Returns who you are, by the identity headers that reached this server")]
    fn whoami(&self, Extension(request): Extension<http::request::Parts>) -> CallToolResult {
        self.note_run("whoami");
        CallToolResult::structured(json!({
            "identity": identity(&request.headers),
            "authorization_header_arrived": request.headers.contains_key("authorization"),
        }))
    }

    #[tool(description = "Adds two numbers")]
    fn add(&self, Parameters(Summands { a, b }): Parameters<Summands>) -> String {
        self.note_run("add");
        (i128::from(a) + i128::from(b)).to_string()
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("testbed", env!("CARGO_PKG_VERSION")))
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Summands {
    a: i64,
    b: i64,
}

/// A repeated header is shown as a list.
fn identity(headers: &HeaderMap) -> Value {
    headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-mcp-"))
        .map(|name| {
            let mut values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| json!(String::from_utf8_lossy(value.as_bytes())))
                .collect();
            let shown = match values.len() {
                1 => values.remove(0),
                _ => json!(values),
            };
            (name.to_string(), shown)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Response;

    #[tokio::test]
    async fn one_post_identifies_the_caller() {
        let server = McpServer::start().await;
        let response = Response::mcp_call(&reqwest::Client::new(), &server.url())
            .header("x-mcp-user", "ada")
            .header("x-mcp-roles", "a")
            .header("x-mcp-roles", "b")
            .header("authorization", "Bearer abc")
            .header("host", "mcp.example.com")
            .send()
            .await
            .unwrap();
        let response = Response::read(response).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.whoami(), &json!({"x-mcp-user": "ada", "x-mcp-roles": ["a", "b"]}));
        let requests = server.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].path, "/mcp");
        assert_eq!(requests[0].header("authorization"), [b"Bearer abc"]);
        assert_eq!(requests[0].identity()["x-mcp-roles"], "a and b");
        assert_eq!(server.tool_runs(), ["whoami"]);
    }

    #[tokio::test]
    async fn other_paths_are_recorded_too() {
        let server = McpServer::start().await;
        let url = format!("http://{}/healthz?deep=1", server.address());
        assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
        assert_eq!(server.requests()[0].path, "/healthz?deep=1");
        server.clear();
        assert_eq!(server.count(), 0);
    }
}
