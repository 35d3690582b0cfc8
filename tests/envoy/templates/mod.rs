//! Templates of identity providers, tested with documents and tokens of each provider's shape,
//! under its own URLs, with made-up names.

mod adfs;
mod auth0;
mod entra_id;
mod generic;
mod google;
mod keycloak;
mod okta;

use serde_json::{Value, json};
use testbed::{Document, IdentityProvider, SigningKey, Stack, StackBuilder};

use crate::support::assert_none;

/// What a provider publishes.
struct Published {
    /// Path of the metadata document.
    metadata_path: String,
    /// The metadata document.
    metadata: Value,
    /// Path of the key set.
    key_set_path: String,
    /// Changes to its keys.
    edit_keys: fn(&mut Vec<Value>),
}

impl Published {
    /// Starts a provider that publishes this.
    async fn start(self) -> IdentityProvider {
        let provider = IdentityProvider::start().await;
        provider.serve_at(Document::Discovery, self.metadata_path);
        provider.serve_at(Document::KeySet, self.key_set_path);
        provider.edit(Document::Discovery, move |document| *document = self.metadata.clone());
        provider.edit(Document::KeySet, move |document| {
            let keys = document["keys"].as_array_mut().expect("there are keys");
            (self.edit_keys)(keys);
        });
        provider
    }
}

/// Starts with only these providers in the plugin's configuration. The hosts in their `clusters`
/// are the real provider's, and lead to this one.
async fn start(provider: IdentityProvider, configured: Value) -> Stack {
    builder(provider, configured).start().await
}

fn builder(provider: IdentityProvider, configured: Value) -> StackBuilder {
    Stack::builder()
        .provider(provider)
        .configure(|configuration| configuration["providers"] = configured)
}

/// The hosts that the plugin called, in order, with the paths.
fn called(provider: &IdentityProvider) -> Vec<(String, String)> {
    let requests = provider.requests().into_iter();
    requests
        .map(|request| {
            let host = request.headers.iter().find(|(name, _)| name == "host").cloned();
            (host.unwrap_or_default().1, request.path)
        })
        .collect()
}

/// Sends tokens (a name, the token, its claims, and the expected identity), and asserts that each
/// passes with exactly this identity. Issuer and expiry are those of the claims.
async fn assert_identities<N: AsRef<str>>(
    stack: &Stack,
    cases: impl IntoIterator<Item = (N, String, Value, Value)>,
) {
    let mut faults = Vec::new();
    for (name, token, claims, mut expected) in cases {
        let issuer = claims["iss"].as_str().expect("it is a string");
        expected["x-mcp-issuer"] = json!(issuer.replace('%', "%25"));
        expected["x-mcp-token-expires"] = json!(claims["exp"].to_string());
        expected["x-mcp-user-field"] = json!("user_name");
        let response = stack.call(&token).await;
        if response.status != 200 || *response.whoami() != expected {
            faults.push(format!(
                "{}: {} {}\nexpected {expected}\nfound    {}",
                name.as_ref(),
                response.status,
                response.text,
                response.whoami()
            ));
        }
    }
    assert_none(&faults);
}

/// A token with the header that most providers write: `typ` is `JWT`.
fn jwt(key: &SigningKey, claims: &Value) -> String {
    key.sign(&json!({"typ": "JWT", "alg": key.algorithm().name(), "kid": key.kid()}), claims)
}

/// The certificate of a key in the form of `x5c`.
fn x5c(key: &SigningKey) -> Value {
    let pem = key.certificate_pem();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    json!([base64])
}
