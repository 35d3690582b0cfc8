use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Sends a request over a new HTTP/2 connection exactly as given (an empty body as an empty frame),
/// and waits for the response. For requests that HTTP libraries refuse to write.
///
/// # Panics
///
/// If there is no response within ten seconds.
pub async fn raw_http2_exchange(
    address: SocketAddr,
    [method, path, authorization]: [&str; 3],
    body: &[u8],
    trailers: &[(&str, &str)],
) {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "mcp.example.com"),
        (":path", path),
        ("accept", "application/json, text/event-stream"),
        ("authorization", authorization),
    ];
    if !body.is_empty() {
        fields.push(("content-type", "application/json"));
    }
    raw_http2_fields(address, &fields, body, trailers).await;
}

/// The same with these header fields alone.
///
/// # Panics
///
/// If there is no response within ten seconds.
pub async fn raw_http2_fields(
    address: SocketAddr,
    fields: &[(&str, &str)],
    body: &[u8],
    trailers: &[(&str, &str)],
) {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts connections");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &field_block(fields)));
    if trailers.is_empty() {
        bytes.extend(frame(DATA, END_STREAM, 1, body));
    } else {
        bytes.extend(frame(DATA, 0, 1, body));
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &field_block(trailers)));
    }
    // A server may refuse and close before it has read everything.
    let _refused = stream.write_all(&bytes).await;
    let response = timeout(Duration::from_secs(10), await_response(&mut stream)).await;
    assert!(response.is_ok(), "no response to {fields:?}");
}

/// Waits for the end of the response, or of the stream or connection.
async fn await_response(stream: &mut TcpStream) {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let [high, middle, low, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]).try_into().unwrap()];
        let _cut_off = stream.read_exact(&mut payload).await;
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let _hung_up = stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
            }
            DATA | HEADERS if flags & END_STREAM != 0 => return,
            RST_STREAM | GOAWAY => return,
            _ => {}
        }
    }
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without indexing (RFC 7541 §6.2.2).
fn field_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literals = fields
        .iter()
        .flat_map(|(name, value)| [vec![0], string(name.as_bytes()), string(value.as_bytes())]);
    literals.collect::<Vec<_>>().concat()
}

/// A string without Huffman coding (RFC 7541 §5.2), after its length (§5.1).
fn string(text: &[u8]) -> Vec<u8> {
    const PREFIX: usize = 127;
    let mut bytes = vec![u8::try_from(text.len().min(PREFIX)).expect("so it is")];
    if text.len() >= PREFIX {
        let mut rest = text.len() - PREFIX;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128 + 128).expect("it is less than 256"));
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("it is less than 128"));
    }
    bytes.extend(text);
    bytes
}
