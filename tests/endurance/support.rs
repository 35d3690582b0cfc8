//! Set-up that several files need.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{IdentityProvider, Load, LoadPlan, Stack, StackBuilder};

/// The deadline of everything that should happen soon.
pub const SOON: Duration = Duration::from_secs(15);

/// A path that Envoy responds to itself: behind the plugin, but without an MCP server.
const DIRECT: &str = "/direct";

/// Starts with this number of workers and these settings of `keys`.
pub fn with_keys(workers: usize, keys: Value) -> StackBuilder {
    Stack::builder()
        .alone()
        .workers(workers)
        .configure(move |configuration| configuration["keys"] = keys)
        .edit(|bootstrap| bootstrap.respond_directly(DIRECT))
}

/// Adds a provider under this name.
pub fn with_provider(
    builder: StackBuilder,
    name: &str,
    provider: &IdentityProvider,
) -> StackBuilder {
    let configured = json!({
        "name": name,
        "issuer": provider.issuer(),
        "client_ids": [Stack::AUDIENCE],
        "metadata_url": provider.metadata_url(),
        "cluster": name,
    });
    builder.cluster(name, provider.address()).configure(|configuration| {
        configuration["providers"].as_array_mut().expect("there are providers").push(configured);
    })
}

/// A few clients that open a connection for each request, and so reach all workers. Each request
/// has its own token, of each of these providers in turn.
pub fn clients(stack: &Stack, rate: u32, providers: &[&IdentityProvider]) -> Load {
    let minters = providers.iter().map(|provider| (provider.key(), provider.issuer()));
    let minters: Vec<_> = minters.collect();
    let plan = LoadPlan { connections: 10, rate, reconnects: true, ..plan(stack) };
    Load::start(&plan, move |number| {
        let index = usize::try_from(number).expect("it is a small number") % minters.len();
        let (key, issuer) = &minters[index];
        key.token(&testbed::claims(issuer, Stack::AUDIENCE)).into()
    })
}

/// Requests to [`DIRECT`] over connections that stay open.
pub fn plan(stack: &Stack) -> LoadPlan {
    LoadPlan {
        address: stack.envoy.address(),
        path: DIRECT.to_owned(),
        connections: 50,
        rate: 100,
        reconnects: false,
    }
}
