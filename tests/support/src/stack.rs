use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use testkit::module_path;

use crate::bootstrap::{Bootstrap, ConfigurationForm};
use crate::envoy::{Envoy, EnvoyBuilder};
use crate::identity_provider::IdentityProvider;
use crate::mcp_server::McpServer;
use crate::mcp_session::McpSession;
use crate::port::Port;
use crate::response::Response;

/// The running example: Envoy with the plugin in front of an MCP server, and an identity provider.
#[derive(Debug)]
pub struct Stack {
    /// Envoy with the plugin.
    pub envoy: Envoy,
    /// The only provider of the example's configuration, `demo`.
    pub provider: IdentityProvider,
    /// The server that the plugin protects.
    pub server: McpServer,
    client: Client,
}

impl Stack {
    /// The audience that the example's configuration accepts.
    pub const AUDIENCE: &str = "demo-mcp";

    /// The example with one worker, in an Envoy that other tests share.
    pub fn builder() -> StackBuilder {
        StackBuilder {
            envoy: Envoy::builder(),
            provider: None,
            server: None,
            configure: Vec::new(),
            edits: Vec::new(),
            is_alone: false,
        }
    }

    /// Claims of a token that the example's configuration accepts.
    pub fn claims(&self) -> Value {
        self.provider.claims(Self::AUDIENCE)
    }

    /// A token that the example's configuration accepts.
    pub fn token(&self) -> String {
        self.provider.token(&self.claims())
    }

    /// The MCP endpoint behind Envoy.
    pub fn url(&self) -> String {
        self.envoy.url("/mcp")
    }

    /// A client that makes a new connection for each request and follows no redirects.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A call of the tool `whoami` without a token, to be completed and given to
    /// [`send`](Self::send).
    pub fn request(&self) -> RequestBuilder {
        Response::mcp_call(&self.client, &self.url())
    }

    /// Calls the tool `whoami` with a token.
    pub async fn call(&self, token: &str) -> Response {
        self.send(self.request().bearer_auth(token)).await
    }

    /// Sends a request and reads the response to its end.
    pub async fn send(&self, request: RequestBuilder) -> Response {
        let response = request.send().await.expect("Envoy answers");
        Response::read(response).await
    }

    /// Replaces the plugin's configuration by an edited copy, and waits until all workers use it
    /// for new connections.
    ///
    /// # Panics
    ///
    /// Like [`Envoy::update`].
    pub async fn reconfigure(&mut self, edit: impl FnOnce(&mut Value)) {
        self.envoy.update(|bootstrap| edit(bootstrap.plugin_configuration())).await;
    }

    /// Begins a session of the official MCP client, or returns the error.
    pub async fn session(&self, token: &str) -> Result<McpSession, String> {
        McpSession::open(&self.url(), Some(token)).await
    }

    /// Connects by MCP 2026-07-28, without a session.
    pub async fn stateless_session(&self, token: &str) -> Result<McpSession, String> {
        McpSession::open_stateless(&self.url(), Some(token)).await
    }

    /// Like [`call`](Self::call), for a call that must be refused.
    ///
    /// # Panics
    ///
    /// If anything reached the MCP server meanwhile.
    pub async fn call_refused(&self, token: &str) -> Response {
        self.send_refused(self.request().bearer_auth(token)).await
    }

    /// Like [`send`](Self::send), for a request that must be refused.
    ///
    /// # Panics
    ///
    /// If anything reached the MCP server meanwhile.
    pub async fn send_refused(&self, request: RequestBuilder) -> Response {
        let before = self.server.count();
        let response = self.send(request).await;
        assert_eq!(self.server.count(), before, "the MCP server was reached: {response:?}");
        response
    }
}

/// The settings of a [`Stack`] to start.
pub struct StackBuilder {
    envoy: EnvoyBuilder,
    provider: Option<IdentityProvider>,
    server: Option<McpServer>,
    configure: Vec<Edit<Value>>,
    edits: Vec<Edit<Bootstrap>>,
    is_alone: bool,
}

type Edit<T> = Box<dyn FnOnce(&mut T) + Send>;

impl StackBuilder {
    /// Sets the number of worker threads; 1 by default.
    pub fn workers(self, workers: usize) -> Self {
        self.envoy(|envoy| envoy.workers(workers))
    }

    /// Allows reconfiguring the plugin while Envoy runs; see [`Stack::reconfigure`].
    pub fn updatable(self) -> Self {
        self.envoy(EnvoyBuilder::updatable)
    }

