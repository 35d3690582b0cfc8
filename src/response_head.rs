//! The head of the upstream's response as the host provides it: unchecked bytes.

use std::collections::BTreeSet;

use crate::request::Field;

/// The header fields of a response, including pseudo-headers, with names in lower case.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    fields: &'a [Field<'a>],
}

/// The media type of a response, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// An event stream.
    Events,
    /// Anything else, or none.
    Other,
    /// An event stream to some clients, but not to others.
    Ambiguous,
}

impl<'a> ResponseHead<'a> {
    /// Directives of `cache-control` by which a shared cache may keep a response to a request with
    /// `Authorization` (RFC 9111 §3.5).
    const SHARED: [&'static str; 4] = ["must-revalidate", "proxy-revalidate", "public", "s-maxage"];

    /// The head with these fields.
    #[must_use]
    pub fn new(fields: &'a [Field<'a>]) -> Self {
        Self { fields }
    }

    /// The status code; 0 if it cannot be read.
    pub(crate) fn status(self) -> u16 {
        let status = self.items(":status").next().unwrap_or_default();
        std::str::from_utf8(status).ok().and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// Whether the body is encoded, such as compressed. `identity` is not an encoding (RFC 9110
    /// §8.4).
    pub(crate) fn is_encoded(self) -> bool {
        self.items("content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
    }

    /// Whether the head says that the body is longer than this, in bytes.
    pub(crate) fn is_longer_than(self, max: usize) -> bool {
        let length = self.items("content-length").next().unwrap_or_default();
        let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
        length.is_some_and(|length: u64| u64::try_from(max).is_ok_and(|max| length > max))
    }

    /// The media type. Clients find that of events by its beginning, and some anywhere.
    pub(crate) fn media(self) -> Media {
        let mut types = self.items("content-type").map(|media_type| {
            let media_type = media_type.to_ascii_lowercase();
            if media_type.starts_with(EVENTS) {
                Media::Events
            } else if media_type.windows(EVENTS.len()).any(|part| part == EVENTS) {
                Media::Ambiguous
            } else {
                Media::Other
            }
        });
        let first = types.next().unwrap_or(Media::Other);
        if types.all(|media| media == first) { first } else { Media::Ambiguous }
    }

    /// `cache-control` for a response that differs from caller to caller; `None` if it may stay, since
    /// it lets no cache show the response to others (RFC 9111 §3).
    pub(crate) fn private_cache_control(self) -> Option<String> {
        let named = |names: &[&str], directive: &[u8]| {
            let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
            names.iter().any(|known| name.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
        };
        let mut directives = self.items("cache-control");
        if !directives.any(|directive| named(&Self::SHARED, directive)) {
            return None;
        }
        let is_kept = |directive: &&[u8]| {
            !named(&Self::SHARED, directive)
                && !named(&["private"], directive)
                && directive.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"')
        };
        let kept = self.items("cache-control").filter(is_kept);
        let kept = kept.map(|directive| String::from_utf8_lossy(directive).into_owned());
        Some(std::iter::once("private".to_owned()).chain(kept).collect::<Vec<_>>().join(", "))
    }

    /// Names of the fields that tell only some caches to keep the response, whatever `cache-control`
    /// says: targeted ones (RFC 9213 §2), and those that caches had before.
    pub(crate) fn targeted_cache_fields(self) -> Vec<String> {
        const OTHERS: [&[u8]; 3] = [b"edge-control", b"surrogate-control", b"x-accel-expires"];
        let names = self.fields.iter().map(|(name, _)| *name);
        let targeted: BTreeSet<&[u8]> = names
            .filter(|name| name.ends_with(b"-cache-control") || OTHERS.contains(name))
            .collect();
        targeted.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// All values of a field.
    pub(crate) fn values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter().filter(move |(field, _)| *field == name.as_bytes());
        fields.map(|(_, value)| *value)
    }

    /// The items of a field's values that are not empty (RFC 9110 §5.6.1).
    fn items(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let items = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
    }
}

const EVENTS: &[u8] = b"text/event-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_read_as_clients_read_it() {
        for (values, media) in [
            (&["text/event-stream"][..], Media::Events),
            (&["Text/Event-Stream ; charset=utf-8"], Media::Events),
            (&["application/json"], Media::Other),
            (&["text/event-streams"], Media::Events),
            (&["text/event-stream charset=utf-8"], Media::Events),
            (&["application/json; x=Text/Event-Stream"], Media::Ambiguous),
            (&[""], Media::Other),
            (&[], Media::Other),
            (&["text/event-stream", "text/event-stream;a=b"], Media::Events),
            (&["application/json, text/event-stream"], Media::Ambiguous),
            (&["text/event-stream", "application/json"], Media::Ambiguous),
        ] {
            let fields: Vec<Field<'_>> =
                values.iter().map(|value| (&b"content-type"[..], value.as_bytes())).collect();
            assert_eq!(ResponseHead::new(&fields).media(), media, "{values:?}");
        }
    }

    #[test]
    fn private_responses_are_not_cached_for_others() {
        for (values, changed) in [
            (&[][..], None),
            (&["private, max-age=60"], None),
            (&["no-store"], None),
            (&["max-age=60"], None),
            (&["public, max-age=60"], Some("private, max-age=60")),
            (&["Public", "no-transform"], Some("private, no-transform")),
            (&["s-maxage = 60, max-age=5"], Some("private, max-age=5")),
            (&["must-revalidate, private=\"a, b\""], Some("private")),
            (&["publicity"], None),
        ] {
            let fields: Vec<Field<'_>> =
                values.iter().map(|value| (&b"cache-control"[..], value.as_bytes())).collect();
            let found = ResponseHead::new(&fields).private_cache_control();
            assert_eq!(found.as_deref(), changed, "{values:?}");
        }
    }

    #[test]
    fn fields_for_some_caches_are_found() {
        let names = [
            "cache-control",
            "cdn-cache-control",
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "surrogate-control",
            "surrogate-key",
            "edge-control",
            "x-accel-expires",
            "x-accel-buffering",
        ];
        let fields = names.map(|name| (name.as_bytes(), &b"max-age=60"[..]));
        let found = ResponseHead::new(&fields).targeted_cache_fields();
        let expected = [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "edge-control",
            "surrogate-control",
            "x-accel-expires",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_identity_is_not_an_encoding() {
        for (value, is_encoded) in [
            ("", false),
            ("identity", false),
            ("Identity, ", false),
            ("gzip", true),
            ("identity, br", true),
        ] {
            let fields = [(&b"content-encoding"[..], value.as_bytes())];
            assert_eq!(ResponseHead::new(&fields).is_encoded(), is_encoded, "{value}");
        }
    }
}
