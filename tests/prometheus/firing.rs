//! Prometheus scrapes Envoys that are made to fail, and one that works: each alert fires for a
//! failing one and none for the working one, and each panel of the dashboard has data.
//!
//! All durations of the rules are shorter by a factor of 60, as is the interval between two scrapes.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, Port, Prometheus, RawServer, Response, SigningKey, Stack, StackBuilder,
    form_of, panicking_module_path, raw_exchange,
};
use tokio::time::sleep;

use super::{alerts, file, targets};

/// The failing jobs, with the alerts that each causes.
const EXPECTED: [(&str, &[&str]); 6] = [
    ("calls", &["McpAuthCallsFailing"]),
    ("crashes", &["McpAuthVmCrashed", "McpAuthVmFailing"]),
    ("directory", &["McpAuthDirectoryUnavailable", "McpAuthRefusalsJump"]),
    (
        "keys",
        &[
            "McpAuthKeyFetchesFailing",
            "McpAuthKeysStale",
            "McpAuthKeysUnavailable",
            "McpAuthRefusalsJump",
        ],
    ),
    ("panics", &["McpAuthPanicked"]),
    ("store", &["McpAuthRefusalsJump", "McpAuthReplayStoreUnavailable"]),
];

/// One Envoy for each kind of failure, and one without.
struct World {
    calls: Stack,
    crashes: Stack,
    directory: Stack,
    keys: Stack,
    panics: Stack,
    store: Stack,
    works: Stack,
    /// Sent with each request to `works`, so that its verdict is cached.
    token: String,
    /// A key that no provider publishes.
    unknown_key: SigningKey,
    // Responds to the callouts with 500.
    _server: RawServer,
    _crashing: tempfile::TempDir,
    // A port on which nothing listens.
    _closed: Port,
}

/// The example in an Envoy of its own, with these fields of the configuration.
fn stack(fields: Value) -> StackBuilder {
    Stack::builder().alone().configure(move |configuration| {
        for (name, value) in fields.as_object().unwrap() {
            configuration[name] = value.clone();
        }
    })
}

impl World {
    async fn start() -> Self {
        let (closed, server) = (Port::free(), RawServer::start().await);
        server.respond_with(&[
            b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        ]);
        let directory = tempfile::tempdir().unwrap();
        let crashing = directory.path().join("crashes.wasm");
        fs::write(&crashing, wat::parse_str(include_str!("crashing_filter.wat")).unwrap()).unwrap();
        let crash = move |bootstrap: &mut Bootstrap| bootstrap.set_module(&crashing);
        let keys = json!({"keys": {"refresh_cooldown": "1s", "timeout": "1s"}});
        let users = json!({"scim": {"url": "https://directory.example.com", "cluster": "closed"}});
        let store = json!({"redis": {"cluster": "closed"}});
        let works = working().start().await;
        let mut world = Self {
            calls: stack(json!({"audit": {"outcomes": true}}))
                .cluster("mcp_server", server.address())
                .start()
                .await,
            crashes: stack(json!({})).edit(crash).start().await,
            directory: stack(json!({"users": users}))
                .cluster("closed", closed.address())
                .start()
                .await,
            keys: stack(keys).start().await,
            panics: stack(json!({})).native(panicking_module_path()).start().await,
            store: stack(json!({"replay_store": store}))
                .configure(|configuration| {
                    configuration["providers"][0]["jti"] = json!("single_use")
                })
                .cluster("closed", closed.address())
                .start()
                .await,
            token: works.token(),
            works,
            unknown_key: SigningKey::generate(Algorithm::Rs256, "unpublished"),
            _server: server,
            _crashing: directory,
            _closed: closed,
        };
        assert_eq!(world.keys.call(&world.keys.token()).await.status, 200);
        world.keys.provider.stop().await;
        world
    }

