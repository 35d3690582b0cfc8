use std::fmt;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::port::Port;
use crate::program::Program;

/// An official MCP SDK, in one of its published lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OfficialSdk {
    /// npm `@modelcontextprotocol/sdk`
    TypeScriptV1,
    /// npm `@modelcontextprotocol/client` and `@modelcontextprotocol/server`
    TypeScriptV2,
    /// PyPI `mcp`, 1.x
    PythonV1,
    /// PyPI `mcp`, 2.x
    PythonV2,
}

impl OfficialSdk {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::TypeScriptV1, Self::TypeScriptV2, Self::PythonV1, Self::PythonV2];

    /// Starts an MCP server made with it, at `/mcp` on a free port, and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start_server(self) -> SdkServer {
        let port = Port::free();
        let options = json!({"sdk": self.version(), "port": port.number()});
        let mut program = self.program("mcp_server", &options);
        assert_eq!(program.line().await["event"], "listening");
        SdkServer { port, _program: program }
    }

    /// Runs a client made with it, with the options that the program `mcp_client` lists, to its
    /// end.
    ///
    /// # Panics
    ///
    /// If the program fails; refusals of the SDK are in the report.
    pub async fn run_client(self, mut options: Value) -> ClientReport {
        options["sdk"] = json!(self.version());
        ClientReport::new(self.program("mcp_client", &options)).await
    }

    /// Whether it is for TypeScript; otherwise for Python.
    pub fn is_typescript(self) -> bool {
        matches!(self, Self::TypeScriptV1 | Self::TypeScriptV2)
    }

    fn version(self) -> &'static str {
        match self {
            Self::TypeScriptV1 | Self::PythonV1 => "v1",
            Self::TypeScriptV2 | Self::PythonV2 => "v2",
        }
    }

    fn program(self, name: &str, options: &Value) -> Program {
        match self.is_typescript() {
            true => Program::node(&format!("{name}.mjs"), options),
            false => Program::python(self.version(), &format!("{name}.py"), options),
        }
    }
}

/// An MCP server made with an [`OfficialSdk`], killed when dropped. Its tool `whoami` returns the
/// identity headers that reached it.
#[derive(Debug)]
pub struct SdkServer {
    port: Port,
    _program: Program,
}

impl SdkServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

/// The actions of a client made with an [`OfficialSdk`], in order.
#[derive(Clone)]
pub struct ClientReport {
    lines: Vec<Value>,
}

impl ClientReport {
    /// The reports of this program until it ends.
    pub(crate) async fn new(program: Program) -> Self {
        Self { lines: program.lines().await }
    }

    /// Its actions after this step.
    ///
    /// # Panics
    ///
    /// If it never took the step.
    pub fn after(&self, step: &str) -> Self {
        let end = self.lines.iter().position(|line| line["step"] == step);
        let end = end.unwrap_or_else(|| panic!("{step}: {self:?}"));
        Self { lines: self.lines[end + 1..].to_vec() }
    }

    /// Its reports of this kind.
    pub fn events(&self, kind: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["event"] == kind).collect()
    }

    /// Its HTTP exchanges, as `POST /mcp 200`. Those with a token endpoint begin with the grant
    /// type instead of the method.
    pub fn exchanges(&self) -> Vec<String> {
        let exchanges = self.events("exchange").into_iter().map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default();
            let path = text("url").splitn(4, '/').nth(3).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let method = line["grant_type"].as_str().unwrap_or(text("method"));
            format!("{method} /{path} {}", line["status"])
        });
        exchanges.collect()
    }

    /// Its authorization requests, each with the requested scopes.
    pub fn authorizations(&self) -> Vec<&str> {
        let asked = self.events("authorization").into_iter();
        asked.map(|line| line["scope"].as_str().unwrap_or_default()).collect()
    }

    /// How a step ended: `done` with its result, or `failed` with an error.
    ///
    /// # Panics
    ///
    /// If it was never taken, or more than once.
    pub fn step(&self, name: &str) -> &Value {
        let ends: Vec<_> = self.lines.iter().filter(|line| line["step"] == name).collect();
        assert_eq!(ends.len(), 1, "{name}: {self:?}");
        ends[0]
    }

    /// The text that a tool returned.
    ///
    /// # Panics
    ///
    /// If the call failed, or there was none, or several.
    pub fn result(&self, tool: &str) -> &str {
        let step = self.step(tool);
        assert_eq!(step["event"], "done", "{self:?}");
        step["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The identity that the server saw when its tool `whoami` was called.
    ///
    /// # Panics
    ///
    /// If the call failed, or the token reached the server.
    pub fn identity(&self) -> Value {
        let mut result: Value = serde_json::from_str(self.result("whoami"))
            .unwrap_or_else(|_| panic!("`whoami` answers JSON: {self:?}"));
        assert_eq!(result["authorization_header_arrived"], false, "{self:?}");
        result["identity"].take()
    }
}

impl fmt::Debug for ClientReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            write!(formatter, "\n{line}")?;
        }
        Ok(())
    }
}
