//! One Envoy with one worker, whose listeners differ only in their filters.

use serde_json::{Value, json};
use testbed::{Bootstrap, Envoy, EnvoyBuilder, Port};

use crate::client::Client;

/// The running Envoy.
pub struct Listeners {
    pub envoy: Envoy,
    /// One client for each listener.
    pub clients: Vec<Client>,
}

/// A path that Envoy responds to itself, so that no server is measured.
pub const PATH: &str = "/mcp";

impl Listeners {
    /// A listener for each of `filters`, which precede the router.
    pub async fn start(filters: &[Vec<Value>], edit: impl FnOnce(&mut Bootstrap)) -> Self {
        let ports: Vec<Port> = filters.iter().map(|_| Port::free()).collect();
        let envoy = builder()
            .edit(|bootstrap| {
                edit(bootstrap);
                let router = bootstrap.http_filters().pop().unwrap();
                for (filters, port) in filters.iter().zip(&ports) {
                    *bootstrap.http_filters() = [filters.clone(), vec![router.clone()]].concat();
                    let listeners = &mut bootstrap.tree()["static_resources"]["listeners"];
                    let mut listener = listeners[0].clone();
                    listener["name"] = json!(port.number().to_string());
                    listener["address"]["socket_address"]["port_value"] = json!(port.number());
                    listeners.as_array_mut().unwrap().push(listener);
                }
                *bootstrap.http_filters() = vec![router];
            })
            .start()
            .await;
        let mut clients = Vec::new();
        for port in ports {
            clients.push(Client::connect(port).await);
        }
        Self { envoy, clients }
    }
}

/// Envoy with minimal logging.
pub fn builder() -> EnvoyBuilder {
    Envoy::builder().component_log_level("wasm:warning,dynamic_modules:warning").edit(|bootstrap| {
        bootstrap.connection_manager().as_object_mut().unwrap().remove("access_log");
        bootstrap.respond_directly(PATH);
    })
}
