//! `replay_store`: where spent tokens are recorded.

use http::uri::Authority;
use serde::Deserialize;

use super::Faults;
use super::defaults::{REDIS_AUTHORITY, REDIS_PATH_PREFIX};
use super::field::{Field, UnknownFields, refuse_unknown};
use super::limits::REDIS_TIMEOUT;
use super::units::DurationString;
use crate::token::{FleetStore, ReplayStore};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawReplayStore {
    /// The memory of this Envoy.
    #[default]
    Local,
    /// Redis, called through webdis.
    #[serde(skip_serializing)]
    Redis(Field<RawRedis>),
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawRedis {
    /// The Envoy cluster on which webdis is called.
    pub(super) cluster: Field<String>,
    /// The host of the requests, or host:port.
    pub(super) authority: Field<String>,
    /// The path of the requests; begins and ends with /, and otherwise consists of letters, digits
    /// and any of /-._~.
    pub(super) path_prefix: Field<String>,
    /// How long to wait for a response.
    pub(super) timeout: Field<DurationString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

pub(super) fn replay_store(raw: Field<RawReplayStore>, faults: &mut Faults) -> ReplayStore {
    match raw.or_default("replay_store", faults) {
        RawReplayStore::Local => ReplayStore::Local,
        RawReplayStore::Redis(raw) => {
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
    let authority = REDIS_AUTHORITY.read(raw.authority, &at("authority"), faults);
    if !is_authority(&authority) {
        faults.add(&at("authority"), "must be a host, or host:port");
    }
    let path = REDIS_PATH_PREFIX.read(raw.path_prefix, &at("path_prefix"), faults);
    if !is_path_prefix(&path) {
        faults.add(
            &at("path_prefix"),
            "must begin and end with /, and consist of letters, digits and any of /-._~",
        );
    }
    let timeout = REDIS_TIMEOUT.read(raw.timeout, &at("timeout"), faults);
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
