//! Sends requests one after the other on a few connections, and reads as little of the answers as
//! it can: it shares the machine with Envoy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testbed::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::requests::Requests;

const CONNECTIONS: usize = 4;

/// Connections that stay open, so that no request pays for those of others.
pub struct Client {
    connections: Vec<TcpStream>,
    _port: Port,
}

/// What came back.
pub struct Answers {
    /// The statuses that came, each once.
    pub statuses: Vec<u16>,
    /// From each request to its answer, sorted.
    pub latencies: Vec<Duration>,
    /// From the first request to the last answer.
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

    /// Sends one request, and returns the whole answer.
    pub async fn send_one(&mut self, request: &[u8]) -> String {
        answer(&mut self.connections[0], request).await
    }

    /// Sends each request, as fast as the answers come.
    pub async fn send(&mut self, requests: &Arc<Requests>) -> Answers {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for (first, mut stream) in self.connections.drain(..).enumerate() {
            let requests = requests.clone();
            tasks.spawn(async move {
                let mut answers = Vec::new();
                for request in requests.iter().skip(first).step_by(CONNECTIONS) {
                    let sent = Instant::now();
                    answers.push((exchange(&mut stream, request).await, sent.elapsed()));
                }
                (stream, answers)
            });
        }
        let answers = tasks.join_all().await;
        let elapsed = started.elapsed();
        let (mut statuses, mut latencies) = (Vec::new(), Vec::new());
        for (stream, answers) in answers {
            self.connections.push(stream);
            for (status, latency) in answers {
                statuses.push(status);
                latencies.push(latency);
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        latencies.sort_unstable();
        Answers { statuses, latencies, elapsed }
    }
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The status of the answer to a request, which was read to its end.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> u16 {
    answer(stream, request).await[9..12].parse().unwrap()
}

async fn answer(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::with_capacity(2048);
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "Envoy closed the connection");
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
            return text.to_owned();
        }
    }
}
