//! Where the keys of a provider come from.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Faults;
use super::field::Field;
use crate::callout::Clusters;
use crate::jose::certificate_key;
use crate::keys::{KeyAccount, KeySet, KeySettings, KeySource, RemoteSource, Start};

/// The fields of a provider that say where its keys come from.
pub(super) struct RawSource {
    pub(super) metadata_url: Field<String>,
    pub(super) jwks_url: Field<String>,
    pub(super) jwks: Field<Value>,
    pub(super) certificates: Field<Vec<String>>,
    pub(super) cluster: Field<String>,
    pub(super) clusters: Field<BTreeMap<String, String>>,
}

impl RawSource {
    /// True when no field says where keys come from.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.metadata_url, Field::Absent)
            && matches!(self.jwks_url, Field::Absent)
            && matches!(self.jwks, Field::Absent)
            && matches!(self.certificates, Field::Absent)
    }

    /// This source, or discovery at `url` if the source is absent.
    pub(super) fn or_metadata_url(self, url: Option<String>) -> Self {
        match url {
            Some(url) if self.is_absent() => Self { metadata_url: Field::Present(url), ..self },
            _ => self,
        }
    }
}

pub(super) fn key_source(
    raw: RawSource,
    issuer: Option<&str>,
    settings: KeySettings,
    path: &str,
    faults: &mut Faults,
) -> Option<KeySource> {
    let at = |field: &str| format!("{path}.{field}");
    let given = [
        !matches!(raw.metadata_url, Field::Absent),
        !matches!(raw.jwks_url, Field::Absent),
        !matches!(raw.jwks, Field::Absent),
        !matches!(raw.certificates, Field::Absent),
    ];
    if given.into_iter().filter(|given| *given).count() != 1 {
        faults.add(path, "must have exactly one of metadata_url, jwks_url, jwks and certificates");
    }
    let metadata_url = raw.metadata_url.optional(&at("metadata_url"), faults);
    let jwks_url = raw.jwks_url.optional(&at("jwks_url"), faults);
    let is_remote = metadata_url.is_some() || jwks_url.is_some();
    let clusters = clusters(raw.cluster, raw.clusters, is_remote, path, faults);
    let mut endpoint = |url: String, field: &str| match clusters.as_ref()?.endpoint(&url) {
        Ok(endpoint) => Some(endpoint),
        Err(fault) => {
            faults.add(&at(field), fault.to_string());
            None
        }
    };
    let metadata = metadata_url.and_then(|url| endpoint(url, "metadata_url"));
    let key_set = jwks_url.and_then(|url| endpoint(url, "jwks_url"));
    let static_set = raw
        .jwks
        .optional(&at("jwks"), faults)
        .and_then(|document| static_key_set(&document, &at("jwks"), faults));
    let certificates = raw
        .certificates
        .optional(&at("certificates"), faults)
        .and_then(|certificates| certificate_keys(&certificates, &at("certificates"), faults));
    if let Some(set) = static_set.or(certificates) {
        return Some(KeySource::Static(set));
    }
    let start = metadata.map(Start::Metadata).or(key_set.map(Start::KeySet))?;
    Some(KeySource::Remote(Box::new(RemoteSource {
        issuer: issuer?.to_owned(),
        start,
        clusters: clusters?,
        settings,
    })))
}

fn clusters(
    one: Field<String>,
    by_host: Field<BTreeMap<String, String>>,
    is_needed: bool,
    path: &str,
    faults: &mut Faults,
) -> Option<Clusters> {
    let one = one.optional(&format!("{path}.cluster"), faults);
    let by_host = by_host.optional(&format!("{path}.clusters"), faults);
    match (one, by_host) {
        (Some(_), Some(_)) => {
            faults.add(path, "must have only one of cluster and clusters");
            None
        }
        (Some(cluster), None) => {
            if cluster.is_empty() {
                faults.add(&format!("{path}.cluster"), "must not be empty");
            }
            Some(Clusters::Any(cluster))
        }
        (None, Some(map)) if map.values().any(String::is_empty) => {
            faults.add(&format!("{path}.clusters"), "must not hold an empty name");
            None
        }
        (None, Some(map)) => Some(Clusters::ByHost(
            map.into_iter().map(|(host, cluster)| (host.to_ascii_lowercase(), cluster)).collect(),
        )),
        (None, None) => {
            if is_needed {
                faults.add(path, "must have cluster or clusters, on which its keys are fetched");
            }
            None
        }
    }
}

fn static_key_set(document: &Value, path: &str, faults: &mut Faults) -> Option<KeySet> {
    match KeySet::from_value(document) {
        Ok(set) if set.dropped() == 0 => Some(set),
        Ok(set) => {
            let accounts = KeyAccount::from_elements(document);
            let first = accounts.iter().zip(0..).find(|(account, _)| account.is_dropped);
            let first = first.map(|(account, index)| {
                format!(": keys[{index}]: {}", account.problem.as_deref().unwrap_or_default())
            });
            let dropped = set.dropped();
            let first = first.unwrap_or_default();
            faults.add(path, format!("holds {dropped} elements that are not JWKs{first}"));
            None
        }
        Err(fault) => {
            faults.add(path, fault.to_string());
            None
        }
    }
}

fn certificate_keys(pems: &[String], path: &str, faults: &mut Faults) -> Option<KeySet> {
    if pems.is_empty() {
        faults.add(path, "must hold at least one certificate");
    }
    let mut keys = Vec::new();
    for (index, pem) in pems.iter().enumerate() {
        match certificate_key(pem) {
            Ok(key) => keys.push(key),
            Err(fault) => faults.add(&format!("{path}[{index}]"), fault.to_string()),
        }
    }
    (!keys.is_empty()).then(|| KeySet::from_keys(keys))
}
