//! Where a provider's keys come from.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::KeySet;
use crate::callout::{Clusters, Endpoint};

/// Where a provider's keys come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// Keys in the configuration.
    Static(KeySet),
    /// Keys that are fetched.
    Remote(Box<RemoteSource>),
}

/// How keys are fetched.
#[derive(Clone, Debug)]
pub(crate) struct RemoteSource {
    /// The required `issuer` of the metadata document.
    pub(crate) issuer: String,
    /// The first document to fetch.
    pub(crate) start: Start,
    /// The clusters for the hosts of this provider.
    pub(crate) clusters: Clusters,
    pub(crate) settings: KeySettings,
}

/// The document with which fetching starts.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Start {
    /// The provider's metadata, which names the key set.
    Metadata(Endpoint),
    /// The key set itself.
    KeySet(Endpoint),
}

/// Times and bounds for fetched keys.
#[derive(Clone, Debug)]
pub(crate) struct KeySettings {
    /// Lifetime of a key set whose response states none.
    pub(crate) max_age: Duration,
    /// Longest lifetime that a response may state.
    pub(crate) max_age_cap: Duration,
    /// How long before it expires a key set is refreshed.
    pub(crate) refresh_ahead: Duration,
    /// Shortest time between two fetches for unknown kids.
    pub(crate) refresh_cooldown: Duration,
    /// Longest time for a fetch, including discovery.
    pub(crate) timeout: Duration,
    /// How long after its expiry a key set stays in use while fetching fails.
    pub(crate) max_stale: Duration,
    /// Maximum size of a document in bytes.
    pub(crate) max_body: usize,
}

impl RemoteSource {
    /// The longest time that a request waits for keys, whatever the source does.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.settings.timeout + Duration::from_secs(2)
    }

    /// A digest of everything that decides what is fetched and from where: sources with the same
    /// digest share their keys. Times are not part of it, so a configuration that changes only
    /// those keeps its keys.
    pub(super) fn fingerprint(&self) -> String {
        let identity = (&self.issuer, &self.start, &self.clusters, self.settings.max_body);
        // Serialising strings and numbers cannot fail.
        let digest = Sha256::digest(serde_json::to_vec(&identity).unwrap_or_default());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
