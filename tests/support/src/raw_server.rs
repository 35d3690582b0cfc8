use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::fault::{read_whole, serve};
use crate::port::Port;

/// An HTTP/1.1 server that keeps requests as they arrived, for what HTTP libraries hide: connection
/// fields, and trailers. It switches protocols if requested, responds to everything else with 200,
/// and closes the connection.
#[derive(Debug)]
pub struct RawServer {
    port: Port,
    requests: Arc<Mutex<Vec<RawRequest>>>,
    script: Script,
    server: JoinHandle<()>,
}

/// The responses of a server, if not the default ones.
#[derive(Clone, Debug, Default)]
struct Script {
    /// The parts of the response.
    parts: Arc<Mutex<Option<Vec<Vec<u8>>>>>,
    /// A permit for each part that may be sent after the first.
    permits: Arc<Notify>,
}

impl Script {
    async fn play(&self, stream: &mut TcpStream) -> std::io::Result<bool> {
        let parts = self.parts.lock().expect("no holder panics").clone();
        let Some(parts) = parts else { return Ok(false) };
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                self.permits.notified().await;
            }
            stream.write_all(part).await?;
        }
        Ok(true)
    }
}

impl RawServer {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let port = Port::free();
        let listener = port.listen().expect("the port is ours");
        let requests: Arc<Mutex<Vec<RawRequest>>> = Arc::default();
        let record = requests.clone();
        let script = Script::default();
        let played = script.clone();
        let serve_one = move |mut stream: TcpStream| {
            let (record, script) = (record.clone(), played.clone());
            async move {
                let Some(request) = read_whole(&mut stream, parsed).await? else { return Ok(()) };
                let response: &[u8] = if request.header("upgrade").is_empty() {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                } else {
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                      upgrade: websocket\r\n\r\n"
                };
                record.lock().expect("no holder panics").push(request);
                if script.play(&mut stream).await? {
                    return Ok(());
                }
                stream.write_all(response).await
            }
        };
        Self { port, requests, script, server: tokio::spawn(serve(listener, serve_one)) }
    }

    /// Responds from now on with these bytes, and closes the connection after them. Each part after
    /// the first waits for [`Self::go_on`].
    pub fn respond_with(&self, parts: &[&[u8]]) {
        let parts = parts.iter().map(|part| part.to_vec()).collect();
        *self.script.parts.lock().expect("no holder panics") = Some(parts);
    }

    /// Sends the next part of the current response.
    pub fn go_on(&self) {
        self.script.permits.notify_one();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the requests since the last call.
    pub fn take_requests(&self) -> Vec<RawRequest> {
        std::mem::take(&mut *self.requests.lock().expect("no holder panics"))
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A request as it reached a [`RawServer`].
#[derive(Clone, Debug)]
pub struct RawRequest {
    /// All fields of the head in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The trailers: everything after the last chunk of the body.
    pub trailers: Vec<(String, String)>,
}

impl RawRequest {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(header, _)| header == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

fn parsed(text: &str) -> Option<RawRequest> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut request = RawRequest { headers: fields(head), trailers: Vec::new() };
    if request.header("transfer-encoding") == ["chunked"] {
        let (_, end) = body.split_once("0\r\n").filter(|(_, end)| end.ends_with("\r\n"))?;
        let is_whole = end == "\r\n" || end.ends_with("\r\n\r\n");
        request.trailers = is_whole.then(|| fields(end))?;
    }
    let length =
        request.header("content-length").first().map_or(0, |value| value.parse().unwrap_or(0));
    (body.len() >= length).then_some(request)
}

fn fields(lines: &str) -> Vec<(String, String)> {
    let fields = lines.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}
