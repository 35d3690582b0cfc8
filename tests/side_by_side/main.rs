//! The same MCP server behind Envoy's `jwt_authn` with RBAC, and behind the plugin: what each does
//! in the same situations. docs/side-by-side.md has the results as a table. With `UPDATE=1` in
//! the environment it writes the table; otherwise it compares it.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::path::PathBuf;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, Document, IdentityProvider, Response, SigningKey, Stack, StackBuilder,
    repository_root, yaml,
};

/// Accepted in addition to the example's audience.
const URL: &str = "https://mcp.example.com/mcp";

/// The two ways to protect a server.
#[derive(Clone, Copy)]
enum Side {
    JwtAuthn,
    Plugin,
}

/// A protected server and its two providers, whose first keys have the same `kid`.
struct Scene {
    side: Side,
    stack: Stack,
    second: IdentityProvider,
}

impl Scene {
    async fn new(side: Side) -> Self {
        let first = IdentityProvider::start().await;
        Self::before(side, first).await
    }

    /// A scene with this first provider.
    async fn before(side: Side, first: IdentityProvider) -> Self {
        let second = IdentityProvider::start().await;
        for provider in [&first, &second] {
            provider.set_keys([SigningKey::generate(Algorithm::Rs256, "k1")]);
            provider.set_cache_control("max-age=600");
        }
        let builder = Stack::builder().alone().cluster("second_provider", second.address());
        let builder = match side {
            Side::JwtAuthn => jwt_authn(builder, &first, &second),
            Side::Plugin => plugin(builder, &second),
        };
        let stack = builder.provider(first).start().await;
        Self { side, stack, second }
    }

    /// Claims that both sides accept.
    fn claims(&self) -> Value {
        let mut claims = self.stack.claims();
        claims["email"] = json!("ada@example.com");
        claims["scope"] = json!("openid mcp.tools");
        claims
    }

    /// The same claims with another value of one claim, or without it if it is null.
    fn claims_but(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.to_owned(), value),
        };
        claims
    }

    fn token(&self) -> String {
        self.stack.provider.token(&self.claims())
    }

    fn call(&self) -> RequestBuilder {
        self.stack.request()
    }

    /// The response to the client, as a cell of the table.
    async fn seen(&self, request: RequestBuilder) -> String {
        let response = self.stack.send(request).await;
        let mut seen = match response.status {
            200 => "200".to_owned(),
            status => format!("{status} `{}`", self.cause(&response)),
        };
        let challenge = response.header("www-authenticate");
        if challenge.contains("resource_metadata=") {
            seen += ", challenge with `resource_metadata`";
        } else if !challenge.is_empty() {
            seen += ", challenge";
        }
        if challenge.contains("scope=\"mcp.tools\"") {
            seen += " and `scope`";
        }
        if !response.header("retry-after").is_empty() {
            seen += ", `Retry-After`";
        }
        seen
    }

    /// The cause of a refusal in the response.
    fn cause(&self, response: &Response) -> String {
        match self.side {
            Side::JwtAuthn => response.text.clone(),
            Side::Plugin => response.reason().to_owned(),
        }
    }

    /// The response to the client, and the user that the server sees.
    async fn seen_with_user(&self, request: RequestBuilder) -> String {
        let before = self.stack.server.count();
        let seen = self.seen(request).await;
        if self.stack.server.count() == before {
            return seen;
        }
        let requests = self.stack.server.requests();
        let users = requests.last().unwrap().header("x-mcp-user");
        let users: Vec<String> =
            users.iter().map(|user| format!("`{}`", String::from_utf8_lossy(user))).collect();
        let users = if users.is_empty() { "no user".to_owned() } else { users.join(" and ") };
        format!("{seen}; the server sees {users}")
    }
}

