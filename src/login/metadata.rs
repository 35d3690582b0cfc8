//! The metadata document of the gateway as an authorization server (RFC 8414 §2).

use serde::Serialize;

use super::Login;

/// The document. Lists without entries are left out.
#[derive(Debug, Serialize)]
pub(super) struct ServerMetadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 2],
    /// Clients refuse to log in where this is missing.
    code_challenge_methods_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 1],
    scopes_supported: Vec<&'a str>,
    /// RFC 9207 §3.
    authorization_response_iss_parameter_supported: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    client_id_metadata_document_supported: bool,
}

impl<'a> ServerMetadata<'a> {
    pub(super) fn new(login: &'a Login) -> Self {
        let mut scopes: Vec<&str> = Vec::new();
        let of_resources = login.resources.iter().flat_map(|resource| &resource.scopes_supported);
        for scope in of_resources.map(String::as_str).chain(["offline_access"]) {
            if scope != "openid" && !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Self {
            issuer: login.issuer.origin(),
            authorization_endpoint: login.url("authorize"),
            token_endpoint: login.url("token"),
            registration_endpoint: login.registers.then(|| login.url("register")),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: ["authorization_code", "refresh_token"],
            code_challenge_methods_supported: ["S256"],
            token_endpoint_auth_methods_supported: ["none"],
            scopes_supported: scopes,
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: login.client_documents.is_some(),
        }
    }
}
