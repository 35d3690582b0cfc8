//! The browser in which a person logs in: it is recognised by a sealed cookie, and checked by what
//! it says about its requests (Fetch Metadata).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::issuer::Issuer;
use crate::request::RequestHead;
use crate::seal::{Randomness, SealFault, Sealed, Sealer};
use crate::time::UnixTime;

/// Recognises a browser between the page and the callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrowserId(String);

impl Sealed for BrowserId {
    const PURPOSE: &'static str = "login browser";
    const MAX_LENGTH: usize = 256;
    /// A page and the visit at the provider last ten minutes each.
    const LIFE: Option<Duration> = Some(Duration::from_secs(1800));
}

impl BrowserId {
    #[must_use]
    pub(crate) fn new(random: &mut Randomness) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random.bytes::<16>()))
    }
}

/// A cookie of the gateway. Servers never see any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Holds a [`BrowserId`].
    Browser,
    /// Holds remembered consents.
    Consent,
}

impl Cookie {
    /// The prefix of the gateway's cookies, after the prefix that browsers define.
    const NAME_PREFIX: &'static str = "mcp-auth-";
    /// Browsers take a cookie with this prefix only from the host itself, over https (RFC 6265bis
    /// §4.1.3.2).
    const HOST_PREFIX: &'static str = "__Host-";

    fn name(self, issuer: &Issuer) -> String {
        let prefix = if issuer.is_https() { Self::HOST_PREFIX } else { "" };
        let name = match self {
            Self::Browser => "login",
            Self::Consent => "consent",
        };
        format!("{prefix}{}{name}", Self::NAME_PREFIX)
    }

    /// The field `Set-Cookie` for this value.
    #[must_use]
    pub(crate) fn set(self, value: &str, issuer: &Issuer) -> String {
        let name = self.name(issuer);
        let secure = if issuer.is_https() { "; Secure" } else { "" };
        let max_age = match self {
            Self::Browser => 1800,
            Self::Consent => 90 * 24 * 3600,
        };
        format!("{name}={value}; Path=/; Max-Age={max_age}{secure}; HttpOnly; SameSite=Lax")
    }

    /// Its value in a request; `None` if there are several, because another site may have set one.
    #[must_use]
    pub(crate) fn value<'a>(self, head: RequestHead<'a>, issuer: &Issuer) -> Option<&'a str> {
        let name = self.name(issuer);
        let mut values =
            cookies(head).filter_map(|(own, value)| (own == name.as_bytes()).then_some(value));
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        std::str::from_utf8(value).ok()
    }

    /// All cookies of a request except the gateway's and those that are not UTF-8, which the host
    /// cannot forward; `None` if none of its cookies is the gateway's.
    #[must_use]
    pub(crate) fn removed_from_head(head: RequestHead<'_>) -> Option<String> {
        let is_own = |field: &&[u8]| {
            let name = Self::NAME_PREFIX.as_bytes();
            field.windows(name.len()).any(|window| window == name)
        };
        head.values("cookie").find(is_own)?;
        let is_foreign =
            |pair: &&str| !Self::is_own_name(pair.split('=').next().unwrap_or_default().trim());
        let pairs = head.values("cookie").flat_map(|field| field.split(|byte| *byte == b';'));
        let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()).map(str::trim);
        let foreign = pairs.filter(|pair| !pair.is_empty()).filter(is_foreign);
        Some(foreign.collect::<Vec<_>>().join("; "))
    }

    /// Whether a field `Set-Cookie` sets a cookie of the gateway. One without a name counts by its
    /// value, which browsers send in the place of both (RFC 6265bis §5.8.3).
    #[must_use]
    pub(crate) fn is_set_by(field: &str) -> bool {
        Self::is_own_name(field.trim_start_matches(|start: char| {
            start == '=' || start.is_whitespace() || start.is_control()
        }))
    }

    /// Whether a name begins as all names of the gateway do.
    fn is_own_name(name: &str) -> bool {
        let name = name.strip_prefix(Self::HOST_PREFIX).unwrap_or(name);
        name.starts_with(Self::NAME_PREFIX)
    }
}

/// The cookies of a request. Browsers strip spaces and tabs from names, and nothing else (RFC
/// 6265bis §5.7): a name with other white space in front has no prefix for them, so any site of the
/// domain may set it.
fn cookies(head: RequestHead<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = head.values("cookie").flat_map(|field| field.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let start = pair.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
        let pair = pair.get(start..)?;
        let (name, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
        let value = value.get(1..)?;
        let end = value.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'));
        Some((name, value.get(..end.map_or(0, |last| last + 1))?))
    })
}

