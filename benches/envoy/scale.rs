//! The cost of many keys, providers, access rules and MCP servers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Algorithm, Envoy, IdentityProvider, SigningKey, Stack, native_module_path};

use crate::filters;
use crate::listeners::{Listeners, PATH};
use crate::options::Options;
use crate::requests::{Requests, call, get, token};
use crate::results;
use crate::rounds::{WARM_UP, in_any_order};
use crate::sample::{self, Sample, Samples};
use crate::statistics::Spread;

const ROUNDS: usize = 100;

pub async fn run(options: &Options) {
    let rounds = options.rounds(ROUNDS);
    let providers = identity_providers().await;
    let mut listeners = start(&providers, |case| match case.is_native {
        true => Module::Native(native_module_path()),
        false => Module::Plugin,
    })
    .await;
    let mut results = Vec::new();
    for load in [Load::Hot, Load::New] {
        eprintln!("scale, {}", load.name());
        let mut samples = vec![Samples::new(); CASES.len()];
        let mut requests = AllRequests::new(load, &providers);
        for round in 0..WARM_UP + rounds {
            if load == Load::New && round > 0 {
                requests = AllRequests::new(load, &providers);
            }
            for index in in_any_order(CASES.len()) {
                let case_requests = requests.for_case(&CASES[index]);
                let client = &mut listeners.clients[index];
                let sample = Sample::take(&listeners.envoy, client, case_requests, 200).await;
                if round >= WARM_UP {
                    samples[index].push(sample);
                }
            }
        }
        results.push((load, samples));
    }
    check_keys(&listeners.envoy).await;
    for (load, samples) in &results {
        print(*load, samples);
    }
    save(&results);
}

/// Sends the requests of all cases through this native module, and measures nothing.
pub async fn exercise(module: &Path, rounds: usize) {
    let providers = identity_providers().await;
    let mut listeners = start(&providers, |_| Module::Native(module.to_owned())).await;
    for load in [Load::Hot, Load::New] {
        for _ in 0..rounds {
            let requests = AllRequests::new(load, &providers);
            for (case, client) in CASES.iter().zip(&mut listeners.clients) {
                Sample::take(&listeners.envoy, client, requests.for_case(case), 200).await;
            }
        }
    }
    listeners.envoy.quit().await;
}

/// What a listener's filter is.
enum Module {
    Plugin,
    /// The native module in this file.
    Native(PathBuf),
}

/// The size of a listener's plugin configuration.
struct Case {
    name: &'static str,
    keys: usize,
    providers: usize,
    rules: usize,
    kind: Rules,
    /// The number of servers in `resources`; 0 means one server in `resource`.
    servers: usize,
    is_native: bool,
}

/// What the access rules match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// The path.
    Paths,
    /// The tool, by the header fields.
    NamesInFields,
    /// The tool, by the body.
    NamesInBody,
}

impl Case {
    const fn new(
        name: &'static str,
        keys: usize,
        providers: usize,
        rules: usize,
        kind: Rules,
    ) -> Self {
        Self { name, keys, providers, rules, kind, servers: 0, is_native: false }
    }

    const fn of_servers(name: &'static str, servers: usize) -> Self {
        Self { servers, ..Self::new(name, 1, 1, 1, Rules::Paths) }
    }

    const fn native(self) -> Self {
        Self { is_native: true, ..self }
    }

    /// The properties that this case shares with its baseline.
    fn group(&self) -> &'static str {
        match (self.servers, self.is_native) {
            (0, _) => self.kind.name(),
            (_, false) => "servers in `resources`, one rule",
            (_, true) => "the same, native module",
        }
    }

    /// The baseline of the same kind, which has one of each.
    fn base(&self) -> usize {
        CASES.iter().position(|case| case.group() == self.group()).unwrap()
    }
}

const CASES: [Case; 24] = [
    Case::new("1 of each", 1, 1, 1, Rules::Paths),
    // Shows the precision of the method.
    Case::new("the same again", 1, 1, 1, Rules::Paths),
    Case::new("10 keys", 10, 1, 1, Rules::Paths),
    Case::new("100 keys", 100, 1, 1, Rules::Paths),
    Case::new("10 providers", 1, 10, 1, Rules::Paths),
    Case::new("20 providers", 1, 20, 1, Rules::Paths),
    Case::new("100 providers", 1, 100, 1, Rules::Paths),
    Case::new("10 rules", 1, 1, 10, Rules::Paths),
    Case::new("100 rules", 1, 1, 100, Rules::Paths),
    Case::new("100 keys, 20 providers, 100 rules", 100, 20, 100, Rules::Paths),
    Case::new("1 of each", 1, 1, 1, Rules::NamesInFields),
    Case::new("10 rules", 1, 1, 10, Rules::NamesInFields),
    Case::new("100 rules", 1, 1, 100, Rules::NamesInFields),
    Case::new("100 keys, 20 providers, 100 rules", 100, 20, 100, Rules::NamesInFields),
    Case::new("1 of each", 1, 1, 1, Rules::NamesInBody),
    Case::new("10 rules", 1, 1, 10, Rules::NamesInBody),
    Case::new("100 rules", 1, 1, 100, Rules::NamesInBody),
    Case::new("100 keys, 20 providers, 100 rules", 100, 20, 100, Rules::NamesInBody),
    Case::of_servers("1 server", 1),
    Case::of_servers("10 servers", 10),
    Case::of_servers("100 servers", 100),
    Case::of_servers("1 server", 1).native(),
    Case::of_servers("10 servers", 10).native(),
    Case::of_servers("100 servers", 100).native(),
];

