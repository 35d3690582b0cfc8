//! `keys`: how the keys of providers are fetched.

use serde::Deserialize;

use super::Faults;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::limits::{
    KEYS_MAX_AGE, KEYS_MAX_AGE_CAP, KEYS_MAX_BODY, KEYS_MAX_STALE, KEYS_REFRESH_AHEAD,
    KEYS_REFRESH_COOLDOWN, KEYS_TIMEOUT, Limit, Quantity, Time,
};
use super::units::{DurationString, SizeString};
use crate::keys::KeySettings;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawKeys {
    /// Lifetime of a key set whose response has no `Cache-Control: max-age`.
    pub(super) max_age: Field<DurationString>,
    /// Longest lifetime that a `Cache-Control: max-age` can give a key set.
    pub(super) max_age_cap: Field<DurationString>,
    /// How long before it expires a key set is fetched again.
    pub(super) refresh_ahead: Field<DurationString>,
    /// Shortest time between two fetches for an unknown `kid`.
    pub(super) refresh_cooldown: Field<DurationString>,
    /// How long a fetch may take.
    pub(super) timeout: Field<DurationString>,
    /// How long an expired key set stays in use while fetching fails.
    pub(super) max_stale: Field<DurationString>,
    /// Longest response from a provider that is read.
    pub(super) max_body: Field<SizeString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

impl RawKeys {
    /// The settings that apply to all providers.
    pub(super) fn parse(self, path: &str, faults: &mut Faults) -> KeySettings {
        let defaults = KeySettings {
            max_age: KEYS_MAX_AGE.default.value(),
            max_age_cap: KEYS_MAX_AGE_CAP.default.value(),
            refresh_ahead: KEYS_REFRESH_AHEAD.default.value(),
            refresh_cooldown: KEYS_REFRESH_COOLDOWN.default.value(),
            timeout: KEYS_TIMEOUT.default.value(),
            max_stale: KEYS_MAX_STALE.default.value(),
            max_body: KEYS_MAX_BODY.default.value(),
        };
        self.parse_or(&defaults, path, faults)
    }

    /// The settings of one provider; a field that it does not give comes from `defaults`.
    pub(super) fn parse_or(
        self,
        defaults: &KeySettings,
        path: &str,
        faults: &mut Faults,
    ) -> KeySettings {
        refuse_unknown(&format!("{path}."), &self.unknown, faults);
        let mut duration = |raw, limit: &Limit<Time>, name: &str, default| {
            limit.read_or::<DurationString>(raw, default, &format!("{path}.{name}"), faults)
        };
        let max_age = duration(self.max_age, &KEYS_MAX_AGE, "max_age", defaults.max_age);
        let max_age_cap =
            duration(self.max_age_cap, &KEYS_MAX_AGE_CAP, "max_age_cap", defaults.max_age_cap);
        let refresh_ahead = duration(
            self.refresh_ahead,
            &KEYS_REFRESH_AHEAD,
            "refresh_ahead",
            defaults.refresh_ahead,
        );
        let refresh_cooldown = duration(
            self.refresh_cooldown,
            &KEYS_REFRESH_COOLDOWN,
            "refresh_cooldown",
            defaults.refresh_cooldown,
        );
        let timeout = duration(self.timeout, &KEYS_TIMEOUT, "timeout", defaults.timeout);
        let max_stale = duration(self.max_stale, &KEYS_MAX_STALE, "max_stale", defaults.max_stale);
        let at = format!("{path}.max_body");
        let max_body = KEYS_MAX_BODY.read_or(self.max_body, defaults.max_body, &at, faults);
        KeySettings {
            max_age,
            max_age_cap,
            refresh_ahead,
            refresh_cooldown,
            timeout,
            max_stale,
            max_body,
        }
    }
}
