//! Sends requests one after the other on a few connections, and does little with the responses,
//! because it shares the machine with Envoy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testbed::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::requests::Requests;

const CONNECTIONS: usize = 4;

/// Connections that stay open, so that no request includes the time to connect.
pub struct Client {
    connections: Vec<TcpStream>,
    _port: Port,
}

/// The results of some requests.
pub struct Responses {
    /// The distinct statuses.
    pub statuses: Vec<u16>,
    /// The response times, sorted.
    pub latencies: Vec<Duration>,
    /// Time from the first request to the last response.
    pub elapsed: Duration,
}

impl Client {
    pub async fn connect(port: Port) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(connect(port.address()).await);
        }
        Self { connections, _port: port }
    }

    /// Sends one request, and returns the whole response.
    pub async fn send_one(&mut self, request: &[u8]) -> String {
        response_to(&mut self.connections[0], request).await
    }

    /// Sends each request as soon as the previous response has arrived.
    pub async fn send(&mut self, requests: &Arc<Requests>) -> Responses {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for (first, mut stream) in self.connections.drain(..).enumerate() {
            let requests = requests.clone();
            tasks.spawn(async move {
                let mut responses = Vec::new();
                for request in requests.iter().skip(first).step_by(CONNECTIONS) {
                    let sent = Instant::now();
                    responses.push((exchange(&mut stream, request).await, sent.elapsed()));
                }
                (stream, responses)
            });
        }
        let responses = tasks.join_all().await;
        let elapsed = started.elapsed();
        let (mut statuses, mut latencies) = (Vec::new(), Vec::new());
        for (stream, responses) in responses {
            self.connections.push(stream);
            for (status, latency) in responses {
                statuses.push(status);
                latencies.push(latency);
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        latencies.sort_unstable();
        Responses { statuses, latencies, elapsed }
    }
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request, reads the response to its end, and returns its status.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> u16 {
    response_to(stream, request).await[9..12].parse().unwrap()
}

async fn response_to(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::with_capacity(2048);
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "Envoy closed the connection");
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let is_whole = match field("content-length: ") {
            Some(length) => body.len() == length.parse::<usize>().unwrap(),
            // Where a list may be filtered, the plugin removes the length.
            None if field("transfer-encoding: chunked").is_some() => body.ends_with("0\r\n\r\n"),
            None => body.is_empty(),
        };
        if is_whole {
            return text.to_owned();
        }
    }
}
