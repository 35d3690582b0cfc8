//! The time that Envoy takes to start, and the size of the modules.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use testbed::{Envoy, EnvoyBuilder, IdentityProvider, module_path, native_module_path};

use crate::client::{connect, exchange};
use crate::filters::{self, Modules};
use crate::listeners::{self, PATH};
use crate::options::Options;
use crate::requests::{get, token};
use crate::results;
use crate::rounds::in_any_order;
use crate::statistics::Spread;

const ROUNDS: usize = 11;

pub async fn run(options: &Options) {
    let provider = IdentityProvider::start().await;
    let modules = Modules::new();
    let request = get(PATH, Some(&token(&provider)));
    let rounds = options.rounds(ROUNDS);
    let mut samples = vec![Vec::new(); Filter::ALL.len()];
    eprintln!("start");
    // The first round brings files into memory.
    for round in 0..=rounds {
        for index in in_any_order(Filter::ALL.len()) {
            let builder = Filter::ALL[index].builder(&provider, &modules);
            let sample = Sample::take(builder, &request).await;
            if round > 0 {
                samples[index].push(sample);
            }
        }
    }
    let sizes = [("plugin", module_path()), ("native", native_module_path())]
        .map(|(name, path)| (name, ModuleSize::read(&path)));
    print(&samples, &sizes);
    save(&samples, &sizes);
}

/// The filter before the router.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    Bare,
    EmptyWasm,
    JwtAuthn,
    Plugin,
    EmptyNative,
    Native,
}

impl Filter {
    const ALL: [Self; 6] = [
        Self::Bare,
        Self::EmptyWasm,
        Self::JwtAuthn,
        Self::Plugin,
        Self::EmptyNative,
        Self::Native,
    ];

    fn builder(self, provider: &IdentityProvider, modules: &Modules) -> EnvoyBuilder {
        let filter = match self {
            Self::Bare => None,
            Self::EmptyWasm => Some(modules.empty()),
            Self::JwtAuthn => Some(filters::jwt_authn(provider, &json!({}))),
            Self::Plugin => Some(filters::plugin(provider)),
            Self::EmptyNative => Some(modules.empty_native()),
            Self::Native => Some(filters::native(provider, &native_module_path())),
        };
        listeners::builder().edit(|bootstrap| {
            let router = bootstrap.http_filters().pop();
            *bootstrap.http_filters() = filter.into_iter().chain(router).collect();
            bootstrap.set_cluster("identity_provider", provider.address());
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "no filter",
            Self::EmptyWasm => "empty Wasm",
            Self::JwtAuthn => "jwt_authn",
            Self::Plugin => "plugin",
            Self::EmptyNative => "empty native",
            Self::Native => "native",
        })
    }
}

/// Times in milliseconds from the start of the process.
#[derive(Clone, Copy)]
struct Sample {
    /// Until `/ready` of the admin interface responds.
    ready: f64,
    /// Until the response to the first request, whose token is valid.
    responded: f64,
    /// Processor time until then.
    processor: f64,
}

impl Sample {
    async fn take(builder: EnvoyBuilder, request: &[u8]) -> Self {
        let started = Instant::now();
        let millis = || started.elapsed().as_secs_f64() * 1e3;
        let envoy = builder.start().await;
        let ready = millis();
        let status = exchange(&mut connect(envoy.address()).await, request).await;
        let responded = millis();
        assert_eq!(status, 200, "{}", envoy.log());
        Self { ready, responded, processor: processor_millis(&envoy) }
    }
}

/// Processor time of all threads, including ended ones.
fn processor_millis(envoy: &Envoy) -> f64 {
    /// The kernel's unit for programs (`getconf CLK_TCK`).
    const MILLIS_PER_TICK: f64 = 10.0;
    let stat = fs::read_to_string(format!("/proc/{}/stat", envoy.pid())).unwrap();
    // The program's name may contain anything; it ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    // `utime` and `stime`, fields 14 and 15.
    (ticks(11) + ticks(12)) * MILLIS_PER_TICK
}

/// Sizes in bytes.
struct ModuleSize {
    raw: usize,
    compressed: usize,
}

impl ModuleSize {
    fn read(path: &Path) -> Self {
        let compressed = Command::new("gzip")
            .args(["--best", "--no-name", "--stdout"])
            .arg(path)
            .stdin(Stdio::null())
            .output()
            .expect("gzip is part of every system");
        assert!(compressed.status.success());
        Self { raw: fs::read(path).unwrap().len(), compressed: compressed.stdout.len() }
    }
}

fn values(samples: &[Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(value).collect()
}

fn print(samples: &[Vec<Sample>], sizes: &[(&str, ModuleSize)]) {
    println!("\nStart of Envoy with one worker, milliseconds: median (quartiles)");
    println!(
        "{:12} {:>22} {:>22} {:>22}",
        "", "until ready", "until first response", "CPU until then"
    );
    for (filter, filter_samples) in Filter::ALL.into_iter().zip(samples) {
        let of = |value| Spread::new(values(filter_samples, value));
        println!(
            "{filter:12} {:22.0} {:22.0} {:22.0}",
            of(|sample| sample.ready),
            of(|sample| sample.responded),
            of(|sample| sample.processor),
        );
    }
    println!("Beyond no filter, by the differences of each round:");
    for (filter, filter_samples) in Filter::ALL.into_iter().zip(samples).skip(1) {
        let of = |value| {
            Spread::from_differences(&values(filter_samples, value), &values(&samples[0], value))
        };
        println!(
            "{filter:12} {:22.0} {:22.0} {:22.0}",
            of(|sample| sample.ready),
            of(|sample| sample.responded),
            of(|sample| sample.processor),
        );
    }
    println!();
    for (name, ModuleSize { raw, compressed }) in sizes {
        println!("{name:12} {raw} bytes, {compressed} compressed by gzip");
    }
}

fn save(samples: &[Vec<Sample>], sizes: &[(&str, ModuleSize)]) {
    let starts: Vec<Value> = Filter::ALL
        .into_iter()
        .zip(samples)
        .map(|(filter, value)| {
            json!({
                "filter": filter.to_string(),
                "ready_milliseconds": values(value, |value| value.ready),
                "first_response_milliseconds": values(value, |value| value.responded),
                "processor_milliseconds": values(value, |value| value.processor),
            })
        })
        .collect();
    let modules = sizes.iter().map(
        |(name, size)| json!({"module": name, "bytes": size.raw, "gzip_bytes": size.compressed}),
    );
    let modules: Vec<Value> = modules.collect();
    results::save("start", &json!({"starts": starts, "modules": modules}));
}
