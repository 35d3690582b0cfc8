//! The last results of each step of logins. A flood of refusals displaces no failure, and a flood
//! at one step no result of another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// The records of one step, as shared data holds them: one for each configuration and provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoginHistory {
    /// In the order of their last changes.
    records: Vec<LoginRecord>,
}

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

    fn is_of(&self, other: &Self) -> bool {
        self.configuration == other.configuration && self.provider == other.provider
    }

    /// Takes over each result of an earlier record that is later than its own.
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

impl LoginHistory {
    const MAX_RECORDS: usize = 32;
    const MAX_BYTES: usize = 192 * 1024;

    /// The key in shared data.
    #[must_use]
    pub(crate) fn name(stage: LoginStage) -> String {
        format!("mcp-federated-auth/1/status/logins/{}", stage.as_str())
    }

    /// Adds a record. It is merged with that of the same configuration and provider, and evicts the
    /// one that has not changed for the longest time if there are too many.
    pub(crate) fn add(&mut self, mut record: LoginRecord) {
        if let Some(place) = self.records.iter().position(|earlier| earlier.is_of(&record)) {
            record.merge(self.records.remove(place));
        }
        self.records.push(record);
        if self.records.len() > Self::MAX_RECORDS {
            self.records.remove(0);
        }
    }

    pub(super) fn records(&self) -> &[LoginRecord] {
        &self.records
    }

    #[must_use]
    pub(super) fn encode(&self) -> Vec<u8> {
        // Nothing here can fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None` if the bytes are not a history, or exceed a bound that [`Self::add`] keeps.
    #[must_use]
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX_BYTES {
            return None;
        }
        let history: Self = serde_json::from_slice(bytes).ok()?;
        let is_bounded = history.records.len() <= Self::MAX_RECORDS
            && history.records.iter().all(LoginRecord::is_bounded);
        is_bounded.then_some(history)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        // A late result from another worker displaces nothing newer.
        history.add(record("entra", LoginResult::Failed, Some("first"), 1));
        let entra = &history.records()[1];
        assert_eq!(entra.last(LoginResult::Failed).unwrap().fault.as_deref(), Some("second"));
    }

    #[test]
    fn a_history_is_bounded_whatever_the_faults_say() {
        let mut history = LoginHistory::default();
        let long = "\u{10ffff}\"\u{1}".repeat(10_000);
        for index in 0..100 {
            for result in [LoginResult::Ok, LoginResult::Refused, LoginResult::Failed] {
                history.add(record(&format!("{index}{long}"), result, Some(&long), index));
            }
        }
        assert_eq!(history.records().len(), LoginHistory::MAX_RECORDS);
        let bytes = history.encode();
        assert!(bytes.len() <= LoginHistory::MAX_BYTES, "{}", bytes.len());
        assert_eq!(LoginHistory::decode(&bytes), Some(history));
    }

    #[test]
    fn an_oversized_history_is_ignored() {
        let mut long = record("entra", LoginResult::Failed, Some("x"), 1);
        let fault = Some("x".repeat(LoginRecord::MAX_FAULT + 1));
        let last = LastResult { at: UnixTime::from_secs(1), fault };
        long.results.insert(LoginResult::Failed, last);
        let history = LoginHistory { records: vec![long] };
        assert_eq!(LoginHistory::decode(&history.encode()), None);
        let many = (0..33).map(|index| record(&index.to_string(), LoginResult::Ok, None, index));
        let history = LoginHistory { records: many.collect() };
        assert_eq!(LoginHistory::decode(&history.encode()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn only_histories_decode_as_histories(bytes in any::<Vec<u8>>()) {
            prop_assert!(LoginHistory::decode(&bytes).is_none_or(|history| history.records().is_empty()));
        }
    }
}
