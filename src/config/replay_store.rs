//! The store of spent tokens.

use std::time::Duration;

use http::uri::Authority;

use super::Faults;
use super::field::{Field, refuse_unknown};
use super::raw::{RawRedis, RawReplayStore};
use crate::token::{FleetStore, ReplayStore};

/// A client waits for the store with each request.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// The host counts in milliseconds.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

pub(super) fn replay_store(raw: Field<RawReplayStore>, faults: &mut Faults) -> ReplayStore {
    match raw.optional("replay_store", faults) {
        None | Some(RawReplayStore::Local) => ReplayStore::Local,
        Some(RawReplayStore::Redis(raw)) => {
            let raw = raw.optional("replay_store.redis", faults);
            let store = raw.and_then(|raw| fleet_store(raw, faults));
            // Without a store there is a fault, and the configuration is not used.
            store.map_or(ReplayStore::Local, ReplayStore::Fleet)
        }
    }
}

fn fleet_store(raw: RawRedis, faults: &mut Faults) -> Option<FleetStore> {
    let at = |field: &str| format!("replay_store.redis.{field}");
    refuse_unknown(&at(""), &raw.unknown, faults);
    let cluster = raw.cluster.required(&at("cluster"), faults);
    if cluster.as_ref().is_some_and(String::is_empty) {
        faults.add(&at("cluster"), "must not be empty");
    }
    let authority = raw.authority.optional(&at("authority"), faults);
    let authority = authority.unwrap_or_else(|| "webdis".to_owned());
    if !is_authority(&authority) {
        faults.add(&at("authority"), "must be a host, or host:port");
    }
    let path = raw.path_prefix.optional(&at("path_prefix"), faults);
    let path = path.unwrap_or_else(|| "/".to_owned());
    if !is_path_prefix(&path) {
        faults.add(
            &at("path_prefix"),
            "must begin and end with /, and consist of letters, digits and any of /-._~",
        );
    }
    let timeout = raw.timeout.optional(&at("timeout"), faults);
    let timeout = timeout.map_or(Duration::from_secs(1), |timeout| timeout.0);
    if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
        faults.add(&at("timeout"), "must be between 1ms and 60s");
    }
    Some(FleetStore { cluster: cluster?, authority, path, timeout })
}

fn is_authority(text: &str) -> bool {
    text.parse()
        .is_ok_and(|authority: Authority| !authority.host().is_empty() && !text.contains('@'))
}

fn is_path_prefix(text: &str) -> bool {
    text.starts_with('/')
        && text.ends_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
}
