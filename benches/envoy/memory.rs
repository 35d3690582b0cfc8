//! The memory of each additional worker.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Envoy, IdentityProvider, native_module_path};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{connect, exchange};
use crate::filters::{self, Modules};
use crate::listeners::{self, PATH};
use crate::options::Options;
use crate::requests::{get, token};
use crate::results;
use crate::rounds::in_any_order;
use crate::statistics::Spread;

const ROUNDS: usize = 5;
const WORKERS: [usize; 3] = [1, 2, 4];
/// As many as the plugin caches.
const TOKENS: usize = 1000;

pub async fn run(options: &Options) {
    let provider = IdentityProvider::start().await;
    let modules = Modules::new();
    let requests = (0..TOKENS).map(|_| get(PATH, Some(&token(&provider))));
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests.collect());
    let cases: Vec<(Filter, usize)> = Filter::ALL
        .into_iter()
        .flat_map(|filter| WORKERS.into_iter().map(move |workers| (filter, workers)))
        .collect();
    let rounds = options.rounds(ROUNDS);
    let mut samples = vec![Vec::new(); cases.len()];
    for round in 0..rounds {
        eprintln!("memory, round {} of {rounds}", round + 1);
        for index in in_any_order(cases.len()) {
            let (filter, workers) = cases[index];
            let envoy = start(filter.filters(&provider, &modules), workers, &provider).await;
            let connections = connect_to_each(&envoy, workers, &requests[0]).await;
            let connections = send_all(connections, &requests).await;
            // Each worker has sent one more request, to connect.
            let sent = if filter.caches_tokens() { workers * (TOKENS + 1) } else { 0 };
            let [hits, misses] = cache_counts(&envoy, sent).await;
            let connections = send_all(connections, &requests).await;
            if filter.caches_tokens() {
                // Each worker caches all tokens.
                let (again, found) = (workers * TOKENS, hits + (workers * TOKENS) as u64);
                assert_eq!(cache_counts(&envoy, sent + again).await, [found, misses]);
            }
            samples[index].push(Memory::read(&envoy).await);
            drop(connections);
        }
    }
    let report = Report { cases, samples };
    report.print();
    report.save();
}

/// The filter before the router.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    Bare,
    EmptyWasm,
    Plugin,
    Native,
}

impl Filter {
    const ALL: [Self; 4] = [Self::Bare, Self::EmptyWasm, Self::Plugin, Self::Native];

    fn filters(self, provider: &IdentityProvider, modules: &Modules) -> Vec<Value> {
        match self {
            Self::Bare => vec![],
            Self::EmptyWasm => vec![modules.empty()],
            Self::Plugin => vec![filters::plugin(provider)],
            Self::Native => vec![filters::native(provider, &native_module_path())],
        }
    }

    fn caches_tokens(self) -> bool {
        matches!(self, Self::Plugin | Self::Native)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "no filter",
            Self::EmptyWasm => "empty Wasm",
            Self::Plugin => "plugin",
            Self::Native => "native",
        })
    }
}

async fn start(filters: Vec<Value>, workers: usize, provider: &IdentityProvider) -> Envoy {
    listeners::builder()
        .workers(workers)
        .edit(|bootstrap| {
            let router = bootstrap.http_filters().pop();
            *bootstrap.http_filters() = filters.into_iter().chain(router).collect();
            bootstrap.set_cluster("identity_provider", provider.address());
            // Gives each worker the same number of connections.
            bootstrap.tree()["static_resources"]["listeners"][0]["connection_balance_config"] =
                json!({"exact_balance": {}});
        })
        .start()
        .await
}

/// A connection to each worker.
async fn connect_to_each(envoy: &Envoy, workers: usize, request: &[u8]) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..workers {
        let mut stream = connect(envoy.address()).await;
        // Once it responds, Envoy has assigned the connection to a worker.
        assert_eq!(exchange(&mut stream, request).await, 200, "{}", envoy.log());
        connections.push(stream);
    }
    assert_eq!(envoy.connections_per_worker().await, vec![1; workers]);
    connections
}

/// Sends all requests on each connection.
async fn send_all(connections: Vec<TcpStream>, requests: &Arc<Vec<Vec<u8>>>) -> Vec<TcpStream> {
    let mut tasks = JoinSet::new();
    for mut stream in connections {
        let requests = requests.clone();
        tasks.spawn(async move {
            for request in requests.iter() {
                assert_eq!(exchange(&mut stream, request).await, 200);
            }
            stream
        });
    }
    tasks.join_all().await
}

