//! `keys`: how the keys of providers are fetched.

use std::time::Duration;

use serde::Deserialize;

use super::Faults;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::units::{DurationString, SizeString};
use crate::keys::{KeySettings, MAX_LIFETIME, MIN_LIFETIME};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawKeys {
    /// Life of a key set whose answer has no `Cache-Control: max-age`, between 1s and 8760h.
    pub(super) max_age: Field<DurationString>,
    /// Longest life of a key set that a `Cache-Control: max-age` is honoured for, between 1m and
    /// 24h.
    pub(super) max_age_cap: Field<DurationString>,
    /// How long before its expiry a key set is fetched anew, between 1s and 8760h.
    pub(super) refresh_ahead: Field<DurationString>,
    /// At most one fetch for an unknown `kid` in this time, between 1s and 8760h.
    pub(super) refresh_cooldown: Field<DurationString>,
    /// How long a fetch may take, between 1s and 1h.
    pub(super) timeout: Field<DurationString>,
    /// How long an expired key set serves while fetching fails, between 1s and 8760h.
    pub(super) max_stale: Field<DurationString>,
    /// Longest answer of a provider that is read, at least 1B.
    pub(super) max_body: Field<SizeString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

pub(super) const KEY_DEFAULTS: KeySettings = KeySettings {
    max_age: Duration::from_secs(10 * 60),
    max_age_cap: MAX_LIFETIME,
    refresh_ahead: Duration::from_secs(30),
    refresh_cooldown: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    max_stale: Duration::from_secs(24 * 60 * 60),
    max_body: 256 * 1024,
};

pub(super) fn key_settings(
    raw: RawKeys,
    defaults: &KeySettings,
    path: &str,
    faults: &mut Faults,
) -> KeySettings {
    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let mut duration = |field: Field<_>, name: &str, default: Duration| {
        let path = format!("{path}.{name}");
        let value = field.optional(&path, faults).map_or(default, |text: DurationString| text.0);
        if !(MIN..=MAX).contains(&value) {
            faults.add(&path, "must be between 1s and 8760h");
        }
        value
    };
    let max_age = duration(raw.max_age, "max_age", defaults.max_age);
    let refresh_ahead = duration(raw.refresh_ahead, "refresh_ahead", defaults.refresh_ahead);
    let refresh_cooldown =
        duration(raw.refresh_cooldown, "refresh_cooldown", defaults.refresh_cooldown);
    let timeout = duration(raw.timeout, "timeout", defaults.timeout);
    let max_stale = duration(raw.max_stale, "max_stale", defaults.max_stale);
    let max_body = raw.max_body.optional(&format!("{path}.max_body"), faults);
    if max_body.is_some_and(|size| size.0 == 0) {
        faults.add(&format!("{path}.max_body"), "must not be 0");
    }
    if timeout > Duration::from_secs(60 * 60) {
        faults.add(&format!("{path}.timeout"), "must be at most 1h");
    }
    let max_age_cap = raw.max_age_cap.optional(&format!("{path}.max_age_cap"), faults);
    if max_age_cap.is_some_and(|cap| !(MIN_LIFETIME..=MAX_LIFETIME).contains(&cap.0)) {
        faults.add(&format!("{path}.max_age_cap"), "must be between 1m and 24h");
    }
    KeySettings {
        max_age,
        max_age_cap: max_age_cap.map_or(defaults.max_age_cap, |cap| cap.0),
        refresh_ahead,
        refresh_cooldown,
        timeout,
        max_stale,
        max_body: max_body.map_or(defaults.max_body, |size| size.0),
    }
}
