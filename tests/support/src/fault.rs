use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(crate) const JSON: &str = "application/json";

/// A fault of a server.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Status 200 with these bytes.
    Body(Vec<u8>),
    /// The correct response, but delayed by this much.
    Delay(Duration),
    /// Status 200 with these bytes, and this `Content-Encoding`.
    Encoded(&'static str, Vec<u8>),
    /// Announces the whole response, sends half of it and closes.
    HalfResponse,
    /// Announces the whole response, sends half of it, then nothing until the fault is removed.
    HalfThenHang,
    /// No response at all until the fault is removed.
    Hang,
    /// The correct response, padded to this many bytes; still JSON.
    Oversize(usize),
    /// The correct response, but with this status.
    RightBody(u16),
    /// Status 302 to this location.
    Redirect(String),
    /// A reset of the connection (RST) instead of a response.
    Reset,
    /// This status, with a body that names it.
    Status(u16),
}

/// Serves one request on each connection.
pub(crate) async fn serve<F>(listener: TcpListener, serve_one: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    // Dropped, and with it all connections, when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                // The other side may hang up at any time, so the result does not matter.
                connections.spawn(serve_one(stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Reads until the bytes are a whole request, and returns it; `None` if the connection was closed
/// before its end.
pub(crate) async fn read_whole<T>(
    stream: &mut TcpStream,
    parsed: impl Fn(&str) -> Option<T>,
) -> io::Result<Option<T>> {
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

/// Responds to a request correctly, or with the current fault; checks the fault again whenever it
/// changes.
pub(crate) async fn send_or_fail(
    mut stream: TcpStream,
    mut changes: watch::Receiver<()>,
    fault: impl Fn() -> Option<Fault>,
    right: impl Fn() -> ServedResponse,
) -> io::Result<()> {
    loop {
        let response = match fault() {
            None => right(),
            Some(Fault::Body(body)) => ServedResponse::new(200, JSON, body),
            Some(Fault::Delay(duration)) => tokio::select! {
                () = sleep(duration) => right(),
                () = hung_up(&mut stream) => return Ok(()),
            },
            Some(Fault::Encoded(coding, body)) => {
                let mut response = ServedResponse::new(200, JSON, body);
                response.headers.push(("content-encoding", coding.to_owned()));
                response
            }
            Some(Fault::HalfResponse) => return right().write_half(&mut stream).await,
            Some(Fault::HalfThenHang) => {
                right().write_half(&mut stream).await?;
                tokio::select! {
                    _ = changes.changed() => {}
                    () = hung_up(&mut stream) => {}
                }
                return Ok(());
            }
            Some(Fault::Hang) => tokio::select! {
                _ = changes.changed() => continue,
                () = hung_up(&mut stream) => return Ok(()),
            },
            Some(Fault::Oversize(bytes)) => right().padded(bytes),
            Some(Fault::RightBody(status)) => ServedResponse { status, ..right() },
            Some(Fault::Redirect(location)) => {
                let mut response = ServedResponse::status(302);
                response.headers.push(("location", location));
                response
            }
            Some(Fault::Reset) => {
                // Closing with linger 0 discards the connection by RST.
                return SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Some(Fault::Status(status)) => ServedResponse::status(status),
        };
        return response.send(stream).await;
    }
}

/// A response, after which the server closes the connection.
#[derive(Clone)]
pub(crate) struct ServedResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl ServedResponse {
    pub(crate) fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::new(status, "text/plain", format!("status {status}\n").into_bytes())
    }

    /// Pads before the end: JSON allows white space there.
    fn padded(mut self, bytes: usize) -> Self {
        if let Some(end) = self.body.pop() {
            self.body.resize(bytes.saturating_sub(1), b' ');
            self.body.push(end);
        }
        self
    }

    pub(crate) async fn send(self, mut stream: TcpStream) -> io::Result<()> {
        stream.write_all(self.head().as_bytes()).await?;
        stream.write_all(&self.body).await?;
        stream.shutdown().await
    }

    async fn write_half(self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(self.head().as_bytes()).await?;
        stream.write_all(&self.body[..self.body.len() / 2]).await
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            let _infallible = write!(head, "{name}: {value}\r\n");
        }
        let _infallible =
            write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", self.body.len());
        head
    }
}

/// Waits until the other side closes: an abandoned request is no longer in flight.
async fn hung_up(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}
