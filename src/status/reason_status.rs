//! The last refusals for a reason, and their likely causes.

use serde::Serialize;
use serde_json::{Map, Value};

use super::configuration_status::{ConfigurationStatus, ProviderStatus};
use super::{Board, RefusalHistory, RefusalRecord};
use crate::refusal::{Check, Party, Reason, Row};
use crate::time::{UnixTime, as_rfc3339};

/// Refusals for one reason.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReasonStatus {
    /// The reason code.
    pub reason: Reason,
    /// The number of requests refused for it, report mode included, since Envoy started.
    pub count: u64,
    /// The party that causes it.
    pub party: Party,
    /// The checks that refuse with this reason.
    pub checks: &'static [Check],
    /// What the code means, in a sentence.
    pub meaning: String,
    /// How to fix it.
    pub advice: &'static str,
    /// The section of the documentation.
    pub see: String,
    /// The last refusals, latest first.
    pub last: Vec<RefusalStatus>,
}

/// Refusals of requests that differ in nothing but their time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RefusalStatus {
    /// When the first one was refused.
    #[serde(serialize_with = "as_rfc3339")]
    pub first: UnixTime,
    /// When the last one was refused.
    #[serde(serialize_with = "as_rfc3339")]
    pub last: UnixTime,
    /// The number of refusals that were logged: a lower bound.
    pub times: u64,
    /// The digest of the configuration.
    pub configuration: String,
    /// The resource's `id`, if there are several and the request belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `None` if the request selected no provider.
    pub provider: Option<String>,
    /// Whether the requests were refused or forwarded.
    pub outcome: RefusalOutcome,
    /// The found and expected values.
    pub details: Map<String, Value>,
    /// For an unknown `kid`: the names of the provider's keys at the time of the report.
    pub keys_now: Option<Vec<String>>,
    /// A likely cause that the details suggest.
    pub hint: Option<String>,
}

/// How requests ended that a check refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalOutcome {
    /// They were refused.
    Refused,
    /// They were forwarded, in report mode.
    Reported,
}

impl ReasonStatus {
    /// `None` if there is nothing to report.
    pub(super) fn new(
        reason: Reason,
        count: u64,
        board: &dyn Board,
        configurations: &[ConfigurationStatus],
    ) -> Option<Self> {
        let Row { code, party, checks, fix, .. } = *reason.row();
        let last: Vec<RefusalStatus> = RefusalHistory::read(reason, board)
            .into_records()
            .into_iter()
            .rev()
            .map(|record| RefusalStatus::new(reason, record, configurations))
            .collect();
        (count > 0 || !last.is_empty()).then(|| Self {
            reason,
            count,
            party,
            checks,
            meaning: reason.sentence(),
            advice: fix,
            see: format!("docs/troubleshooting.md#{code}"),
            last,
        })
    }

    /// When the last request was refused; the epoch if no record is left of it.
    pub(super) fn latest(&self) -> UnixTime {
        self.last.first().map(|refusal| refusal.last).unwrap_or_default()
    }
}

impl RefusalStatus {
    const MAX_KEYS_NOW: usize = 10;

    fn new(reason: Reason, record: RefusalRecord, configurations: &[ConfigurationStatus]) -> Self {
        let providers = configurations
            .iter()
            .find(|configuration| configuration.digest == record.configuration)
            .map(|configuration| configuration.providers.as_slice())
            .unwrap_or_default();
        let provider =
            providers.iter().find(|provider| Some(&provider.name) == record.provider.as_ref());
        let keys_now = provider.filter(|_| reason == Reason::UnknownKid).map(|provider| {
            let keys = provider.keys.iter().take(Self::MAX_KEYS_NOW);
            keys.map(|key| key.kid.clone().unwrap_or_else(|| "(no kid)".to_owned())).collect()
        });
        let hint = hint(reason, &record.details, provider, providers);
        let outcome =
            if record.is_report { RefusalOutcome::Reported } else { RefusalOutcome::Refused };
        Self {
            first: record.first,
            last: record.last,
            times: record.times,
            configuration: record.configuration,
            resource: record.resource,
            provider: record.provider,
            outcome,
            details: record.details,
            keys_now,
            hint,
        }
    }
}

fn hint(
    reason: Reason,
    details: &Map<String, Value>,
    provider: Option<&ProviderStatus>,
    providers: &[ProviderStatus],
) -> Option<String> {
    let string = |name: &str| details.get(name).and_then(Value::as_str);
    let list = |name: &str| {
        let values = details.get(name).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str)
    };
    match reason {
        Reason::UnknownKid => hint_at_kid(string("kid")?, provider, providers),
        Reason::UnknownIssuer => hint_at_issuer(string("iss")?, || list("configured")),
        Reason::AudienceMismatch => {
            let bare = |audience: &'_ str| audience.trim_start_matches("api://").to_owned();
            let configured: Vec<String> = list("configured").map(bare).collect();
            let twin = list("aud").find(|audience| configured.contains(&bare(audience)))?;
            Some(format!(
                "{twin} is the same application: add it to `client_ids` in this form too."
            ))
        }
        _ => None,
    }
}

fn hint_at_kid(
    kid: &str,
    provider: Option<&ProviderStatus>,
    providers: &[ProviderStatus],
) -> Option<String> {
    if provider.is_some_and(|provider| provider.has_key(kid)) {
        return Some("The provider now publishes this key: a new attempt should pass.".to_owned());
    }
    let other = providers.iter().find(|other| other.has_key(kid))?;
    Some(format!(
        "The provider {} publishes this key, but its token was assigned to another provider: \
         compare `issuer` and `client_ids` of the two.",
        other.name
    ))
}

fn hint_at_issuer<'a, I: Iterator<Item = &'a str>>(
    issuer: &str,
    configured: impl Fn() -> I,
) -> Option<String> {
    let folded = |issuer: &str| issuer.trim_end_matches('/').to_ascii_lowercase();
    if let Some(twin) = configured().find(|other| folded(other) == folded(issuer)) {
        return Some(format!(
            "{twin} differs only in a slash at the end or in capital letters; issuers are compared \
             exactly."
        ));
    }
    let is_entra = |issuer: &str| issuer.starts_with("https://login.microsoftonline.com/");
    let is_first_version = issuer.starts_with("https://sts.windows.net/");
    (is_first_version && configured().any(is_entra)).then(|| {
        "This is a token of version 1 of Entra ID: set `requestedAccessTokenVersion` to 2 in the \
         application's manifest, or add this issuer to `additional_issuers`."
            .to_owned()
    })
}
