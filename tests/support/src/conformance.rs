use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::port::Port;
use crate::program::Program;

/// An MCP server with everything that the official conformance suite requires, made with the
/// official SDK for TypeScript; killed when dropped.
#[derive(Debug)]
pub struct ConformanceServer {
    port: Port,
    _program: Program,
}

impl ConformanceServer {
    /// Starts on a free port, and returns once it listens.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start() -> Self {
        let port = Port::free();
        let options = json!({"port": port.number()});
        let mut program = Program::node("conformance_server.mjs", &options);
        assert_eq!(program.line().await["event"], "listening");
        Self { port, _program: program }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

/// The result of a check of the suite.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConformanceCheck {
    /// The scenario that it belongs to.
    pub scenario: String,
    /// Its name.
    pub check: String,
    /// `SUCCESS`, `FAILURE`, `WARNING`, `SKIPPED` or `INFO`.
    pub status: String,
    /// What was wrong; empty if nothing was.
    pub error: Option<String>,
}

/// Runs all scenarios that the suite has for servers of a revision of MCP.
///
/// # Panics
///
/// If the suite cannot be run.
pub async fn conformance_checks(url: &str, revision: &str) -> Vec<ConformanceCheck> {
    run(&json!({"url": url, "revision": revision})).await
}

/// Runs one scenario, which may belong to an extension of MCP.
///
/// # Panics
///
/// If the suite cannot be run.
pub async fn conformance_checks_of(
    url: &str,
    revision: &str,
    scenario: &str,
) -> Vec<ConformanceCheck> {
    run(&json!({"url": url, "revision": revision, "scenario": scenario})).await
}

/// Runs all scenarios that the suite has for authorization servers of a revision of MCP, with a
/// client that has the redirect URI `http://127.0.0.1:<port>/callback`. Ada logs in.
///
/// # Panics
///
/// If the suite cannot be run.
pub async fn conformance_checks_of_login(
    issuer: &str,
    revision: &str,
    client_id: &str,
    port: &Port,
    resource: &str,
) -> Vec<ConformanceCheck> {
    let login = json!({
        "person": "ada", "client_id": client_id, "port": port.number(), "resource": resource,
    });
    run(&json!({"url": issuer, "revision": revision, "login": login})).await
}

async fn run(options: &Value) -> Vec<ConformanceCheck> {
    let lines = Program::node("conformance_suite.mjs", options).lines().await;
    let checks = lines.into_iter().map(serde_json::from_value);
    checks.collect::<Result<_, _>>().expect("the lines are checks")
}
