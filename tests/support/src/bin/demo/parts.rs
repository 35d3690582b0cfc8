use std::process::ExitCode;

use testbed::{IdentityProvider, McpServer, Port, Stack};
use tokio::signal::unix::{SignalKind, signal};

/// Runs one part until stopped: in its own container, or by hand.
pub(crate) async fn run(part: &str, port: Option<u16>) -> ExitCode {
    // The ports of envoy/envoy.yaml.
    let usual = if part == "provider" { 9001 } else { 9000 };
    let number = port.unwrap_or(usual);
    let port = match Port::fixed(number) {
        Ok(port) => port,
        Err(error) => return refuse(&format!("port {number} is not available: {error}")),
    };
    if part == "provider" {
        let provider = IdentityProvider::start_on(port).await;
        provider.offer_tokens(Stack::AUDIENCE);
        println!("The identity provider is {0}; a token: {0}/token", provider.issuer());
        until_stopped().await;
    } else {
        let server = McpServer::start_on(port).await;
        println!("The MCP server is {}", server.url());
        until_stopped().await;
    }
    ExitCode::SUCCESS
}

/// The reason why nothing is run.
pub(crate) fn refuse(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::FAILURE
}

async fn until_stopped() {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be awaited");
    let mut interrupted = signal(SignalKind::interrupt()).expect("signals can be awaited");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
}