/// What a browser says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Browser {
    /// `None` if it has no valid cookie yet.
    pub id: Option<BrowserId>,
    /// Whether it is not part of another page, as far as the browser says.
    pub is_navigation: bool,
    /// Whether it certainly comes from a page of the gateway.
    pub is_from_own_page: bool,
    /// Whether it certainly does not come from a foreign page. Another host of the same site may be
    /// someone else's.
    pub is_own_initiative: bool,
}

impl Browser {
    #[must_use]
    pub(crate) fn from_head(
        head: RequestHead<'_>,
        issuer: &Issuer,
        sealer: &Sealer,
        now: UnixTime,
    ) -> Self {
        let id = Cookie::Browser.value(head, issuer);
        let id = id.map(|sealed| sealer.open(sealed, now));
        let value = |name| {
            let mut values = head.values(name);
            let value = values.next();
            // A repeated field has no valid value.
            if values.next().is_some() { Some(b"".as_slice()) } else { value }
        };
        let is = |name, expected: &str| {
            value(name).is_none_or(|value: &[u8]| value == expected.as_bytes())
        };
        let site = value("sec-fetch-site");
        let is_same_origin = site == Some(b"same-origin");
        Self {
            id: id.and_then(Result::<BrowserId, SealFault>::ok),
            is_navigation: is("sec-fetch-dest", "document") && is("sec-fetch-mode", "navigate"),
            is_from_own_page: match value("origin") {
                Some(b"null") | None => is_same_origin,
                Some(origin) => {
                    origin == issuer.origin().as_bytes() && (site.is_none() || is_same_origin)
                }
            },
            is_own_initiative: matches!(site, Some(b"none" | b"same-origin")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Field;
    use crate::seal::Secret;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn browser(fields: &[(&str, &str)]) -> Browser {
        let fields: Vec<Field<'_>> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let sealer = Sealer::new(Secret::parse(&"A".repeat(43)).unwrap(), None);
        Browser::from_head(RequestHead::new(&fields, false), &issuer(), &sealer, NOW)
    }

    fn issuer() -> Issuer {
        Issuer::parse("https://login.example.com").unwrap()
    }

    #[test]
    fn a_page_in_a_frame_is_not_a_navigation() {
        for (fields, is_navigation) in [
            (&[][..], true),
            (&[("sec-fetch-dest", "document"), ("sec-fetch-mode", "navigate")], true),
            (&[("sec-fetch-dest", "iframe"), ("sec-fetch-mode", "navigate")], false),
            (&[("sec-fetch-dest", "empty"), ("sec-fetch-mode", "cors")], false),
            (&[("sec-fetch-mode", "no-cors")], false),
            (&[("sec-fetch-dest", "document"), ("sec-fetch-dest", "document")], false),
        ] {
            assert_eq!(browser(fields).is_navigation, is_navigation, "{fields:?}");
        }
    }

    #[test]
    fn an_approval_must_come_from_a_page_of_the_gateway() {
        let origin = "https://login.example.com";
        for (fields, is_own) in [
            (&[][..], false),
            (&[("origin", origin)], true),
            (&[("origin", origin), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", origin), ("sec-fetch-site", "cross-site")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], false),
            (&[("origin", "https://login.example.com.evil.example")], false),
            (&[("origin", "http://login.example.com")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", origin), ("origin", origin)], false),
        ] {
            assert_eq!(browser(fields).is_from_own_page, is_own, "{fields:?}");
        }
    }

    #[test]
    fn a_browser_is_recognised_only_by_its_own_sealed_cookie() {
        let sealer = Sealer::new(Secret::parse(&"A".repeat(43)).unwrap(), None);
        let random = &mut Randomness::from_seed([1; 32]);
        let id = BrowserId::new(random);
        let sealed = sealer.seal(&id, NOW, random).unwrap();
        let own = format!("a=b; __Host-mcp-auth-login={sealed}");
        let twice = format!("{own}; __Host-mcp-auth-login=x");
        for (cookie, found) in [
            (own.as_str(), Some(id)),
            (&own.replace("__Host-", ""), None),
            (&own.replace('=', "=x"), None),
            (&twice, None),
            ("", None),
        ] {
            assert_eq!(browser(&[("cookie", cookie)]).id, found, "{cookie}");
        }
    }

    #[test]
    fn cookies_of_others_may_have_any_bytes() {
        let sealer = Sealer::new(Secret::parse(&"A".repeat(43)).unwrap(), None);
        let random = &mut Randomness::from_seed([1; 32]);
        let id = BrowserId::new(random);
        let sealed = sealer.seal(&id, NOW, random).unwrap();
        let own = format!("__Host-mcp-auth-login={sealed}");
        let found = |cookie: &[u8]| {
            let fields = [(b"cookie".as_slice(), cookie)];
            Browser::from_head(RequestHead::new(&fields, false), &issuer(), &sealer, NOW).id
        };
        let latin1 = b"x=a\xffb";
        assert_eq!(found(&[latin1.as_slice(), b"; ", own.as_bytes()].concat()), Some(id.clone()));
        assert_eq!(found(&[own.as_bytes(), b"; ", latin1.as_slice()].concat()), Some(id));
        assert_eq!(found(&[own.as_bytes(), b"\xff"].concat()), None);
        // It counts as a second one.
        assert_eq!(found(&[own.as_bytes(), b";\t", own.as_bytes()].concat()), None);
        let second = b"__Host-mcp-auth-login=\xff".as_slice();
        assert_eq!(found(&[own.as_bytes(), b"; ", second].concat()), None);
        assert_eq!(found(&[second, b"; ", own.as_bytes()].concat()), None);
    }

    #[test]
    fn a_name_with_white_space_that_browsers_keep_is_another_name() {
        let sealer = Sealer::new(Secret::parse(&"A".repeat(43)).unwrap(), None);
        let random = &mut Randomness::from_seed([1; 32]);
        let sealed = sealer.seal(&BrowserId::new(random), NOW, random).unwrap();
        let is_known = |start: &str, end: &str| {
            let cookie = format!("a=b;{start}__Host-mcp-auth-login{end}={sealed}");
            browser(&[("cookie", &cookie)]).id.is_some()
        };
        for kept in ["\u{2000}", "\u{a0}", "\u{85}", "\u{3000}", "\u{2028}", "\u{b}", "\u{c}", "\r"]
        {
            assert!(!is_known(kept, ""), "{kept:?} in front");
            assert!(!is_known(&format!(" {kept}"), ""), "{kept:?} in front");
            assert!(!is_known("", kept), "{kept:?} behind");
        }
        for stripped in ["", " ", "\t", " \t "] {
            assert!(is_known(stripped, ""), "{stripped:?}");
        }
    }

    // Requirement: login-consent-cookie
    #[test]
    fn cookies_of_the_gateway_are_host_bound_and_hidden_from_scripts() {
        let cookie = Cookie::Browser.set("x", &issuer());
        assert_eq!(
            cookie,
            "__Host-mcp-auth-login=x; Path=/; Max-Age=1800; Secure; HttpOnly; SameSite=Lax"
        );
        let loopback = Issuer::parse("http://localhost:8080").unwrap();
        assert_eq!(
            Cookie::Consent.set("x", &loopback),
            "mcp-auth-consent=x; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_response_that_sets_a_cookie_of_the_gateway_is_recognised() {
        for (field, is_own) in [
            ("__Host-mcp-auth-login=x; Path=/; Secure", true),
            ("mcp-auth-consent=x", true),
            (" \tmcp-auth-login =x", true),
            ("=mcp-auth-login=x", true),
            (" = __Host-mcp-auth-login=x", true),
            ("mcp-auth-login", true),
            ("session=x; Path=/", false),
            ("next=mcp-auth-login", false),
            ("my-mcp-auth-login=x", false),
            ("", false),
        ] {
            assert_eq!(Cookie::is_set_by(field), is_own, "{field}");
        }
    }

    #[test]
    fn cookies_of_the_gateway_are_removed_and_others_are_kept() {
        for (fields, left) in [
            (&["a=b"][..], None),
            (&[""], None),
            (&[], None),
            (&["a=b; __Host-mcp-auth-login=x; c=d"], Some("a=b; c=d")),
            (&["mcp-auth-consent=x"], Some("")),
            (&["mcp-auth-login =x;a=b"], Some("a=b")),
            (&["__Host-mcp-auth-anything"], Some("")),
            (&["next=mcp-auth-login"], Some("next=mcp-auth-login")),
            (&["a=b", "mcp-auth-login=x", "c=d; e=f"], Some("a=b; c=d; e=f")),
        ] {
            let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
            assert_eq!(removed_from_head(&fields).as_deref(), left, "{fields:?}");
        }
    }

    #[test]
    fn a_cookie_that_is_not_utf8_takes_no_other_along() {
        let own = b"__Host-mcp-auth-login=x".as_slice();
        let planted = b"x=a\xffb; session=1".as_slice();
        assert_eq!(removed_from_head(&[planted]), None, "the head does not change");
        for fields in [
            &[[planted, b"; ", own].concat()][..],
            &[[own, b"\xff; ", planted].concat()],
            &[own.to_vec(), planted.to_vec()],
        ] {
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            assert_eq!(removed_from_head(&fields).as_deref(), Some("session=1"), "{fields:?}");
        }
    }

    fn removed_from_head(cookies: &[&[u8]]) -> Option<String> {
        let fields: Vec<Field<'_>> =
            cookies.iter().map(|cookie| (b"cookie".as_slice(), *cookie)).collect();
        Cookie::removed_from_head(RequestHead::new(&fields, false))
    }
}
