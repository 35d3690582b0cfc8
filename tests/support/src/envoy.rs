use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Client;
use tempfile::TempDir;
use testkit::{native_module_path, repository_root};
use tokio::time::sleep;

use crate::bootstrap::{Bootstrap, ConfigurationForm};
use crate::port::Port;
use crate::shared_envoy::Tenancy;

/// How long an Envoy may take to start. Compiling the plugin takes seconds, and more beside other
/// programs.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// The default log levels of Envoy's components.
pub(crate) const COMPONENT_LOG_LEVEL: &str = "wasm:info,dynamic_modules:info";

/// A running Envoy, stopped when dropped: a process of its own, or part of one that tests share.
#[derive(Debug)]
pub struct Envoy {
    port: Port,
    home: Home,
    admin: SocketAddr,
    client: Client,
    workers: usize,
}

impl Envoy {
    /// Major and minor version of the Envoy that the tests run, for what differs between versions.
    ///
    /// # Panics
    ///
    /// Panics if Envoy does not print its version.
    #[must_use]
    pub fn version() -> (u32, u32) {
        let printed = Command::new(binary()).arg("--version").output().expect("Envoy runs").stdout;
        let printed = String::from_utf8(printed).expect("the version is UTF-8");
        let version = printed.split('/').find_map(|part| {
            let (major, rest) = part.split_once('.')?;
            Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
        });
        version.unwrap_or_else(|| panic!("no version in {printed:?}"))
    }

    /// Envoy with the example's configuration on a free port, and with the native module in place of the
    /// plugin where `MCP_FEDERATED_AUTH_NATIVE` names one.
    pub fn builder() -> EnvoyBuilder {
        let log_level = env::var("ENVOY_COMPONENT_LOG_LEVEL");
        EnvoyBuilder {
            bootstrap: Bootstrap::example(),
            form: ConfigurationForm::default(),
            port: Port::free(),
            admin_port: 0,
            workers: 1,
            component_log_level: log_level.unwrap_or_else(|_| COMPONENT_LOG_LEVEL.to_owned()),
            environment: Vec::new(),
            is_updatable: false,
            drains_at_once: false,
            native: env::var_os("MCP_FEDERATED_AUTH_NATIVE").map(|_| native_module_path()),
            binary: binary(),
        }
    }

    /// Replaces the listeners by edited ones, as a control plane does, and returns once all workers
    /// use them. At least one listener must change. Open connections keep their old configuration.
    ///
    /// # Panics
    ///
    /// If it was not started as [`updatable`](EnvoyBuilder::updatable), if Envoy refuses the
    /// listeners, or if they are not in use within 30 s.
    pub async fn update(&mut self, edit: impl FnOnce(&mut Bootstrap)) {
        const TAKEN: &str = "listener_manager.listener_create_success";
        const REFUSED: &str = "listener_manager.lds.update_rejected";
        let (taken, refused) = (self.stat(TAKEN).await, self.stat(REFUSED).await);
        let Home::Own(process, Some(listeners)) = &mut self.home else {
            panic!("Envoy was not started as updatable")
        };
        edit(&mut listeners.bootstrap);
        listeners.version += 1;
        listeners.write(process.directory.path());
        let workers = u64::try_from(self.workers).expect("it is a small number");
        let started = Instant::now();
        while self.stat(TAKEN).await < taken.map(|taken| taken + workers) {
            assert_eq!(self.stat(REFUSED).await, refused, "{}", self.log_tail());
            assert!(started.elapsed() < START_DEADLINE, "{}", self.log_tail());
            sleep(POLL).await;
        }
    }

