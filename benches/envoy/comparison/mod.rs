//! The plugin beside Envoy's own `jwt_authn`: the same requests to each listener in turn, so that a
//! noisy machine disturbs all alike.

mod floor;
mod loads;
mod report;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{Algorithm, IdentityProvider, McpServer};

use self::loads::Load;
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
        floor::check(&mut listeners, &server, options.least_wasm).await;
        for load in Load::ALL {
            eprintln!("{}, {load}", algorithm.name());
            let mut requests = Arc::new(load.requests(&provider));
            for round in 0..WARM_UP + rounds {
                if load.is_new_each_round() && round > 0 {
                    requests = Arc::new(load.requests(&provider));
                }
                for index in in_any_order(Listener::ALL.len()) {
                    let listener = Listener::ALL[index];
                    if !listener.is_concerned(load) {
                        continue;
                    }
                    let expected =
                        if listener.checks_tokens() { load.expected_status() } else { 200 };
                    let client = &mut listeners.clients[index];
                    let sample = Sample::take(&listeners.envoy, client, &requests, expected).await;
                    if round >= WARM_UP {
                        report.add(algorithm.name(), load, listener, sample);
                    }
                }
            }
        }
    }
    report.print();
    report.save(options.least_wasm);
}

/// What stands before the router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// Nothing.
    Bare,
    /// A Wasm filter that does nothing.
    EmptyWasm,
    /// A Wasm filter that only asks of the host what every filter must that does this work.
    LeastWasm,
    /// `jwt_authn` as it comes.
    JwtAuthn,
    /// `jwt_authn` with its cache.
    JwtAuthnCache,
    /// The plugin.
    Plugin,
}

impl Listener {
    const ALL: [Self; 6] = [
        Self::Bare,
        Self::EmptyWasm,
        Self::LeastWasm,
        Self::JwtAuthn,
        Self::JwtAuthnCache,
        Self::Plugin,
    ];

    fn index(self) -> usize {
        Self::ALL.iter().position(|own| *own == self).unwrap()
    }

    fn checks_tokens(self) -> bool {
        matches!(self, Self::JwtAuthn | Self::JwtAuthnCache | Self::Plugin)
    }

    /// Whether it says anything under this load that it does not under another.
    fn is_concerned(self, load: Load) -> bool {
        self.checks_tokens()
            || load == Load::Hot
            // Beside the floor stands what it costs to tell tokens apart.
            || (self, load) == (Self::LeastWasm, Load::InTurn)
    }

    fn filter(
        self,
        provider: &IdentityProvider,
        modules: &Modules,
        least_wasm: LeastWasm,
    ) -> Option<Value> {
        match self {
            Self::Bare => None,
            Self::EmptyWasm => Some(modules.empty()),
            Self::LeastWasm => Some(modules.least(least_wasm)),
            Self::JwtAuthn => Some(filters::jwt_authn(provider, &json!({}))),
            // More entries than the longest load has tokens in turn.
            Self::JwtAuthnCache => {
                let cache = json!({"jwt_cache_config": {"jwt_cache_size": 1000}});
                Some(filters::jwt_authn(provider, &cache))
            }
            Self::Plugin => Some(filters::plugin(provider)),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "no filter",
            Self::EmptyWasm => "empty Wasm",
            Self::LeastWasm => "least Wasm",
            Self::JwtAuthn => "jwt_authn",
            Self::JwtAuthnCache => "jwt_authn + cache",
            Self::Plugin => "plugin",
        })
    }
}

async fn start(
    provider: &IdentityProvider,
    server: &McpServer,
    least_wasm: LeastWasm,
) -> Listeners {
    let modules = Modules::new();
    let filters: Vec<Vec<Value>> = Listener::ALL
        .iter()
        .map(|listener| listener.filter(provider, &modules, least_wasm).into_iter().collect())
        .collect();
    Listeners::start(&filters, |bootstrap| {
        bootstrap.set_cluster("identity_provider", provider.address());
        bootstrap.set_cluster("mcp_server", server.address());
        floor::show_filter_state(bootstrap);
    })
    .await
}
