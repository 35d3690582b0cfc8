//! Filters in Envoy's configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Bootstrap, IdentityProvider, Stack, module_path, repository_root};

use crate::requests::CLAIMS;

/// Whether the minimal Wasm filter sets filter state, as the plugin does for access logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LeastWasm {
    WithFilterState,
    WithoutFilterState,
}

/// Our own modules that the plugin is compared with.
pub struct Modules(TempDir);

impl Modules {
    pub fn new() -> Self {
        let modules = Self(TempDir::new().unwrap());
        for (name, text) in [
            ("empty", include_str!("empty_filter.wat")),
            ("least", include_str!("least_filter.wat")),
        ] {
            fs::write(modules.path(name), wat::parse_str(text).unwrap()).unwrap();
        }
        let source = repository_root().join("benches/envoy/native_filter.rs");
        for (name, options) in [
            ("empty", &[][..]),
            ("minimal", &["--cfg", "minimal"]),
            ("same_calls", &["--cfg", "minimal", "--cfg", "same_calls"]),
        ] {
            let status = Command::new("rustc")
                .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "opt-level=3"])
                .args(options)
                .arg("-o")
                .arg(modules.native_path(name))
                .arg(&source)
                .status();
            assert!(status.expect("rustc comes with Cargo").success());
        }
        modules
    }

    /// A filter that does nothing.
    pub fn empty(&self) -> Value {
        self.filter("empty", "empty")
    }

    /// A native filter that does nothing.
    pub fn empty_native(&self) -> Value {
        self.native("empty")
    }

    /// A filter that makes the calls that every native filter needs for the module's work on a
    /// cached token.
    pub fn minimal_native(&self) -> Value {
        self.native("minimal")
    }

    /// A filter that makes all calls that the native module makes for a cached token, except for
    /// counters.
    pub fn same_calls_native(&self) -> Value {
        self.native("same_calls")
    }

    fn native(&self, name: &str) -> Value {
        let mut bootstrap = Bootstrap::example();
        bootstrap.replace_plugin(&self.native_path(name));
        bootstrap.http_filters()[0].clone()
    }

    fn native_path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("lib{name}.so"))
    }

    /// A filter that makes the host calls that every filter needs for the plugin's work. Filters
    /// with different names share nothing.
    pub fn least(&self, name: &str, configuration: &[u8]) -> Value {
        let mut filter = self.filter("least", name);
        filter["typed_config"]["config"]["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.BytesValue",
            "value": BASE64_STANDARD.encode(configuration),
        });
        filter
    }

    fn filter(&self, module: &str, name: &str) -> Value {
        let mut bootstrap = Bootstrap::example();
        let plugin = bootstrap.plugin();
        plugin["name"] = json!(name);
        plugin["vm_config"]["vm_id"] = json!(name);
        plugin["vm_config"]["code"] = json!({"local": {"filename": self.path(module)}});
        plugin.as_object_mut().unwrap().remove("configuration");
        bootstrap.http_filters()[0].clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.wasm"))
    }
}

/// The plugin as in the example, with `provider` as the only one.
pub fn plugin(provider: &IdentityProvider) -> Value {
    plugin_with(|configuration| set_provider(configuration, provider))
}

/// The native module in this file with the same configuration.
pub fn native(provider: &IdentityProvider, module: &Path) -> Value {
    native_with(module, |configuration| set_provider(configuration, provider))
}

/// The native module in this file with an edited configuration.
pub fn native_with(module: &Path, edit: impl FnOnce(&mut Value)) -> Value {
    let mut bootstrap = Bootstrap::example();
    edit(bootstrap.plugin_configuration());
    bootstrap.replace_plugin(module);
    bootstrap.http_filters()[0].clone()
}

/// Makes `provider` the only one.
pub fn set_provider(configuration: &mut Value, provider: &IdentityProvider) {
    configuration["providers"][0]["issuer"] = json!(provider.issuer());
    configuration["providers"][0]["metadata_url"] = json!(provider.metadata_url());
}

/// The plugin with an edited configuration.
pub fn plugin_with(edit: impl FnOnce(&mut Value)) -> Value {
    let mut bootstrap = Bootstrap::example();
    bootstrap.set_module(&module_path());
    edit(bootstrap.plugin_configuration());
    bootstrap.http_filters()[0].clone()
}

/// Forwards requests only once their bodies are complete. Otherwise Envoy itself would respond
/// earlier, and close the connection.
pub fn buffer() -> Value {
    json!({
        "name": "envoy.filters.http.buffer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 65536,
        },
    })
}

/// `jwt_authn` with the plugin's issuer, audience, skew and keys, with as many header fields, and
/// with `more` for its provider. The keys are in the configuration, which costs it less than a
/// fetch.
pub fn jwt_authn(provider: &IdentityProvider, more: &Value) -> Value {
    let keys: Vec<Value> = provider.keys().iter().map(|key| key.public_jwk()).collect();
    let headers: Vec<Value> = CLAIMS
        .iter()
        .map(|(claim, _)| json!({"header_name": format!("x-mcp-{claim}"), "claim_name": claim}))
        .collect();
    let mut settings = json!({
        "issuer": provider.issuer(),
        "audiences": [Stack::AUDIENCE],
        "clock_skew_seconds": 300,
        "local_jwks": {"inline_string": json!({"keys": keys}).to_string()},
        "claim_to_headers": headers,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"demo": settings},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "demo"}}],
        },
    })
}
