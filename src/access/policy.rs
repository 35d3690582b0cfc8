//! Decides whether an identity may make a request.

mod lists;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::lists::Listed;
use super::inspection::{AnnouncedMessage, Inspection, MessageHints};
use super::message::Message;
use super::{CanonicalPath, HEADERS_SINCE, Match, Rule, ScopeHierarchy};
use crate::identity::{VerifiedIdentity, logged_name};
use crate::refusal::{Denial, McpCall, Refusal, Strings};
use crate::request::RequestHead;

/// The parts of a request that rules match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    method: Cow<'static, [u8]>,
    /// `None` when servers differ in how they read the path.
    path: Option<CanonicalPath>,
    /// `None` when there is no message, or no rule matches on messages.
    hints: Option<Box<MessageHints>>,
}

/// What the head of a request decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// The request is allowed. The head may reveal the message.
    Granted(Grant),
    /// The decision depends on the message in the body.
    DependsOnBody,
}

/// Why a request is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The rule that matched; `None` if none did.
    pub rule: Option<RuleIndex>,
    /// The message, if it was read.
    pub message: Option<Box<Message>>,
}

/// The place of a rule in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleIndex(usize);

/// The access rules. The first rule that matches a request decides.
#[derive(Clone, Debug)]
pub(crate) struct AccessPolicy {
    rules: Vec<Rule>,
    /// The names of `rules` in access logs.
    logged_names: Vec<String>,
    /// The conditions of `rules` in lower case.
    in_lower_case: Vec<Match>,
    /// Whether the conditions of `rules` are in lower case already.
    is_lower_case: bool,
    /// Whether any rule matches on messages.
    reads_messages: bool,
    /// Whether any rule depends on the HTTP method. Rules on messages do: they cover POST alone.
    names_methods: bool,
    default: DefaultAccess,
    hierarchy: ScopeHierarchy,
    inspection: Inspection,
    /// Scopes that a challenge may name.
    known_scopes: BTreeSet<String>,
    /// The spelling in which clients request a scope, where tokens spell it differently.
    asked_as: BTreeMap<String, String>,
    lists: ListRules,
}

/// What the lists in responses show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListRules {
    /// Whether they show only what the caller may use, where rules name items of lists.
    pub are_filtered: bool,
    /// Whether they also show what the caller may use with more scopes.
    pub show_if_scopes_missing: bool,
    /// Longest message of a response that is read, in bytes.
    pub max_body: usize,
}

/// The decision on requests that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAccess {
    /// They are allowed.
    Allow,
    /// They are refused.
    Deny,
}

/// What is known about the message of a request.
#[derive(Clone, Copy)]
enum MessageView<'a> {
    /// There is no message, or it is a response.
    NotACall,
    /// It is a request or notification with this call.
    McpCall(&'a McpCall),
    /// It is a request for a resource whose URI begins like that of this call.
    Beginning(&'a McpCall),
    /// It has not been read yet.
    Unread,
}

/// The rule that decides, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleMatch {
    /// A rule on messages comes first, and the message has not been read.
    DependsOnMessage,
    /// No rule matches.
    NoRule,
    /// The rule with this index matches.
    Rule(usize),
}

impl Grant {
    /// What the message calls.
    #[must_use]
    pub(crate) fn call(&self) -> Option<&McpCall> {
        self.message.as_ref()?.call.as_ref()
    }
}

impl RuleMatch {
    fn rule(self) -> Option<RuleIndex> {
        match self {
            Self::Rule(index) => Some(RuleIndex(index)),
            Self::DependsOnMessage | Self::NoRule => None,
        }
    }
}

impl Target {
    /// True when the path is among `paths`.
    #[must_use]
    pub(crate) fn is_one_of(&self, paths: &[CanonicalPath]) -> bool {
        self.path.as_ref().is_some_and(|path| paths.contains(path))
    }

    /// True when the head announces a body that is not empty.
    #[must_use]
    pub(crate) fn announces_content(&self) -> bool {
        self.hints.as_ref().is_some_and(|hints| hints.announces_content())
    }

