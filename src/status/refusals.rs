//! The last refusals for each reason. A flood for one reason evicts no record of another.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words::clipped;
use crate::refusal::Reason;
use crate::time::UnixTime;

/// Refusals of requests that differ in nothing but their time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusalRecord {
    /// When the first one was refused.
    pub first: UnixTime,
    /// When the last one was refused.
    pub last: UnixTime,
    /// The number of refusals that were logged one by one: a lower bound.
    pub times: u64,
    /// The digest of the configuration.
    pub configuration: String,
    /// The resource's `id`; `None` if the request belonged to none, or there is only one.
    pub resource: Option<String>,
    /// `None` if the request selected no provider.
    pub provider: Option<String>,
    /// Whether report mode allowed the requests.
    pub is_report: bool,
    /// The found and expected values.
    pub details: Map<String, Value>,
}

/// The last refusals for one reason, as shared data holds them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RefusalHistory {
    /// Oldest first.
    records: Vec<RefusalRecord>,
}

impl RefusalRecord {
    /// Maximum size of the details as JSON, in bytes.
    const MAX_DETAILS: usize = 4 * 1024;

    /// The record of one request, refused at `now`. Long details are cut.
    #[must_use]
    pub(crate) fn new(
        configuration: &str,
        resource: Option<&str>,
        provider: Option<&str>,
        is_report: bool,
        details: Map<String, Value>,
        now: UnixTime,
    ) -> Self {
        Self {
            first: now,
            last: now,
            times: 1,
            configuration: configuration.to_owned(),
            resource: resource.map(clipped),
            provider: provider.map(clipped),
            is_report,
            details: bounded(details),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.configuration == other.configuration
            && self.resource == other.resource
            && self.provider == other.provider
            && self.is_report == other.is_report
            && self.details == other.details
    }
}

impl RefusalHistory {
    const MAX_RECORDS: usize = 5;
    const MAX_BYTES: usize = 32 * 1024;

    /// The key in shared data.
    #[must_use]
    pub(crate) fn name(reason: Reason) -> String {
        format!("mcp-federated-auth/1/status/refusals/{}", reason.code())
    }

    /// Adds a record. It is merged with one that differs in nothing but time, and evicts the oldest
    /// if there are too many.
    pub(crate) fn add(&mut self, mut record: RefusalRecord) {
        if let Some(place) = self.records.iter().position(|earlier| earlier.is_like(&record)) {
            let earlier = self.records.remove(place);
            record.first = record.first.min(earlier.first);
            record.last = record.last.max(earlier.last);
            record.times = record.times.saturating_add(earlier.times);
        }
        self.records.push(record);
        if self.records.len() > Self::MAX_RECORDS {
            self.records.remove(0);
        }
    }

    /// The records, oldest first.
    pub(super) fn records(&self) -> &[RefusalRecord] {
        &self.records
    }

    /// The records, oldest first.
    pub(super) fn into_records(self) -> Vec<RefusalRecord> {
        self.records
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
            && history
                .records
                .iter()
                .all(|record| bounded(record.details.clone()) == record.details);
        is_bounded.then_some(history)
    }
}

/// Cuts the details to at most 4 KiB of short strings and lists. A client controls them.
fn bounded(details: Map<String, Value>) -> Map<String, Value> {
    const MAX_MEMBERS: usize = 8;
    let shortened = |max_elements: usize| -> Map<String, Value> {
        let members = details.iter().take(MAX_MEMBERS);
        members.map(|(name, value)| (clipped(name), short(value, max_elements))).collect()
    };
    let fits = |details: &Map<String, Value>| {
        serde_json::to_vec(details).is_ok_and(|bytes| bytes.len() <= RefusalRecord::MAX_DETAILS)
    };
    [10, 3].into_iter().map(shortened).find(fits).unwrap_or_default()
}

fn short(value: &Value, max_elements: usize) -> Value {
    match value {
        Value::String(text) => clipped(text).into(),
        Value::Array(elements) => {
            let strings = elements.iter().filter_map(Value::as_str);
            strings.take(max_elements).map(clipped).collect()
        }
        Value::Object(_) => Value::Null,
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(details: Value, seconds: u64) -> RefusalRecord {
        let Value::Object(details) = details else { panic!("no object") };
        RefusalRecord::new(
            "c0ffee",
            None,
            Some("demo"),
            false,
            details,
            UnixTime::from_secs(seconds),
        )
    }

    fn kids(history: &RefusalHistory) -> Vec<(&str, u64)> {
        let times = |record: &'_ RefusalRecord| record.times;
        history
            .records()
            .iter()
            .map(|record| (record.details["kid"].as_str().unwrap(), times(record)))
            .collect()
    }

    #[test]
    fn the_latest_five_distinct_refusals_are_kept() {
        let mut history = RefusalHistory::default();
        for (second, kid) in ["a", "b", "c", "a", "d", "e", "f", "a"].into_iter().enumerate() {
            history.add(record(json!({"kid": kid}), u64::try_from(second).unwrap()));
        }
        assert_eq!(kids(&history), [("c", 1), ("d", 1), ("e", 1), ("f", 1), ("a", 3)]);
        let last = history.records().last().unwrap();
        assert_eq!((last.first.as_secs(), last.last.as_secs()), (0, 7));
    }

    #[test]
    fn data_controlled_by_clients_is_bounded() {
        let long = "\u{1}".repeat(100_000);
        let details = json!({
            "kid": long,
            "published": vec![long.clone(); 1000],
            "nested": {"much": long},
            "seconds_ago": u64::MAX,
        });
        let mut history = RefusalHistory::default();
        for second in 0..10 {
            history.add(record(details.clone(), second));
            let mut other = details.clone();
            other["kid"] = second.to_string().into();
            history.add(record(other, second));
        }
        let bytes = history.encode();
        assert!(bytes.len() <= RefusalHistory::MAX_BYTES, "{}", bytes.len());
        assert_eq!(RefusalHistory::decode(&bytes).unwrap(), history);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn only_histories_decode_as_histories(bytes in any::<Vec<u8>>()) {
            prop_assert!(RefusalHistory::decode(&bytes).is_none_or(|history| history.records().is_empty()));
        }

        #[test]
        fn every_history_survives_its_encoding(strings in proptest::collection::vec(".{0,300}", 0..8)) {
            let mut history = RefusalHistory::default();
            for text in &strings {
                history.add(record(json!({"kid": text, "published": [text, text]}), 1));
            }
            prop_assert_eq!(RefusalHistory::decode(&history.encode()), Some(history));
        }
    }

    #[test]
    fn an_oversized_history_is_ignored() {
        let mut big = record(json!({}), 1);
        big.details = serde_json::from_value(json!({"kid": "x".repeat(1000)})).unwrap();
        let history = RefusalHistory { records: vec![big] };
        assert_eq!(RefusalHistory::decode(&history.encode()), None);
        let many = (0..6).map(|second| record(json!({"kid": second.to_string()}), second));
        assert_eq!(
            RefusalHistory::decode(&RefusalHistory { records: many.collect() }.encode()),
            None
        );
    }
}
