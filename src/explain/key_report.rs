//! What the plugin would make of a provider's keys.

use serde::Serialize;

use super::explanation::FetchedFrom;
use super::key_run::{KeyRun, now};
use super::outside::Outside;
use super::remedy::{self, KeyFault, Remedy};
use super::setup::Setup;
use crate::keys::{Event, KeyAccount, KeySource, ProviderKeys};
use crate::provider::Provider;

/// What the plugin would make of a provider's keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// The provider's name.
    pub provider: String,
    /// Whether there are keys to judge tokens by.
    pub is_usable: bool,
    /// What was fetched; nothing when the keys stand in the configuration.
    pub fetches: Vec<FetchedFrom>,
    /// How long the keys serve until they are fetched anew, in seconds.
    pub lifetime_seconds: Option<u64>,
    /// The keys.
    pub keys: Vec<ReportedKey>,
    /// Why there are none, and what to do about it.
    pub remedy: Option<Remedy>,
}

/// A key.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedKey {
    /// Its name.
    pub kid: Option<String>,
    /// The algorithms whose signatures it verifies.
    pub algorithms: Vec<String>,
    /// Whether it is left out of the set altogether.
    pub is_dropped: bool,
    /// Why it verifies nothing.
    pub problem: Option<String>,
}

impl Setup {
    /// Fetches the keys of each provider, or of the one of this name, as the plugin would.
    pub fn key_reports(&self, provider: Option<&str>, outside: &mut dyn Outside) -> Vec<KeyReport> {
        let wanted = self
            .config
            .providers
            .iter()
            .filter(|candidate| provider.is_none_or(|provider| candidate.name == provider));
        wanted.map(|provider| self.key_report(provider, outside)).collect()
    }

    fn key_report(&self, provider: &Provider, outside: &mut dyn Outside) -> KeyReport {
        let report = KeyReport {
            provider: provider.name.clone(),
            is_usable: false,
            fetches: vec![],
            lifetime_seconds: None,
            keys: vec![],
            remedy: None,
        };
        let mut keys = ProviderKeys::new(provider.key_source.clone(), 0);
        let Some(remote) = keys.remote_mut() else {
            let KeySource::Static(set) = &provider.key_source else { return report };
            let keys = set.keys().iter().map(KeyAccount::from_jwk).map(ReportedKey::from).collect();
            return KeyReport { is_usable: true, keys, ..report };
        };
        let mut run = KeyRun::default();
        run.run(Event::Tick, remote, outside);
        let is_usable = remote.held(now(outside)).is_some();
        let document = run.callouts().last().and_then(|call| call.outcome.as_ref().ok());
        let accounts = document.map(|reply| KeyAccount::from_document(&reply.body));
        let accounts = accounts.unwrap_or_default();
        let next = remote.next_tick(now(outside)).since(now(outside)).as_secs();
        let last = run.callouts().last();
        let fault =
            KeyFault { provider, written: self.written(provider), last, fault: run.fault() };
        KeyReport {
            is_usable,
            fetches: run.callouts().iter().map(FetchedFrom::new).collect(),
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
