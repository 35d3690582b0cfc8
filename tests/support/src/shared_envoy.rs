use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Algorithm, SigningKey, module_path};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::bootstrap::{Bootstrap, ConfigurationForm};
use crate::envoy::{COMPONENT_LOG_LEVEL, POLL, START_DEADLINE, binary, last_lines};
use crate::port::Port;

/// One Envoy for the stacks of many tests, as long as the test program runs.
///
/// Each stack has its own listeners, clusters and VM (`vm_id`), so it shares no plugin state with
/// another. Metrics and the log are those of the process. Envoy compiles the module once, which
/// takes more time than most tests.
#[derive(Debug)]
pub(crate) struct SharedEnvoy {
    directory: PathBuf,
    tenants: Mutex<Tenants>,
    watchdog: Mutex<Child>,
}

impl SharedEnvoy {
    /// The one of this test program with this number of workers.
    async fn running(workers: usize) -> Arc<Self> {
        type Started = Arc<OnceCell<Arc<SharedEnvoy>>>;
        static RUNNING: Mutex<BTreeMap<usize, Started>> = Mutex::new(BTreeMap::new());
        let started = RUNNING.lock().expect("no holder panics").entry(workers).or_default().clone();
        let start = || async {
            let mut tenants = Tenants::default();
            let id = tenants.next_id();
            let Parts { listeners, clusters } = keeper().parts(id);
            let names = names(&listeners);
            tenants.listeners.insert(id, listeners);
            tenants.clusters.insert(id, clusters);
            // Envoy has it from its start: Envoy 1.36 and 1.37 crash if their first VM comes later, on
            // processors with memory protection keys.
            let envoy = Arc::new(Self::launch(workers, tenants));
            let keeper = Tenancy { envoy: envoy.clone(), id };
            keeper.await_names(&http_client(), "/listeners", &names).await;
            // Never dropped: Envoy keeps a compiled module as long as one VM runs it.
            std::mem::forget(keeper);
            envoy
        };
        started.get_or_init(start).await.clone()
    }

    fn launch(workers: usize, tenants: Tenants) -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-envoy-")
            .expect("the temporary directory is writable")
            .keep();
        tenants.write(&directory, Resource::Clusters);
        tenants.write(&directory, Resource::Listeners);
        let mut bootstrap = Bootstrap::example();
        bootstrap.set_admin_port(0);
        bootstrap
            .move_all(&Resource::Clusters.file(&directory), &Resource::Listeners.file(&directory));
        let configuration = directory.join("envoy.json");
        fs::write(&configuration, bootstrap.tree().to_string()).expect("the directory is ours");
        let log = File::create(directory.join("envoy.log")).expect("the directory is ours");
        // Ends Envoy and removes the directory however this program ends, because that closes the
        // pipe.
        let watchdog = Command::new("sh")
            .args(["-c", r#""$@" & read -r _; kill -KILL $!; wait; rm -r -- "$0""#])
            .arg(&directory)
            .arg(binary())
            .arg("--config-path")
            .arg(configuration)
            .arg("--admin-address-path")
            .arg(directory.join("admin"))
            .args(["--concurrency", &workers.to_string(), "--log-level", "warning"])
            .args(["--component-log-level", COMPONENT_LOG_LEVEL, "--disable-hot-restart"])
            .args(["--drain-time-s", "1", "--drain-strategy", "immediate"])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a process may have more files"))
            .stderr(log)
            .spawn()
            .expect("there is a shell");
        Self { directory, tenants: Mutex::new(tenants), watchdog: Mutex::new(watchdog) }
    }

    /// The log so far, with the lines of all stacks.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.directory.join("envoy.log")).expect("the log is there");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the process is alive.
    pub(crate) fn is_running(&self) -> bool {
        let mut watchdog = self.watchdog.lock().expect("no holder panics");
        watchdog.try_wait().is_ok_and(|status| status.is_none())
    }

    fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().expect("no holder panics")
    }

