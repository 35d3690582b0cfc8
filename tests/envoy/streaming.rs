//! Streams stay streams: where no rule reads messages, nothing is held in either direction; where
//! one does, requests are held until they are judged, and responses never are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Stack, StackBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::support::SOON;

/// A rule that reads the messages sent to this path.
fn reading(path: &str) -> Value {
    json!({"default": "allow", "rules": [{
        "match": {"paths": [path], "mcp_methods": ["tools/call"], "mcp_names": ["add"]},
        "require": {"roles": ["adder"]},
    }]})
}

fn stack(access: Value, upstream: &TcpListener) -> StackBuilder {
    let address = upstream.local_addr().unwrap();
    Stack::builder()
        .configure(move |configuration| configuration["access"] = access)
        .cluster("mcp_server", address)
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// The next connection to the upstream, which has begun its response.
async fn accept(upstream: &TcpListener) -> (OwnedReadHalf, OwnedWriteHalf) {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
    let accepted = tokio::time::timeout(SOON, upstream.accept()).await;
    let (stream, _) = accepted.expect("Envoy connects").unwrap();
    let (reading, mut writing) = stream.into_split();
    writing.write_all(HEAD.as_bytes()).await.unwrap();
    (reading, writing)
}

/// Sends one chunk.
async fn send(writing: &mut (impl AsyncWriteExt + Unpin), text: &str) {
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    writing.write_all(chunk.as_bytes()).await.unwrap();
}

/// Reads until this string has arrived.
async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), text: &str) {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(text) {
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut bytes)).await;
        let so_far = String::from_utf8_lossy(&bytes);
        let read = read.unwrap_or_else(|_| panic!("no {text:?} but {so_far:?}")).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&bytes));
    }
}

fn head(stack: &Stack, path: &str, length: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: mcp.example.com\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\n{length}\r\n\r\n",
        stack.token(),
    )
}

/// Each side sends something only after it has heard from the other.
#[tokio::test(flavor = "multi_thread")]
async fn both_sides_stream_immediately_where_no_rule_reads_messages() {
    let by_path = json!({"rules": [{"match": {"paths": ["/mcp"], "methods": ["POST"]}}]});
    for access in [json!({}), by_path, reading("/other")] {
        let upstream = listen().await;
        let stack = stack(access, &upstream).start().await;
        let mut client = TcpStream::connect(stack.envoy.address()).await.unwrap();
        let head = head(&stack, "/mcp", "transfer-encoding: chunked");
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut server_reads, mut server_writes) = accept(&upstream).await;
        for turn in 0..3 {
            send(&mut client, &format!("question {turn}")).await;
            read_until(&mut server_reads, &format!("question {turn}")).await;
            send(&mut server_writes, &format!("data: response {turn}\n\n")).await;
            read_until(&mut client, &format!("response {turn}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_stays_a_stream_where_rules_read_messages() {
    let upstream = listen().await;
    let stack = stack(reading("/mcp"), &upstream).start().await;
    let mut client = TcpStream::connect(stack.envoy.address()).await.unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
    let head = head(&stack, "/mcp", &format!("content-length: {}", call.len()));
    client.write_all((head + call).as_bytes()).await.unwrap();
    let (mut server_reads, mut server_writes) = accept(&upstream).await;
    read_until(&mut server_reads, call).await;
    for event in ["data: first\n\n", "data: last\n\n"] {
        send(&mut server_writes, event).await;
        read_until(&mut client, event.trim_end()).await;
    }
}

/// The memory that Envoy has allocated, in bytes.
async fn allocated(stack: &Stack) -> u64 {
    let memory: Value = serde_json::from_str(&stack.envoy.admin("/memory").await).unwrap();
    memory["allocated"].as_str().unwrap().parse().unwrap()
}

/// How much Envoy's memory has grown, and how many bytes have reached the upstream, after 10 MiB of
/// an upload of 15 MiB to `/mcp`.
async fn grown_by_upload(access: Value, is_held: bool) -> (u64, usize) {
    const LENGTH: usize = 10 << 20;
    const ANNOUNCED: usize = 15 << 20;
    let upstream = listen().await;
    let stack = stack(access, &upstream)
        .edit(move |bootstrap| {
            let listener = &mut bootstrap.tree()["static_resources"]["listeners"][0];
            // Otherwise Envoy itself would refuse to hold this much.
            if is_held {
                listener["per_connection_buffer_limit_bytes"] = json!(ANNOUNCED);
            }
        })
        .alone()
        .start()
        .await;
    let received = Arc::new(AtomicUsize::new(0));
    let mut client = TcpStream::connect(stack.envoy.address()).await.unwrap();
    let head = head(&stack, "/mcp", &format!("content-length: {}", ANNOUNCED));
    client.write_all(head.as_bytes()).await.unwrap();
    let count = received.clone();
    // If the request is held, not even its head arrives.
    tokio::spawn(async move {
        let (mut server_reads, _server_writes) = accept(&upstream).await;
        let mut part = vec![0; 1 << 16];
        while let Ok(length) = server_reads.read(&mut part).await
            && length > 0
        {
            count.fetch_add(length, Ordering::SeqCst);
        }
    });
    // The first part allocates what any upload needs.
    let part = vec![b' '; 1 << 20];
    client.write_all(&part).await.unwrap();
    await_upload(&stack, &received, is_held, part.len()).await;
    let before = allocated(&stack).await;
    for _ in 1..LENGTH / part.len() {
        client.write_all(&part).await.unwrap();
    }
    await_upload(&stack, &received, is_held, LENGTH).await;
    let grown = allocated(&stack).await.saturating_sub(before);
    (grown, received.load(Ordering::SeqCst))
}

/// Waits until this much has reached the upstream, or Envoy if Envoy is to hold it.
async fn await_upload(stack: &Stack, received: &AtomicUsize, is_held: bool, length: usize) {
    const READ: &str = "http.mcp.downstream_cx_rx_bytes_total";
    let length = u64::try_from(length).unwrap();
    let asked = Instant::now();
    loop {
        let arrived = match is_held {
            true => stack.envoy.stat(READ).await.unwrap_or_default(),
            false => u64::try_from(received.load(Ordering::SeqCst)).unwrap(),
        };
        if arrived >= length {
            return;
        }
        assert!(asked.elapsed() < SOON, "only {arrived} bytes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_is_not_held_where_no_rule_reads_messages() {
    for access in [json!({}), reading("/other")] {
        let (grown, received) = grown_by_upload(access, false).await;
        assert!(grown < 2 << 20, "grown by {grown} bytes");
        assert!(received >= 10 << 20, "only {received} bytes came through");
    }
}

/// Shows that the measurement above detects a held body.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_is_held_where_a_rule_reads_messages() {
    let mut access = reading("/mcp");
    access["mcp"] = json!({"max_body": "16MiB"});
    let (grown, received) = grown_by_upload(access, true).await;
    assert!(grown > 8 << 20, "grown by {grown} bytes");
    assert_eq!(received, 0, "bytes came through");
}
