//! A rule of the access policy: the requests it matches, and what it requires.

use std::collections::BTreeSet;

use super::{CanonicalPath, Pattern};
use crate::claim::RequiredClaim;
use crate::identity::{StringList, VerifiedIdentity};
use crate::provider::ClientType;
use crate::refusal::McpCall;

/// A rule of the access policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Name in logs and refusals.
    pub name: String,
    /// The requests it applies to.
    pub condition: Match,
    /// What these requests need to pass.
    pub requirement: Requirement,
}

/// The condition of a rule. Every non-empty list must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Match {
    /// Accepted paths.
    pub paths: Vec<CanonicalPath>,
    /// Paths that are accepted together with all paths below them.
    pub path_prefixes: Vec<CanonicalPath>,
    /// Accepted HTTP methods.
    pub methods: Vec<String>,
    /// Accepted MCP methods.
    pub mcp_methods: Vec<Pattern>,
    /// Accepted names of tools, prompts, resources and tasks.
    pub mcp_names: Vec<Pattern>,
}

/// What a rule requires. Every non-empty list must be met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requirement {
    /// Scopes that are all required.
    pub scopes: Vec<String>,
    /// Scopes of which one is required.
    pub any_scope: Vec<String>,
    /// Roles of which one is required.
    pub roles: Vec<String>,
    /// Groups of which one is required.
    pub groups: Vec<String>,
    /// Names of the accepted providers.
    pub providers: Vec<String>,
    /// Accepted client types.
    pub client_types: Vec<ClientType>,
    /// Claims that are all required.
    pub claims: Vec<RequiredClaim>,
}

impl Match {
    /// The only HTTP method that carries a message.
    pub(super) const MESSAGE_METHOD: &[u8] = b"POST";

    /// True when the rule names paths.
    #[must_use]
    pub(super) fn names_paths(&self) -> bool {
        !self.paths.is_empty() || !self.path_prefixes.is_empty()
    }

    /// True when the rule matches messages but excludes the method that carries them.
    #[must_use]
    pub(crate) fn never_matches(&self) -> bool {
        self.concerns_messages() && !self.covers_method(Self::MESSAGE_METHOD)
    }

    /// True when the rule names HTTP methods.
    #[must_use]
    pub(super) fn names_methods(&self) -> bool {
        !self.methods.is_empty()
    }

    /// True when the rule covers requests with this path and method. `None` is an ambiguous path,
    /// which is only passed when no rule names paths.
    #[must_use]
    pub(super) fn covers_head(&self, path: Option<&CanonicalPath>, method: &[u8]) -> bool {
        path.is_none_or(|path| self.covers_path(path)) && self.covers_method(method)
    }

    /// True when the rule names this path, or a prefix of it other than `/`.
    #[must_use]
    pub(super) fn is_meant_for(&self, path: &CanonicalPath) -> bool {
        let mut prefixes = self.path_prefixes.iter().filter(|prefix| !prefix.is_root());
        self.paths.contains(path) || prefixes.any(|prefix| prefix.is_prefix_of(path))
    }

    /// True when the rule matches on the MCP message.
    #[must_use]
    pub(super) fn concerns_messages(&self) -> bool {
        !self.mcp_methods.is_empty() || !self.mcp_names.is_empty()
    }

    /// True when the rule covers a message with this call.
    #[must_use]
    pub(super) fn covers_call(&self, call: &McpCall) -> bool {
        let is_one_of = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
        };
        let name_matches = match &call.name {
            Some(name) => is_one_of(&self.mcp_names, name),
            None => self.mcp_names.is_empty(),
        };
        is_one_of(&self.mcp_methods, &call.method) && name_matches
    }

    /// The condition for paths, MCP methods and names in lower case.
    #[must_use]
    pub(super) fn in_lower_case(&self) -> Self {
        let lowered =
            |paths: &[CanonicalPath]| paths.iter().map(CanonicalPath::in_lower_case).collect();
        Self {
            paths: lowered(&self.paths),
            path_prefixes: lowered(&self.path_prefixes),
            methods: self.methods.clone(),
            mcp_methods: self.mcp_methods.iter().map(Pattern::in_lower_case).collect(),
            mcp_names: self.mcp_names.iter().map(Pattern::in_lower_case).collect(),
        }
    }

    /// Rules on messages cover POST alone: MCP servers ignore the body of any other method (MCP
    /// 2025-11-25, Streamable HTTP), so such a body must not let a request pass.
    fn covers_method(&self, method: &[u8]) -> bool {
        (self.methods.is_empty()
            || self.methods.iter().any(|accepted| accepted.as_bytes() == method))
            && (!self.concerns_messages() || method == Self::MESSAGE_METHOD)
    }

    fn covers_path(&self, path: &CanonicalPath) -> bool {
        !self.names_paths()
            || self.paths.contains(path)
            || self.path_prefixes.iter().any(|prefix| prefix.is_prefix_of(path))
    }
}

impl Requirement {
    /// The first list other than scopes that is not met.
    #[must_use]
    pub(super) fn unmet_line(&self, identity: &VerifiedIdentity) -> Option<&'static str> {
        let one_of = |accepted: &[String], held: &StringList| {
            accepted.is_empty() || accepted.iter().any(|accepted| held.contains(accepted))
        };
        let provider_fits = self.providers.is_empty()
            || self.providers.iter().any(|accepted| accepted == identity.provider());
        let client_type_fits =
            self.client_types.is_empty() || self.client_types.contains(&identity.client_type());
        let claims_fit =
            self.claims.iter().all(|claim| claim.is_met_by(identity.claims()) == Some(true));
        [
            ("providers", provider_fits),
            ("client_types", client_type_fits),
            ("roles", one_of(&self.roles, identity.roles())),
            ("groups", one_of(&self.groups, identity.groups())),
            ("claims", claims_fit),
        ]
        .into_iter()
        .find_map(|(line, holds)| (!holds).then_some(line))
    }

    /// Required scopes that are not granted; all of `any_scope` if none of them is.
    #[must_use]
    pub(super) fn missing_scopes(&self, granted: &BTreeSet<&str>) -> Vec<&str> {
        let is_missing = |scope: &&str| !granted.contains(scope);
        let any = self.any_scope.iter().map(String::as_str);
        let any_is_missing = any.clone().all(|scope| is_missing(&scope));
        self.scopes
            .iter()
            .map(String::as_str)
            .filter(is_missing)
            .chain(any.filter(|_| any_is_missing))
            .collect()
    }
}
