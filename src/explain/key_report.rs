//! How the plugin would use a provider's keys.

use serde::Serialize;

use super::explanation::FetchedFrom;
use super::offline::Offline;
use super::outside::Outside;
use super::remedy::{self, KeyFault, Remedy};
use super::setup::Setup;
use crate::keys::{KeyAccount, KeySource};
use crate::provider::ProviderId;

/// How the plugin would use a provider's keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// The provider's name.
    pub provider: String,
    /// Whether there are keys to verify tokens with.
    pub is_usable: bool,
    /// The documents that were fetched; empty if the keys are in the configuration.
    pub fetches: Vec<FetchedFrom>,
    /// How long the keys are used until they are fetched again, in seconds.
    pub lifetime_seconds: Option<u64>,
    /// One for each element of the key set.
    pub keys: Vec<ReportedKey>,
    /// Why there are no keys, and the fix.
    pub remedy: Option<Remedy>,
}

/// A key of a key set.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedKey {
    /// The `kid` of the key.
    pub kid: Option<String>,
    /// The algorithms whose signatures it verifies.
    pub algorithms: Vec<String>,
    /// Whether it is left out of the key set.
    pub is_dropped: bool,
    /// Why it verifies no signatures.
    pub problem: Option<String>,
}

impl Setup {
    /// Fetches the keys of each provider, or of the one of this name, as the plugin would.
    pub fn key_reports(&self, provider: Option<&str>, outside: &mut dyn Outside) -> Vec<KeyReport> {
        let wanted =
            self.config.providers.entries().filter(|(_, candidate)| {
                provider.is_none_or(|provider| candidate.name == provider)
            });
        wanted.map(|(id, _)| self.key_report(id, outside)).collect()
    }

    fn key_report(&self, id: ProviderId, outside: &mut dyn Outside) -> KeyReport {
        let provider = &self.config.providers[id];
        let report = KeyReport {
            provider: provider.name.clone(),
            is_usable: false,
            fetches: vec![],
            lifetime_seconds: None,
            keys: vec![],
            remedy: None,
        };
        if let KeySource::Static(set) = &provider.key_source {
            let keys = set.keys().iter().map(KeyAccount::from_jwk).map(ReportedKey::from).collect();
            return KeyReport { is_usable: true, keys, ..report };
        }
        let mut offline = Offline::new(self, Some(provider), None, outside);
        offline.fetch_keys();
        let now = offline.now();
        let callouts = offline.callouts().to_vec();
        let Some(keys) = offline.keys(id).remote() else { return report };
        let is_usable = keys.held(now).is_some();
        let last = callouts.last();
        let document = last.and_then(|callout| callout.outcome.as_ref().ok());
        let accounts = document.map(|reply| KeyAccount::from_document(&reply.body));
        let accounts = accounts.unwrap_or_default();
        let next = keys.next_tick(now).since(now).as_secs();
        let fault =
            KeyFault { provider, written: self.written(provider), last, fault: keys.fault() };
        KeyReport {
            is_usable,
            fetches: callouts.iter().map(FetchedFrom::new).collect(),
            lifetime_seconds: is_usable.then_some(next),
            keys: accounts.into_iter().map(ReportedKey::from).collect(),
            remedy: (!is_usable).then(|| remedy::keys_unavailable(&fault)),
            ..report
        }
    }
}

impl From<KeyAccount> for ReportedKey {
    fn from(account: KeyAccount) -> Self {
        let KeyAccount { kid, algorithms, is_dropped, problem } = account;
        Self { kid, algorithms, is_dropped, problem }
    }
}
