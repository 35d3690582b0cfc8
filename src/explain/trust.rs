//! Places where tokens of several providers are interchangeable (one user, or one role), and where one
//! token is accepted by several servers.

use std::collections::{BTreeMap, BTreeSet};

use super::setup::Setup;
use super::words::{either, listed};
use crate::access::{Requirement, Rule};
use crate::provider::{Provider, ProviderId};
use crate::resource::{ProtectedResource, ResourceLabel};

impl Setup {
    /// A warning for each place that trusts several providers equally, or where several servers accept the
    /// same tokens.
    #[must_use]
    pub fn trust_warnings(&self) -> Vec<String> {
        let records = self.shared_records().into_iter();
        records.chain(self.shared_roles()).chain(self.shared_audiences()).collect()
    }

    /// Records that tokens of several providers find. A record that names providers is deliberate.
    fn shared_records(&self) -> Option<String> {
        let records = self.written_records().iter().enumerate();
        let of_all = records.filter(|(_, record)| record.get("provider").is_none());
        let mut shared = of_all.filter_map(|(position, record)| {
            let has_field =
                |provider: &&Provider| record.get(&provider.identity_rules.user_field).is_some();
            let finders: Vec<&Provider> = self.config.providers.iter().filter(has_field).collect();
            (finders.len() > 1).then_some((position, finders))
        });
        let (position, finders) = shared.next()?;
        let others = match shared.count() {
            0 => String::new(),
            1 => " (the same holds for one other record)".to_owned(),
            count => format!(" (the same holds for {count} other records)"),
        };
        Some(format!(
            "users.records[{position}]: tokens of {} find this user{others}, and each of these \
             providers names its users as it likes. Set the record's `provider` to those that \
             may match it",
            names_of(&finders)
        ))
    }

    /// Rules that require roles or groups without naming a provider.
    fn shared_roles(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (id, resource) in self.config.resources.entries() {
            let accepted = resource.providers.ids().map(|id| &self.config.providers[id]);
            let givers: Vec<&Provider> =
                accepted.filter(|provider| !provider.restrict_to_policies).collect();
            if givers.len() < 2 {
                continue;
            }
            let at = self.access_path(id);
            let rules = resource.access.rules().iter().enumerate();
            let found = rules.filter_map(|(position, rule)| {
                shared_roles_of(&format!("{at}.rules[{position}]"), rule, &givers)
            });
            for warning in found {
                // Several resources may have the same rules.
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        warnings
    }

    /// Audiences that several resources accept of one issuer: a token for one of them is accepted at
    /// the others, by whichever of the issuer's providers.
    fn shared_audiences(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for group in self.providers_by_issuer() {
            let mut by_resources: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
            let all = group.iter().flat_map(|(id, _)| self.config.audiences(None, *id));
            for audience in all.collect::<BTreeSet<_>>() {
                let accepts = |resource: &&ProtectedResource| {
                    let mut tokens = group.iter().filter_map(|(id, _)| resource.providers.get(*id));
                    tokens.any(|tokens| tokens.audiences.contains(&audience))
                };
                let resources = self.config.resources.iter().filter(accepts);
                let labels = resources.filter_map(|resource| resource.label.as_ref());
                let resources: Vec<&str> = labels.map(ResourceLabel::id).collect();
                if resources.len() > 1 {
                    by_resources.entry(resources).or_default().push(audience);
                }
            }
            let names: Vec<&str> = group.iter().map(|(_, own)| own.name.as_str()).collect();
            warnings.extend(by_resources.into_iter().map(|(resources, audiences)| {
                format!(
                    "resources {} accept tokens of {} with the same audience, {}: a token for one of \
                     these servers is accepted at the others. Register each server at the provider, \
                     and set its `audiences`: see docs/audiences.md",
                    listed(&resources, "and"),
                    listed(&names, "and"),
                    either(&audiences)
                )
            }));
        }
        warnings
    }

    /// The providers, those with an issuer in common together.
    fn providers_by_issuer(&self) -> Vec<Vec<(ProviderId, &Provider)>> {
        let mut groups: Vec<Vec<(ProviderId, &Provider)>> = Vec::new();
        for (id, provider) in self.config.providers.entries() {
            let shares = |group: &&mut Vec<(ProviderId, &Provider)>| {
                let mut issuers = group.iter().flat_map(|(_, own)| &own.issuers);
                issuers.any(|issuer| provider.issuers.contains(issuer))
            };
            match groups.iter_mut().find(shares) {
                Some(group) => group.push((id, provider)),
                None => groups.push(vec![(id, provider)]),
            }
        }
        groups
    }
}

/// The warning about a rule that requires roles or groups and names no provider of them.
fn shared_roles_of(at: &str, rule: &Rule, givers: &[&Provider]) -> Option<String> {
    let Requirement { roles, groups, providers, .. } = &rule.requirement;
    let lines = [("roles", roles), ("groups", groups)];
    let lines = lines.into_iter().filter(|(_, accepted)| !accepted.is_empty());
    let lines: Vec<&str> = lines.map(|(line, _)| line).collect();
    (!lines.is_empty() && providers.is_empty()).then(|| {
        format!(
            "{at}.require: tokens of {} can have these {}, whatever each provider means by their \
             names. List the providers that count in `require.providers`",
            names_of(givers),
            listed(&lines, "and")
        )
    })
}

fn names_of(providers: &[&Provider]) -> String {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    listed(&names, "and")
}
