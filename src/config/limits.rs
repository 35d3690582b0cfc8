//! The default and the bounds of each duration, size and count, read by validation, schema and
//! reference.

use std::fmt;
use std::time::Duration;

use super::Faults;
use super::field::Field;
use crate::keys::{MAX_LIFETIME, MIN_LIFETIME};

pub(super) const ACCESS_MCP_MAX_BODY: Limit<Size> = Limit {
    field: "access.mcp.max_body",
    default: Size::MiB(1),
    min: Some(Size::Bytes(1)),
    // The body is buffered and parsed as a whole.
    max: Some(Size::MiB(16)),
};

pub(super) const CLOCK_SKEW: Limit<Time> =
    Limit { field: "providers[].clock_skew", default: Time::Seconds(300), min: None, max: None };

pub(super) const KEYS_MAX_AGE: Limit<Time> =
    Limit { field: "keys.max_age", default: Time::Minutes(10), min: SECOND, max: YEAR };

pub(super) const KEYS_MAX_AGE_CAP: Limit<Time> = Limit {
    field: "keys.max_age_cap",
    default: Time::in_hours(MAX_LIFETIME),
    min: Some(Time::in_minutes(MIN_LIFETIME)),
    max: Some(Time::in_hours(MAX_LIFETIME)),
};

pub(super) const KEYS_MAX_BODY: Limit<Size> =
    Limit { field: "keys.max_body", default: Size::KiB(256), min: Some(Size::Bytes(1)), max: None };

pub(super) const KEYS_MAX_STALE: Limit<Time> =
    Limit { field: "keys.max_stale", default: Time::Hours(24), min: SECOND, max: YEAR };

pub(super) const KEYS_REFRESH_AHEAD: Limit<Time> =
    Limit { field: "keys.refresh_ahead", default: Time::Seconds(30), min: SECOND, max: YEAR };

pub(super) const KEYS_REFRESH_COOLDOWN: Limit<Time> =
    Limit { field: "keys.refresh_cooldown", default: Time::Seconds(30), min: SECOND, max: YEAR };

pub(super) const KEYS_TIMEOUT: Limit<Time> = Limit {
    field: "keys.timeout",
    default: Time::Seconds(5),
    min: SECOND,
    max: Some(Time::Hours(1)),
};

pub(super) const MAX_TOKEN_SIZE: Limit<Size> = Limit {
    field: "max_token_size",
    default: Size::KiB(8),
    min: Some(Size::Bytes(1)),
    // Envoy accepts no request with more header bytes (`max_request_headers_kb`).
    max: Some(Size::MiB(8)),
};

pub(super) const REDIS_TIMEOUT: Limit<Time> = Limit {
    field: "replay_store<1>.redis.timeout",
    default: Time::Seconds(1),
    // Envoy counts timeouts in milliseconds.
    min: Some(Time::Millis(1)),
    // Each request waits for the store.
    max: Some(Time::Seconds(60)),
};

pub(super) const SCIM_CACHE_TTL: Limit<Time> = Limit {
    field: "users.scim.cache_ttl",
    default: Time::Minutes(5),
    min: SECOND,
    max: Some(Time::Hours(24)),
};

pub(super) const SCIM_MAX_BODY: Limit<Size> = Limit {
    field: "users.scim.max_body",
    default: Size::KiB(256),
    min: Some(Size::Bytes(1)),
    max: None,
};

pub(super) const SCIM_TIMEOUT: Limit<Time> = Limit {
    field: "users.scim.timeout",
    default: Time::Seconds(5),
    min: Some(Time::Millis(10)),
    max: Some(Time::Seconds(60)),
};

pub(super) const TOKEN_CACHE_ENTRIES: Limit<u32> =
    Limit { field: "token_cache.entries", default: 1000, min: None, max: Some(100_000) };

/// Each worker thread holds a copy of all records.
pub(super) const MAX_USER_RECORDS: usize = 10_000;

const SECOND: Option<Time> = Some(Time::Seconds(1));
const YEAR: Option<Time> = Some(Time::Hours(365 * 24));

/// The default and the bounds of a field; both bounds are allowed values.
pub(super) struct Limit<T> {
    /// The field, in the path notation of the schema.
    pub(super) field: &'static str,
    pub(super) default: T,
    min: Option<T>,
    pub(super) max: Option<T>,
}

impl<T: Quantity> Limit<T> {
    /// The value of the field, or its default.
    pub(super) fn read<R: Into<T::Value>>(
        &self,
        raw: Field<R>,
        path: &str,
        faults: &mut Faults,
    ) -> T::Value {
        self.read_or(raw, self.default.value(), path, faults)
    }

    /// The value of the field, or another default.
    pub(super) fn read_or<R: Into<T::Value>>(
        &self,
        raw: Field<R>,
        default: T::Value,
        path: &str,
        faults: &mut Faults,
    ) -> T::Value {
        let Some(value) = raw.optional(path, faults).map(Into::into) else { return default };
        let is_too_little = self.min.as_ref().is_some_and(|min| value < min.value());
        let is_too_much = self.max.as_ref().is_some_and(|max| value > max.value());
        if (is_too_little || is_too_much)
            && let Some(bounds) = self.bounds()
        {
            faults.add(path, format!("must be {bounds}"));
        }
        value
    }

    /// The bounds in words, if the field has any.
    pub(super) fn bounds(&self) -> Option<String> {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => Some(format!("between {min} and {max}")),
            (Some(min), None) => Some(format!("at least {min}")),
            (None, Some(max)) => Some(format!("at most {max}")),
            (None, None) => None,
        }
    }
}

/// An amount as it is written in a configuration.
pub(super) trait Quantity: fmt::Display {
    type Value: PartialOrd;

    fn value(&self) -> Self::Value;
}

/// A duration in the unit used in the configuration.
#[derive(Clone, Copy)]
pub(super) enum Time {
    Millis(u64),
    Seconds(u64),
    Minutes(u64),
    Hours(u64),
}

impl Time {
    /// `duration` in minutes; it must be a whole number of them.
    const fn in_minutes(duration: Duration) -> Self {
        Self::Minutes(duration.as_secs() / 60)
    }

    /// `duration` in hours; it must be a whole number of them.
    const fn in_hours(duration: Duration) -> Self {
        Self::Hours(duration.as_secs() / (60 * 60))
    }
}

impl Quantity for Time {
    type Value = Duration;

    fn value(&self) -> Duration {
        match *self {
            Self::Millis(count) => Duration::from_millis(count),
            Self::Seconds(count) => Duration::from_secs(count),
            Self::Minutes(count) => Duration::from_secs(count * 60),
            Self::Hours(count) => Duration::from_secs(count * 60 * 60),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millis(count) => write!(f, "{count}ms"),
            Self::Seconds(count) => write!(f, "{count}s"),
            Self::Minutes(count) => write!(f, "{count}m"),
            Self::Hours(count) => write!(f, "{count}h"),
        }
    }
}

/// A size in the unit used in the configuration.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Bytes(usize),
    KiB(usize),
    MiB(usize),
}

impl Quantity for Size {
    type Value = usize;

    fn value(&self) -> usize {
        match *self {
            Self::Bytes(count) => count,
            Self::KiB(count) => count * 1024,
            Self::MiB(count) => count * 1024 * 1024,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(count) => write!(f, "{count}B"),
            Self::KiB(count) => write!(f, "{count}KiB"),
            Self::MiB(count) => write!(f, "{count}MiB"),
        }
    }
}

impl Quantity for u32 {
    type Value = Self;

    fn value(&self) -> Self {
        *self
    }
}
