//! The authorization server that MCP clients see. It registers clients, asks people for consent, sends
//! them to their identity provider, and hands on the provider's token. It mints no tokens and keeps
//! no state: what has to come back is sealed.
//!
//! No I/O: each step takes what came, and returns a [`Step`] that says what is needed next.
//!
//! 1. [`Login::on_head`]: metadata and callbacks get their responses at once; a form has a body to read; a
//!    client may have a metadata document to fetch.
//! 2. The page ([`page`]), sealed as [`visit::PendingLogin`]; its approval leads to the provider with
//!    a sealed [`visit::VisitState`].
//! 3. [`callback`]: the provider's code, sealed as [`callback::ClientCode`], goes to the client.
//! 4. [`token_request`]: the client's code or refresh token becomes a request to the provider's token
//!    endpoint, and [`issued`] its response. The token is judged as a request's would be before the
//!    client gets it.

mod authorization_request;
mod authorize;
mod browser;
mod callback;
mod client;
mod client_document;
mod consent;
mod discovery;
mod document_cache;
mod endpoint_cache;
mod error_code;
mod event;
mod issued;
mod issuer;
mod metadata;
mod own_parameters;
mod page;
mod parameters;
mod pkce;
mod provider;
mod redaction;
mod redirect_uri;
mod registration;
mod resource;
mod response;
mod spent_codes;
mod step;
mod token;
mod token_request;
mod visit;

pub(crate) use self::browser::Cookie;
pub(crate) use self::client::{Client, ClientName, ConfiguredClient, DocumentUrl};
pub(crate) use self::client_document::{DOCUMENT_LIMIT, DocumentFault};
pub(crate) use self::consent::ConsentMode;
pub(crate) use self::discovery::{DiscoveryFault, ProviderEndpoints};
pub(crate) use self::document_cache::{DocumentCache, DocumentLookup};
pub(crate) use self::endpoint_cache::{EndpointCache, EndpointLookup};
use self::error_code::ErrorCode;
pub(crate) use self::event::{LoginEvent, LoginResult, LoginStage};
pub(crate) use self::issued::IssuedToken;
pub(crate) use self::issuer::Issuer;
use self::metadata::ServerMetadata;
pub(crate) use self::own_parameters::is_own_parameter;
use self::provider::ProviderDigest;
pub(crate) use self::provider::{
    ClientSecret, LoginProvider, NamedAudience, ScopeNames, TokenKind,
};
pub(crate) use self::redirect_uri::{RedirectPolicy, RedirectUri};
pub(crate) use self::resource::LoginResource;
use self::response::{OAuthError, json_response, method_not_allowed, preflight};
pub(crate) use self::spent_codes::SpentCodes;
pub(crate) use self::step::{AwaitingClient, AwaitingEndpoints, Form, Step, TokenJudgement};
pub(crate) use self::token::GrantId;
pub(crate) use self::token_request::Exchange;
use crate::access::CanonicalPath;
use crate::callout::Clusters;
use crate::provider::{ProviderId, ProviderMap};
use crate::request::RequestHead;
use crate::response::Response;
use crate::seal::{Randomness, Sealer};
use crate::time::UnixTime;

/// The configured login.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub issuer: Issuer,
    /// Whether it responds under any authority: there is one resource, whose origin is the issuer.
    pub has_any_authority: bool,
    /// Whether no resource is at the issuer's host: nothing but the login is served there.
    pub has_own_host: bool,
    /// Path prefix of its endpoints, without a slash at the end.
    pub path: String,
    /// Whether unknown clients may register.
    pub registers: bool,
    pub redirect_policy: RedirectPolicy,
    pub clients: Vec<ConfiguredClient>,
    /// Hosts whose client ID metadata documents are accepted, with their clusters; `None` if there
    /// are no such hosts.
    pub client_documents: Option<Clusters>,
    pub consent: ConsentMode,
    pub sealer: Sealer,
    /// How people log in at each provider; `None` where they do not.
    pub providers: ProviderMap<Option<LoginProvider>>,
    /// The resources for which people can log in.
    pub resources: Vec<LoginResource>,
}

/// An endpoint of the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginEndpoint {
    Metadata,
    Authorize,
    Callback(ProviderId),
    Token,
    Register,
    /// No endpoint, although the path is below that of the login.
    Missing,
}

impl Login {
    /// Paths of the metadata document: that of RFC 8414 and that of OpenID Connect Discovery.
    const METADATA_PATHS: [&str; 2] =
        ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

    /// The endpoint that a request is for; `None` if it does not belong to the login.
    #[must_use]
    pub(crate) fn endpoint_of(&self, head: RequestHead<'_>) -> Option<LoginEndpoint> {
        let mut authorities = head.values(":authority");
        let authority = authorities.next().filter(|_| authorities.next().is_none());
        self.endpoint(authority.unwrap_or_default(), head.path())
    }

    fn endpoint(&self, authority: &[u8], path: &[u8]) -> Option<LoginEndpoint> {
        let found = match self.has_any_authority || self.issuer.is_at(authority) {
            true => self.endpoint_at(path),
            false => None,
        };
        // Whatever a server served there could set cookies, and would be of the page's origin.
        let is_closed = || self.has_own_host && self.issuer.is_on_host_of(authority);
        found.or_else(|| is_closed().then_some(LoginEndpoint::Missing))
    }