/// Envoy's own filters in place of the plugin.
fn jwt_authn(
    builder: StackBuilder,
    first: &IdentityProvider,
    second: &IdentityProvider,
) -> StackBuilder {
    let file = repository_root().join("tests/side_by_side/jwt_authn.yaml");
    let text = fs::read_to_string(file)
        .unwrap()
        .replace("ISSUER_OF_ONE", &first.issuer())
        .replace("ISSUER_OF_TWO", &second.issuer())
        .replace("KEYS_OF_ONE", &first.jwks_url())
        .replace("KEYS_OF_TWO", &second.jwks_url());
    builder.edit(move |bootstrap: &mut Bootstrap| {
        let filters = bootstrap.http_filters();
        let router = filters.pop().unwrap();
        *filters = yaml(&text).as_array().unwrap().clone();
        filters.push(router);
    })
}

/// The plugin with the same providers, and one additional rule for a single tool.
fn plugin(builder: StackBuilder, second: &IdentityProvider) -> StackBuilder {
    let (issuer, metadata_url) = (second.issuer(), second.metadata_url());
    builder.configure(move |configuration| {
        let providers = configuration["providers"].as_array_mut().unwrap();
        providers[0]["client_ids"].as_array_mut().unwrap().push(json!(URL));
        let mut other = providers[0].clone();
        other["name"] = json!("two");
        other["issuer"] = json!(issuer);
        other["metadata_url"] = json!(metadata_url);
        other["cluster"] = json!("second_provider");
        providers.push(other);
        configuration["access"] = json!({
            "rules": [
                {"match": {"mcp_methods": ["tools/call"], "mcp_names": ["add"]},
                 "require": {"scopes": ["mcp.tools"], "roles": ["staff"]}},
                {"match": {}, "require": {"scopes": ["mcp.tools"]}},
            ],
        });
    })
}

/// The response to a valid token, and the user that the server sees.
async fn valid(scene: &Scene) -> String {
    scene.seen_with_user(scene.call().bearer_auth(scene.token())).await
}

async fn no_token(scene: &Scene) -> String {
    scene.seen(scene.call()).await
}

async fn metadata_document(scene: &Scene) -> String {
    let url = scene.stack.envoy.url("/.well-known/oauth-protected-resource/mcp");
    scene.seen(scene.stack.client().get(url)).await
}

async fn forged_header(scene: &Scene) -> String {
    let request = scene.call().header("x-mcp-user", "root").bearer_auth(scene.token());
    scene.seen_with_user(request).await
}

async fn forged_header_without_claim(scene: &Scene) -> String {
    let token = scene.stack.provider.token(&scene.claims_but("email", Value::Null));
    let request = scene.call().header("x-mcp-user", "root").bearer_auth(token);
    scene.seen_with_user(request).await
}

async fn new_key(scene: &Scene) -> String {
    assert_eq!(scene.stack.call(&scene.token()).await.status, 200);
    let key = scene.stack.provider.rotate(Algorithm::Rs256);
    let token = key.token(&scene.claims());
    scene.seen(scene.call().bearer_auth(token)).await
}

async fn made_up_kids(scene: &Scene) -> String {
    assert_eq!(scene.stack.call(&scene.token()).await.status, 200);
    let before = scene.stack.provider.count(Document::KeySet);
    let stranger = SigningKey::generate(Algorithm::Rs256, "stranger");
    let mut all = Vec::new();
    for number in 0..20 {
        let token = stranger.with_kid(format!("made-up-{number}")).token(&scene.claims());
        all.push(scene.seen(scene.call().bearer_auth(token)).await);
    }
    all.dedup();
    let fetches = scene.stack.provider.count(Document::KeySet) - before;
    let word = if fetches == 1 { "fetch" } else { "fetches" };
    format!("{}; {fetches} key {word}", all.join(", then "))
}

async fn silent_provider(side: Side) -> String {
    let mut first = IdentityProvider::start().await;
    first.stop().await;
    let scene = Scene::before(side, first).await;
    scene.seen(scene.call().bearer_auth(scene.token())).await
}

async fn key_of_the_other_tenant(scene: &Scene) -> String {
    let token = scene.second.key().token(&scene.claims());
    scene.seen(scene.call().bearer_auth(token)).await
}