    /// Whether it reports readiness: all its listeners have their configuration.
    pub async fn is_ready(&self) -> bool {
        self.assert_alone();
        let url = format!("http://{}/ready", self.admin);
        self.client.get(url).send().await.is_ok_and(|response| response.status().is_success())
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    ///
    /// If Envoy exits, or is not ready within 30 s; the message ends with its log.
    pub async fn await_ready(&self) {
        let asked = Instant::now();
        while !self.is_ready().await {
            assert!(self.is_running(), "Envoy did not start:\n{}", self.log_tail());
            assert!(
                asked.elapsed() < START_DEADLINE,
                "Envoy is not ready after {START_DEADLINE:?}:\n{}",
                self.log_tail()
            );
            sleep(POLL).await;
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of a path, for clients.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Where the admin interface listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.assert_alone();
        self.admin
    }

    /// The response of the admin interface to a GET of this path.
    pub async fn admin(&self, path: &str) -> String {
        self.assert_alone();
        self.ask_admin(path).await
    }

    async fn ask_admin(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.admin);
        let response = self.client.get(url).send().await;
        let response = response.expect("the admin interface answers");
        response.text().await.expect("its responses are text")
    }

    /// Ends Envoy in order, and waits for its exit.
    ///
    /// # Panics
    ///
    /// If it is shared with other stacks, or still runs after 30 s.
    pub async fn quit(self) {
        let Home::Own(process, _) = &self.home else { panic!("other stacks use this Envoy") };
        let url = format!("http://{}/quitquitquit", self.admin);
        let response = self.client.post(url).send().await;
        response.expect("the admin interface answers");
        let status = process.await_exit().await;
        assert!(status.success(), "Envoy exited ({status}):\n{}", process.log_tail());
    }

    /// All counters and gauges.
    pub async fn stats(&self) -> Vec<(String, u64)> {
        self.assert_alone();
        self.stats_of_all().await
    }

    /// The counters and gauges of all stacks in this Envoy.
    pub async fn stats_of_all(&self) -> Vec<(String, u64)> {
        self.ask_admin("/stats")
            .await
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// A counter or gauge by its full name; `None` if Envoy does not have it.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let stats = self.stats().await;
        let (_, value) = stats.into_iter().find(|(stat, _)| stat == name)?;
        Some(value)
    }

    /// The requests in flight in the example's listener; `None` before the first one.
    pub async fn active_requests(&self) -> Option<u64> {
        let suffix = match &self.home {
            Home::Own(..) => String::new(),
            Home::Shared(tenancy) => tenancy.suffix(),
        };
        let name = format!("http.mcp{suffix}.downstream_rq_active");
        let stats = self.stats_of_all().await;
        stats.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// How many connections each worker has accepted, by worker.
    pub async fn connections_per_worker(&self) -> Vec<u64> {
        let address = self.address().to_string().replace(':', "_");
        let prefix = format!("listener.{address}.worker_");
        let mut workers: Vec<(usize, u64)> = self
            .stats_of_all()
            .await
            .into_iter()
            .filter_map(|(name, value)| {
                let worker = name.strip_prefix(&prefix)?;
                let worker = worker.strip_suffix(".downstream_cx_total")?;
                Some((worker.parse().ok()?, value))
            })
            .collect();
        // Sorted by number: Envoy lists worker 10 before worker 2.
        workers.sort_unstable();
        workers.into_iter().map(|(_, value)| value).collect()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.assert_alone();
        self.log_of_all()
    }

    /// The log of all stacks in this Envoy.
    pub fn log_of_all(&self) -> String {
        match &self.home {
            Home::Own(process, _) => process.log(),
            Home::Shared(tenancy) => tenancy.envoy().log(),
        }
    }

    fn log_tail(&self) -> String {
        last_lines(&self.log_of_all())
    }

    /// Waits until the log contains this string.
    ///
    /// # Panics
    ///
    /// If the deadline passes first.
    pub async fn await_log(&self, text: &str, deadline: Duration) {
        let asked = Instant::now();
        while !self.log().contains(text) {
            assert!(
                asked.elapsed() < deadline,
                "no {text:?} in Envoy's log after {deadline:?}:\n{}",
                self.log_tail()
            );
            sleep(POLL).await;
        }
    }

    /// Whether the process is alive.
    pub fn is_running(&self) -> bool {
        match &self.home {
            Home::Own(process, _) => process.exit_status().is_none(),
            Home::Shared(tenancy) => tenancy.envoy().is_running(),
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        match &self.home {
            Home::Own(process, _) => process.pid(),
            Home::Shared(_) => panic!("{NOT_ALONE}"),
        }
    }

    /// Panics in a shared process: its state concerns other tests too.
    fn assert_alone(&self) {
        assert!(matches!(self.home, Home::Own(..)), "{NOT_ALONE}");
    }

    /// The resident memory of the process (RSS), in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the process lives");
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .and_then(|value| value.parse::<u64>().ok());
        kibibytes.expect("Linux reports the memory of a process") * 1024
    }
}

const NOT_ALONE: &str = "this Envoy serves other tests too: start the stack with `alone()`";

/// Where an [`Envoy`] runs.
#[derive(Debug)]
enum Home {
    /// A process of its own, with its listeners if they can be replaced.
    Own(Process, Option<Listeners>),
    /// A process that other stacks share.
    Shared(Tenancy),
}

/// The settings of an [`Envoy`] to start.
#[derive(Debug)]
pub struct EnvoyBuilder {
    bootstrap: Bootstrap,
    form: ConfigurationForm,
    port: Port,
    admin_port: u16,
    workers: usize,
    component_log_level: String,
    environment: Vec<(String, String)>,
    is_updatable: bool,
    drains_at_once: bool,
    /// The native module that is used in place of the plugin.
    native: Option<PathBuf>,
    binary: PathBuf,
}

impl EnvoyBuilder {
    /// Uses a configuration other than the example's; ports and module are still filled in.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Edits the configuration now.
    pub fn edit(mut self, edit: impl FnOnce(&mut Bootstrap)) -> Self {
        edit(&mut self.bootstrap);
        self
    }

    /// Passes the configuration to the plugin in this form.
    pub fn form(mut self, form: ConfigurationForm) -> Self {
        self.form = form;
        self
    }

    /// Listens on this port.
    pub fn port(mut self, port: Port) -> Self {
        self.port = port;
        self
    }

    /// The port of the admin interface.
    pub fn admin_port(mut self, port: u16) -> Self {
        self.admin_port = port;
        self
    }

    /// Sets the number of worker threads; 1 by default.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the log levels of Envoy's components, such as `wasm:debug,http:trace`; by default
    /// `wasm:info`, or the value of `ENVOY_COMPONENT_LOG_LEVEL`.
    pub fn component_log_level(mut self, level: impl Into<String>) -> Self {
        self.component_log_level = level.into();
        self
    }

    /// Adds a variable to its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses this native module instead of the plugin; the configuration is edited in the same way.
    pub fn native(mut self, module: PathBuf) -> Self {
        self.native = Some(module);
        self
    }

    pub(crate) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    /// Uses this Envoy binary.
    pub fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// Allows replacing the listeners while it runs, by [`update`](Envoy::update).
    pub fn updatable(mut self) -> Self {
        self.is_updatable = true;
        self
    }

    /// Removes replaced listeners after one second, instead of ten minutes.
    pub fn drain_at_once(mut self) -> Self {
        self.drains_at_once = true;
        self
    }

    /// The port that it will listen on.
    pub fn listener_port(&self) -> u16 {
        self.port.number()
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If Envoy exits, or is not ready within 30 s; the message ends with its log.
    pub async fn start(self) -> Envoy {
        let envoy = self.start_unready().await;
        envoy.await_ready().await;
        envoy
    }

    /// Adds this configuration to the Envoy that tests share, and waits until it is in use. One
    /// that needs a process of its own is started as by [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// If Envoy refuses the configuration, or it is not in use within 30 s; the message ends with
    /// the log.
    pub async fn start_shared(mut self) -> Envoy {
        if !self.can_be_shared() {
            return self.start().await;
        }
        self.bootstrap.set_listener_port(self.port.number());
        let tenancy = Tenancy::begin(self.bootstrap, self.form, self.workers).await;
        let client =
            Client::builder().no_proxy().build().expect("the client has nothing to object to");
        let admin = tenancy.admin_address();
        Envoy { port: self.port, home: Home::Shared(tenancy), admin, client, workers: self.workers }
    }

    fn can_be_shared(&self) -> bool {
        !self.is_updatable
            && self.native.is_none()
            && self.binary == binary()
            && self.admin_port == 0
            && self.component_log_level == COMPONENT_LOG_LEVEL
            && self.environment.is_empty()
            && self.bootstrap.is_like_the_example()
    }

    /// Starts Envoy and waits until its admin interface responds: its listeners may still wait for
    /// their configuration.
    ///
    /// # Panics
    ///
    /// If Envoy exits, or its admin interface does not respond within 30 s; the message ends with
    /// its log.
    pub async fn start_unready(self) -> Envoy {
        let workers = self.workers;
        let (process, port, listeners) = self.launch(&[]);
        let client =
            Client::builder().no_proxy().build().expect("the client has nothing to object to");
        let started = Instant::now();
        loop {
            if let Some(admin) = admin_address(&process, &client).await {
                let home = Home::Own(process, listeners);
                return Envoy { port, home, admin, client, workers };
            }
            if let Some(status) = process.exit_status() {
                panic!("Envoy did not start ({status}):\n{}", process.log_tail());
            }
            assert!(
                started.elapsed() < START_DEADLINE,
                "Envoy's admin interface does not answer after {START_DEADLINE:?}:\n{}",
                process.log_tail()
            );
            sleep(POLL).await;
        }
    }

    /// Starts Envoy with a configuration that it must refuse, and returns its log.
    ///
    /// # Panics
    ///
    /// If Envoy does not exit within 30 s, or exits with status 0.
    pub async fn expect_refusal(self) -> String {
        let (process, _port, _) = self.launch(&[]);
        assert!(!process.await_exit().await.success(), "Envoy ended with success");
        process.log()
    }

    /// Has Envoy validate its configuration, and the plugin its own, without any callout.
    ///
    /// # Panics
    ///
    /// If Envoy refuses it; the message ends with its log.
    pub async fn validate(self) {
        let (process, _port, _) = self.launch(&["--mode", "validate"]);
        let status = process.await_exit().await;
        assert!(status.success(), "Envoy refuses ({status}):\n{}", process.log_tail());
    }

    fn launch(mut self, mode: &[&str]) -> (Process, Port, Option<Listeners>) {
        let directory = TempDir::with_prefix("mcp-federated-auth-envoy-")
            .expect("the temporary directory is writable");
        self.bootstrap.set_listener_port(self.port.number());
        self.bootstrap.set_admin_port(self.admin_port);
        let listeners = self.is_updatable.then(|| Listeners {
            bootstrap: self.bootstrap.clone(),
            form: self.form,
            version: 1,
            native: self.native.clone(),
        });
        self.bootstrap.set_configuration_form(self.form);
        if let Some(module) = &self.native {
            self.environment.extend(self.bootstrap.replace_plugin(module));
        }
        if let Some(listeners) = &listeners {
            let file = listeners.write(directory.path());
            self.bootstrap.move_listeners(&file, listeners.version);
        }
        let configuration = directory.path().join("envoy.json");
        fs::write(&configuration, self.bootstrap.tree().to_string())
            .expect("the directory is ours");
        let log = File::create(directory.path().join("envoy.log")).expect("the directory is ours");
        let binary = self.binary;
        let drain: &[_] = if self.drains_at_once {
            &["--drain-time-s", "1", "--drain-strategy", "immediate"]
        } else {
            &[]
        };
        let child = Command::new(&binary)
            .arg("--config-path")
            .arg(configuration)
            .arg("--admin-address-path")
            .arg(directory.path().join("admin"))
            .args(["--concurrency", &self.workers.to_string()])
            .args(["--log-level", "warning"])
            .args(["--component-log-level", &self.component_log_level])
            // Hot restart shares memory under a number that must be unique, and leaks that memory
            // when killed.
            .arg("--disable-hot-restart")
            // Access logs too are flushed immediately.
            .args(["--file-flush-interval-msec", "10"])
            .args(mode)
            .args(drain)
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a process may have more files"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{} cannot be run ({error}): `make` installs it, or set ENVOY",
                    binary.display()
                )
            });
        let process = Process { child: Mutex::new(child), directory };
        (process, self.port, listeners)
    }
}