/// The cache hits and misses of all workers together, once they cover this many requests: the
/// native module reports those of many requests with a delay.
async fn cache_counts(envoy: &Envoy, requests: usize) -> [u64; 2] {
    let started = Instant::now();
    loop {
        let stats = envoy.stats().await;
        let counts = ["hit", "miss"].map(|result| {
            // After the prefix `wasmcustom.` or `dynamicmodulescustom.`.
            let name = format!(".mcp_auth_token_cache.result.{result}");
            stats.iter().find(|(stat, _)| stat.ends_with(&name)).map_or(0, |(_, count)| *count)
        });
        if counts.iter().sum::<u64>() >= requests as u64 {
            return counts;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{counts:?} of {requests}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The memory of the whole process, in MiB.
#[derive(Clone, Copy)]
struct Memory {
    /// What belongs to this process alone: heaps, stacks, and what V8 compiles.
    anonymous: f64,
    /// With files, mainly Envoy's own program: each page divided by the number of processes that
    /// map it.
    proportional: f64,
    /// The same with each page counted in full.
    resident: f64,
    /// The difference between the least and the greatest reading of `anonymous`.
    drift: f64,
}

impl Memory {
    const READINGS: usize = 5;
    const PAUSE: Duration = Duration::from_millis(200);

    /// The medians of some readings.
    async fn read(envoy: &Envoy) -> Self {
        let mut readings = [const { Vec::new() }; 3];
        for _ in 0..Self::READINGS {
            sleep(Self::PAUSE).await;
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", envoy.pid())).unwrap();
            for (readings, name) in readings.iter_mut().zip(["Anonymous:", "Pss:", "Rss:"]) {
                let value = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                let kibibytes: f64 = value.trim().trim_end_matches(" kB").parse().unwrap();
                readings.push(kibibytes / 1024.0);
            }
        }
        let least = readings[0].iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = readings[0].iter().copied().fold(0.0, f64::max);
        let [anonymous, proportional, resident] =
            readings.map(|readings| Spread::new(readings).median);
        Self { anonymous, proportional, resident, drift: greatest - least }
    }
}

struct Report {
    cases: Vec<(Filter, usize)>,
    /// By case and round.
    samples: Vec<Vec<Memory>>,
}

impl Report {
    fn print(&self) {
        println!(
            "\nMemory of the process in MiB, {TOKENS} tokens at each worker: median (quartiles)"
        );
        println!(
            "{:18} {:>8} {:>22} {:>8} {:>8} {:>8}",
            "", "workers", "anonymous", "drift", "PSS", "RSS"
        );
        for ((filter, workers), samples) in self.cases.iter().zip(&self.samples) {
            let of = |value: fn(&Memory) -> f64| Spread::new(samples.iter().map(value));
            println!(
                "{filter:18} {workers:>8} {:22.1} {:>8.1} {:>8.1} {:>8.1}",
                of(|sample| sample.anonymous),
                of(|sample| sample.drift).median,
                of(|sample| sample.proportional).median,
                of(|sample| sample.resident).median,
            );
        }
        println!(
            "\nWhat is added, anonymous MiB: median (quartiles) of the differences of each round"
        );
        println!(
            "{:44} {:>22} {:>22} {:>22}",
            "", "with the first worker", "with the second", "with each of 3 more"
        );
        for (what, one, other) in [
            ("no filter", Filter::Bare, None),
            ("empty Wasm", Filter::EmptyWasm, None),
            ("plugin", Filter::Plugin, None),
            ("native", Filter::Native, None),
            ("empty Wasm, beyond no filter (V8's instance)", Filter::EmptyWasm, Some(Filter::Bare)),
            ("plugin, beyond no filter", Filter::Plugin, Some(Filter::Bare)),
            ("plugin, beyond empty Wasm", Filter::Plugin, Some(Filter::EmptyWasm)),
            ("native, beyond no filter", Filter::Native, Some(Filter::Bare)),
        ] {
            let [first, second, more] = self.added(one, other);
            println!("{what:44} {first:22.1} {second:22.1} {more:22.1}");
        }
    }

    /// Added by the first worker, by a second one, and by each of three after the first.
    fn added(&self, filter: Filter, base: Option<Filter>) -> [Spread; 3] {
        let beyond_base = |of: &dyn Fn(Filter) -> Vec<f64>| match base {
            None => Spread::new(of(filter)),
            Some(base) => Spread::from_differences(&of(filter), &of(base)),
        };
        [
            beyond_base(&|filter| self.anonymous(filter, 1)),
            beyond_base(&|filter| self.by_further_workers(filter, 2)),
            beyond_base(&|filter| self.by_further_workers(filter, 4)),
        ]
    }

    fn anonymous(&self, filter: Filter, workers: usize) -> Vec<f64> {
        let index = self.cases.iter().position(|case| *case == (filter, workers)).unwrap();
        self.samples[index].iter().map(|value| value.anonymous).collect()
    }

    /// Added by each additional worker.
    fn by_further_workers(&self, filter: Filter, workers: usize) -> Vec<f64> {
        let (many, one) = (self.anonymous(filter, workers), self.anonymous(filter, 1));
        let further = (workers - 1) as f64;
        many.iter().zip(one).map(|(many, one)| (many - one) / further).collect()
    }

    fn save(&self) {
        let samples: Vec<Value> = self
            .cases
            .iter()
            .zip(&self.samples)
            .map(|((filter, workers), samples)| {
                let list =
                    |value: fn(&Memory) -> f64| -> Vec<f64> { samples.iter().map(value).collect() };
                json!({
                    "filter": filter.to_string(),
                    "workers": workers,
                    "tokens_at_each_worker": TOKENS,
                    "anonymous_mib": list(|sample| sample.anonymous),
                    "pss_mib": list(|sample| sample.proportional),
                    "rss_mib": list(|sample| sample.resident),
                    "drift_mib": list(|sample| sample.drift),
                })
            })
            .collect();
        results::save("memory", &json!(samples));
    }
}