    fn admin_address(&self) -> Option<SocketAddr> {
        fs::read_to_string(self.directory.join("admin")).ok()?.trim().parse().ok()
    }

    /// The response of the admin interface at this path; empty if it does not respond yet.
    async fn admin(&self, client: &Client, path: &str) -> String {
        let Some(address) = self.admin_address() else { return String::new() };
        match client.get(format!("http://{address}{path}")).send().await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

/// The listeners and clusters of one stack in a [`SharedEnvoy`], removed when dropped.
#[derive(Debug)]
pub(crate) struct Tenancy {
    envoy: Arc<SharedEnvoy>,
    id: u64,
}

impl Tenancy {
    /// Adds what a stack needs, and waits until it can be used.
    ///
    /// # Panics
    ///
    /// If Envoy refuses a listener, or 30 s have passed; the message ends with its log.
    pub(crate) async fn begin(
        bootstrap: Bootstrap,
        form: ConfigurationForm,
        workers: usize,
    ) -> Self {
        let tenant = Tenant { bootstrap, form };
        Self::start(SharedEnvoy::running(workers).await, tenant).await
    }

    async fn start(envoy: Arc<SharedEnvoy>, tenant: Tenant) -> Self {
        let id = envoy.tenants().next_id();
        let this = Self { envoy, id };
        let parts = tenant.parts(id);
        let listeners = names(&parts.listeners);
        let clusters = names(&parts.clusters);
        let client = http_client();
        // A listener that routes to an unknown cluster is refused, so the clusters come first.
        this.change(
            |tenants| drop(tenants.clusters.insert(id, parts.clusters)),
            Resource::Clusters,
        );
        this.await_names(&client, "/clusters", &clusters).await;
        this.change(
            |tenants| drop(tenants.listeners.insert(id, parts.listeners)),
            Resource::Listeners,
        );
        this.await_names(&client, "/listeners", &listeners).await;
        this
    }

    /// The suffix of its listeners, clusters and `stat_prefix`es.
    pub(crate) fn suffix(&self) -> String {
        suffix(self.id)
    }

    /// The Envoy that the stack is part of.
    pub(crate) fn envoy(&self) -> &SharedEnvoy {
        &self.envoy
    }

    /// Where the admin interface listens.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.envoy.admin_address().expect("a stack is started once it answers")
    }

    /// Waits until the admin interface names all of these, each at the beginning of a line.
    async fn await_names(&self, client: &Client, path: &str, names: &[String]) {
        let asked = Instant::now();
        loop {
            let text = self.envoy.admin(client, path).await;
            let is_there = |name: &String| {
                text.lines().any(|line| line.split("::").next() == Some(name.as_str()))
            };
            if names.iter().all(is_there) {
                return;
            }
            let log = self.envoy.log();
            let refused = names.iter().any(|name| {
                log.lines().any(|line| line.contains(&format!("'{name}' config rejected")))
            });
            assert!(!refused, "Envoy refuses {names:?}:\n{}", last_lines(&log));
            assert!(self.envoy.is_running(), "Envoy ended:\n{}", last_lines(&log));
            assert!(
                asked.elapsed() < START_DEADLINE,
                "{names:?} are not there after {START_DEADLINE:?}:\n{}",
                last_lines(&log)
            );
            sleep(POLL).await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Tenants), resource: Resource) {
        let mut tenants = self.envoy.tenants();
        change(&mut tenants);
        tenants.version += 1;
        tenants.write(&self.envoy.directory, resource);
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        let id = self.id;
        self.change(|tenants| drop(tenants.listeners.remove(&id)), Resource::Listeners);
        self.change(|tenants| drop(tenants.clusters.remove(&id)), Resource::Clusters);
    }
}

/// The part of a [`Tenant`] that Envoy gets.
struct Parts {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
}

struct Tenant {
    bootstrap: Bootstrap,
    form: ConfigurationForm,
}

impl Tenant {
    /// Its listeners and clusters, under names that no other tenant has.
    fn parts(mut self, id: u64) -> Parts {
        let resources = &mut self.bootstrap.tree()["static_resources"];
        let suffix = suffix(id);
        for cluster in resources["clusters"].as_array_mut().into_iter().flatten() {
            append(&mut cluster["name"], &suffix);
            if let Some(name) = cluster.pointer_mut("/load_assignment/cluster_name") {
                append(name, &suffix);
            }
            cluster["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
        }
        for listener in resources["listeners"].as_array_mut().into_iter().flatten() {
            append(&mut listener["name"], &suffix);
            separate(listener, &suffix);
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        }
        self.bootstrap.set_configuration_form(self.form);
        let resources = &mut self.bootstrap.tree()["static_resources"];
        let mut take = |name: &str| match resources[name].take() {
            Value::Array(parts) => parts,
            _ => Vec::new(),
        };
        Parts { listeners: take("listeners"), clusters: take("clusters") }
    }
}

/// A stack that neither receives nor sends requests.
fn keeper() -> Tenant {
    let mut bootstrap = Bootstrap::example();
    bootstrap.set_module(&module_path());
    let port = Port::free();
    bootstrap.set_listener_port(port.number());
    // Envoy holds the port as long as it runs.
    std::mem::forget(port);
    let key = SigningKey::generate(Algorithm::Es256, "keeper");
    bootstrap.plugin_configuration()["providers"] = json!([{
        "name": "keeper",
        "issuer": "https://keeper.example",
        "client_ids": ["keeper"],
        "jwks": {"keys": [key.public_jwk()]},
    }]);
    Tenant { bootstrap, form: ConfigurationForm::Struct }
}

/// Renames the clusters, VMs and metrics of a listener to those of its own stack.
fn separate(value: &mut Value, suffix: &str) {
    match value {
        Value::Array(elements) => {
            elements.iter_mut().for_each(|element| separate(element, suffix));
        }
        Value::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "cluster" | "stat_prefix" => append(member, suffix),
                    "client_metadata" | "clusters" => {
                        let clusters = member.as_object_mut().into_iter().flatten();
                        clusters.for_each(|(_, cluster)| append(cluster, suffix));
                    }
                    "vm_config" => {
                        let id = member["vm_id"].as_str().unwrap_or_default();
                        member["vm_id"] = json!(format!("{id}{suffix}"));
                    }
                    _ => separate(member, suffix),
                }
            }
        }
        _ => {}
    }
}