    /// Whether the response may hold lists: it answers a message, or is a stream of messages.
    #[must_use]
    pub(crate) fn may_get_lists(&self) -> bool {
        self.may_carry_message() || *self.method == *b"GET"
    }

    /// Whether the request has the HTTP method of messages.
    #[must_use]
    pub(crate) fn may_carry_message(&self) -> bool {
        *self.method == *Match::MESSAGE_METHOD
    }

    /// True when any body that is not empty would be refused.
    #[must_use]
    pub(crate) fn accepts_no_content(&self) -> bool {
        self.hints.as_ref().is_some_and(|hints| hints.accepts_no_content())
    }
}

impl AccessPolicy {
    /// Scopes that concern the login rather than this server. No challenge names them.
    const LOGIN_SCOPES: [&str; 6] =
        ["offline_access", "openid", "profile", "email", "address", "phone"];

    /// `supported` are the scopes of the resource's metadata.
    #[must_use]
    pub(crate) fn new(
        rules: Vec<Rule>,
        default: DefaultAccess,
        hierarchy: ScopeHierarchy,
        inspection: Inspection,
        lists: ListRules,
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
        let logged_names = rules.iter().map(|rule| logged_name(&rule.name)).collect();
        let in_lower_case: Vec<Match> =
            rules.iter().map(|rule| rule.condition.in_lower_case()).collect();
        let is_lower_case = rules.iter().map(|rule| &rule.condition).eq(&in_lower_case);
        let reads_messages = in_lower_case.iter().any(Match::concerns_messages);
        let names_methods = reads_messages || in_lower_case.iter().any(Match::names_methods);
        // Clients of Entra ID request `api://server/read`; its tokens carry `read`.
        let end = |scope: &str| scope.rsplit('/').next().unwrap_or_default().to_owned();
        let mut asked_as: BTreeMap<String, String> = supported
            .iter()
            .filter(|scope| scope.contains('/'))
            .map(|scope| (end(scope), scope.clone()))
            .collect();
        asked_as.retain(|scope, _| {
            let is_login = Self::LOGIN_SCOPES.contains(&scope.as_str());
            !is_login && supported.iter().filter(|other| end(other) == *scope).count() == 1
        });
        Self {
            rules,
            logged_names,
            in_lower_case,
            is_lower_case,
            reads_messages,
            names_methods,
            default,
            hierarchy,
            inspection,
            known_scopes,
            asked_as,
            lists,
        }
    }

    /// Reads the parts of a request head that rules match. `path` is its path; `None` for an
    /// ambiguous one.
    #[must_use]
    pub(crate) fn target(&self, head: RequestHead<'_>, path: Option<CanonicalPath>) -> Target {
        Target {
            method: match head.method() {
                b"GET" => Cow::Borrowed(b"GET"),
                Match::MESSAGE_METHOD => Cow::Borrowed(Match::MESSAGE_METHOD),
                other => Cow::Owned(other.to_vec()),
            },
            path,
            hints: (self.reads_messages && head.method() == Match::MESSAGE_METHOD)
                .then(|| MessageHints::from_head(head))
                .flatten()
                .map(Box::new),
        }
    }

    /// True when a rule names the path of this request.
    #[must_use]
    pub(crate) fn has_rule_for_path(&self, target: &Target) -> bool {
        let is_meant = |path| self.rules.iter().any(|rule| rule.condition.is_meant_for(path));
        target.path.as_ref().is_some_and(is_meant)
    }

    /// Names of the claims that some rule requires, which must be kept with the identity.
    #[must_use]
    pub(crate) fn required_claims(&self) -> Vec<String> {
        let all = self.rules.iter().flat_map(|rule| &rule.requirement.claims);
        let once: BTreeSet<&str> = all.map(|claim| claim.name.as_str()).collect();
        once.into_iter().map(str::to_owned).collect()
    }

    /// Scopes that this server knows: announced ones, and those of rules and of the hierarchy.
    #[must_use]
    pub(crate) fn known_scopes(&self) -> &BTreeSet<String> {
        &self.known_scopes
    }

