//! The plugin and the native module next to Envoy's own `jwt_authn`: the same requests to each
//! listener in turn, so that other load on the machine affects all alike.

mod floor;
mod loads;
mod report;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Algorithm, IdentityProvider, McpServer, native_module_path};

pub use self::loads::Load;
use self::report::Report;
use crate::filters::{self, LeastWasm, Modules};
use crate::listeners::Listeners;
use crate::options::Options;
use crate::rounds::{WARM_UP, in_any_order};
use crate::sample::Sample;

const ROUNDS: usize = 100;

pub async fn run(options: &Options) {
    let rounds = options.rounds(ROUNDS);
    let mut report = Report::default();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let provider = IdentityProvider::start().await;
        provider.rotate(algorithm);
        let server = McpServer::start().await;
        let mut listeners = start(&provider, &server, options.least_wasm).await;
        floor::check(&mut listeners, &provider, &server, options.least_wasm).await;
        for load in Load::ALL {
            eprintln!("{}, {load}", algorithm.name());
            let mut requests = Arc::new(load.requests(&provider));
            for round in 0..WARM_UP + rounds {
                if load.is_new_each_round() && round > 0 {
                    requests = Arc::new(load.requests(&provider));
                }
                for index in in_any_order(LISTENERS.len()) {
                    let Listener { filter, loads } = &LISTENERS[index];
                    if !loads.contains(&load) {
                        continue;
                    }
                    let expected =
                        if filter.lets_all_pass() { 200 } else { load.expected_status() };
                    let client = &mut listeners.clients[index];
                    let sample = Sample::take(&listeners.envoy, client, &requests, expected).await;
                    if round >= WARM_UP {
                        report.add(algorithm.name(), load, *filter, sample);
                    }
                }
            }
        }
    }
    report.print();
    report.save(options.least_wasm);
}

/// A listener of Envoy.
struct Listener {
    filter: Filter,
    /// The loads that are informative for its filter.
    loads: &'static [Load],
}

/// The least Wasm filter does the same for every request, so there is one for each kind of work.
const LISTENERS: [Listener; 13] = [
    Listener { filter: Filter::Bare, loads: &[Load::Hot] },
    Listener { filter: Filter::EmptyWasm, loads: &[Load::Hot] },
    Listener { filter: Filter::LeastWasm, loads: &[Load::Hot, Load::InTurn] },
    Listener { filter: Filter::LeastWasm, loads: &[Load::New] },
    Listener { filter: Filter::LeastWasm, loads: &[Load::Forged] },
    Listener { filter: Filter::LeastWasm, loads: &[Load::Missing] },
    Listener { filter: Filter::JwtAuthn, loads: &Load::ALL },
    Listener { filter: Filter::JwtAuthnCache, loads: &Load::ALL },
    Listener { filter: Filter::Plugin, loads: &Load::ALL },
    Listener { filter: Filter::EmptyNative, loads: &[Load::Hot] },
    Listener { filter: Filter::MinimalNative, loads: &[Load::Hot, Load::InTurn] },
    Listener { filter: Filter::SameCallsNative, loads: &[Load::Hot, Load::InTurn] },
    Listener { filter: Filter::Native, loads: &Load::ALL },
];

/// The filter before the router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// Nothing.
    Bare,
    /// A Wasm filter that does nothing.
    EmptyWasm,
    /// A Wasm filter that makes only the host calls that every such filter needs.
    LeastWasm,
    /// `jwt_authn` with its defaults.
    JwtAuthn,
    /// `jwt_authn` with its cache.
    JwtAuthnCache,
    /// The plugin.
    Plugin,
    /// A native filter that does nothing.
    EmptyNative,
    /// A native filter that makes only the calls that every such filter needs.
    MinimalNative,
    /// A native filter that makes the module's calls, and does nothing else.
    SameCallsNative,
    /// The native module.
    Native,
}

impl Filter {
    /// The index of the listener that has the filter for this load.
    fn place(self, load: Load) -> usize {
        let mut listeners = LISTENERS.iter();
        listeners
            .position(|listener| listener.filter == self && listener.loads.contains(&load))
            .unwrap()
    }

    /// Whether the filter forwards requests that it should refuse.
    fn lets_all_pass(self) -> bool {
        match self {
            Self::Bare
            | Self::EmptyWasm
            | Self::EmptyNative
            | Self::MinimalNative
            | Self::SameCallsNative => true,
            Self::LeastWasm
            | Self::JwtAuthn
            | Self::JwtAuthnCache
            | Self::Plugin
            | Self::Native => false,
        }
    }

    /// The filter in Envoy's configuration, for these loads.
    fn configured(
        self,
        loads: &[Load],
        provider: &IdentityProvider,
        modules: &Modules,
        least_wasm: LeastWasm,
    ) -> Option<Value> {
        match self {
            Self::Bare => None,
            Self::EmptyWasm => Some(modules.empty()),
            Self::LeastWasm => {
                let configuration = floor::configuration(loads[0], provider, least_wasm);
                Some(modules.least(&format!("least, {}", loads[0]), &configuration))
            }
            Self::JwtAuthn => Some(filters::jwt_authn(provider, &json!({}))),
            // More entries than the longest load has tokens in turn.
            Self::JwtAuthnCache => {
                let cache = json!({"jwt_cache_config": {"jwt_cache_size": 1000}});
                Some(filters::jwt_authn(provider, &cache))
            }
            Self::Plugin => Some(filters::plugin(provider)),
            Self::EmptyNative => Some(modules.empty_native()),
            Self::MinimalNative => Some(modules.minimal_native()),
            Self::SameCallsNative => Some(modules.same_calls_native()),
            Self::Native => Some(filters::native(provider, &native_module_path())),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "no filter",
            Self::EmptyWasm => "empty Wasm",
            Self::LeastWasm => "minimal Wasm",
            Self::JwtAuthn => "jwt_authn",
            Self::JwtAuthnCache => "jwt_authn + cache",
            Self::Plugin => "plugin",
            Self::EmptyNative => "empty native",
            Self::MinimalNative => "minimal native",
            Self::SameCallsNative => "same calls",
            Self::Native => "native",
        })
    }
}

async fn start(
    provider: &IdentityProvider,
    server: &McpServer,
    least_wasm: LeastWasm,
) -> Listeners {
    let modules = Modules::new();
    let filters = LISTENERS.map(|Listener { filter, loads }| {
        Vec::from_iter(filter.configured(loads, provider, &modules, least_wasm))
    });
    Listeners::start(&filters, |bootstrap| {
        bootstrap.set_cluster("identity_provider", provider.address());
        bootstrap.set_cluster("mcp_server", server.address());
        floor::show_filter_state(bootstrap);
    })
    .await
}