    fn endpoint_at(&self, path: &[u8]) -> Option<LoginEndpoint> {
        let canonical = CanonicalPath::parse(path)?;
        let canonical = std::str::from_utf8(canonical.as_bytes()).ok()?;
        if Self::METADATA_PATHS.contains(&canonical) {
            return Some(LoginEndpoint::Metadata);
        }
        let own = canonical.strip_prefix(&self.path)?.strip_prefix('/')?;
        // Only the announced spelling: Envoy's routes limit how often it is called.
        if path != canonical.as_bytes() {
            return Some(LoginEndpoint::Missing);
        }
        Some(match own {
            "authorize" => LoginEndpoint::Authorize,
            "token" => LoginEndpoint::Token,
            "register" if self.registers => LoginEndpoint::Register,
            other => {
                let provider = other.strip_prefix("callback/");
                let provider = provider.and_then(|name| self.provider_named(name));
                provider.map_or(LoginEndpoint::Missing, |(id, _)| LoginEndpoint::Callback(id))
            }
        })
    }

    /// The head of a request for an endpoint.
    pub(crate) fn on_head(
        &self,
        endpoint: LoginEndpoint,
        head: RequestHead<'_>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        match (endpoint, head.method()) {
            (LoginEndpoint::Metadata, b"GET" | b"HEAD") => self.metadata(),
            (LoginEndpoint::Metadata, b"OPTIONS") => Step::respond(preflight("GET, HEAD, OPTIONS")),
            (LoginEndpoint::Metadata, _) => Step::respond(method_not_allowed("GET, HEAD, OPTIONS")),
            (LoginEndpoint::Authorize, b"GET") => self.authorize(head, now, random),
            (LoginEndpoint::Authorize, b"POST") => self.approval_head(head, now),
            (LoginEndpoint::Authorize, _) => Step::respond(method_not_allowed("GET, POST")),
            (LoginEndpoint::Callback(provider), b"GET") => {
                self.callback(provider, head, now, random)
            }
            (LoginEndpoint::Callback(_), _) => Step::respond(method_not_allowed("GET")),
            (LoginEndpoint::Token, b"POST") => Self::token_head(head),
            (LoginEndpoint::Register, b"POST") => Self::registration_head(head),
            (LoginEndpoint::Missing, _) => Step::respond(Self::missing()),
            (LoginEndpoint::Token | LoginEndpoint::Register, b"OPTIONS") => {
                Step::respond(preflight("POST, OPTIONS"))
            }
            (LoginEndpoint::Token | LoginEndpoint::Register, _) => {
                Step::respond(method_not_allowed("POST, OPTIONS"))
            }
        }
    }

    /// The paths of the endpoints that anyone may call, except those of metadata.
    #[must_use]
    pub(crate) fn endpoint_paths(&self) -> Vec<String> {
        let register = self.registers.then(|| "register".to_owned());
        let providers = self.providers.values().flatten();
        let callbacks = providers.map(|provider| format!("callback/{}", provider.name));
        let endpoints = ["authorize", "token"].map(str::to_owned).into_iter();
        let endpoints = endpoints.chain(register).chain(callbacks);
        endpoints.map(|endpoint| format!("{}/{endpoint}", self.path)).collect()
    }

    /// The redirect URI that the gateway has at a provider.
    #[must_use]
    pub(crate) fn redirect_uri(&self, provider: &LoginProvider) -> String {
        self.url(&format!("callback/{}", provider.name))
    }

    /// The issuer, if people can log in for the resource with this URL.
    #[must_use]
    pub(crate) fn issuer_for(&self, resource: &str) -> Option<&str> {
        self.resources.iter().any(|own| own.url == resource).then(|| self.issuer.origin())
    }

    /// The resource with this URL.
    fn resource(&self, url: &str) -> Option<&LoginResource> {
        self.resources.iter().find(|resource| resource.url == url)
    }

    /// The provider's settings for logins at this resource; `None` if people cannot log in there.
    fn provider_for(&self, id: ProviderId, resource: &LoginResource) -> Option<LoginProvider> {
        let audiences = resource.audiences.get(&id)?;
        Some(self.providers[id].as_ref()?.for_audiences(audiences))
    }

    fn missing() -> Response {
        let problem = "the login of this server has no such endpoint";
        OAuthError::new(ErrorCode::InvalidRequest, problem).response(404)
    }

    fn metadata(&self) -> Step {
        let mut response = json_response(200, &ServerMetadata::new(self));
        for (name, value) in &mut response.headers {
            if *name == "cache-control" {
                *value = "public, max-age=300".into();
            }
        }
        Step::respond(response)
    }

    fn provider_named(&self, name: &str) -> Option<(ProviderId, &LoginProvider)> {
        self.find_provider(|provider| provider.name == name)
    }

    /// The provider of a sealed value, if it is still configured as it was then.
    fn provider_of(&self, digest: &ProviderDigest) -> Option<(ProviderId, &LoginProvider)> {
        self.find_provider(|provider| provider.digest() == *digest)
    }

    fn find_provider(
        &self,
        is_it: impl Fn(&LoginProvider) -> bool,
    ) -> Option<(ProviderId, &LoginProvider)> {
        let providers = self.providers.entries();
        let mut providers = providers.filter_map(|(id, provider)| Some((id, provider.as_ref()?)));
        providers.find(|(_, provider)| is_it(provider))
    }

    fn url(&self, endpoint: &str) -> String {
        format!("{}{}/{endpoint}", self.issuer.origin(), self.path)
    }
}

#[cfg(test)]
mod tests;
