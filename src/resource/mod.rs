//! The protected resource: the MCP server that tokens are for, and who may do what there.

mod url;

use serde::Serialize;
use serde_json::{Map, Value};
pub(crate) use url::ResourceUrl;

use crate::access::{AccessPolicy, CanonicalPath};
use crate::callout::is_secure_url;
use crate::provider::Providers;
use crate::request::RequestHead;

/// The MCP server that is protected.
#[derive(Clone, Debug)]
pub(crate) struct ProtectedResource {
    /// Its public URL.
    pub url: ResourceUrl,
    /// Its name, for people.
    pub name: Option<String>,
    /// The URL of its documentation.
    pub documentation: Option<String>,
    /// Scopes that its clients may ask for.
    pub scopes_supported: Vec<String>,
    /// Who may do what.
    pub access: AccessPolicy,
    /// Paths that need no token.
    pub exempt: Vec<CanonicalPath>,
    /// Origins of web pages that may send requests; empty: all.
    pub allowed_origins: Vec<String>,
    /// Whether refusals are carried out.
    pub mode: Mode,
}

/// Whether refusals are carried out.
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
    /// Its metadata (RFC 9728 §2), which names the issuers of accepted tokens.
    #[must_use]
    pub(crate) fn metadata(&self, providers: &Providers) -> Value {
        let mut document = Map::new();
        document.insert("resource".to_owned(), self.url.as_str().into());
        // RFC 9728 §3.2: members without a value are left out.
        //
        // Clients parse issuers as URLs, and some refuse the whole document if one is not a URL.
        let issuers: Vec<&str> =
            providers.authorization_servers().filter(|issuer| is_secure_url(issuer)).collect();
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
        let allowed = &self.allowed_origins;
        allowed.is_empty()
            || head
                .values("origin")
                .all(|origin| allowed.iter().any(|allowed| allowed.as_bytes() == origin))
    }
}
