//! What a message of MCP calls, and how servers may read that.

use super::case::case_folded;
use super::uri;
use crate::refusal::{BodyFault, McpCall};

/// The first revision of MCP whose clients repeat parts of their message in header fields.
pub(crate) const HEADERS_SINCE: &str = "2026-07-28";

impl McpCall {
    /// `name` reads the given member of `params`; it is called only for methods that take a name.
    pub(super) fn new<F>(
        method: String,
        name: impl FnOnce(NameMember) -> Result<Option<String>, F>,
    ) -> Result<Self, F> {
        let name = NameMember::for_method(&method).map(name).transpose()?.flatten();
        Ok(Self { method, name })
    }

    /// Its method, if MCP defines it for messages of clients.
    #[must_use]
    pub(crate) fn known_method(&self) -> Option<&'static str> {
        /// The methods of all MCP revisions up to 2026-07-28.
        const METHODS: [&str; 25] = [
            "completion/complete",
            "initialize",
            "logging/setLevel",
            "notifications/cancelled",
            "notifications/initialized",
            "notifications/progress",
            "notifications/roots/list_changed",
            "notifications/tasks/status",
            "ping",
            "prompts/get",
            "prompts/list",
            "resources/list",
            "resources/read",
            "resources/subscribe",
            "resources/templates/list",
            "resources/unsubscribe",
            "server/discover",
            "subscriptions/listen",
            "tasks/cancel",
            "tasks/get",
            "tasks/list",
            "tasks/result",
            "tasks/update",
            "tools/call",
            "tools/list",
        ];
        METHODS.into_iter().find(|method| *method == self.method)
    }

    /// Whether its method is that of a notification, which gets no response.
    #[must_use]
    pub(super) fn is_notification(&self) -> bool {
        self.method.starts_with("notifications/")
    }

    /// The call as a case-insensitive server would read it.
    pub(super) fn in_lower_case(&self) -> Self {
        Self { method: case_folded(&self.method), name: self.name.as_deref().map(case_folded) }
    }

    /// The call with each URI that a lenient server might look up instead of its own: decoded, or
    /// without query, fragment or user info.
    pub(super) fn other_readings(&self) -> impl Iterator<Item = Self> {
        let uri = match NameMember::for_method(&self.method) {
            Some(NameMember::Uri) => self.name.as_deref(),
            _ => None,
        };
        let readings = uri.map(uri::other_readings).unwrap_or_default();
        let method = self.method.clone();
        readings.into_iter().map(move |name| Self { method: method.clone(), name: Some(name) })
    }

    /// Whether clients since [`HEADERS_SINCE`] must repeat the name in a header field.
    #[must_use]
    pub(super) fn demands_name_header(&self) -> bool {
        self.name.is_some() && !is_older(&self.method)
    }

    /// True when the method would take a name if its case were ignored. A case-insensitive server
    /// would read a name that was not read here.
    #[must_use]
    pub(super) fn has_ambiguous_method(&self) -> bool {
        NameMember::for_method(&self.method).is_none()
            && NameMember::for_method(&case_folded(&self.method)).is_some()
    }

    /// Checks that all servers map the URI to the same resource. Other names always pass.
    ///
    /// # Errors
    ///
    /// The URI is not in normal form.
    pub(super) fn check_uri(&self) -> Result<(), BodyFault> {
        match (NameMember::for_method(&self.method), &self.name) {
            (Some(NameMember::Uri), Some(uri)) if !uri::is_normal(uri) => {
                Err(BodyFault::Uri { found: uri.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that all servers map some URI that begins like this one to the same resource. Other
    /// names always pass.
    ///
    /// # Errors
    ///
    /// No URI that begins so is in normal form.
    pub(super) fn check_uri_beginning(&self) -> Result<(), BodyFault> {
        match &self.name {
            Some(uri) if uri::normal_uri_from(uri).is_some() => Ok(()),
            _ => self.check_uri(),
        }
    }
}

/// True for methods that were removed before [`HEADERS_SINCE`]: subscriptions to single resources,
/// and results of tasks.
pub(super) fn is_older(method: &str) -> bool {
    matches!(method, "resources/subscribe" | "resources/unsubscribe" | "tasks/result")
}

/// The member of `params` that holds the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameMember {
    Name,
    TaskId,
    Uri,
}

impl NameMember {
    fn for_method(method: &str) -> Option<Self> {
        match method {
            "prompts/get" | "tools/call" => Some(Self::Name),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some(Self::Uri),
            "tasks/cancel" | "tasks/get" | "tasks/result" | "tasks/update" => Some(Self::TaskId),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::TaskId => "taskId",
            Self::Uri => "uri",
        }
    }
}
