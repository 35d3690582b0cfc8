use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::raw_exchange::RawResponse;

/// An HTTP/1.1 connection that stays open between requests. The worker that accepted it handles all
/// of its requests.
#[derive(Debug)]
pub struct KeptConnection {
    address: SocketAddr,
    stream: TcpStream,
    is_open: bool,
}

impl KeptConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { address, stream, is_open: true })
    }

    /// Gets a path with a bearer token. The response must have a `Content-Length`.
    pub async fn get(&mut self, path: &str, token: &str) -> Result<RawResponse> {
        let host = self.address;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
        // If anything fails from here on, the connection is not used again.
        self.is_open = false;
        self.stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::with_capacity(1024);
        let mut end = None;
        while end.is_none_or(|end| bytes.len() < end) {
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if end.is_none() {
                end = end_of_response(&bytes)?;
            }
        }
        let response = RawResponse { bytes };
        self.is_open = !response.header("connection").iter().any(|value| value == "close");
        Ok(response)
    }

    /// False if the other side announced that it closes the connection, or did so.
    pub fn is_open(&self) -> bool {
        self.is_open
    }
}

/// The length of the whole response, once its head has arrived.
fn end_of_response(bytes: &[u8]) -> Result<Option<usize>> {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    let Some(head) = bytes.windows(BLANK_LINE.len()).position(|bytes| bytes == BLANK_LINE) else {
        return Ok(None);
    };
    let lines = bytes[..head].split(|byte| *byte == b'\n');
    let length = lines
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "a response without Content-Length"))?;
    Ok(Some(head + BLANK_LINE.len() + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity_provider::IdentityProvider;

    #[test]
    fn a_response_ends_where_its_head_says() {
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for length in 0..response.len() - 3 {
            assert_eq!(end_of_response(&response.as_bytes()[..length]).unwrap(), None);
        }
        assert_eq!(end_of_response(response.as_bytes()).unwrap(), Some(response.len()));
        assert!(end_of_response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closes_is_not_open() {
        // It closes after each response, and announces it.
        let provider = IdentityProvider::start().await;
        let mut connection = KeptConnection::open(provider.address()).await.unwrap();
        assert!(connection.is_open());
        let response = connection.get("/jwks", "").await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.body().ends_with("}]}"), "{response:?}");
        assert!(!connection.is_open());
        assert!(connection.get("/jwks", "").await.is_err());
        assert!(!connection.is_open());
    }
}
