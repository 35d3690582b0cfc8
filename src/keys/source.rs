//! Where a provider's keys come from.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::KeySet;
use crate::callout::{Clusters, Endpoint};

/// Where a provider's keys come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// Keys that stand in the configuration.
    Static(KeySet),
    /// Keys that are fetched.
    Remote(Box<RemoteSource>),
}

/// How keys are fetched.
#[derive(Clone, Debug)]
pub(crate) struct RemoteSource {
    /// What the metadata document must call itself.
    pub(crate) issuer: String,
    /// The first document to fetch.
    pub(crate) start: Start,
    /// Where the hosts of this provider are called.
    pub(crate) clusters: Clusters,
    /// Times and bounds.
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

/// Times and bounds of the life of keys.
#[derive(Clone, Debug)]
pub(crate) struct KeySettings {
    /// Lifetime of a set whose answer states none.
    pub(crate) max_age: Duration,
    /// Greatest lifetime that the answer may state.
    pub(crate) max_age_cap: Duration,
    /// How long before its expiry a set is refreshed.
    pub(crate) refresh_ahead: Duration,
    /// Least time between two fetches for unknown kids.
    pub(crate) refresh_cooldown: Duration,
    /// Most time that a fetch may take, discovery included.
    pub(crate) timeout: Duration,
    /// How long past its expiry a set serves while fetching fails.
    pub(crate) max_stale: Duration,
    /// Most bytes of a document.
    pub(crate) max_body: usize,
}

impl RemoteSource {
    /// How long a request waits for keys at the most, whatever the source does.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.settings.timeout + Duration::from_secs(2)
    }

    /// A digest of everything that decides what is fetched and from whom: sources with the same
    /// digest share their keys, others never do. Times are for each to decide, so a configuration
    /// that changes only those keeps the keys.
    pub(super) fn fingerprint(&self) -> String {
        let identity = (&self.issuer, &self.start, &self.clusters, self.settings.max_body);
        // Strings and numbers only: this cannot fail.
        let digest = Sha256::digest(serde_json::to_vec(&identity).unwrap_or_default());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
