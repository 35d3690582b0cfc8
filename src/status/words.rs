//! Strings, times and numbers for people.

use std::time::Duration;

use crate::time::UnixTime;

/// A string in shared data and on the page: at most 200 characters.
pub(super) fn clipped(text: &str) -> String {
    crate::printable::clipped(text, 200)
}

/// A URL that operators copy: at most 500 characters.
pub(super) fn clipped_url(url: &str) -> String {
    crate::printable::clipped(url, 500)
}

/// The time of day in UTC, after the date unless that is the date of `now`.
pub(super) fn clock(time: UnixTime, now: UnixTime) -> String {
    let string = time.to_string();
    let Some((date, clock)) = string.split_once('T') else { return "unknown".to_owned() };
    let clock = clock.trim_end_matches('Z');
    if now.to_string().starts_with(date) {
        format!("{clock} UTC")
    } else {
        format!("{date} {clock} UTC")
    }
}

/// A duration in its two greatest units, rounded down.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) if minutes < 10 && !seconds.is_multiple_of(60) => {
            format!("{minutes} min {} s", seconds % 60)
        }
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) if !minutes.is_multiple_of(60) => format!("{hours} h {} min", minutes % 60),
        (0, _, _) => format!("{hours} h"),
        _ if !hours.is_multiple_of(24) => format!("{days} d {} h", hours % 24),
        _ => format!("{days} d"),
    }
}

/// `time` relative to `now`: `5 s ago` or `in 5 s`.
pub(super) fn distance(time: UnixTime, now: UnixTime) -> String {
    if time > now {
        format!("in {}", span(time.since(now)))
    } else {
        format!("{} ago", span(now.since(time)))
    }
}

/// The count with its noun, which forms its plural with `s`.
pub(super) fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        let time = UnixTime::from_secs(1_795_361_110);
        assert_eq!(clock(time, time), "15:25:10 UTC");
        let tomorrow = time + Duration::from_secs(86_400);
        assert_eq!(clock(time, tomorrow), "2026-11-22 15:25:10 UTC");
        assert_eq!(clock(UnixTime::from_secs(u64::MAX), time), "unknown");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (600, "10 min"),
            (629, "10 min"),
            (3600, "1 h"),
            (3661, "1 h 1 min"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
