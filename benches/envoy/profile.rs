//! The profile by which the compiler lays out the native module: an instrumented build of it counts
//! what the requests of the benchmark execute.
//!
//! `make native PROFILED=1` runs this. The file of counts is written when Envoy exits, so each Envoy
//! is ended in order.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use testbed::{Algorithm, IdentityProvider};

use crate::comparison::Load;
use crate::filters;
use crate::listeners::Listeners;
use crate::lists;
use crate::options::Options;
use crate::sample::Sample;
use crate::scale;

/// Enough for requests to outweigh the start.
const ROUNDS: usize = 10;

pub async fn run(options: &Options) {
    let module = env::var_os("INSTRUMENTED_MODULE").map(PathBuf::from);
    let module = module.expect("INSTRUMENTED_MODULE names the module");
    let rounds = options.rounds(ROUNDS);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        send_all_loads(&module, algorithm, rounds).await;
    }
    scale::exercise(&module, rounds.div_ceil(5)).await;
    lists::exercise(&module, rounds.div_ceil(5)).await;
}

async fn send_all_loads(module: &Path, algorithm: Algorithm, rounds: usize) {
    let provider = IdentityProvider::start().await;
    provider.rotate(algorithm);
    let filter = filters::native(&provider, module);
    let mut listeners = Listeners::start(&[vec![filter]], |bootstrap| {
        bootstrap.set_cluster("identity_provider", provider.address());
    })
    .await;
    for load in Load::ALL {
        for _ in 0..rounds {
            let requests = Arc::new(load.requests(&provider));
            let client = &mut listeners.clients[0];
            Sample::take(&listeners.envoy, client, &requests, load.expected_status()).await;
        }
    }
    listeners.envoy.quit().await;
}
