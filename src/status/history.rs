//! The last records of one kind, as shared data holds them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Board;

/// What a history keeps.
pub(crate) trait Record: Clone + Serialize + DeserializeOwned {
    /// What one history is about.
    type Topic;

    /// The greatest number of records of a history.
    const MAX_RECORDS: usize;
    /// The greatest size of an encoded history in bytes.
    const MAX_BYTES: usize;

    /// The key of a history in shared data.
    fn name(topic: Self::Topic) -> String;

    /// Whether a history holds one record for both.
    fn is_like(&self, other: &Self) -> bool;

    /// Adds what an earlier record that is like this one holds.
    fn merge(&mut self, earlier: Self);

    /// Whether the record keeps the bounds of those that are made here.
    fn is_bounded(&self) -> bool;
}

/// The last records about one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct History<R> {
    /// The one that changed last is the last.
    records: Vec<R>,
}

impl<R> Default for History<R> {
    fn default() -> Self {
        Self { records: Vec::new() }
    }
}

impl<R: Record> History<R> {
    /// Adds a record. It is merged with the one that it is like, and evicts the one that has not
    /// changed for the longest time if there are too many.
    pub(crate) fn add(&mut self, mut record: R) {
        if let Some(place) = self.records.iter().position(|earlier| earlier.is_like(&record)) {
            record.merge(self.records.remove(place));
        }
        self.records.push(record);
        if self.records.len() > R::MAX_RECORDS {
            self.records.remove(0);
        }
    }

    pub(super) fn records(&self) -> &[R] {
        &self.records
    }

    pub(super) fn into_records(self) -> Vec<R> {
        self.records
    }

    /// Reads the history in shared data. What cannot be read counts as empty.
    pub(super) fn read(topic: R::Topic, board: &dyn Board) -> Self {
        let (bytes, _) = board.read(&R::name(topic));
        bytes.as_deref().and_then(Self::decode).unwrap_or_default()
    }

    /// Adds these records to those in shared data. False if another worker was faster.
    pub(super) fn publish(&self, topic: R::Topic, board: &dyn Board) -> bool {
        let name = R::name(topic);
        let (bytes, version) = board.read(&name);
        let mut history = bytes.as_deref().and_then(Self::decode).unwrap_or_default();
        for record in &self.records {
            history.add(record.clone());
        }
        board.replace(&name, &history.encode(), version)
    }

    fn encode(&self) -> Vec<u8> {
        // Nothing here can fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None` if the bytes are not a history, or exceed a bound that [`Self::add`] keeps.
    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > R::MAX_BYTES {
            return None;
        }
        let history: Self = serde_json::from_slice(bytes).ok()?;
        let is_bounded =
            history.records.len() <= R::MAX_RECORDS && history.records.iter().all(R::is_bounded);
        is_bounded.then_some(history)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{LoginRecord, RefusalRecord};
    use super::*;
    use crate::login::LoginResult;
    use crate::time::UnixTime;

    fn login(provider: &str, result: LoginResult, fault: &str, second: u64) -> LoginRecord {
        let now = UnixTime::from_secs(second);
        LoginRecord::new("c0ffee", Some(provider), result, Some(fault), now)
    }

    fn refusal(kid: &str, published: &[&str], second: u64) -> RefusalRecord {
        let Value::Object(details) = json!({"kid": kid, "published": published}) else { panic!() };
        let now = UnixTime::from_secs(second);
        RefusalRecord::new("c0ffee", None, Some("demo"), false, details, now)
    }

    #[test]
    fn the_latest_distinct_records_are_kept() {
        let mut history = History::default();
        for (second, kid) in (0..).zip(["a", "b", "c", "a", "d", "e", "f", "a"]) {
            history.add(refusal(kid, &[], second));
        }
        let records = history.records().iter();
        let kids: Vec<_> = records.map(|record| record.details["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, ["c", "d", "e", "f", "a"]);
    }

    #[test]
    fn a_history_is_bounded_whatever_clients_send() {
        let long = "\u{10ffff}\"\u{1}".repeat(10_000);
        let (mut logins, mut refusals) = (History::default(), History::default());
        for second in 0..100 {
            for result in [LoginResult::Ok, LoginResult::Refused, LoginResult::Failed] {
                logins.add(login(&format!("{second}{long}"), result, &long, second));
            }
            refusals.add(refusal(&format!("{second}{long}"), &[long.as_str(); 1000], second));
        }
        assert_eq!((logins.records().len(), refusals.records().len()), (32, 5));
        assert_eq!(History::decode(&logins.encode()), Some(logins));
        assert_eq!(History::decode(&refusals.encode()), Some(refusals));
    }

    #[test]
    fn a_history_that_exceeds_a_bound_is_ignored() {
        let decode = |records: &[Value]| {
            History::<RefusalRecord>::decode(json!(records).to_string().as_bytes())
        };
        let records = (0..6).map(|second| refusal(&second.to_string(), &[], second));
        let mut records: Vec<_> = records.map(|record| json!(record)).collect();
        assert!(decode(&records[..5]).is_some());
        assert_eq!(decode(&records), None);
        records[0]["details"]["kid"] = "x".repeat(1000).into();
        assert_eq!(decode(&records[..5]), None);
        let mut login = json!([login("entra", LoginResult::Failed, "x", 1)]);
        assert!(History::<LoginRecord>::decode(login.to_string().as_bytes()).is_some());
        for result in login[0]["results"].as_object_mut().unwrap().values_mut() {
            result["fault"] = "x".repeat(1000).into();
        }
        assert_eq!(History::<LoginRecord>::decode(login.to_string().as_bytes()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn only_histories_decode_as_histories(bytes in any::<Vec<u8>>()) {
            let is_empty = |history: History<RefusalRecord>| history.records().is_empty();
            prop_assert!(History::decode(&bytes).is_none_or(is_empty));
        }

        #[test]
        fn every_history_survives_its_encoding(strings in proptest::collection::vec(".{0,300}", 0..8)) {
            let (mut logins, mut refusals) = (History::default(), History::default());
            for text in &strings {
                logins.add(login(text, LoginResult::Failed, text, 1));
                refusals.add(refusal(text, &[text, text], 1));
            }
            prop_assert_eq!(History::decode(&logins.encode()), Some(logins));
            prop_assert_eq!(History::decode(&refusals.encode()), Some(refusals));
        }
    }
}
