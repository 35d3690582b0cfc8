//! The last results of each step of logins. A flood of refusals displaces no failure, and a flood
//! at one step no result of another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{History, Record};
use crate::login::{LoginResult, LoginStage};
use crate::printable;
use crate::time::UnixTime;

/// The last results of one step, in one configuration and at one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRecord {
    /// The digest of the configuration.
    configuration: String,
    /// `None` while no provider is chosen.
    provider: Option<String>,
    /// The last of each kind.
    results: BTreeMap<LoginResult, LastResult>,
}

/// The last result of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastResult {
    pub(super) at: UnixTime,
    /// The fault, as in the log line; `None` where there is none.
    pub(super) fault: Option<String>,
}

/// The records of one step of logins: one for each configuration and provider.
pub(crate) type LoginHistory = History<LoginRecord>;

impl LoginRecord {
    /// Maximum length of a fault in characters.
    const MAX_FAULT: usize = 400;

    /// The record of one result at `now`. A long fault is cut.
    #[must_use]
    pub(crate) fn new(
        configuration: &str,
        provider: Option<&str>,
        result: LoginResult,
        fault: Option<&str>,
        now: UnixTime,
    ) -> Self {
        let fault = fault.map(|fault| printable::clipped(fault, Self::MAX_FAULT));
        Self {
            configuration: configuration.to_owned(),
            provider: provider.map(super::words::clipped),
            results: BTreeMap::from([(result, LastResult { at: now, fault })]),
        }
    }

    pub(super) fn configuration(&self) -> &str {
        &self.configuration
    }

    pub(super) fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// The last result of this kind.
    pub(super) fn last(&self, result: LoginResult) -> Option<&LastResult> {
        self.results.get(&result)
    }
}

impl Record for LoginRecord {
    type Topic = LoginStage;

    const MAX_RECORDS: usize = 32;
    const MAX_BYTES: usize = 192 * 1024;

    fn name(stage: LoginStage) -> String {
        format!("mcp-federated-auth/1/status/logins/{}", stage.as_str())
    }

    fn is_like(&self, other: &Self) -> bool {
        self.configuration == other.configuration && self.provider == other.provider
    }

    /// Takes over each result that is later than its own.
    fn merge(&mut self, earlier: Self) {
        for (result, last) in earlier.results {
            match self.results.get(&result) {
                Some(own) if own.at >= last.at => {}
                _ => {
                    self.results.insert(result, last);
                }
            }
        }
    }

    fn is_bounded(&self) -> bool {
        let is_short = |fault: &String| fault.chars().count() <= Self::MAX_FAULT;
        self.results.values().all(|last| last.fault.as_ref().is_none_or(is_short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(
        provider: &str,
        result: LoginResult,
        fault: Option<&str>,
        second: u64,
    ) -> LoginRecord {
        let now = UnixTime::from_secs(second);
        LoginRecord::new("c0ffee", Some(provider), result, fault, now)
    }

    #[test]
    fn a_step_has_one_record_for_each_provider_with_its_last_results() {
        let mut history = LoginHistory::default();
        history.add(record("entra", LoginResult::Failed, Some("first"), 1));
        history.add(record("google", LoginResult::Ok, None, 2));
        history.add(record("entra", LoginResult::Failed, Some("second"), 4));
        history.add(record("entra", LoginResult::Ok, None, 3));
        let [google, entra] = history.records() else { panic!("{history:?}") };
        assert_eq!((google.provider(), entra.provider()), (Some("google"), Some("entra")));
        let failed = entra.last(LoginResult::Failed).unwrap();
        assert_eq!((failed.at.as_secs(), failed.fault.as_deref()), (4, Some("second")));
        assert_eq!(entra.last(LoginResult::Ok).unwrap().at.as_secs(), 3);
        assert_eq!(entra.last(LoginResult::Refused), None);
        // A late result from another worker replaces no newer one.
        history.add(record("entra", LoginResult::Failed, Some("first"), 1));
        let entra = &history.records()[1];
        assert_eq!(entra.last(LoginResult::Failed).unwrap().fault.as_deref(), Some("second"));
    }
}