fn http_client() -> Client {
    Client::builder().no_proxy().build().expect("there is nothing to object to")
}

fn suffix(id: u64) -> String {
    format!("-{id}")
}

fn append(value: &mut Value, suffix: &str) {
    if let Value::String(text) = value {
        text.push_str(suffix);
    }
}

fn names(resources: &[Value]) -> Vec<String> {
    resources.iter().filter_map(|resource| resource["name"].as_str()).map(str::to_owned).collect()
}

/// The part that all stacks share.
#[derive(Debug, Default)]
struct Tenants {
    last_id: u64,
    version: u64,
    clusters: BTreeMap<u64, Vec<Value>>,
    listeners: BTreeMap<u64, Vec<Value>>,
}

impl Tenants {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Replaces the file atomically, which is what Envoy watches for.
    fn write(&self, directory: &Path, resource: Resource) {
        let resources = match resource {
            Resource::Clusters => &self.clusters,
            Resource::Listeners => &self.listeners,
        };
        let resources: Vec<&Value> = resources.values().flatten().collect();
        let content = json!({"version_info": self.version.to_string(), "resources": resources});
        let next = directory.join("next.json");
        fs::write(&next, content.to_string()).expect("the directory is ours");
        fs::rename(&next, resource.file(directory)).expect("the directory is ours");
    }
}

#[derive(Clone, Copy)]
enum Resource {
    Clusters,
    Listeners,
}

impl Resource {
    fn file(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Clusters => "clusters.json",
            Self::Listeners => "listeners.json",
        })
    }
}
