//! A rule: which requests it is about, and what it requires of them.

use std::collections::BTreeSet;

use super::{CanonicalPath, Pattern};
use crate::claim::RequiredClaim;
use crate::identity::{StringList, VerifiedIdentity};
use crate::provider::ClientType;
use crate::refusal::McpCall;

/// A rule of the access policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its name, for people.
    pub name: String,
    /// The requests that it is about.
    pub condition: Match,
    /// What it requires of them.
    pub requirement: Requirement,
}

/// The requests that a rule is about. Each line that is not empty must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Match {
    /// One of these.
    pub paths: Vec<CanonicalPath>,
    /// One of these, or a path under one.
    pub path_prefixes: Vec<CanonicalPath>,
    /// One of these.
    pub methods: Vec<String>,
    /// A method of MCP that one of these stands for.
    pub mcp_methods: Vec<Pattern>,
    /// The name of a tool, prompt, resource or task that one of these stands for.
    pub mcp_names: Vec<Pattern>,
}

/// What a rule requires. Each line that is not empty must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requirement {
    /// All of these.
    pub scopes: Vec<String>,
    /// One of these.
    pub any_scope: Vec<String>,
    /// One of these.
    pub roles: Vec<String>,
    /// One of these.
    pub groups: Vec<String>,
    /// One of these, by name.
    pub providers: Vec<String>,
    /// One of these.
    pub client_types: Vec<ClientType>,
    /// All of these.
    pub claims: Vec<RequiredClaim>,
}

impl Match {
    /// The method of HTTP by which messages come.
    pub(super) const MESSAGE_METHOD: &[u8] = b"POST";

    /// True when the rule is about paths.
    #[must_use]
    pub(super) fn names_paths(&self) -> bool {
        !self.paths.is_empty() || !self.path_prefixes.is_empty()
    }

    /// True when the rule is about messages, and about no method by which they come.
    #[must_use]
    pub(crate) fn never_matches(&self) -> bool {
        self.concerns_messages() && !self.covers_method(Self::MESSAGE_METHOD)
    }

    /// True when the rule is about methods of HTTP.
    #[must_use]
    pub(super) fn names_methods(&self) -> bool {
        !self.methods.is_empty()
    }

    /// True when the rule is about a request to this path, by this method. No path stands for one
    /// that servers may read in several ways; no rule that names paths may be there then.
    #[must_use]
    pub(super) fn covers_head(&self, path: Option<&CanonicalPath>, method: &[u8]) -> bool {
        path.is_none_or(|path| self.covers_path(path)) && self.covers_method(method)
    }

    /// True when the rule was written for this path: it is one of its paths, or lies under one of its
    /// prefixes other than `/`.
    #[must_use]
    pub(super) fn is_meant_for(&self, path: &CanonicalPath) -> bool {
        let mut prefixes = self.path_prefixes.iter().filter(|prefix| !prefix.is_root());
        self.paths.contains(path) || prefixes.any(|prefix| prefix.is_prefix_of(path))
    }

    /// True when the rule is about what messages call.
    #[must_use]
    pub(super) fn concerns_messages(&self) -> bool {
        !self.mcp_methods.is_empty() || !self.mcp_names.is_empty()
    }

    /// True when the rule is about a request with this call in its message.
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

    /// The same condition, for paths, methods of MCP and names in lower case.
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

    /// Only a POST carries a message: what another method has as its body, no MCP server reads (MCP
    /// 2025-11-25, Streamable HTTP), so it must not let a request pass.
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
    /// The first line besides scopes that does not hold.
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

    /// Scopes that are required and not among these; of `any_scope` all, if none is.
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
