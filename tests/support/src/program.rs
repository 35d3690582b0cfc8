use std::env;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use testkit::repository_root;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::child::KilledChild;

/// A program of `tests/clients`, killed when dropped. It takes one argument, JSON, and prints lines
/// of JSON.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    process: KilledChild,
    lines: UnboundedReceiver<String>,
    said: String,
    errors: Arc<Mutex<String>>,
}

impl Program {
    /// Starts a script of `tests/clients/node` with the Node in `.venv`, or the one `NODE` names.
    pub(crate) fn node(script: &str, options: &Value) -> Self {
        let node = interpreter("NODE", ".venv/bin/node");
        Self::start(node, &format!("tests/clients/node/{script}"), options)
    }

    /// Starts a script of `tests/clients/python` with the Python in `.venv/mcp-v1` or `-v2`, or the
    /// one that `PYTHON_MCP_V1` or `PYTHON_MCP_V2` names.
    pub(crate) fn python(version: &str, script: &str, options: &Value) -> Self {
        let variable = format!("PYTHON_MCP_{}", version.to_uppercase());
        let python = interpreter(&variable, &format!(".venv/mcp-{version}/bin/python"));
        Self::start(python, &format!("tests/clients/python/{script}"), options)
    }

    /// Starts the program that renders Helm charts with the Python in `.venv/helm`, or the one that
    /// `PYTHON_HELM` names.
    pub(crate) fn helm(options: &Value) -> Self {
        let python = interpreter("PYTHON_HELM", ".venv/helm/bin/python");
        Self::start(python, "tests/clients/python/render_chart.py", options)
    }

    /// The next line.
    ///
    /// # Panics
    ///
    /// If it ends, or prints nothing for 60 s; the message has all its output.
    pub(crate) async fn line(&mut self) -> Value {
        match self.next().await {
            Some(line) => line,
            None => panic!("{} has ended:\n{}", self.name, self.output()),
        }
    }

    /// All lines until it exits.
    ///
    /// # Panics
    ///
    /// If it fails, or prints nothing for 60 s; the message has all its output.
    pub(crate) async fn lines(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        let status = self.process.wait();
        assert!(status.success(), "{}: {status}\n{}", self.name, self.output());
        lines
    }

    /// The lines that have arrived and were not read yet.
    pub(crate) fn lines_so_far(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Ok(line) = self.lines.try_recv() {
            let line = self.parse(&line);
            lines.push(line);
        }
        lines
    }

    fn start(interpreter: PathBuf, script: &str, options: &Value) -> Self {
        let script_path = repository_root().join(script);
        let mut command = Command::new(interpreter);
        command.arg(script_path).arg(options.to_string());
        // Settings for other programs of this machine must not affect them.
        for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "NODE_OPTIONS"] {
            command.env_remove(proxy);
        }
        let (process, output, error_output) = KilledChild::start_with_output(&mut command);
        let (sender, lines) = unbounded_channel();
        let errors = Arc::new(Mutex::new(String::new()));
        let own_errors = Arc::clone(&errors);
        // They end with the process.
        thread::spawn(move || read_lines(output, &sender));
        thread::spawn(move || read_text(error_output, &own_errors));
        Self { name: script.to_owned(), process, lines, said: String::new(), errors }
    }

    async fn next(&mut self) -> Option<Value> {
        const DEADLINE: Duration = Duration::from_secs(60);
        match timeout(DEADLINE, self.lines.recv()).await {
            Ok(line) => line.map(|line| self.parse(&line)),
            Err(_) => panic!("{} says nothing for {DEADLINE:?}:\n{}", self.name, self.output()),
        }
    }

    fn parse(&mut self, line: &str) -> Value {
        self.said.push_str(line);
        self.said.push('\n');
        serde_json::from_str(line)
            .unwrap_or_else(|_| panic!("{} said {line:?}:\n{}", self.name, self.output()))
    }

    /// The lines read so far, and the error output.
    fn output(&self) -> String {
        format!("{}{}", self.said, self.errors.lock().expect("no holder panics"))
    }
}

fn interpreter(variable: &str, default: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(path) => path.into(),
        None => repository_root().join(default),
    }
}

fn read_lines(output: impl Read, lines: &UnboundedSender<String>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        if lines.send(line).is_err() {
            return;
        }
    }
}

fn read_text(output: impl Read, text: &Mutex<String>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        let mut text = text.lock().expect("no holder panics");
        text.push_str(&line);
        text.push('\n');
    }
}