impl Rules {
    fn name(self) -> &'static str {
        match self {
            Self::Paths => "rules by path",
            Self::NamesInFields => "rules by mcp_names, in header fields",
            Self::NamesInBody => "rules by mcp_names, in the body",
        }
    }

    /// The tool that the last rule matches.
    const TOOL: &str = "list_incidents";

    /// Rules of which all but the last match something else.
    fn access(self, count: usize) -> Value {
        let rules: Vec<Value> = (1..=count)
            .map(|number| {
                let is_last = number == count;
                let (path, tool) = if is_last {
                    (PATH.to_owned(), Self::TOOL.to_owned())
                } else {
                    (format!("/other-{number}"), format!("other_{number}"))
                };
                let condition = match self {
                    Self::Paths => json!({"paths": [path]}),
                    Self::NamesInFields | Self::NamesInBody => json!({
                        "paths": [PATH],
                        "mcp_methods": ["tools/call"],
                        "mcp_names": [tool],
                    }),
                };
                json!({
                    "name": format!("rule-{number}"),
                    "match": condition,
                    "require": {"scopes": ["mcp.tools"]},
                })
            })
            .collect();
        let mut access = json!({"default": "deny", "rules": rules});
        if self == Self::NamesInFields {
            access["mcp"] = json!({
                "inspect": "headers",
                "upstream_validates_headers": true,
                "protocol_versions": ["2026-07-28"],
            });
        }
        access
    }

    fn request(self, token: &str) -> Vec<u8> {
        match self {
            Self::Paths => get(PATH, Some(token)),
            Self::NamesInFields | Self::NamesInBody => call(PATH, token, Self::TOOL),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Hot,
    New,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Hot => "one hot token",
            Self::New => "always new tokens",
        }
    }

    /// The numbers of tokens and of requests in each round.
    fn counts(self) -> (usize, usize) {
        match self {
            Self::Hot => (1, 250),
            Self::New => (50, 50),
        }
    }
}

/// The requests of a round, by the number of keys and by whether they have a body.
struct AllRequests(BTreeMap<(usize, bool), Arc<Requests>>);

impl AllRequests {
    fn new(load: Load, providers: &BTreeMap<usize, IdentityProvider>) -> Self {
        let (tokens, count) = load.counts();
        let mut all = BTreeMap::new();
        for (keys, provider) in providers {
            let tokens: Vec<String> = (0..tokens).map(|_| token(provider)).collect();
            for kind in [Rules::Paths, Rules::NamesInBody] {
                let distinct = tokens.iter().map(|token| kind.request(token)).collect();
                let has_body = kind != Rules::Paths;
                all.insert((*keys, has_body), Arc::new(Requests::new(distinct, count)));
            }
        }
        Self(all)
    }

    fn for_case(&self, case: &Case) -> &Arc<Requests> {
        &self.0[&(case.keys, case.kind != Rules::Paths)]
    }
}

/// Providers by their number of keys, the last of which signs. All others are one key under other
/// names, since keys are found by name.
async fn identity_providers() -> BTreeMap<usize, IdentityProvider> {
    let other = SigningKey::generate(Algorithm::Rs256, "other");
    let last = SigningKey::generate(Algorithm::Rs256, "last");
    let mut providers = BTreeMap::new();
    for count in CASES.iter().map(|case| case.keys).collect::<BTreeSet<_>>() {
        let provider = IdentityProvider::start().await;
        let others = (1..count).map(|number| other.with_kid(format!("other-{number}")));
        provider.set_keys(others.chain([last.clone()]));
        providers.insert(count, provider);
    }
    providers
}