async fn missing_scope(scene: &Scene) -> String {
    let token = scene.stack.provider.token(&scene.claims_but("scope", json!("openid")));
    scene.seen(scene.call().bearer_auth(token)).await
}

async fn tool_without_role(scene: &Scene) -> String {
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "add", "arguments": {"a": 1, "b": 2}},
    });
    scene.seen(scene.call().bearer_auth(scene.token()).json(&call)).await
}

async fn audience_spelt_otherwise(scene: &Scene) -> String {
    let claims = scene.claims_but("aud", json!("http://mcp.example.com/mcp/"));
    let token = scene.stack.provider.token(&claims);
    scene.seen(scene.call().bearer_auth(token)).await
}

/// Entra ID signs its two versions of tokens with the same keys.
async fn v1_token(scene: &Scene) -> String {
    let issuer = "https://sts.windows.net/8d5c1f2e-0000-4000-8000-000000000000/";
    let token = scene.stack.provider.token(&scene.claims_but("iss", json!(issuer)));
    scene.seen(scene.call().bearer_auth(token)).await
}

async fn expired(scene: &Scene) -> String {
    let an_hour_ago = scene.claims()["exp"].as_u64().unwrap() - 24 * 3600;
    let token = scene.stack.provider.token(&scene.claims_but("exp", json!(an_hour_ago)));
    scene.seen(scene.call().bearer_auth(token)).await
}

/// The rows of the table. The last rows change the keys, or need a provider that does not respond.
async fn table() -> String {
    let (left, right) = tokio::join!(Scene::new(Side::JwtAuthn), Scene::new(Side::Plugin));
    let mut table =
        "| situation | `jwt_authn` and RBAC | this plugin |\n| --- | --- | --- |\n".to_owned();
    let mut row = |situation: &str, (left, right): (String, String)| {
        table += &format!("| {situation} | {left} | {right} |\n");
    };
    macro_rules! rows {
        ($($situation:literal: $run:ident,)+) => {$(
            row($situation, tokio::join!($run(&left), $run(&right)));
        )+};
    }
    rows! {
        "a valid token": valid,
        "no token": no_token,
        "the server's metadata document (RFC 9728), without a token": metadata_document,
        "a valid token, and `x-mcp-user: root` from the client": forged_header,
        "the same with a token that has no `email`": forged_header_without_claim,
        "an expired token": expired,
        "a v1 token of Entra ID, whose `iss` (`https://sts.windows.net/…`) is not configured": v1_token,
        "a token of one provider, signed by the other's key with the same `kid`":
            key_of_the_other_tenant,
        "a valid token without the scope `mcp.tools`": missing_scope,
        "a call of the tool `add` without the role `staff`": tool_without_role,
        "`aud` is `http://mcp.example.com/mcp/`, accepted is `https://mcp.example.com/mcp`":
            audience_spelt_otherwise,
        "twenty tokens with made-up `kid`s": made_up_kids,
    }
    drop((left, right));
    // A fetch for a made-up `kid` delays the next one, so this needs providers of its own.
    let (left, right) = tokio::join!(Scene::new(Side::JwtAuthn), Scene::new(Side::Plugin));
    row(
        "a token signed by a key that the provider published a moment ago",
        tokio::join!(new_key(&left), new_key(&right)),
    );
    row(
        "a valid token, but the provider has not responded since Envoy's start",
        tokio::join!(silent_provider(Side::JwtAuthn), silent_provider(Side::Plugin)),
    );
    table
}

fn page() -> PathBuf {
    repository_root().join("docs/side-by-side.md")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_on_the_page_shows_what_both_do() {
    let page = page();
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- end -->\n").unwrap();
    let found = table().await;
    if std::env::var_os("UPDATE").is_some() {
        fs::write(page, format!("{before}<!-- table -->\n{found}<!-- end -->\n{after}")).unwrap();
        return;
    }
    assert_eq!(shown, found, "UPDATE=1 writes the new table");
}
