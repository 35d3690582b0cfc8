use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::port::Port;
use crate::program::Program;

/// A real authorization server and OpenID provider, npm `oidc-provider`: with dynamic registration,
/// PKCE, resource indicators, and access tokens of RFC 9068.
///
/// Posting a name to its login page logs that user in; posting its consent page grants consent.
#[derive(Debug)]
pub struct OpenIdProvider {
    port: Port,
    program: Program,
}

impl OpenIdProvider {
    /// A client that gets tokens for itself, and its secret.
    pub const SERVICE: [&str; 2] = ["incident-robot", "a secret of the robot's own"];

    /// A provider that issues access tokens for this resource, with these scopes.
    pub fn builder(resource: &str, scopes: &[&str]) -> OpenIdProviderBuilder {
        let [client_id, client_secret] = Self::SERVICE;
        OpenIdProviderBuilder(json!({
            "resources": [resource],
            "scopes": scopes,
            "services": [{"client_id": client_id, "client_secret": client_secret}],
        }))
    }

    /// Its issuer in tokens and metadata.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The plugin's configuration of this provider under this name, with a cluster of that name.
    /// Tokens must be access tokens for this audience.
    pub fn configuration(&self, name: &str, audience: &str) -> Value {
        json!({
            "name": name,
            "issuer": self.issuer(),
            "client_ids": [audience],
            "metadata_url": format!("{}/.well-known/openid-configuration", self.issuer()),
            "cluster": name,
            "token_types": ["at+jwt"],
        })
    }

    /// What it has issued and refused since the last call.
    pub fn events(&mut self) -> Vec<Value> {
        self.program.lines_so_far()
    }
}

/// The settings of an [`OpenIdProvider`] to start.
#[derive(Debug)]
pub struct OpenIdProviderBuilder(Value);

impl OpenIdProviderBuilder {
    /// Sets an option that `tests/clients/node/identity_provider.mjs` lists.
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Starts it on a free port, and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(self) -> OpenIdProvider {
        let port = Port::free();
        let options = self.option("port", port.number()).0;
        let mut program = Program::node("identity_provider.mjs", &options);
        assert_eq!(program.line().await["event"], "listening");
        OpenIdProvider { port, program }
    }
}
