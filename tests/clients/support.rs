//! What several files build in the same way.

use serde_json::{Value, json};
use testbed::{
    OfficialSdk, OpenIdProvider, OpenIdProviderBuilder, Port, SdkServer, Stack, StackBuilder,
};

/// The scope that the challenge names, and that the whole server needs.
pub const READ: &str = "incident.read";

/// The scope that the tool `create_incident` needs besides.
pub const WRITE: &str = "incident.write";

/// Envoy with the plugin between official clients, OpenID providers and an official server.
pub struct Scene {
    pub stack: Stack,
    pub providers: Vec<OpenIdProvider>,
    _server: SdkServer,
}

impl Scene {
    /// With one provider, `login`.
    pub async fn before(server: OfficialSdk) -> Self {
        Self::builder(server).start().await
    }

    pub fn builder(server: OfficialSdk) -> SceneBuilder {
        let port = Port::free();
        let resource = format!("http://{}/mcp", port.address());
        SceneBuilder { server, providers: Vec::new(), stack: Stack::builder().port(port), resource }
    }

    /// The only thing that clients know.
    pub fn url(&self) -> String {
        self.stack.url()
    }
}

pub struct SceneBuilder {
    server: OfficialSdk,
    providers: Vec<(&'static str, OpenIdProviderBuilder)>,
    stack: StackBuilder,
    resource: String,
}

impl SceneBuilder {
    /// Adds a provider with these options; without any there is one named `login`.
    pub fn provider(mut self, name: &'static str, options: Value) -> Self {
        let mut builder = OpenIdProvider::builder(&self.resource, &[READ, WRITE]);
        for (name, value) in options.as_object().expect("they are an object") {
            builder = builder.option(name, value.clone());
        }
        self.providers.push((name, builder));
        self
    }

    pub async fn start(mut self) -> Scene {
        if self.providers.is_empty() {
            self = self.provider("login", json!({}));
        }
        let server = self.server.start_server().await;
        let mut stack = self.stack.cluster("mcp_server", server.address());
        let mut providers = Vec::new();
        let mut configured = Vec::new();
        for (name, builder) in self.providers {
            let provider = builder.start().await;
            configured.push(provider.configuration(name, &self.resource));
            stack = stack.cluster(name, provider.address());
            providers.push(provider);
        }
        let stack = stack.configure(move |configuration| {
            configuration["providers"] = json!(configured);
            configuration["resource"]["scopes_supported"] = json!([READ]);
            configuration["access"] = access_rules();
        });
        Scene { stack: stack.start().await, providers, _server: server }
    }
}

fn access_rules() -> Value {
    json!({"rules": [
        {
            "name": "create-incidents",
            "match": {
                "paths": ["/mcp"], "mcp_methods": ["tools/call"], "mcp_names": ["create_incident"],
            },
            "require": {"scopes": [READ, WRITE]},
        },
        {"name": "everything-else", "match": {"paths": ["/mcp"]}, "require": {"scopes": [READ]}},
    ]})
}
