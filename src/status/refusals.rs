//! The last refusals for each reason. A flood for one reason evicts no record of another.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::history::{History, Record};
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

/// The last refusals for one reason.
pub(crate) type RefusalHistory = History<RefusalRecord>;

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
}

impl Record for RefusalRecord {
    type Topic = Reason;

    const MAX_RECORDS: usize = 5;
    const MAX_BYTES: usize = 32 * 1024;

    fn name(reason: Reason) -> String {
        format!("mcp-federated-auth/1/status/refusals/{}", reason.code())
    }

    fn is_like(&self, other: &Self) -> bool {
        self.configuration == other.configuration
            && self.resource == other.resource
            && self.provider == other.provider
            && self.is_report == other.is_report
            && self.details == other.details
    }

    fn merge(&mut self, earlier: Self) {
        self.first = self.first.min(earlier.first);
        self.last = self.last.max(earlier.last);
        self.times = self.times.saturating_add(earlier.times);
    }

    fn is_bounded(&self) -> bool {
        bounded(self.details.clone()) == self.details
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
    use serde_json::json;

    use super::*;

    fn record(details: Value, second: u64) -> RefusalRecord {
        let Value::Object(details) = details else { panic!("no object") };
        let now = UnixTime::from_secs(second);
        RefusalRecord::new("c0ffee", None, Some("demo"), false, details, now)
    }

    #[test]
    fn refusals_that_differ_only_in_time_are_one_record() {
        let mut history = RefusalHistory::default();
        for (second, kid) in (0..).zip(["a", "b", "a", "a"]) {
            history.add(record(json!({"kid": kid}), second));
        }
        let [b, a] = history.records() else { panic!("{history:?}") };
        assert_eq!((b.first.as_secs(), b.last.as_secs(), b.times), (1, 1, 1));
        assert_eq!((a.first.as_secs(), a.last.as_secs(), a.times), (0, 3, 3));
    }

    #[test]
    fn details_that_clients_control_are_bounded() {
        let long = "x".repeat(100_000);
        let details = json!({
            "kid": long,
            "published": vec![long.clone(); 1000],
            "nested": {"much": long},
            "seconds_ago": u64::MAX,
        });
        let RefusalRecord { details, .. } = record(details, 1);
        let clipped = clipped(&long);
        assert_eq!(details["kid"], clipped);
        assert_eq!(details["published"], json!(vec![clipped; 10]));
        assert_eq!((&details["nested"], &details["seconds_ago"]), (&Value::Null, &json!(u64::MAX)));
        // Six bytes of JSON for each character.
        let escaped = json!(vec!["\u{1}".repeat(1000); 3]);
        assert!(record(json!({"kid": escaped, "published": escaped}), 1).details.is_empty());
    }
}