async fn start(
    providers: &BTreeMap<usize, IdentityProvider>,
    module: impl Fn(&Case) -> Module,
) -> Listeners {
    let filters: Vec<Vec<Value>> = CASES
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let configure = |configuration: &mut Value| {
                let provider = &providers[&case.keys];
                configuration["providers"] = provider_list(index, case, provider);
                configuration["access"] = case.kind.access(case.rules);
                if case.servers > 0 {
                    set_servers(configuration, case.servers);
                }
            };
            let plugin = match module(case) {
                Module::Plugin => filters::plugin_with(configure),
                Module::Native(file) => filters::native_with(&file, configure),
            };
            match case.kind {
                Rules::Paths => vec![plugin],
                Rules::NamesInFields | Rules::NamesInBody => vec![plugin, filters::buffer()],
            }
        })
        .collect();
    Listeners::start(&filters, |bootstrap| {
        for (keys, provider) in providers {
            bootstrap.set_cluster(&cluster(*keys), provider.address());
        }
    })
    .await
}

/// The tokens that are sent are the last provider's. All fetch the same key set, each from its own
/// URL.
fn provider_list(index: usize, case: &Case, provider: &IdentityProvider) -> Value {
    let one = |number| {
        let issuer = if number == case.providers {
            provider.issuer()
        } else {
            format!("https://login-{number}.example.com")
        };
        json!({
            "name": provider_name(index, number),
            "issuer": issuer,
            "client_ids": [Stack::AUDIENCE],
            "jwks_url": provider.url(&format!("/jwks?provider={number}")),
            "cluster": cluster(case.keys),
            "user_claim": "email",
        })
    };
    (1..=case.providers).map(one).collect()
}

/// This many servers on one host, each with its own audience. Requests are for the last one.
fn set_servers(configuration: &mut Value, count: usize) {
    let one = |number| {
        let (path, audience) = if number == count {
            (PATH.to_owned(), Stack::AUDIENCE.to_owned())
        } else {
            (format!("/other-{number}{PATH}"), format!("for-{number}"))
        };
        json!({
            // All have the same length, because the value becomes a header field.
            "id": format!("server-{number:03}"),
            "url": format!("https://mcp.example.com{path}"),
            "audiences": [audience],
        })
    };
    let members = configuration.as_object_mut().unwrap();
    members.remove("resource");
    members.insert("resources".to_owned(), (1..=count).map(one).collect());
}

/// All have the same length, because the name becomes a header field.
fn provider_name(case: usize, number: usize) -> String {
    format!("provider-{case:02}-{number:03}")
}

fn cluster(keys: usize) -> String {
    format!("identity_provider_{keys}")
}

/// Checks that the plugins have the expected keys.
async fn check_keys(envoy: &Envoy) {
    let stats = envoy.stats().await;
    for (index, case) in CASES.iter().enumerate() {
        for number in 1..=case.providers {
            // After the prefix `wasmcustom.` or `dynamicmodulescustom.`.
            let name = format!(".mcp_auth_keys.provider.{}", provider_name(index, number));
            let found = stats.iter().find(|(stat, _)| stat.ends_with(&name));
            assert_eq!(found.map(|(_, keys)| *keys), Some(case.keys as u64), "{name}");
        }
    }
}

fn processor(samples: &[Sample]) -> Vec<f64> {
    sample::values(samples, |sample| sample.processor)
}

fn print(load: Load, samples: &[Samples]) {
    println!(
        "\nRS256, {}: CPU of the plugin and all else, median (quartiles), and its speed as a",
        load.name()
    );
    println!(
        "multiple of that with 1 of each (more is better), by the ratios of each round and by medians"
    );
    let mut last = None;
    for (case, case_samples) in CASES.iter().zip(samples) {
        if last.replace(case.group()) != Some(case.group()) {
            println!(
                "{:38} {:>22} {:>19} {:>7}",
                case.group(),
                "CPU µs/request",
                "by rounds",
                "medians"
            );
        }
        let (case_samples, base) = (processor(case_samples), processor(&samples[case.base()]));
        let cost = Spread::new(case_samples.iter().copied());
        let by_medians = Spread::new(base.iter().copied()).median / cost.median;
        println!(
            "  {:36} {cost:22.1} {:19.2} {by_medians:>7.2}",
            case.name,
            Spread::from_ratios(&base, &case_samples),
        );
    }
}

fn save(results: &[(Load, Vec<Samples>)]) {
    let mut all = Vec::new();
    for (load, samples) in results {
        for (case, case_samples) in CASES.iter().zip(samples) {
            let base = &samples[case.base()];
            let speed = Spread::from_ratios(&processor(base), &processor(case_samples));
            all.push(json!({
                "load": load.name(),
                "case": case.name,
                "group": case.group(),
                "keys": case.keys,
                "providers": case.providers,
                "rules": case.rules,
                "servers": case.servers,
                "is_native": case.is_native,
                "speed_against_one_of_each": speed.to_json(),
                "rounds": sample::to_json(case_samples),
            }));
        }
    }
    results::save("scale", &json!(all));
}