    /// Starts an Envoy for this stack alone. Without it the stack may share the process with those
    /// of other tests, and then its metrics, its log and its admin interface cannot be read.
    pub fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Edits the plugin's configuration, in which the real addresses are already filled in.
    pub fn configure(mut self, configure: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        self.configure.push(Box::new(configure));
        self
    }

    /// Edits Envoy's whole configuration, after [`configure`](Self::configure).
    pub fn edit(mut self, edit: impl FnOnce(&mut Bootstrap) + Send + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Passes the configuration to the plugin in this form.
    pub fn form(self, form: ConfigurationForm) -> Self {
        self.envoy(|envoy| envoy.form(form))
    }

    /// Adds a cluster, or points one of the example's to another address.
    pub fn cluster(self, name: &str, address: SocketAddr) -> Self {
        let name = name.to_owned();
        self.edit(move |bootstrap| bootstrap.set_cluster(&name, address))
    }

    /// Sets the log levels of Envoy's components; see [`EnvoyBuilder::component_log_level`].
    pub fn component_log_level(self, level: &str) -> Self {
        self.envoy(|envoy| envoy.component_log_level(level))
    }

    /// Starts from a configuration other than `envoy/envoy.yaml`.
    pub fn bootstrap(self, bootstrap: Bootstrap) -> Self {
        self.envoy(|envoy| envoy.bootstrap(bootstrap))
    }

    /// Uses this native module instead of the plugin; see [`EnvoyBuilder::native`].
    pub fn native(self, module: PathBuf) -> Self {
        self.envoy(|envoy| envoy.native(module))
    }

    /// Uses this Envoy binary.
    pub fn binary(self, binary: PathBuf) -> Self {
        self.envoy(|envoy| envoy.binary(binary))
    }

    /// Adds a variable to the environment of Envoy.
    pub fn environment(self, name: &str, value: &str) -> Self {
        self.envoy(|envoy| envoy.environment(name, value))
    }

    /// Removes replaced listeners soon; see [`EnvoyBuilder::drain_at_once`].
    pub fn drain_at_once(self) -> Self {
        self.envoy(EnvoyBuilder::drain_at_once)
    }

    /// Sets the port that Envoy listens on.
    pub fn port(self, port: Port) -> Self {
        self.envoy(|envoy| envoy.port(port))
    }

    /// Sets the port of Envoy's admin interface.
    pub fn admin_port(self, port: u16) -> Self {
        self.envoy(|envoy| envoy.admin_port(port))
    }

    /// Uses a provider that is already running.
    pub fn provider(mut self, provider: IdentityProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Uses an MCP server that is already running.
    pub fn server(mut self, server: McpServer) -> Self {
        self.server = Some(server);
        self
    }

    /// Starts all parts, and waits until Envoy is ready.
    ///
    /// # Panics
    ///
    /// If Envoy does not start; the message ends with its log.
    pub async fn start(self) -> Stack {
        let is_alone = self.is_alone;
        let (envoy, provider, server) = self.prepare().await;
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .expect("the client has nothing to object to");
        let envoy = if is_alone { envoy.start().await } else { envoy.start_shared().await };
        Stack { envoy, provider, server, client }
    }

    /// Starts all parts with a configuration that must be refused, and returns Envoy's log.
    ///
    /// # Panics
    ///
    /// If Envoy starts.
    pub async fn expect_refusal(self) -> String {
        let (envoy, _provider, _server) = self.prepare().await;
        envoy.expect_refusal().await
    }

    fn envoy(mut self, change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        self.envoy = change(self.envoy);
        self
    }

    async fn prepare(self) -> (EnvoyBuilder, IdentityProvider, McpServer) {
        let provider = match self.provider {
            Some(provider) => provider,
            None => IdentityProvider::start().await,
        };
        let server = match self.server {
            Some(server) => server,
            None => McpServer::start().await,
        };
        let resource = format!("http://127.0.0.1:{}/mcp", self.envoy.listener_port());
        let is_native = self.envoy.is_native();
        let envoy = self.envoy.edit(|bootstrap| {
            if !is_native {
                bootstrap.set_module(&module_path());
            }
            bootstrap.set_cluster("mcp_server", server.address());
            bootstrap.set_cluster("identity_provider", provider.address());
            let configuration = bootstrap.plugin_configuration();
            configuration["resource"]["url"] = json!(resource);
            configuration["providers"][0]["issuer"] = json!(provider.issuer());
            configuration["providers"][0]["metadata_url"] = json!(provider.metadata_url());
            for configure in self.configure {
                configure(configuration);
            }
            for edit in self.edits {
                edit(bootstrap);
            }
        });
        (envoy, provider, server)
    }
}