    /// The rules in order.
    #[must_use]
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// True when a rule names paths.
    #[must_use]
    pub(crate) fn names_paths(&self) -> bool {
        self.rules.iter().any(|rule| rule.condition.names_paths())
    }

    /// True when a decision may depend on the body of a request.
    #[must_use]
    pub(crate) fn reads_bodies(&self) -> bool {
        self.reads_messages && matches!(self.inspection, Inspection::Body { .. })
    }

    /// Longest body that is read, in bytes.
    #[must_use]
    pub(crate) fn max_body(&self) -> usize {
        match self.inspection {
            Inspection::Body { max_body } => max_body,
            Inspection::Headers { .. } => 0,
        }
    }

    /// A revision of MCP whose clients repeat their messages in header fields, and whose header fields
    /// are accepted.
    #[must_use]
    pub(crate) fn revision(&self) -> &str {
        match &self.inspection {
            Inspection::Headers { versions } => {
                versions.first().map_or(HEADERS_SINCE, String::as_str)
            }
            Inspection::Body { .. } => HEADERS_SINCE,
        }
    }

    /// Whether the first rule that covers the head matches on messages.
    #[must_use]
    pub(crate) fn depends_on_message(&self, target: &Target) -> bool {
        target.hints.is_some()
            && self.reachable(target.path.as_ref(), &target.method).next().is_some_and(|found| {
                match found {
                    RuleMatch::Rule(index) => {
                        self.rules.get(index).is_some_and(|rule| rule.condition.concerns_messages())
                    }
                    RuleMatch::DependsOnMessage | RuleMatch::NoRule => false,
                }
            })
    }

    /// The name of a rule in access logs.
    #[must_use]
    pub(crate) fn logged_name(&self, RuleIndex(index): RuleIndex) -> &str {
        self.logged_names.get(index).map(String::as_str).unwrap_or_default()
    }

