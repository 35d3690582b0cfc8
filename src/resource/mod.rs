//! The protected resources: the MCP servers that tokens are for, which of them a request belongs to,
//! and who may do what there.

mod authority;
mod id;
mod resources;
mod router;
mod url;

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use self::authority::Authority;
pub(crate) use self::id::ResourceId;
pub(crate) use self::resources::{Address, AmbiguousPath, Outside, ResourceMap, Resources, Sought};
pub(crate) use self::router::Addresses;
pub(crate) use self::url::ResourceUrl;
use crate::access::{AccessPolicy, CanonicalPath};
use crate::callout::is_secure_url;
use crate::identity::IdentityHeaders;
use crate::provider::{AcceptedProviders, Providers};
use crate::request::RequestHead;

/// An MCP server that is protected.
#[derive(Clone, Debug)]
pub(crate) struct ProtectedResource {
    /// Its name in logs, metrics and headers; `None` for a single `resource`.
    pub label: Option<ResourceLabel>,
    /// Its public URL.
    pub url: ResourceUrl,
    /// Its name in the metadata document.
    pub name: Option<String>,
    /// The URL of its documentation.
    pub documentation: Option<String>,
    /// Scopes that its clients may ask for.
    pub scopes_supported: Vec<String>,
    /// The providers whose tokens it accepts.
    pub providers: AcceptedProviders,
    /// Who may do what.
    pub access: AccessPolicy,
    /// Paths that need no token.
    pub exempt: Vec<CanonicalPath>,
    /// Origins of web pages that may send requests; empty: all.
    pub allowed_origins: Vec<String>,
    /// The header fields by which it learns who is calling.
    pub identity_headers: IdentityHeaders,
    /// Whether it gets the token.
    pub forward_token: bool,
    /// Whether refused requests get an error response.
    pub mode: Mode,
}

/// The name of a resource among several, and the header field that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceLabel {
    id: Rc<str>,
    header: Rc<str>,
}

impl ResourceLabel {
    /// The label with this id, for a server whose identity headers have this prefix.
    #[must_use]
    pub(crate) fn new(id: &str, header_prefix: &str) -> Self {
        Self { id: id.into(), header: Self::header_name(header_prefix).into() }
    }

    /// The name of the header field with this prefix.
    #[must_use]
    pub(crate) fn header_name(prefix: &str) -> String {
        format!("{prefix}resource")
    }

    /// The resource's `id`.
    #[must_use]
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Name of the header field.
    #[must_use]
    pub(crate) fn header(&self) -> &str {
        &self.header
    }
}

/// Whether refusals are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// They are.
    Enforce,
    /// Every request passes, and the log says which would have been refused.
    Report,
}

impl Mode {
    /// Its name in the configuration.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

impl ProtectedResource {
    /// Its metadata (RFC 9728 §2), which names the issuers of accepted tokens, or the gateway's where
    /// people log in through it.
    #[must_use]
    pub(crate) fn metadata(&self, providers: &Providers, gateway: Option<&str>) -> Value {
        let mut document = Map::new();
        document.insert("resource".to_owned(), self.url.as_str().into());
        // RFC 9728 §3.2: members without a value are left out.
        //
        // Clients parse issuers as URLs, and some refuse the whole document if one is not a URL.
        let servers = self.providers.authorization_servers(providers);
        let issuers: Vec<&str> = match gateway {
            Some(issuer) => vec![issuer],
            None => servers.filter(|issuer| is_secure_url(issuer)).collect(),
        };
        if !issuers.is_empty() {
            document.insert("authorization_servers".to_owned(), issuers.into());
        }
        document.insert("bearer_methods_supported".to_owned(), ["header"].as_slice().into());
        if !self.scopes_supported.is_empty() {
            document.insert("scopes_supported".to_owned(), self.scopes_supported.as_slice().into());
        }
        if let Some(name) = &self.name {
            document.insert("resource_name".to_owned(), name.as_str().into());
        }
        if let Some(documentation) = &self.documentation {
            document.insert("resource_documentation".to_owned(), documentation.as_str().into());
        }
        Value::Object(document)
    }

    /// True unless the request comes from a web page whose origin is not listed.
    #[must_use]
    pub(crate) fn allows_origin(&self, head: RequestHead<'_>) -> bool {
        allows_origin(&self.allowed_origins, head)
    }
}

/// True unless the request comes from a web page whose origin is not among `allowed`, if any are.
pub(crate) fn allows_origin(allowed: &[String], head: RequestHead<'_>) -> bool {
    allowed.is_empty()
        || head
            .values("origin")
            .all(|origin| allowed.iter().any(|allowed| allowed.as_bytes() == origin))
}
