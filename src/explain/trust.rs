//! Places where tokens of several providers are interchangeable: one user, or one role.

use super::setup::Setup;
use super::words::listed;
use crate::access::{Requirement, Rule};
use crate::provider::Provider;

impl Setup {
    /// A warning for each place where several providers are trusted alike.
    #[must_use]
    pub fn trust_warnings(&self) -> Vec<String> {
        self.shared_records().into_iter().chain(self.shared_roles()).collect()
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
        let providers = self.config.providers.iter();
        let givers: Vec<&Provider> =
            providers.filter(|provider| !provider.restrict_to_policies).collect();
        if givers.len() < 2 {
            return vec![];
        }
        let rules = self.config.resource.access.rules().iter().enumerate();
        let warning = |(position, rule): (usize, &Rule)| {
            let Requirement { roles, groups, providers, .. } = &rule.requirement;
            let lines = [("roles", roles), ("groups", groups)];
            let lines = lines.into_iter().filter(|(_, accepted)| !accepted.is_empty());
            let lines: Vec<&str> = lines.map(|(line, _)| line).collect();
            (!lines.is_empty() && providers.is_empty()).then(|| {
                format!(
                    "access.rules[{position}].require: tokens of {} can have these {}, whatever \
                     each provider means by their names. List the providers that count in \
                     `require.providers`",
                    names_of(&givers),
                    listed(&lines, "and")
                )
            })
        };
        rules.filter_map(warning).collect()
    }
}

fn names_of(providers: &[&Provider]) -> String {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    listed(&names, "and")
}
