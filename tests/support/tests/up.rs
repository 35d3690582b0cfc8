//! `make up` leaves running what it says, the command that it prints works as it is, and `make down`
//! stops all of it.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

use std::net::TcpStream;
use std::process::Command;

use testbed::repository_root;

/// Runs the demo with this argument, and returns what it prints.
fn demo(argument: &str) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_demo")).arg(argument).output().unwrap();
    let [printed, log] = [run.stdout, run.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(run.status.success(), "{argument}: {printed}{log}");
    printed
}

/// Stops the demo, whatever has become of the test.
struct Up(String);

impl Up {
    fn start() -> Self {
        let state = repository_root().join(".demo/state.json");
        assert!(!state.exists(), "`make up` was run here: `make down` ends it");
        Self(demo("up"))
    }

    /// The address behind these words.
    fn address(&self, words: &str) -> &str {
        let line = self.0.lines().find(|line| line.trim_start().starts_with(words)).unwrap();
        let (_, url) = line.split_once("http://").unwrap();
        url.split('/').next().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        demo("down");
    }
}

#[test]
fn the_printed_command_calls_the_server_and_down_stops_everything() {
    let up = Up::start();
    assert!(demo("up").starts_with("It is already running."));
    let (_, command) = up.0.split_once("\ncurl ").unwrap();
    let (command, _) = command.split_once("\n\n").unwrap();
    let call = Command::new("bash").args(["-c", &format!("curl {command}")]).output().unwrap();
    let response = String::from_utf8(call.stdout).unwrap();
    assert!(response.contains("x-mcp-user"), "{response}\n{}", up.0);
    let addresses = ["the MCP server behind", "the status page", "Envoy's admin", "the identity"]
        .map(|words| up.address(words).to_owned());
    for address in &addresses {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    assert_eq!(demo("down"), "Stopped.\n");
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} still listens");
    }
}