/// The listeners of an Envoy that reads them from a file.
#[derive(Debug)]
struct Listeners {
    /// The configuration before its listeners were moved to the file.
    bootstrap: Bootstrap,
    form: ConfigurationForm,
    version: u64,
    native: Option<PathBuf>,
}

impl Listeners {
    /// Replaces the file atomically, which is what Envoy watches for, and returns its path.
    fn write(&self, directory: &Path) -> PathBuf {
        let file = directory.join("listeners.json");
        let next = directory.join("listeners.json.next");
        let mut bootstrap = self.bootstrap.clone();
        bootstrap.set_configuration_form(self.form);
        if let Some(module) = &self.native {
            bootstrap.replace_plugin(module);
        }
        let content = bootstrap.move_listeners(&file, self.version).to_string();
        fs::write(&next, content).expect("the directory is ours");
        fs::rename(&next, &file).expect("the directory is ours");
        file
    }
}

#[derive(Debug)]
struct Process {
    child: Mutex<Child>,
    directory: TempDir,
}

impl Process {
    fn pid(&self) -> u32 {
        self.child.lock().expect("no holder panics").id()
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect("no holder panics");
        child.try_wait().expect("the process is our child")
    }

    async fn await_exit(&self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(
                started.elapsed() < START_DEADLINE,
                "Envoy still runs after {START_DEADLINE:?}:\n{}",
                self.log_tail()
            );
            sleep(POLL).await;
        }
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.directory.path().join("envoy.log"));
        String::from_utf8_lossy(&bytes.expect("the log is there")).into_owned()
    }

    fn log_tail(&self) -> String {
        last_lines(&self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            // An error means that it has already exited.
            let _ended = child.kill();
            let _ended = child.wait();
        }
        // Envoy logs a bug, and goes on.
        assert!(thread::panicking() || !self.log().contains("envoy bug failure"), "{}", self.log());
    }
}

/// The end of a log, for failure messages.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The admin address, once Envoy has written it and responds there.
async fn admin_address(process: &Process, client: &Client) -> Option<SocketAddr> {
    let text = fs::read_to_string(process.directory.path().join("admin")).ok()?;
    let address: SocketAddr = text.trim().parse().ok()?;
    client.get(format!("http://{address}/ready")).send().await.ok().map(|_| address)
}

pub(crate) fn binary() -> PathBuf {
    match env::var_os("ENVOY") {
        Some(path) => path.into(),
        None => repository_root().join(".venv/bin/envoy"),
    }
}
