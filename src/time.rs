//! Time. The core reads no clock: `now` is always an argument.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Timelike};
use serde::{Deserialize, Serialize, Serializer};

/// A point in time, in milliseconds since the Unix epoch. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// `seconds` after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time elapsed since `earlier`; zero if `earlier` is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }
}

impl std::ops::Sub<Duration> for UnixTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }
}

/// RFC 3339, in UTC and whole seconds; nothing for a time beyond the year 262142.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.as_millis()).ok();
        let Some(time) = millis.and_then(DateTime::from_timestamp_millis) else { return Ok(()) };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
        )
    }
}

/// For `serialize_with`: a [`UnixTime`], or an optional one, as RFC 3339 instead of a number.
pub(crate) fn as_rfc3339<T, S>(time: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Copy + Into<Option<UnixTime>>,
    S: Serializer,
{
    (*time).into().map(|time| time.to_string()).serialize(serializer)
}

/// Seconds for `Retry-After`: rounded up, at least one.
#[must_use]
pub(crate) fn seconds_to_wait(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_displayed_in_utc() {
        assert_eq!(UnixTime::from_secs(1_795_361_110).to_string(), "2026-11-22T15:25:10Z");
        assert_eq!(UnixTime::from_secs(u64::MAX).to_string(), "");
    }

    #[test]
    fn retry_times_are_never_rounded_down() {
        for (millis, seconds) in
            [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (3400, 4), (4000, 4), (4001, 5)]
        {
            assert_eq!(seconds_to_wait(Duration::from_millis(millis)), seconds, "{millis}");
        }
        assert_eq!(seconds_to_wait(Duration::MAX), u64::MAX);
    }
}
