use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends bytes over a new connection and reads until the other side closes it, for requests that
/// HTTP libraries refuse to write.
///
/// The request should have `Connection: close`: if the server keeps the connection open, this
/// panics after ten seconds of silence.
pub async fn raw_exchange(address: SocketAddr, request: &[u8]) -> RawResponse {
    OpenRequest::open(address, request).await.response().await
}

/// A request that is sent in pieces over its own connection.
#[derive(Debug)]
pub struct OpenRequest {
    stream: TcpStream,
}

impl OpenRequest {
    /// Connects and sends the first bytes.
    pub async fn open(address: SocketAddr, bytes: &[u8]) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server accepts connections");
        let mut request = Self { stream };
        request.send(bytes).await;
        request
    }

    /// Sends more.
    pub async fn send(&mut self, bytes: &[u8]) {
        // A server may refuse and close before it has read everything: its response still counts.
        let _refused = self.stream.write_all(bytes).await;
    }

    /// Sends the next chunk of a body with `Transfer-Encoding: chunked`; an empty one ends it.
    pub async fn send_chunk(&mut self, bytes: &[u8]) {
        let size = format!("{:x}\r\n", bytes.len());
        self.send(&[size.as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Reads until the other side closes the connection.
    ///
    /// # Panics
    ///
    /// If it has been silent for ten seconds.
    pub async fn response(mut self) -> RawResponse {
        let mut bytes = Vec::new();
        loop {
            match timeout(Duration::from_secs(10), self.stream.read_buf(&mut bytes)).await {
                Ok(Ok(0) | Err(_)) => return RawResponse { bytes },
                Ok(Ok(_)) => {}
                Err(_) => {
                    panic!(
                        "the connection is still open, after {:?}",
                        String::from_utf8_lossy(&bytes)
                    )
                }
            }
        }
    }
}

/// The bytes received.
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// All of them; empty if the connection was closed without a response.
    pub bytes: Vec<u8>,
}

impl RawResponse {
    /// The status of the first response; 0 without one.
    pub fn status(&self) -> u16 {
        self.head().split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The values of a header of the first response.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.head()
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// Everything after the head; chunks are not joined.
    pub fn body(&self) -> String {
        self.text().split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    fn head(&self) -> String {
        let text = self.text();
        let head = text.split("\r\n\r\n").next();
        head.unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
