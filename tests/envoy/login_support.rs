//! A server that people log in to through the gateway.

use serde_json::{Value, json};
use testbed::{
    LoginBrowser, LoginClient, LoginProvider, LoginShape, Response, SeenLogin, Stack, StackBuilder,
};

/// The URL that clients know, and its origin, which is also the issuer.
pub const RESOURCE: &str = "https://mcp.example.com/mcp";
pub const ORIGIN: &str = "https://mcp.example.com";
pub const HOST: &str = "mcp.example.com";

/// The secrets of the replicas: 32 bytes each.
pub const SECRET: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
pub const OTHER_SECRET: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

/// Envoy with the login, and the providers at which people log in. Each is named after its
/// template.
pub struct Scene {
    pub stack: Stack,
    pub providers: Vec<LoginProvider>,
}

impl Scene {
    /// A scene with one provider that follows the specifications, `generic`.
    pub async fn plain() -> Self {
        Self::of([LoginShape::plain(RESOURCE)]).await
    }

    /// A scene with providers of these shapes.
    pub async fn of(shapes: impl IntoIterator<Item = LoginShape>) -> Self {
        Self::configured(shapes, |_| ()).await
    }

    /// The same, with an edited configuration of the plugin.
    pub async fn configured(
        shapes: impl IntoIterator<Item = LoginShape>,
        configure: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Self {
        let providers = start_providers(shapes).await;
        let stack = replica(&providers, SECRET).configure(configure).start().await;
        Self { stack, providers }
    }

    /// A scene in an Envoy of its own, whose log and metrics are only the login's.
    pub async fn alone(shapes: impl IntoIterator<Item = LoginShape>) -> Self {
        let providers = start_providers(shapes).await;
        let stack = replica(&providers, SECRET).alone().start().await;
        Self { stack, providers }
    }

    /// The provider of this template.
    pub fn provider(&self, template: &str) -> &LoginProvider {
        let found = self.providers.iter().find(|own| own.shape().template == template);
        found.unwrap_or_else(|| panic!("no {template}"))
    }

    /// The only provider.
    pub fn only(&self) -> &LoginProvider {
        assert_eq!(self.providers.len(), 1);
        &self.providers[0]
    }

    /// A client that knows the URL of the server and has registered.
    pub async fn client(&self) -> LoginClient {
        let mut client = LoginClient::discover(RESOURCE, self.stack.envoy.address()).await;
        client.register().await;
        client
    }

    /// A browser that reaches the gateway and the providers.
    pub fn browser(&self) -> LoginBrowser {
        let providers = self.providers.iter();
        let sites = providers.map(|own| (format!("http://{}", own.address()), own.address()));
        LoginBrowser::new(sites.chain([self.gateway()]))
    }

    /// A browser that stops where the gateway redirects it.
    pub fn browser_without_providers(&self) -> LoginBrowser {
        LoginBrowser::new([self.gateway()])
    }

    /// Whether no provider's token endpoint got a request.
    pub fn has_made_no_token_request(&self) -> bool {
        self.providers.iter().all(|provider| provider.token_requests().is_empty())
    }

    fn gateway(&self) -> (String, std::net::SocketAddr) {
        (ORIGIN.to_owned(), self.stack.envoy.address())
    }
}

/// Opens the page, chooses this provider, and follows redirects until the client has its response.
pub async fn approve(
    browser: &mut LoginBrowser,
    client: &LoginClient,
    provider: &str,
) -> SeenLogin {
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    assert!(page.asks_for_consent(), "{page:?}");
    browser.press(&page, "provider", provider).await
}

/// Logs in at this provider. Returns the token endpoint's response.
pub async fn log_in(browser: &mut LoginBrowser, client: &LoginClient, provider: &str) -> Response {
    let approved = approve(browser, client, provider).await;
    let response = client.redeem(&client.code(&approved)).await;
    assert_eq!(response.status, 200, "{response:?}");
    response
}

/// A member of a token response.
pub fn member<'a>(response: &'a Response, name: &str) -> &'a str {
    response.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {response:?}"))
}

/// Asserts that an endpoint for programs refused, without issuing a token.
pub fn assert_error(response: &Response, status: u16, error: &str) {
    assert_eq!((response.status, &response.body["error"]), (status, &json!(error)), "{response:?}");
    assert!(response.body["error_description"].is_string(), "{response:?}");
    assert_eq!(response.header("cache-control"), "no-store", "{response:?}");
    assert_eq!(response.header("content-type"), "application/json", "{response:?}");
    for member in ["access_token", "refresh_token", "id_token"] {
        assert!(response.body[member].is_null(), "{response:?}");
    }
}

/// Asserts that the person sees a page that does not lead anywhere.
pub fn assert_dead_end(seen: &SeenLogin, status: u16) {
    assert_eq!((seen.status, seen.header("location")), (Some(status), ""), "{seen:?}");
    assert!(seen.url.starts_with(ORIGIN), "{seen:?}");
    assert!(seen.sealed_request().is_empty(), "{seen:?}");
}

pub async fn start_providers(shapes: impl IntoIterator<Item = LoginShape>) -> Vec<LoginProvider> {
    let mut providers = Vec::new();
    for shape in shapes {
        providers.push(LoginProvider::start_as(shape).await);
    }
    providers
}

/// An Envoy with the login for these providers, which seals with this secret.
pub fn replica(providers: &[LoginProvider], secret: &str) -> StackBuilder {
    let configured: Vec<Value> =
        providers.iter().map(|own| own.configuration(own.shape().template)).collect();
    let variables = json!({"key_values": {
        "MCP_AUTH_SECRET": secret,
        "LOGIN_SECRET": LoginProvider::CLIENT[1],
    }});
    let mut builder = Stack::builder()
        .configure(move |configuration| {
            *configuration = json!({
                "resource": {
                    "url": RESOURCE,
                    "name": "Incident tools",
                    "scopes_supported": [LoginShape::SCOPE],
                },
                "providers": configured,
                "secret": {"env": "MCP_AUTH_SECRET"},
                "login": {},
            });
        })
        .edit(move |bootstrap| {
            bootstrap.plugin()["vm_config"]["environment_variables"] = variables;
        });
    for provider in providers {
        builder = builder.cluster(provider.shape().template, provider.address());
    }
    builder
}
