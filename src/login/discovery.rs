//! The login endpoints in a provider's metadata document (OpenID Connect Discovery 1.0 §3, RFC 8414
//! §2).

use std::fmt;

use serde_json::Value;

use super::own_parameters::is_own_parameter;
use super::provider::LoginProvider;
use crate::callout::{BodyLimit, CalloutFault, CalloutRequest, CalloutResponse, Endpoint};
use crate::callout::{EndpointFault, is_secure_url};

/// Where a provider's endpoints are, and how they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderEndpoints {
    /// URL of the authorization endpoint, for browsers.
    pub authorization: String,
    pub token: Endpoint,
    pub authentication: ClientAuthentication,
    /// Whether each authorization response names the issuer (RFC 9207 §3).
    pub announces_iss: bool,
}

/// How the gateway authenticates at a token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuthentication {
    /// Field `Authorization`.
    Basic,
    /// Parameter `client_secret`.
    Post,
}

/// Why a provider's login cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiscoveryFault {
    /// The document could not be fetched.
    Callout(CalloutFault),
    NotJson,
    /// It belongs to another issuer (OpenID Connect Discovery §4.3).
    OtherIssuer,
    /// It has no usable URL under this name.
    NoEndpoint(&'static str),
    /// Its authorization endpoint's query has a parameter that the gateway sets (RFC 6749 §3.1 allows
    /// each once).
    OwnParameter,
    /// Its token endpoint cannot be called.
    TokenEndpoint(EndpointFault),
    /// It accepts neither client_secret_basic nor client_secret_post.
    NoClientAuthentication,
}

impl ProviderEndpoints {
    /// Longest metadata document that is read.
    pub(crate) const LIMIT: BodyLimit = BodyLimit { bytes: 256 * 1024, setting: "256KiB" };
    /// Maximum length of an endpoint's URL in bytes.
    const MAX_URL_LENGTH: usize = 2048;

    /// The request for the document.
    #[must_use]
    pub(crate) fn request(provider: &LoginProvider) -> CalloutRequest {
        provider.metadata.request("GET", "application/json", Self::LIMIT.bytes)
    }

