//! The report of an Envoy: serialised it is `status.json`, and rendered it is the page.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use super::configuration_status::{ConfigurationStatus, Level};
use super::reason_status::ReasonStatus;
use super::refused_call::RefusedCall;
use super::{Board, Counter, Heartbeat};
use crate::refusal::Reason;
use crate::time::{UnixTime, as_rfc3339};

/// Everything the status page shows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    /// Name and version of this crate.
    pub plugin: &'static str,
    /// When the report was made.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: UnixTime,
    /// The worst level of a provider; `Warning` if no configuration is in use.
    pub level: Level,
    /// The level in a sentence.
    pub summary: String,
    /// The configurations in use.
    pub configurations: Vec<ConfigurationStatus>,
    /// Refusals by reason, latest first.
    pub refusals: Vec<ReasonStatus>,
    /// The last refused calls whose messages were read, latest first.
    pub refused_calls: Vec<RefusedCall>,
    /// Requests since Envoy started.
    pub requests: Vec<RequestCount>,
}

/// The number of requests with the same labels.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestCount {
    /// The `resource` label of the metric, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `None` if the request selected no provider.
    pub provider: Option<String>,
    /// The `outcome` label of the metric.
    pub outcome: String,
    /// The reason code of refused requests.
    pub reason: Option<String>,
    /// Greater than zero.
    pub count: u64,
}

impl Status {
    /// Builds the report from what the workers have put on the board.
    #[must_use]
    pub(crate) fn gather(board: &dyn Board, now: UnixTime) -> Self {
        let heartbeats = heartbeats(board, now);
        let counters: BTreeSet<&Counter> =
            heartbeats.iter().flat_map(|heartbeat| &heartbeat.counters).collect();
        let requests: Vec<RequestCount> =
            counters.into_iter().filter_map(|counter| RequestCount::new(counter, board)).collect();
        let configurations: Vec<ConfigurationStatus> = heartbeats
            .into_iter()
            .map(|heartbeat| ConfigurationStatus::new(heartbeat, board, now))
            .collect();
        let mut refusals: Vec<ReasonStatus> = Reason::ALL
            .iter()
            .filter_map(|reason| {
                let count = refused_for(*reason, &requests);
                ReasonStatus::new(*reason, count, board, &configurations)
            })
            .collect();
        refusals.sort_by_key(|refusal| (Reverse(refusal.latest()), refusal.reason));
        let refused_calls = RefusedCall::last_of(&refusals);
        let (level, summary) = overall(&configurations);
        Self {
            plugin: concat!("mcp-federated-auth ", env!("CARGO_PKG_VERSION")),
            at: now,
            level,
            summary,
            configurations,
            refusals,
            refused_calls,
            requests,
        }
    }
}

impl RequestCount {
    fn new(counter: &Counter, board: &dyn Board) -> Option<Self> {
        let named = |label: &String| (label != "none").then(|| label.clone());
        let count = board.count(counter).filter(|count| *count > 0)?;
        Some(Self {
            resource: counter.resource.clone(),
            provider: named(&counter.provider),
            outcome: counter.outcome.clone(),
            reason: named(&counter.reason),
            count,
        })
    }
}

/// The heartbeats that are alive, one for each configuration.
fn heartbeats(board: &dyn Board, now: UnixTime) -> Vec<Heartbeat> {
    let mut all: Vec<Heartbeat> = (0..Heartbeat::PLACES)
        .filter_map(|place| board.read(&Heartbeat::name_of_place(place)).0)
        .filter_map(|bytes| Heartbeat::decode(&bytes))
        .filter(|heartbeat| heartbeat.is_alive(now))
        .collect();
    all.sort_by_cached_key(|heartbeat| {
        let first = heartbeat.resources.first().map(|resource| resource.url.clone());
        (first, heartbeat.configuration.clone(), heartbeat.version.clone())
    });
    // Two workers that start at the same time may take two places for one configuration.
    all.dedup_by(|one, other| one.is_same(other));
    all
}

fn refused_for(reason: Reason, requests: &[RequestCount]) -> u64 {
    requests
        .iter()
        .filter(|request| request.reason.as_deref() == Some(reason.code()))
        .map(|request| request.count)
        .fold(0, u64::saturating_add)
}

/// The level of all providers together, and a sentence for it.
fn overall(configurations: &[ConfigurationStatus]) -> (Level, String) {
    let providers = || configurations.iter().flat_map(|configuration| &configuration.providers);
    let Some(level) = providers().map(|provider| provider.level).max() else {
        let none = "No configuration is in use in this Envoy. A filter that authenticates is shown \
                      here if it has the same vm_id as this page.";
        return (Level::Warning, none.to_owned());
    };
    let names: BTreeSet<&str> = providers()
        .filter(|provider| provider.level != Level::Good)
        .map(|provider| provider.name.as_str())
        .collect();
    let names = Vec::from_iter(names).join(", ");
    let summary = match (level, providers().count()) {
        (Level::Good, 1) => "The provider has keys to verify tokens with.".to_owned(),
        (Level::Good, total) => format!("All {total} providers have keys to verify tokens with."),
        (Level::Warning, _) => format!("Check the keys of {names}."),
        (Level::Bad, _) => format!("Tokens are refused because keys are missing: {names}."),
    };
    (level, summary)
}
