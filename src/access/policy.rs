//! The decision whether an identity may do what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{CanonicalPath, Match, Rule, ScopeHierarchy};
use crate::identity::VerifiedIdentity;
use crate::refusal::{Denial, Refusal, Strings};
use crate::request::RequestHead;

/// What a request asks for, as far as rules care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    method: Vec<u8>,
    /// None when servers differ in how they read the path.
    path: Option<CanonicalPath>,
}

/// Who may do what: the first rule that matches decides.
#[derive(Clone, Debug)]
pub(crate) struct AccessPolicy {
    rules: Vec<Rule>,
    /// The conditions of the same rules.
    in_lower_case: Vec<Match>,
    default: DefaultAccess,
    hierarchy: ScopeHierarchy,
    /// Scopes that a client may be told to ask for.
    known_scopes: BTreeSet<String>,
    /// How a client must ask for a scope, where that is not how tokens spell it.
    asked_as: BTreeMap<String, String>,
}

/// What becomes of requests that no rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAccess {
    /// They pass.
    Allow,
    /// They are refused.
    Deny,
}

impl Target {
    /// What the request with this head asks for.
    #[must_use]
    pub(crate) fn of(head: RequestHead<'_>) -> Self {
        Self { method: head.method().to_vec(), path: CanonicalPath::of(head.path()) }
    }

    /// True when the path is one of these.
    #[must_use]
    pub(crate) fn is_one_of(&self, paths: &[CanonicalPath]) -> bool {
        self.path.as_ref().is_some_and(|path| paths.contains(path))
    }
}

impl AccessPolicy {
    /// Scopes that are about the login, not about this server; clients are never told to ask for
    /// them here.
    const LOGIN_SCOPES: [&str; 6] =
        ["offline_access", "openid", "profile", "email", "address", "phone"];

    /// A policy of these rules. `supported` are the scopes of the resource's metadata.
    #[must_use]
    pub(crate) fn new(
        rules: Vec<Rule>,
        default: DefaultAccess,
        hierarchy: ScopeHierarchy,
        supported: &[String],
    ) -> Self {
        let of_rules = rules
            .iter()
            .flat_map(|rule| rule.requirement.scopes.iter().chain(&rule.requirement.any_scope));
        let known_scopes = of_rules
            .chain(supported)
            .map(String::as_str)
            .chain(hierarchy.names())
            .filter(|scope| !Self::LOGIN_SCOPES.contains(scope))
            .map(str::to_owned)
            .collect();
        let in_lower_case = rules.iter().map(|rule| rule.condition.in_lower_case()).collect();
        // Clients of Entra ID ask for `api://server/read`; its tokens say `read`.
        let end = |scope: &str| scope.rsplit('/').next().unwrap_or_default().to_owned();
        let mut asked_as: BTreeMap<String, String> = supported
            .iter()
            .filter(|scope| scope.contains('/'))
            .map(|scope| (end(scope), scope.clone()))
            .collect();
        asked_as.retain(|own, _| {
            let is_login = Self::LOGIN_SCOPES.contains(&own.as_str());
            !is_login && supported.iter().filter(|other| end(other) == *own).count() == 1
        });
        Self { rules, in_lower_case, default, hierarchy, known_scopes, asked_as }
    }

    /// Decides. `is_restricted` says that the identity's provider may be used only where a rule
    /// names it.
    ///
    /// # Errors
    ///
    /// [`Refusal::InsufficientScope`] when broader scopes would do, else
    /// [`Refusal::AccessDenied`].
    pub(crate) fn check(
        &self,
        target: &Target,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> Result<(), Refusal> {
        let denied = |denial| Err(Refusal::AccessDenied(denial));
        let rule = match self.rule_for(target) {
            Ok(rule) => rule,
            Err(denial) => return denied(denial),
        };
        let Some(rule) = rule else {
            return match self.default {
                DefaultAccess::Allow if !is_restricted => Ok(()),
                _ => denied(Denial::NoRule),
            };
        };
        let names_provider =
            rule.requirement.providers.iter().any(|own| own == identity.provider());
        if is_restricted && !names_provider {
            return denied(Denial::Restricted { rule: rule.name.clone() });
        }
        if let Some(line) = rule.requirement.unmet_line(identity) {
            let is_elsewhere = identity.lists_elsewhere(line);
            return denied(Denial::Rule { rule: rule.name.clone(), line, is_elsewhere });
        }
        let granted = self.hierarchy.implied_by(identity.scopes());
        let missing = rule.requirement.missing_scopes(&granted);
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal::InsufficientScope {
            rule: rule.name.clone(),
            scopes: self.scopes_to_ask_for(rule, &granted, identity),
            missing: Strings::of(missing),
        })
    }

    /// The first rule that is about this request.
    fn rule_for(&self, target: &Target) -> Result<Option<&Rule>, Denial> {
        let concerns_paths = self.rules.iter().any(|rule| rule.condition.names_paths());
        let Some(path) = &target.path else {
            // It might be a path that a rule is about.
            return if concerns_paths {
                Err(Denial::AmbiguousPath)
            } else {
                Ok(self.rules.iter().find(|rule| rule.condition.covers_method(&target.method)))
            };
        };
        let index = self.rules.iter().position(|rule| rule.condition.covers(path, &target.method));
        // A server that does not mind the case would serve what another rule is about.
        let path = path.in_lower_case();
        let in_any_case =
            self.in_lower_case.iter().position(|lowered| lowered.covers(&path, &target.method));
        if index != in_any_case {
            return Err(Denial::AmbiguousPath);
        }
        Ok(index.and_then(|index| self.rules.get(index)))
    }

    /// The smallest set that the rule is content with, and what the token has of those that this
    /// server knows: a client that asks for it loses nothing.
    fn scopes_to_ask_for(
        &self,
        rule: &Rule,
        granted: &BTreeSet<&str>,
        identity: &VerifiedIdentity,
    ) -> Vec<String> {
        let requirement = &rule.requirement;
        let has_one = requirement.any_scope.iter().any(|scope| granted.contains(scope.as_str()));
        let one = requirement.any_scope.first().filter(|_| !has_one);
        let is_known = |scope: &&String| {
            self.known_scopes.contains(*scope) || self.asked_as.contains_key(*scope)
        };
        let own = identity.scopes().iter().filter(is_known);
        let mut scopes: Vec<String> = Vec::new();
        for scope in requirement.scopes.iter().chain(one).chain(own) {
            let scope = self.asked_as.get(scope).unwrap_or(scope);
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }
}
