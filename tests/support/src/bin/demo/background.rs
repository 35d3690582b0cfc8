use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testbed::{Bootstrap, IdentityProvider, McpServer, Port, Stack, now, repository_root};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

/// The argument with which `up` runs this program in the background.
pub(crate) const SERVE: &str = "serve";

const POLL: Duration = Duration::from_millis(50);

/// Starts the parts in a separate process and waits until they run.
pub(crate) fn up() -> ExitCode {
    if let Some(state) = State::read() {
        if state.is_running() {
            print!("It is already running.\n{state}");
            return ExitCode::SUCCESS;
        }
        state.clean_up();
    }
    println!("Starting an identity provider, an MCP server, and Envoy with the plugin ...");
    match start() {
        Ok(state) => {
            print!("{state}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Stops what `up` started.
pub(crate) fn down() -> ExitCode {
    let Some(state) = State::read() else {
        println!("Nothing is running.");
        return ExitCode::SUCCESS;
    };
    if !state.is_running() {
        state.clean_up();
        println!("Nothing was running any more; its leftovers have been removed.");
        return ExitCode::SUCCESS;
    }
    terminate(state.pid, Signal::TERM);
    let asked = Instant::now();
    while state.is_running() {
        if asked.elapsed() > Duration::from_secs(10) {
            terminate(state.pid, Signal::KILL);
            break;
        }
        thread::sleep(POLL);
    }
    state.clean_up();
    println!("Stopped.");
    ExitCode::SUCCESS
}

/// Runs the parts until stopped: the background process of `up`.
pub(crate) async fn serve() -> ExitCode {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be awaited");
    let mut interrupted = signal(SignalKind::interrupt()).expect("signals can be awaited");
    let provider = IdentityProvider::start_on(port(9001)).await;
    provider.offer_tokens(Stack::AUDIENCE);
    let server = McpServer::start_on(port(9000)).await;
    let admin_port = Port::fixed(9901).map_or(0, |port| port.number());
    let status_port = port(9902);
    let number = status_port.number();
    let stack = crate::builder()
        .alone()
        .bootstrap(Bootstrap::status_example())
        .edit(move |bootstrap| bootstrap.set_status_port(number))
        .port(port(10000))
        .admin_port(admin_port)
        .workers(2)
        .provider(provider)
        .server(server)
        .start()
        .await;
    State::new(&stack, &status_port).write().expect("the folder is writable");

    let mut checks = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = terminated.recv() => return ExitCode::SUCCESS,
            _ = interrupted.recv() => return ExitCode::SUCCESS,
            _ = checks.tick() => {
                if !stack.envoy.is_running() {
                    eprintln!("Envoy has ended:\n{}", stack.envoy.log());
                    return ExitCode::FAILURE;
                }
            }
        }
    }
}

/// The example's own port, or a free one if that is taken.
fn port(number: u16) -> Port {
    Port::fixed(number).unwrap_or_else(|_| Port::free())
}

fn start() -> Result<State, String> {
    fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
    let log = File::create(log_path()).map_err(|error| error.to_string())?;
    let log_too = log.try_clone().map_err(|error| error.to_string())?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut process = Command::new(program)
        .arg(SERVE)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        // Ctrl-C in the terminal that ran `up` must not stop it.
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let started = Instant::now();
    loop {
        if let Some(state) = State::read().filter(|state| state.pid == process.id()) {
            return Ok(state);
        }
        let ended = process.try_wait().map_err(|error| error.to_string())?;
        let late = started.elapsed() > Duration::from_secs(60);
        if ended.is_some() || late {
            // If it has ended, there is nothing to kill.
            let _ended = process.kill();
            let log = fs::read_to_string(log_path()).unwrap_or_default();
            return Err(format!("It did not start:\n{log}"));
        }
        thread::sleep(POLL);
    }
}

/// The state of the background process, kept in a file between `up` and `down`.
#[derive(Debug, Deserialize, Serialize)]
struct State {
    pid: u32,
    envoy_pid: u32,
    mcp_url: String,
    admin_url: String,
    status_url: String,
    issuer: String,
    server_url: String,
    token: String,
    token_expires: u64,
}

impl State {
    fn new(stack: &Stack, status_port: &Port) -> Self {
        let token_expires = now() + 3600;
        let mut claims = stack.claims();
        claims["exp"] = json!(token_expires);
        Self {
            pid: std::process::id(),
            envoy_pid: stack.envoy.pid(),
            mcp_url: format!("http://127.0.0.1:{}/mcp", stack.envoy.address().port()),
            admin_url: format!("http://{}", stack.envoy.admin_address()),
            status_url: format!("http://{}/", status_port.address()),
            issuer: stack.provider.issuer(),
            server_url: stack.server.url(),
            token: stack.provider.token(&claims),
            token_expires,
        }
    }

    fn read() -> Option<Self> {
        serde_json::from_slice(&fs::read(state_path()).ok()?).ok()
    }

    /// Written atomically, because `up` waits for the file.
    fn write(&self) -> io::Result<()> {
        let draft = folder().join("state.draft");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        fs::rename(draft, state_path())
    }

    fn is_running(&self) -> bool {
        command_line(self.pid).is_some_and(|words| words.last().is_some_and(|word| word == SERVE))
    }

    /// Cleans up after the process has ended, however it did: also ends an Envoy that it left
    /// behind.
    fn clean_up(&self) {
        let is_ours = |word: &String| word.contains("mcp-federated-auth-envoy-");
        if command_line(self.envoy_pid).is_some_and(|words| words.iter().any(is_ours)) {
            terminate(self.envoy_pid, Signal::KILL);
        }
        // It may already have ended.
        let _gone = fs::remove_file(state_path());
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mcp_url, admin_url, status_url, issuer, server_url, token, .. } = self;
        let log = log_path();
        let validity = match self.token_expires.saturating_sub(now()) / 60 {
            0 => "this token has expired: put a new one in its place".to_owned(),
            minutes => format!("this token is valid for {minutes} minutes"),
        };
        let call = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "whoami", "arguments": {}},
        });
        write!(
            f,
            "
  the MCP server behind Envoy   {mcp_url}
  the status page               {status_url}
  Envoy's admin interface       {admin_url}
  the identity provider         {issuer}
  the MCP server, unprotected   {server_url}
  log                           {}

Call it ({validity}):

curl -s {mcp_url} \\
  -H 'content-type: application/json' \\
  -H 'accept: application/json, text/event-stream' \\
  -H 'authorization: Bearer {token}' \\
  -d '{call}'

A new token: curl -s {issuer}/token
",
            log.display()
        )
    }
}

fn terminate(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // A process that has just ended needs no signal.
        let _ended = kill_process(pid, signal);
    }
}

/// The arguments with which a process was started; `None` if there is no such process.
fn command_line(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
}

fn folder() -> PathBuf {
    repository_root().join(".demo")
}

fn state_path() -> PathBuf {
    folder().join("state.json")
}

fn log_path() -> PathBuf {
    folder().join("log")
}