    /// Reads the response to that request.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub(crate) fn from_response(
        response: Option<CalloutResponse>,
        provider: &LoginProvider,
    ) -> Result<Self, DiscoveryFault> {
        let response = CalloutResponse::checked(response, &[200], Self::LIMIT)
            .map_err(DiscoveryFault::Callout)?;
        let document: Value =
            serde_json::from_slice(&response.body).map_err(|_| DiscoveryFault::NotJson)?;
        let string = |name: &str| document.get(name).and_then(Value::as_str);
        if string("issuer") != Some(&provider.issuer) {
            return Err(DiscoveryFault::OtherIssuer);
        }
        let url = |name: &'static str| {
            let url = string(name).filter(|url| url.len() <= Self::MAX_URL_LENGTH);
            url.filter(|url| is_secure_url(url)).ok_or(DiscoveryFault::NoEndpoint(name))
        };
        let token = url("token_endpoint")?;
        let authorization = url("authorization_endpoint")?;
        let (_, query) = authorization.split_once('?').unwrap_or_default();
        let mut own = form_urlencoded::parse(query.as_bytes());
        if own.any(|(name, _)| is_own_parameter(&name)) {
            return Err(DiscoveryFault::OwnParameter);
        }
        Ok(Self {
            authorization: authorization.to_owned(),
            token: provider.clusters.endpoint(token).map_err(DiscoveryFault::TokenEndpoint)?,
            authentication: match provider.client_secret {
                Some(_) => authentication(&document)?,
                // A public client sends its id alone.
                None => ClientAuthentication::Post,
            },
            announces_iss: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

/// Without a list, only Basic is supported (RFC 8414 §2).
fn authentication(document: &Value) -> Result<ClientAuthentication, DiscoveryFault> {
    let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    let Some(methods) = methods else { return Ok(ClientAuthentication::Basic) };
    let supports = |method: &str| methods.iter().any(|supported| supported == method);
    if supports("client_secret_basic") {
        Ok(ClientAuthentication::Basic)
    } else if supports("client_secret_post") {
        Ok(ClientAuthentication::Post)
    } else {
        Err(DiscoveryFault::NoClientAuthentication)
    }
}

impl fmt::Display for DiscoveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(fault) => fault.fmt(f),
            Self::NotJson => f.write_str("the metadata document is not JSON"),
            Self::OtherIssuer => f.write_str("the metadata document names another issuer"),
            Self::NoEndpoint(name) => {
                write!(f, "the metadata document has no usable {name} (https required)")
            }
            Self::OwnParameter => f.write_str(
                "the query of the authorization_endpoint has a parameter that the gateway sets itself",
            ),
            Self::TokenEndpoint(fault) => write!(f, "the token endpoint: {fault}"),
            Self::NoClientAuthentication => f.write_str(
                "the provider accepts neither client_secret_basic nor client_secret_post",
            ),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::provider::{ClientSecret, NamedAudience, ScopeNames, TokenKind};
    use super::*;
    use crate::callout::Clusters;

    pub(crate) fn provider() -> LoginProvider {
        let clusters = Clusters::ByHost(
            [("id.example.com".to_owned(), "id".to_owned())].into_iter().collect(),
        );
        LoginProvider {
            name: "example".to_owned(),
            label: "Example".to_owned(),
            issuer: "https://id.example.com".to_owned(),
            metadata: clusters
                .endpoint("https://id.example.com/.well-known/openid-configuration")
                .unwrap(),
            clusters,
            client_id: "gateway".to_owned(),
            client_secret: Some(ClientSecret::new("s3cret:+".to_owned())),
            scopes: ScopeNames::Prefixed("api://mcp/".to_owned()),
            named_audience: NamedAudience::Nowhere,
            always: vec!["openid".to_owned(), "offline_access".to_owned()],
            token: TokenKind::AccessToken,
            parameters: BTreeMap::new(),
        }
    }

    pub(crate) fn document() -> Value {
        json!({
            "issuer": "https://id.example.com",
            "authorization_endpoint": "https://id.example.com/authorize?x=1",
            "token_endpoint": "https://id.example.com/token",
        })
    }

    fn read(document: &Value) -> Result<ProviderEndpoints, DiscoveryFault> {
        read_for(document, &provider())
    }

    fn read_for(
        document: &Value,
        provider: &LoginProvider,
    ) -> Result<ProviderEndpoints, DiscoveryFault> {
        let body = document.to_string().into_bytes();
        let response = CalloutResponse {
            status: Some(200),
            body_length: body.len(),
            body,
            ..CalloutResponse::default()
        };
        ProviderEndpoints::from_response(Some(response), provider)
    }

    fn with(name: &str, value: Value) -> Value {
        let mut document = document();
        document[name] = value;
        document
    }

    #[test]
    fn the_endpoints_are_read() {
        let endpoints = read(&document()).unwrap();
        assert_eq!(endpoints.authorization, "https://id.example.com/authorize?x=1");
        assert_eq!(endpoints.token.to_string(), "https://id.example.com/token");
        assert_eq!(endpoints.authentication, ClientAuthentication::Basic);
        assert!(!endpoints.announces_iss);
    }

    #[test]
    fn basic_is_preferred_and_the_default() {
        let name = "token_endpoint_auth_methods_supported";
        for (methods, found) in [
            (json!(["client_secret_post"]), Ok(ClientAuthentication::Post)),
            (json!(["client_secret_post", "client_secret_basic"]), Ok(ClientAuthentication::Basic)),
            (json!(["private_key_jwt"]), Err(DiscoveryFault::NoClientAuthentication)),
        ] {
            let read = read(&with(name, methods)).map(|endpoints| endpoints.authentication);
            assert_eq!(read, found);
        }
        // A public client uses no such method.
        let public = LoginProvider { client_secret: None, ..provider() };
        assert!(read_for(&with(name, json!(["private_key_jwt", "none"])), &public).is_ok());
    }

    #[test]
    fn a_document_with_missing_or_unsafe_endpoints_is_refused() {
        let endpoint = |name, url: &str| with(name, json!(url));
        for (document, fault) in [
            (with("issuer", json!("https://evil.example")), DiscoveryFault::OtherIssuer),
            (with("issuer", json!("https://id.example.com/")), DiscoveryFault::OtherIssuer),
            (
                endpoint("authorization_endpoint", "http://id.example.com/a"),
                DiscoveryFault::NoEndpoint("authorization_endpoint"),
            ),
            (
                endpoint("authorization_endpoint", "javascript:alert(1)"),
                DiscoveryFault::NoEndpoint("authorization_endpoint"),
            ),
            (
                endpoint("authorization_endpoint", "https://id.example.com/a?p=x&stat%65=y"),
                DiscoveryFault::OwnParameter,
            ),
            (with("token_endpoint", Value::Null), DiscoveryFault::NoEndpoint("token_endpoint")),
            (
                endpoint("token_endpoint", "https://evil.example/token"),
                DiscoveryFault::TokenEndpoint(EndpointFault::NoCluster {
                    host: "evil.example".to_owned(),
                }),
            ),
        ] {
            assert_eq!(read(&document), Err(fault), "{document}");
        }
        assert_eq!(
            ProviderEndpoints::from_response(None, &provider()),
            Err(DiscoveryFault::Callout(CalloutFault::NoResponse))
        );
    }

    #[test]
    fn the_metadata_says_whether_responses_have_iss() {
        let name = "authorization_response_iss_parameter_supported";
        assert!(read(&with(name, json!(true))).unwrap().announces_iss);
        assert!(!read(&with(name, json!("true"))).unwrap().announces_iss);
    }
}
