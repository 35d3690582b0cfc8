//! One Envoy whose listeners differ in one filter.

use std::fmt;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Algorithm, Bootstrap, Envoy, IdentityProvider, Port, Stack, module_path};

use crate::loads::{CLAIMS, Load};

/// What stands before the router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// Nothing.
    Bare,
    /// A Wasm filter that does nothing.
    EmptyWasm,
    /// `jwt_authn` as it comes.
    JwtAuthn,
    /// `jwt_authn` with its cache.
    JwtAuthnCache,
    /// The plugin.
    Plugin,
}

impl Listener {
    pub const ALL: [Self; 5] =
        [Self::Bare, Self::EmptyWasm, Self::JwtAuthn, Self::JwtAuthnCache, Self::Plugin];

    pub fn checks_tokens(self) -> bool {
        matches!(self, Self::JwtAuthn | Self::JwtAuthnCache | Self::Plugin)
    }

    /// Whether it says anything under this load that it does not under another.
    pub fn is_concerned(self, load: Load) -> bool {
        self.checks_tokens() || load == Load::Hot
    }

    fn filter(self, parts: &Parts) -> Option<Value> {
        match self {
            Self::Bare => None,
            Self::EmptyWasm => Some(empty_wasm(parts)),
            Self::JwtAuthn => Some(jwt_authn(parts, json!({}))),
            // More entries than the longest load has tokens.
            Self::JwtAuthnCache => {
                Some(jwt_authn(parts, json!({"jwt_cache_config": {"jwt_cache_size": 1000}})))
            }
            Self::Plugin => Some(parts.plugin.clone()),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "no filter",
            Self::EmptyWasm => "empty Wasm",
            Self::JwtAuthn => "jwt_authn",
            Self::JwtAuthnCache => "jwt_authn + cache",
            Self::Plugin => "plugin",
        })
    }
}

/// The running Envoy.
pub struct Listeners {
    pub envoy: Envoy,
    pub provider: IdentityProvider,
    ports: Vec<Port>,
    _directory: TempDir,
}

/// What filters are made of.
struct Parts {
    plugin: Value,
    provider: Value,
    empty_module: Value,
}

impl Listeners {
    pub async fn start(algorithm: Algorithm) -> Self {
        let provider = IdentityProvider::start().await;
        provider.rotate(algorithm);
        let directory = TempDir::new().unwrap();
        let empty_module = directory.path().join("empty.wasm");
        fs::write(&empty_module, wat::parse_str(include_str!("empty_filter.wat")).unwrap())
            .unwrap();
        let ports: Vec<Port> = Listener::ALL.iter().map(|_| Port::free()).collect();
        let envoy = Envoy::builder()
            .component_log_level("wasm:warning")
            .edit(|bootstrap| {
                bootstrap.set_module(&module_path());
                bootstrap.set_cluster("identity_provider", provider.address());
                let configuration = bootstrap.plugin_configuration();
                configuration["providers"][0]["issuer"] = json!(provider.issuer());
                configuration["providers"][0]["metadata_url"] = json!(provider.metadata_url());
                bootstrap.answer_directly("/mcp");
                let parts = Parts {
                    plugin: bootstrap.http_filters()[0].clone(),
                    provider: jwt_provider(&provider),
                    empty_module: json!({"local": {"filename": empty_module}}),
                };
                add_listeners(bootstrap, &ports, &parts);
            })
            .start()
            .await;
        Self { envoy, provider, ports, _directory: directory }
    }

    pub fn address(&self, listener: Listener) -> SocketAddr {
        let index = Listener::ALL.iter().position(|own| *own == listener).unwrap();
        self.ports[index].address()
    }
}

fn add_listeners(bootstrap: &mut Bootstrap, ports: &[Port], parts: &Parts) {
    let router = bootstrap.http_filters().pop().unwrap();
    for (listener, port) in Listener::ALL.into_iter().zip(ports) {
        let filters = listener.filter(parts).into_iter().chain([router.clone()]);
        *bootstrap.http_filters() = filters.collect();
        let listeners = &mut bootstrap.tree()["static_resources"]["listeners"];
        let mut own = listeners[0].clone();
        own["name"] = json!(listener.to_string());
        own["address"]["socket_address"]["port_value"] = json!(port.number());
        listeners.as_array_mut().unwrap().push(own);
    }
    *bootstrap.http_filters() = vec![router];
}

fn empty_wasm(parts: &Parts) -> Value {
    let mut filter = parts.plugin.clone();
    let config = &mut filter["typed_config"]["config"];
    config["name"] = json!("empty");
    config["vm_config"]["vm_id"] = json!("empty");
    config["vm_config"]["code"] = parts.empty_module.clone();
    config.as_object_mut().unwrap().remove("configuration");
    filter
}

/// The same issuer, audience, skew and keys as the plugin has, and as many header fields; the keys
/// stand in the configuration, which costs `jwt_authn` less than to fetch them.
fn jwt_provider(provider: &IdentityProvider) -> Value {
    let keys: Vec<Value> = provider.keys().iter().map(|key| key.public_jwk()).collect();
    let headers: Vec<Value> = CLAIMS
        .iter()
        .map(|(claim, _)| json!({"header_name": format!("x-mcp-{claim}"), "claim_name": claim}))
        .collect();
    json!({
        "issuer": provider.issuer(),
        "audiences": [Stack::AUDIENCE],
        "clock_skew_seconds": 300,
        "local_jwks": {"inline_string": json!({"keys": keys}).to_string()},
        "claim_to_headers": headers,
    })
}

fn jwt_authn(parts: &Parts, more: Value) -> Value {
    let mut provider = parts.provider.clone();
    provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"demo": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "demo"}}],
        },
    })
}