    /// The name of each job and the address of its metrics.
    fn jobs(&self) -> [(&'static str, String); 7] {
        [
            ("calls", &self.calls),
            ("crashes", &self.crashes),
            ("directory", &self.directory),
            ("keys", &self.keys),
            ("panics", &self.panics),
            ("store", &self.store),
            ("works", &self.works),
        ]
        .map(|(name, stack)| (name, stack.envoy.admin_address().to_string()))
    }

    /// Sends one request of each kind.
    async fn use_all(&self) {
        let unknown = self.unknown_key.token(&self.keys.claims());
        let panicking = self.panics.request().bearer_auth(self.panics.token());
        let (calls, crash, directory, keys, panic, store, allowed, login) = tokio::join!(
            call(&self.calls),
            crash(&self.crashes),
            call(&self.directory),
            self.keys.call(&unknown),
            self.panics.send(panicking.header("x-panic-in", "request_headers")),
            call(&self.store),
            self.works.call(&self.token),
            redeem_a_made_up_code(&self.works),
        );
        let statuses = [
            calls.status,
            crash,
            directory.status,
            keys.status,
            panic.status,
            store.status,
            allowed.status,
            login.status,
        ];
        assert!(login.text.contains("invalid_client"), "{login:?}");
        assert_eq!(statuses, [500, 503, 503, 503, 500, 503, 200, 401]);
    }
}

/// The example with a login.
fn working() -> StackBuilder {
    stack(json!({
        "secret": {"env": "MCP_AUTH_SECRET"},
        "login": {},
    }))
    .configure(|configuration| {
        configuration["providers"][0]["login"] = json!({"client_id": "gateway"});
    })
    .edit(|bootstrap| {
        bootstrap.plugin()["vm_config"]["environment_variables"] =
            json!({"key_values": {"MCP_AUTH_SECRET": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="}});
    })
}

async fn call(stack: &Stack) -> Response {
    stack.call(&stack.token()).await
}

async fn redeem_a_made_up_code(stack: &Stack) -> Response {
    let fields = [("grant_type", "authorization_code"), ("code", "made-up"), ("client_id", "x")];
    let url = format!("http://{}/oauth/token", stack.envoy.address());
    let request = stack.client().post(url).body(form_of(&fields));
    stack.send(request.header("content-type", "application/x-www-form-urlencoded")).await
}

/// The status of the response to a request that crashes the plugin.
async fn crash(stack: &Stack) -> u16 {
    let request = b"GET /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\r\n";
    raw_exchange(stack.envoy.address(), request).await.status()
}

/// The rules, with seconds for minutes, and minutes for hours.
fn faster_rules() -> String {
    let rules = file("envoy/prometheus/alerts.yaml");
    let is_shorter = |line: &str| line.trim_start().starts_with("for: ") || line.contains('[');
    let mut lines = Vec::new();
    for line in rules.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if is_shorter(line) {
            lines.push(faster(line));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// A line in which the durations are shortened.
fn faster(line: &str) -> String {
    let mut result = String::new();
    let mut letters = line.chars().peekable();
    let mut is_number = false;
    while let Some(letter) = letters.next() {
        let ends_word = letters.peek().is_none_or(|next| !next.is_alphanumeric());
        result.push(match letter {
            'm' if is_number && ends_word => 's',
            'h' if is_number && ends_word => 'm',
            other => other,
        });
        is_number = letter.is_ascii_digit();
    }
    result
}

/// The names of the alerts that fire, by job.
async fn firing(prometheus: &Prometheus) -> BTreeSet<(String, String)> {
    let string = |value: &Value| value.as_str().unwrap().to_owned();
    let labels = prometheus.firing().await.into_iter();
    labels.map(|labels| (string(&labels["job"]), string(&labels["alertname"]))).collect()
}

#[test]
fn each_alert_has_an_envoy_that_makes_it_fire() {
    let expected: BTreeSet<&str> =
        EXPECTED.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let alerts = alerts();
    assert_eq!(expected, alerts.iter().map(|(name, ..)| name.as_str()).collect());
    assert_eq!(
        faster("  expr: a[10m] > 3 * b[1h] offset 10m"),
        "  expr: a[10s] > 3 * b[1m] offset 10s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_fires_for_a_failing_envoy_and_none_for_a_working_one() {
    const DEADLINE: Duration = Duration::from_secs(150);
    let world = World::start().await;
    let prometheus = Prometheus::start(&faster_rules(), &world.jobs()).await;
    let expected: BTreeSet<(String, String)> = EXPECTED
        .iter()
        .flat_map(|(job, names)| names.iter().map(|name| ((*job).to_owned(), (*name).to_owned())))
        .collect();
    let start = Instant::now();
    let mut seen = BTreeSet::new();
    while !expected.is_subset(&seen) {
        assert!(start.elapsed() < DEADLINE, "missing: {:?}", expected.difference(&seen));
        world.use_all().await;
        seen.extend(firing(&prometheus).await);
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(seen, expected);
    let mut empty = Vec::new();
    for (panel, expression, _) in targets() {
        let expression = expression.replace("$instance", ".*").replace("$__rate_interval", "30s");
        if prometheus.query(&expression).await.is_empty() {
            empty.push((panel, expression));
        }
    }
    assert!(empty.is_empty(), "without data: {empty:?}");
}