    /// Decides by the head of the request, if that is enough. `is_restricted`: the identity's
    /// provider passes only where a rule names it.
    ///
    /// # Errors
    ///
    /// [`Refusal::InsufficientScope`] when more scopes would help, else [`Refusal::AccessDenied`];
    /// both also when no message could change the outcome. [`Refusal::McpHeaderMismatch`] and
    /// [`Refusal::McpBodyInvalid`] when a rule needs the message and the head makes it unusable.
    pub(crate) fn check(
        &self,
        target: &Target,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> Result<Permission, Refusal> {
        let content = match target.hints {
            Some(_) => MessageView::Unread,
            None => MessageView::NotACall,
        };
        let found = self.find(target, content)?;
        match &target.hints {
            Some(hints) if found == RuleMatch::DependsOnMessage => {
                match hints.message(&self.inspection)? {
                    AnnouncedMessage::Message(message) => {
                        let message = Some(Box::new(message));
                        let rule = self.check_message(
                            target,
                            message.as_deref(),
                            identity,
                            is_restricted,
                        )?;
                        return Ok(Permission::Granted(Grant { rule, message }));
                    }
                    AnnouncedMessage::InBody => {
                        self.check_any_message(target, identity, is_restricted)?;
                        return Ok(Permission::DependsOnBody);
                    }
                    AnnouncedMessage::NoneOr(fault) => {
                        self.check_message(target, None, identity, is_restricted)
                            .map_err(|_| Refusal::from(fault))?;
                        return Ok(Permission::DependsOnBody);
                    }
                }
            }
            _ => self.check_found(found, None, identity, is_restricted)?,
        }
        Ok(Permission::Granted(Grant { rule: found.rule(), message: None }))
    }

    /// Decides by the body, after [`check`](Self::check) returned [`Permission::DependsOnBody`].
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(crate) fn check_body(
        &self,
        target: &Target,
        body: &[u8],
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> Result<Grant, Refusal> {
        let message = match &target.hints {
            Some(hints) => hints.message_in(body)?.map(Box::new),
            None => None,
        };
        let rule = self.check_message(target, message.as_deref(), identity, is_restricted)?;
        Ok(Grant { rule, message })
    }

    /// Checks that some message could let this identity pass. Each reachable rule is tried by
    /// itself, without regard to rules that would match the same message earlier.
    ///
    /// # Errors
    ///
    /// The refusal if no message could pass. [`Refusal::InsufficientScope`] is preferred, since the
    /// client can act on it.
    fn check_any_message(
        &self,
        target: &Target,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> Result<(), Refusal> {
        let (mut first, mut lacks_scopes) = (None, None);
        for found in self.reachable(target.path.as_ref(), &target.method) {
            match self.check_found(found, None, identity, is_restricted) {
                Ok(()) => return Ok(()),
                Err(refusal @ Refusal::InsufficientScope { .. }) => {
                    lacks_scopes.get_or_insert(refusal);
                }
                Err(refusal) => {
                    first.get_or_insert(refusal);
                }
            }
        }
        lacks_scopes.or(first).map_or(Ok(()), Err)
    }

    /// The rules that may decide on a request, depending on its message: those on messages up to and
    /// including the first one that is not, or else the default.
    fn reachable(
        &self,
        path: Option<&CanonicalPath>,
        method: &[u8],
    ) -> impl Iterator<Item = RuleMatch> {
        let rules = self.rules.iter().enumerate();
        let covering = rules.filter(move |(_, rule)| rule.condition.covers_head(path, method));
        let found = covering
            .map(|(index, rule)| (RuleMatch::Rule(index), rule.condition.concerns_messages()));
        let mut is_undecided = true;
        found
            .chain([(RuleMatch::NoRule, false)])
            .take_while(move |(_, depends)| std::mem::replace(&mut is_undecided, *depends))
            .map(|(found, _)| found)
    }

    /// Returns the rule that matched.
    fn check_message(
        &self,
        target: &Target,
        message: Option<&Message>,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> Result<Option<RuleIndex>, Refusal> {
        let call = message.and_then(|message| message.call.as_ref());
        let found = self.find(target, call.map_or(MessageView::NotACall, MessageView::McpCall))?;
        self.check_found(found, call, identity, is_restricted)?;
        Ok(found.rule())
    }

    fn check_found(
        &self,
        found: RuleMatch,
        call: Option<&McpCall>,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> Result<(), Refusal> {
        let denied =
            |denial| Err(Refusal::AccessDenied { denial, call: call.cloned().map(Box::new) });
        let rule = match found {
            RuleMatch::Rule(index) => self.rules.get(index),
            RuleMatch::DependsOnMessage | RuleMatch::NoRule => None,
        };
        let Some(rule) = rule else {
            return match self.default {
                DefaultAccess::Allow if !is_restricted => Ok(()),
                _ => denied(Denial::NoRule),
            };
        };
        let names_provider =
            rule.requirement.providers.iter().any(|provider| provider == identity.provider());
        if is_restricted && !names_provider {
            return denied(Denial::Restricted { rule: rule.name.clone() });
        }
        if let Some(line) = rule.requirement.unmet_line(identity) {
            if let Some(misread) = identity.misread(line) {
                return denied(misread.denial(&rule.name));
            }
            let is_elsewhere = identity.lists_elsewhere(line);
            return denied(Denial::Rule { rule: rule.name.clone(), line, is_elsewhere });
        }
        let granted = self.hierarchy.implied_by(identity.scopes().iter());
        let missing = rule.requirement.missing_scopes(&granted);
        if missing.is_empty() {
            return Ok(());
        }
        if let Some(misread) = identity.misread("scopes") {
            return denied(misread.denial(&rule.name));
        }
        Err(Refusal::InsufficientScope {
            rule: rule.name.clone(),
            scopes: self.scopes_to_ask_for(rule, &granted, identity),
            missing: Strings::new(missing),
            call: call.cloned().map(Box::new),
        })
    }

    /// The first rule that matches this request.
    fn find(&self, target: &Target, content: MessageView<'_>) -> Result<RuleMatch, Refusal> {
        let call = match content {
            MessageView::McpCall(call) | MessageView::Beginning(call) => Some(call),
            MessageView::NotACall | MessageView::Unread => None,
        };
        let ambiguous =
            |denial| Err(Refusal::AccessDenied { denial, call: call.cloned().map(Box::new) });
        let conditions = || self.rules.iter().map(|rule| &rule.condition);
        if self.names_methods && target.method.iter().any(u8::is_ascii_lowercase) {
            // Methods are case-sensitive (RFC 9110 §9.1), but a lenient server would treat this one
            // as the method in upper case, which a rule may name.
            return ambiguous(Denial::AmbiguousMethod);
        }
        if target.path.is_none() && conditions().any(Match::names_paths) {
            // Some server may read it as a path that a rule names.
            return ambiguous(Denial::AmbiguousPath);
        }
        if let Some(call) = call
            && conditions().any(|condition| !condition.mcp_names.is_empty())
        {
            match content {
                MessageView::Beginning(_) => call.check_uri_beginning()?,
                _ => call.check_uri()?,
            }
            if call.has_ambiguous_method() {
                return ambiguous(Denial::AmbiguousName);
            }
        }
        let found = first(conditions(), target.path.as_ref(), &target.method, content);
        // A server that reads the URI differently must not serve what another rule names.
        let names_it = |reading: McpCall| {
            let content = MessageView::McpCall(&reading);
            let other =
                first(self.in_lower_case.iter(), target.path.as_ref(), &target.method, content);
            other != found && self.is_about_names(other)
        };
        let mut readings = call.into_iter().flat_map(McpCall::other_readings);
        if readings.any(|reading| names_it(reading.in_lower_case())) {
            return ambiguous(Denial::AmbiguousName);
        }
        // A case-insensitive server must not serve what another rule matches.
        let is_lower_case = self.is_lower_case
            && call.is_none()
            && target.path.as_ref().is_none_or(CanonicalPath::is_lower_case);
        if is_lower_case {
            return Ok(found);
        }
        let path = target.path.as_ref().map(CanonicalPath::in_lower_case);
        let lowered = call.map(McpCall::in_lower_case);
        let content = lowered.as_ref().map_or(content, MessageView::McpCall);
        if self.is_lower_case && path == target.path && lowered.as_ref() == call {
            return Ok(found);
        }
        if found == first(self.in_lower_case.iter(), path.as_ref(), &target.method, content) {
            Ok(found)
        } else if path == target.path {
            ambiguous(Denial::AmbiguousName)
        } else {
            ambiguous(Denial::AmbiguousPath)
        }
    }

    /// The smallest set that satisfies the rule, plus the token's scopes that this server knows, so
    /// that a client that requests the set loses none.
    fn scopes_to_ask_for(
        &self,
        rule: &Rule,
        granted: &BTreeSet<&str>,
        identity: &VerifiedIdentity,
    ) -> Vec<String> {
        let requirement = &rule.requirement;
        let has_one = requirement.any_scope.iter().any(|scope| granted.contains(scope.as_str()));
        let one = requirement.any_scope.first().filter(|_| !has_one);
        let is_known =
            |scope: &&str| self.known_scopes.contains(*scope) || self.asked_as.contains_key(*scope);
        let held = identity.scopes().iter().filter(is_known);
        let mut scopes: Vec<String> = Vec::new();
        for scope in requirement.scopes.iter().chain(one).map(String::as_str).chain(held) {
            let scope = self.asked_as.get(scope).map_or(scope, String::as_str);
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
        scopes
    }
}

/// The first condition that matches.
fn first<'a>(
    conditions: impl Iterator<Item = &'a Match>,
    path: Option<&CanonicalPath>,
    method: &[u8],
    content: MessageView<'_>,
) -> RuleMatch {
    for (index, condition) in conditions.enumerate() {
        if !condition.covers_head(path, method) {
            continue;
        }
        let is_about_message = !condition.concerns_messages()
            || match content {
                MessageView::NotACall => false,
                MessageView::McpCall(call) | MessageView::Beginning(call) => {
                    condition.covers_call(call)
                }
                MessageView::Unread => return RuleMatch::DependsOnMessage,
            };
        if is_about_message {
            return RuleMatch::Rule(index);
        }
    }
    RuleMatch::NoRule
}

#[cfg(test)]
mod tests;
