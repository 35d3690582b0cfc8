//! Builds of the plugin or of the native module, compared with each other: this tree's, and those
//! in `OTHER_MODULES`.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Algorithm, IdentityProvider, module_path, native_module_path};

use crate::comparison::Load;
use crate::filters;
use crate::listeners::Listeners;
use crate::options::Options;
use crate::results;
use crate::rounds::{WARM_UP, in_any_order};
use crate::sample::{self, Sample, Samples};
use crate::statistics::Spread;

const ROUNDS: usize = 100;

const LOADS: [(Algorithm, Load); 6] = [
    (Algorithm::Rs256, Load::Hot),
    (Algorithm::Rs256, Load::InTurn),
    (Algorithm::Rs256, Load::New),
    (Algorithm::Es256, Load::New),
    (Algorithm::Rs256, Load::Forged),
    (Algorithm::Rs256, Load::Missing),
];

pub async fn run(options: &Options) {
    let builds = Build::all();
    if builds.len() == Build::OF_THIS_TREE {
        return;
    }
    let rounds = options.rounds(ROUNDS);
    let mut results = Vec::new();
    for (algorithm, load) in LOADS {
        eprintln!("builds, {}, {load}", algorithm.name());
        let provider = IdentityProvider::start().await;
        provider.rotate(algorithm);
        let mut listeners = start(&builds, &provider).await;
        let mut samples = vec![Samples::new(); builds.len()];
        let mut requests = Arc::new(load.requests(&provider));
        for round in 0..WARM_UP + rounds {
            if load.is_new_each_round() && round > 0 {
                requests = Arc::new(load.requests(&provider));
            }
            for index in in_any_order(builds.len()) {
                let client = &mut listeners.clients[index];
                let status = load.expected_status();
                let sample = Sample::take(&listeners.envoy, client, &requests, status).await;
                if round >= WARM_UP {
                    samples[index].push(sample);
                }
            }
        }
        let result = LoadResult { algorithm, load, samples };
        result.print(&builds);
        results.push(result.to_json(&builds));
    }
    results::save("builds", &json!(results));
}

/// A build of the plugin, or of the native module.
struct Build {
    name: String,
    module: PathBuf,
}

impl Build {
    /// The first builds: the second is the same module as the first, and shows the precision.
    const OF_THIS_TREE: usize = 2;

    fn all() -> Vec<Self> {
        let named = |path: PathBuf| Self { name: path.display().to_string(), module: path };
        let others: Vec<_> = others().into_iter().map(named).collect();
        let are_native = others.iter().any(|other| is_native(&other.module));
        let module = if are_native { native_module_path() } else { module_path() };
        let this = |name: &str| Self { name: name.to_owned(), module: module.clone() };
        [this("this tree"), this("the same again")].into_iter().chain(others).collect()
    }

    /// The filter in Envoy's configuration; each plugin has a VM of its own.
    fn filter(&self, provider: &IdentityProvider) -> Value {
        if is_native(&self.module) {
            return filters::native(provider, &self.module);
        }
        let mut filter = filters::plugin(provider);
        let plugin = &mut filter["typed_config"]["config"];
        plugin["vm_config"]["vm_id"] = json!(self.name);
        plugin["vm_config"]["code"] = json!({"local": {"filename": self.module}});
        filter
    }
}

/// The modules in `OTHER_MODULES`.
pub fn others() -> Vec<PathBuf> {
    let paths = env::var_os("OTHER_MODULES").unwrap_or_default();
    env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect()
}

pub fn is_native(module: &Path) -> bool {
    module.extension().is_some_and(|extension| extension == "so")
}

async fn start(builds: &[Build], provider: &IdentityProvider) -> Listeners {
    let filters: Vec<_> = builds.iter().map(|build| vec![build.filter(provider)]).collect();
    Listeners::start(&filters, |bootstrap| {
        bootstrap.set_cluster("identity_provider", provider.address());
    })
    .await
}

struct LoadResult {
    algorithm: Algorithm,
    load: Load,
    /// One value for each build.
    samples: Vec<Samples>,
}

impl LoadResult {
    fn print(&self, builds: &[Build]) {
        println!(
            "\n{}, {}: CPU time, and as a multiple of that of this tree by the ratios of each round",
            self.algorithm.name(),
            self.load,
        );
        for ((build, own), ratio) in builds.iter().zip(&self.samples).zip(self.ratios()) {
            let cost = Spread::new(processor(own));
            println!("{cost:22.1} µs/request {ratio:22.3}  {}", build.name);
        }
    }

    /// The CPU time of each build as a multiple of the first one's.
    fn ratios(&self) -> impl Iterator<Item = Spread> {
        let first = processor(&self.samples[0]);
        self.samples.iter().map(move |own| Spread::from_ratios(&processor(own), &first))
    }

    fn to_json(&self, builds: &[Build]) -> Value {
        let builds = builds.iter().zip(&self.samples).zip(self.ratios());
        let builds = builds.map(|((build, own), ratio)| {
            json!({
                "build": build.name,
                "cpu_time_against_this_tree": ratio.to_json(),
                "rounds": sample::to_json(own),
            })
        });
        json!({
            "algorithm": self.algorithm.name(),
            "load": self.load.to_string(),
            "builds": builds.collect::<Vec<_>>(),
        })
    }
}

fn processor(samples: &[Sample]) -> Vec<f64> {
    sample::values(samples, |own| own.processor)
}
