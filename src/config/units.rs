//! Durations, sizes and names as written in a configuration.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration such as `300s`, `5m`, `500ms` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DurationString(pub(super) Duration);

/// A size such as `8KiB`, `1MiB` or `512B`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeString(pub(super) usize);

impl<'de> Deserialize<'de> for DurationString {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = String::deserialize(reader)?;
        let millis = scaled(&text, &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])
            .ok_or_else(|| {
                de::Error::custom(format!("{text:?} is not a duration such as 300s, 5m or 500ms"))
            })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for SizeString {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = String::deserialize(reader)?;
        scaled(&text, &[("B", 1), ("KiB", 1024), ("MiB", 1024 * 1024)])
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!("{text:?} is not a size such as 8KiB or 1MiB"))
            })
    }
}

impl From<DurationString> for Duration {
    fn from(string: DurationString) -> Self {
        string.0
    }
}

impl From<SizeString> for usize {
    fn from(string: SizeString) -> Self {
        string.0
    }
}

/// A name, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a name, or a list of names")]
        enum Form {
            One(String),
            List(Vec<String>),
        }
        let names = match Form::deserialize(reader)? {
            Form::One(name) => vec![name],
            Form::List(names) => names,
        };
        if names.is_empty() {
            return Err(de::Error::custom("must hold at least one name"));
        }
        Ok(Self(names))
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("300s", Some(300_000)),
            ("500ms", Some(500)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("1d", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            let read = serde_json::from_value::<DurationString>(json!(text)).ok();
            assert_eq!(read.map(|read| read.0), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [
            ("8KiB", Some(8192)),
            ("1MiB", Some(1 << 20)),
            ("7B", Some(7)),
            ("8KB", None),
            ("8", None),
        ] {
            let read = serde_json::from_value::<SizeString>(json!(text)).ok();
            assert_eq!(read.map(|read| read.0), bytes, "{text}");
        }
    }
}
