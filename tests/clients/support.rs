//! Set-up that several files need.

use serde_json::{Value, json};
use testbed::{
    ClientReport, OfficialSdk, OpenIdProvider, OpenIdProviderBuilder, Port, SdkServer, Stack,
    StackBuilder,
};

/// The scope in the first challenge, which every tool needs.
pub const READ: &str = "incident.read";

/// The scope that the tool `create_incident` needs.
pub const WRITE: &str = "incident.write";

/// The gateway's id and secret at its provider.
const GATEWAY: [&str; 2] = ["gateway", "a secret of the gateway: +/="];

/// Envoy with the plugin between official clients, OpenID providers and an official server.
pub struct Scene {
    pub stack: Stack,
    pub providers: Vec<OpenIdProvider>,
    _server: SdkServer,
}

impl Scene {
    /// A scene with one provider, `login`.
    pub async fn before(server: OfficialSdk) -> Self {
        Self::builder(server).start().await
    }

    /// A scene with the providers that are added.
    pub fn builder(server: OfficialSdk) -> SceneBuilder {
        let port = Port::free();
        let resource = format!("http://{}/mcp", port.address());
        let stack = Stack::builder().port(port);
        SceneBuilder { server, providers: Vec::new(), stack, resource, configure: Vec::new() }
    }

    /// The URL, which is all that clients know.
    pub fn url(&self) -> String {
        self.stack.url()
    }

    /// Runs a client with these options to its end.
    pub async fn run(&self, client: OfficialSdk, mut options: Value) -> ClientReport {
        options["url"] = json!(self.url());
        client.run_client(options).await
    }

    /// Runs a client of every SDK with these options, all at the same time.
    pub async fn run_every_client(&self, options: Value) -> Vec<(OfficialSdk, ClientReport)> {
        self.run_every_client_with(|_| options.clone()).await
    }

    /// The same, with separate options for each client.
    pub async fn run_every_client_with(
        &self,
        options: impl Fn(OfficialSdk) -> Value,
    ) -> Vec<(OfficialSdk, ClientReport)> {
        let [a, b, c, d] = OfficialSdk::ALL.map(|client| self.run(client, options(client)));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        OfficialSdk::ALL.into_iter().zip([a, b, c, d]).collect()
    }

    /// Asserts that every client gets from the URL alone to the tool `whoami` as Ada: first with
    /// these exchanges, then without a refusal.
    pub async fn assert_every_client_gets_to_a_tool(&self, first: &[&str]) {
        let options = json!({"protocol": "auto", "steps": [{"tool": "whoami"}]});
        for (client, report) in self.run_every_client(options).await {
            let identity = report.identity();
            let expected = [
                ("x-mcp-user", "ada"),
                ("x-mcp-subject", "ada"),
                ("x-mcp-provider", "login"),
                ("x-mcp-issuer", &self.providers[0].issuer()),
                ("x-mcp-client-type", "user"),
                ("x-mcp-scopes", READ),
            ];
            for (header, value) in expected {
                assert_eq!(identity[header], value, "{client:?}: {report:?}");
            }
            let exchanges = report.exchanges();
            let (found, rest) = exchanges.split_at(first.len());
            assert_eq!(found, first, "{client:?}: {report:?}");
            let refused = rest.iter().find(|line| line.ends_with(" 401") || line.ends_with(" 403"));
            assert_eq!(refused, None, "{client:?}: {report:?}");
            let asked = report.events("authorization");
            assert_eq!(asked.len(), 1, "{client:?}: {report:?}");
            assert_eq!(asked[0]["resource"], self.url(), "{client:?}: {report:?}");
        }
    }
}

pub struct SceneBuilder {
    server: OfficialSdk,
    providers: Vec<(&'static str, OpenIdProviderBuilder)>,
    stack: StackBuilder,
    resource: String,
    configure: Vec<Configure>,
}

type Configure = Box<dyn FnOnce(&mut Value) + Send>;

impl SceneBuilder {
    /// Adds a provider with the options that are listed in
    /// `tests/clients/node/identity_provider.mjs`. Without any provider, there is one named
    /// `login`.
    pub fn provider(mut self, name: &'static str, options: Value) -> Self {
        let mut builder = OpenIdProvider::builder(&self.resource, &[READ, WRITE]);
        for (name, value) in options.as_object().expect("they are an object") {
            builder = builder.option(name, value.clone());
        }
        self.providers.push((name, builder));
        self
    }

    /// People log in through the gateway, which is the provider's only client: the provider
    /// registers no other clients, and refuses the parameter `resource`.
    pub fn login_through_gateway(self, options: Value) -> Self {
        let origin = self.resource.strip_suffix("/mcp").expect("it ends like this");
        let mut of_provider = json!({
            "refresh_tokens": "always",
            "refuses_resource": true,
            "gateways": [{
                "client_id": GATEWAY[0],
                "client_secret": GATEWAY[1],
                "redirect_uris": [format!("{origin}/oauth/callback/login")],
            }],
        });
        for (name, value) in options.as_object().expect("they are an object") {
            of_provider[name] = value.clone();
        }
        let mut this = self.provider("login", of_provider).configure(|configuration| {
            configuration["secret"] = json!({"env": "MCP_AUTH_SECRET"});
            configuration["login"] = json!({});
            configuration["providers"][0]["login"] = json!({
                "client_id": GATEWAY[0],
                "client_secret_env": "LOGIN_SECRET",
                "always": ["openid"],
            });
        });
        this.stack = this.stack.edit(|bootstrap| {
            bootstrap.plugin()["vm_config"]["environment_variables"] = json!({"key_values": {
                "MCP_AUTH_SECRET": testbed::random_id() + &testbed::random_id(),
                "LOGIN_SECRET": GATEWAY[1],
            }});
        });
        this
    }

    /// Binds sessions to their users.
    pub fn bind_sessions(mut self) -> Self {
        self.stack = self.stack.edit(|bootstrap| {
            bootstrap.plugin()["vm_config"]["environment_variables"] = json!({"key_values": {
                "MCP_AUTH_SECRET": testbed::random_id() + &testbed::random_id(),
            }});
        });
        self.configure(|configuration| {
            configuration["secret"] = json!({"env": "MCP_AUTH_SECRET"});
            configuration["sessions"] = json!({"bind": true});
        })
    }

    /// Edits the plugin's configuration.
    pub fn configure(mut self, configure: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        self.configure.push(Box::new(configure));
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
            for configure in self.configure {
                configure(configuration);
            }
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
            "require": {"scopes": [WRITE]},
        },
        {"name": "everything-else", "match": {"paths": ["/mcp"]}, "require": {"scopes": [READ]}},
    ]})
}

/// The option of a client that logs in at this provider as a service.
pub fn service(provider: &OpenIdProvider) -> Value {
    let [client_id, client_secret] = OpenIdProvider::SERVICE;
    json!({
        "client_id": client_id, "client_secret": client_secret, "issuer": provider.issuer(),
    })
}
