//! How texts, times and numbers are put for people.

use std::time::Duration;

use chrono::{DateTime, Datelike, Timelike, Utc};

use crate::time::UnixTime;

/// A text that is short enough to be kept.
pub(super) fn clipped(text: &str) -> String {
    const MAX_CHARACTERS: usize = 200;
    match text.char_indices().nth(MAX_CHARACTERS) {
        // One less for the mark, so that what was clipped stays as it is.
        Some(_) => text.chars().take(MAX_CHARACTERS - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// A point in time (RFC 3339).
pub(super) fn rfc3339(time: UnixTime) -> String {
    let Some(time) = date_time(time) else { return String::new() };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}

/// The time of the day, with its date on another day than today.
pub(super) fn clock(time: UnixTime, now: UnixTime) -> String {
    let text = rfc3339(time);
    let Some((date, clock)) = text.split_once('T') else { return "unknown".to_owned() };
    let clock = clock.trim_end_matches('Z');
    if rfc3339(now).starts_with(date) {
        format!("{clock} UTC")
    } else {
        format!("{date} {clock} UTC")
    }
}

/// A span of time in its two greatest units.
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

/// How long ago, or how far ahead.
pub(super) fn distance(time: UnixTime, now: UnixTime) -> String {
    if time > now {
        format!("in {}", span(time.since(now)))
    } else {
        format!("{} ago", span(now.since(time)))
    }
}

/// So many of these.
pub(super) fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn date_time(time: UnixTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(time.as_millis()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_utc() {
        let time = UnixTime::from_secs(1_795_361_110);
        assert_eq!(rfc3339(time), "2026-11-22T15:25:10Z");
        assert_eq!(clock(time, time), "15:25:10 UTC");
        let tomorrow = time + Duration::from_secs(86_400);
        assert_eq!(clock(time, tomorrow), "2026-11-22 15:25:10 UTC");
        assert_eq!(clock(UnixTime::from_secs(u64::MAX), time), "unknown");
    }

    #[test]
    fn spans_have_their_two_greatest_units() {
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

    #[test]
    fn what_was_clipped_stays_as_it_is() {
        let text = clipped(&"é".repeat(1000));
        assert_eq!(text.chars().count(), 200);
        assert_eq!(clipped(&text), text);
        assert_eq!(clipped("short"), "short");
    }
}
