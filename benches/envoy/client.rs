//! Sends requests one after the other on a few connections, and reads as little of the answers as
//! it can: it shares the machine with Envoy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::loads::Requests;

const CONNECTIONS: usize = 4;

/// What came back.
pub struct Answers {
    /// The statuses that came, each once.
    pub statuses: Vec<u16>,
    /// From each request to its answer, sorted.
    pub latencies: Vec<Duration>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// Connections that are open.
pub async fn connect(address: SocketAddr) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.push(stream);
    }
    connections
}

/// Sends each request, as fast as the answers come.
pub async fn send(connections: Vec<TcpStream>, requests: &Arc<Requests>) -> Answers {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (first, mut stream) in connections.into_iter().enumerate() {
        let requests = requests.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for request in requests.iter().skip(first).step_by(CONNECTIONS) {
                let sent = Instant::now();
                stream.write_all(request).await.unwrap();
                answers.push((read_answer(&mut stream).await, sent.elapsed()));
            }
            answers
        });
    }
    let answers = tasks.join_all().await;
    let elapsed = started.elapsed();
    let (mut statuses, mut latencies): (Vec<_>, Vec<_>) = answers.into_iter().flatten().unzip();
    statuses.sort_unstable();
    statuses.dedup();
    latencies.sort_unstable();
    Answers { statuses, latencies, elapsed }
}

/// The status of an answer that was read to its end.
async fn read_answer(stream: &mut TcpStream) -> u16 {
    let mut bytes = Vec::with_capacity(2048);
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "Envoy closed the connection");
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
            return head[9..12].parse().unwrap();
        }
    }
}
