//! Runs the program and reads its output.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use testbed::{SigningKey, random_id};

/// The output of a run.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The output in JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

/// Runs the program with these arguments and this standard input.
pub fn mcp_auth<A: AsRef<str>>(arguments: &[A], input: &str) -> Run {
    mcp_auth_on_bytes(arguments, input.as_bytes())
}

/// The same for input that need not be UTF-8.
pub fn mcp_auth_on_bytes<A: AsRef<str>>(arguments: &[A], input: &[u8]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-auth"));
    command.args(arguments.iter().map(AsRef::as_ref));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A file with this content, whose name has this ending.
pub fn file(end: &str, content: &str) -> String {
    file_of_bytes(end, content.as_bytes())
}

/// The same for content that need not be UTF-8.
pub fn file_of_bytes(end: &str, content: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}{end}", random_id()));
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A file with the configuration of these providers.
pub fn configuration(providers: Value) -> Value {
    json!({"resource": {"url": "https://mcp.example.com/mcp"}, "providers": providers})
}

/// The key set of these keys.
pub fn key_set(keys: &[&SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public_jwk()).collect::<Vec<_>>()})
}

/// The object with these members; null removes one.
pub fn with(object: &Value, members: Value) -> Value {
    let mut object = object.clone();
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

/// A response of a [`serve`]r.
pub fn response(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{fields}\r\n{body}"
    )
}

/// A server that runs as long as the tests. It responds to each path as configured.
pub fn serve(
    tls: Option<Arc<ServerConfig>>,
    response_to: impl Fn(&str, SocketAddr) -> String + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            match &tls {
                None => exchange(stream, |path| response_to(path, address)),
                Some(tls) => {
                    let connection = ServerConnection::new(tls.clone()).unwrap();
                    exchange(StreamOwned::new(connection, stream), |path| {
                        response_to(path, address)
                    });
                }
            }
        }
    });
    address
}

/// Reads one request and responds to it. A client that disconnects gets nothing.
fn exchange(stream: impl Read + Write, response_to: impl Fn(&str) -> String) {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    if stream.read_line(&mut first).is_err() {
        return;
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut stream = stream.into_inner();
    let _ = stream.write_all(response_to(&path).as_bytes());
    let _ = stream.flush();
}

/// TLS for `localhost` with a self-signed certificate, and that certificate in PEM.
pub fn self_signed() -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), made.cert.pem())
}
