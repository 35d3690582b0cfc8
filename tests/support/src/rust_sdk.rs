use reqwest::header::WWW_AUTHENTICATE;
use rmcp::transport::auth::{
    AuthorizationManager, AuthorizationMetadataSource, AuthorizationRequest, AuthorizationSession,
    WWWAuthenticateParams,
};
use serde_json::json;

use crate::program::Program;

/// Gets an access token from nothing but a URL, with the official SDK for Rust: it finds the
/// provider, registers, and has this person log in there.
///
/// # Panics
///
/// If the SDK does not find the provider, or guesses its endpoints.
pub async fn log_in_by_rust_sdk(url: &str, person: &str) -> String {
    let manager = logged_in(url, person).await;
    manager.get_access_token().await.expect("there is a token")
}

/// The same, and refreshes the token at once. Returns the first token and the second.
///
/// # Panics
///
/// As the other does, or if the token is not refreshed.
pub async fn refresh_by_rust_sdk(url: &str, person: &str) -> [String; 2] {
    let manager = logged_in(url, person).await;
    let first = manager.get_access_token().await.expect("there is a token");
    manager.refresh_token().await.expect("the refresh token is good");
    [first, manager.get_access_token().await.expect("there is a token")]
}

async fn logged_in(url: &str, person: &str) -> AuthorizationManager {
    const REDIRECT_URL: &str = "http://127.0.0.1:33418/callback";
    let refused = reqwest::Client::new().post(url).send().await.expect("the server answers");
    let challenge = refused.headers().get(WWW_AUTHENTICATE).and_then(|line| line.to_str().ok());
    let mut manager = AuthorizationManager::new(url).await.expect("it is a URL");
    let found = manager.resolve_metadata_from_challenge(challenge).await.expect("it finds a way");
    assert_eq!(found.source, AuthorizationMetadataSource::ProtectedResourceMetadata);
    manager.set_metadata(found.metadata);
    let request = AuthorizationRequest::new(REDIRECT_URL).with_initial_scope_selection();
    let session = AuthorizationSession::new(manager, request).await;
    let session = session.unwrap_or_else(|(_, error)| panic!("no authorization: {error}"));
    let options = json!({
        "authorization_url": session.get_authorization_url(),
        "redirect_url": REDIRECT_URL,
        "person": person,
    });
    let callback = Program::node("log_in.mjs", &options).line().await;
    let callback = callback["callback"].as_str().expect("the browser is sent back");
    session.handle_callback_url(callback).await.expect("the code is good");
    session.auth_manager
}

/// A challenge as the SDK for Rust parses it.
#[derive(Debug, Eq, PartialEq)]
pub struct ReadChallenge {
    /// The URL of the metadata.
    pub resource_metadata: Option<String>,
    /// The scopes to request.
    pub scope: Option<String>,
    /// The error code.
    pub error: Option<String>,
}

impl ReadChallenge {
    /// Has the SDK parse a challenge from the server at this URL.
    ///
    /// # Panics
    ///
    /// If it is not a URL.
    pub fn new(challenge: &str, url: &str) -> Self {
        let read = WWWAuthenticateParams::parse(challenge, &url.parse().expect("it is a URL"));
        Self {
            resource_metadata: read.resource_metadata_url.map(|url| url.to_string()),
            scope: read.scope,
            error: read.error,
        }
    }
}
