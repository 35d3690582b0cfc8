//! How long a response may be used according to its server (RFC 9111 §5.2.2).

use std::time::Duration;

/// Bounds within which a provider's `max-age` is honoured; `keys.max_age_cap` lowers the upper one.
pub(crate) const MIN_LIFETIME: Duration = Duration::from_secs(60);
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetime in `Cache-Control`, clamped to the bounds; `None` if it has none.
pub(super) fn lifetime(cache_control: &str) -> Option<Duration> {
    max_age(cache_control).map(|age| age.clamp(MIN_LIFETIME, MAX_LIFETIME))
}

fn max_age(cache_control: &str) -> Option<Duration> {
    cache_control.split(',').find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("max-age") {
            return None;
        }
        let seconds = value.trim().trim_matches('"');
        if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // RFC 9111 §1.2.2: a number too large to represent counts as the largest.
        Some(Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_honoured_between_a_minute_and_a_day() {
        for (header, seconds) in [
            ("no-transform", None),
            ("max-age=abc", None),
            ("public, max-age=3600, must-revalidate", Some(3600)),
            ("Max-Age=\"120\"", Some(120)),
            ("s-maxage=5, max-age = 90", Some(90)),
            ("max-age=0", Some(60)),
            ("max-age=604800", Some(86_400)),
            ("max-age=99999999999999999999999", Some(86_400)),
        ] {
            assert_eq!(lifetime(header), seconds.map(Duration::from_secs), "{header:?}");
        }
    }
}
