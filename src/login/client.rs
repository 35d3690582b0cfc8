//! Clients: who asks for a login, and where it may be sent back to.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::redirect_uri::{RedirectPolicy, RedirectUri};
use crate::printable::is_invisible;
use crate::seal::Sealed;

/// A client that was registered: its `client_id` is this, sealed, so that nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegisteredClient {
    /// The redirect URIs that were allowed when it was registered.
    #[serde(rename = "u")]
    pub redirect_uris: Vec<RedirectUri>,
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    pub name: Option<ClientName>,
}

impl Sealed for RegisteredClient {
    const PURPOSE: &'static str = "login client id";
    const MAX_LENGTH: usize = 2048;
    const LIFE: Option<Duration> = None;
}

/// A client of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredClient {
    pub client_id: String,
    pub redirect_uris: Vec<RedirectUri>,
    pub name: Option<ClientName>,
}

/// The `client_id` of a client id metadata document: its URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DocumentUrl(String);

/// A client whose redirect URIs are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub identity: ClientIdentity,
    pub name: Option<ClientName>,
    pub redirect_uris: Vec<RedirectUri>,
}

/// What is certain about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientIdentity {
    /// The operator configured it.
    Configured,
    /// This host publishes it.
    Document { host: String },
    /// Nothing: it registered itself.
    Registered,
}

/// A client's name as people see it: its own claim, clipped, without invisible characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct ClientName(String);

/// Identifies a client in sealed values: a digest of its `client_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientDigest(String);

impl Client {
    /// The registered redirect URI that a request names, if this client may use it. Loopback ports
    /// may differ. What the configuration no longer allows is refused, too.
    #[must_use]
    pub(crate) fn may_use(&self, requested: &RedirectUri, policy: &RedirectPolicy) -> bool {
        let is_own = self.redirect_uris.iter().any(|own| own.matches(requested));
        is_own
            && match &self.identity {
                ClientIdentity::Configured => true,
                ClientIdentity::Document { host } => {
                    policy.allows(requested) || requested.is_https_on(host)
                }
                ClientIdentity::Registered => policy.allows(requested),
            }
    }
}

impl From<RegisteredClient> for Client {
    fn from(client: RegisteredClient) -> Self {
        let RegisteredClient { redirect_uris, name } = client;
        Self { identity: ClientIdentity::Registered, name, redirect_uris }
    }
}

impl From<&ConfiguredClient> for Client {
    fn from(client: &ConfiguredClient) -> Self {
        let ConfiguredClient { redirect_uris, name, .. } = client.clone();
        Self { identity: ClientIdentity::Configured, name, redirect_uris }
    }
}

impl DocumentUrl {
    /// Maximum length in bytes.
    const MAX_LENGTH: usize = 512;

    /// Parses an https URL with a path, without query, fragment, user information, port and dot
    /// segments, in its normal form (OAuth Client ID Metadata Document §3).
    #[must_use]
    pub(crate) fn parse(string: &str) -> Option<Self> {
        let url = Url::parse(string).ok().filter(|url| url.as_str() == string)?;
        let is_plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path() != "/"
            && !url.path().contains(['%', '\\', ';']);
        (is_plain && string.len() <= Self::MAX_LENGTH).then(|| Self(string.to_owned()))
    }

    /// The URL.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its host.
    #[must_use]
    pub(crate) fn host(&self) -> &str {
        let rest = self.0.strip_prefix("https://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }
}

impl ClientName {
    /// Maximum length in characters.
    const MAX_LENGTH: usize = 64;
    /// Most marks on one letter.
    const MAX_MARKS: usize = 2;
    /// The Braille pattern without dots, which looks like a space.
    const BLANK_PATTERN: char = '\u{2800}';

    /// The name as it is shown.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A name; `None` if nothing of it is visible.
    #[must_use]
    pub(crate) fn new(name: &str) -> Option<Self> {
        let name = Self::from(name.to_owned());
        (!name.0.is_empty()).then_some(name)
    }
}

impl From<String> for ClientName {
    fn from(name: String) -> Self {
        let mut shown = String::new();
        let mut marks = 0;
        let visible = name.chars().filter(|character| !is_invisible(*character));
        for character in visible.take(Self::MAX_LENGTH) {
            let is_space = character.is_whitespace() || character == Self::BLANK_PATTERN;
            marks = if may_pile_up(character) { marks + 1 } else { 0 };
            match is_space {
                true if shown.ends_with(' ') => {}
                true => shown.push(' '),
                false if marks > Self::MAX_MARKS => {}
                false => shown.push(character),
            }
        }
        Self(shown.trim().to_owned())
    }
}

/// Whether several of these pile up over the lines above and below: marks, and all else that is
/// neither a letter nor a digit. For Unicode, these rows are letters as well.
fn may_pile_up(character: char) -> bool {
    (character >= '\u{300}' && !character.is_alphanumeric())
        || matches!(character,
        '\u{345}' | '\u{363}'..='\u{36f}' | '\u{5b0}'..='\u{5bd}' | '\u{5bf}'..='\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}'
        | '\u{6e1}'..='\u{6e8}' | '\u{6ed}' | '\u{711}' | '\u{730}'..='\u{73f}'
        | '\u{7a6}'..='\u{7b0}' | '\u{816}'..='\u{82c}' | '\u{8d4}'..='\u{902}'
        | '\u{c55}' | '\u{c56}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e4d}' | '\u{eb1}'
        | '\u{eb4}'..='\u{ebc}' | '\u{ecd}' | '\u{f71}'..='\u{f83}' | '\u{108d}' | '\u{18a9}'
        | '\u{1a17}' | '\u{1a18}' | '\u{1a56}'..='\u{1a74}' | '\u{1abf}'..='\u{1ace}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{2de0}'..='\u{2dff}' | '\u{a674}'..='\u{a67b}'
        | '\u{a69e}' | '\u{a69f}' | '\u{aab0}'..='\u{aabe}' | '\u{fb1e}'
        | '\u{10376}'..='\u{1037a}' | '\u{10a0d}' | '\u{10d24}'..='\u{10d27}'
        | '\u{10eab}' | '\u{10eac}' | '\u{11100}'..='\u{11102}' | '\u{1bc9e}'
        | '\u{1e000}'..='\u{1e02a}' | '\u{1e947}')
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0
    }
}

impl ClientDigest {
    /// The digest of this `client_id`.
    #[must_use]
    pub(crate) fn new(client_id: &str) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(client_id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_metadata_document_is_in_its_normal_form() {
        assert_eq!(
            DocumentUrl::parse("https://claude.ai/oauth/mcp.json").unwrap().host(),
            "claude.ai"
        );
        for string in [
            "",
            "http://claude.ai/x",
            "https://claude.ai",
            "https://claude.ai/",
            "https://claude.ai:443/x",
            "https://claude.ai:8443/x",
            "https://user@claude.ai/x",
            "https://claude.ai/x?y",
            "https://claude.ai/x#y",
            "https://claude.ai/a/../x",
            "https://claude.ai/%2e%2e/x",
            "https://CLAUDE.ai/x",
            "https://claude.ai\\@evil.example/x",
            "https://claude.ai/x y",
        ] {
            assert_eq!(DocumentUrl::parse(string), None, "{string}");
        }
    }

    #[test]
    fn a_name_is_clipped_and_loses_invisible_characters() {
        for (given, shown) in [
            ("Claude", Some("Claude")),
            ("  Claude\u{202e}\r\n ", Some("Claude")),
            ("\u{200b}\u{0}", None),
            ("\u{2800}\u{3000}", None),
            ("a\u{2800}\u{a0}  b", Some("a b")),
            ("e\u{301}\u{302}\u{303}\u{304}x", Some("e\u{301}\u{302}x")),
            ("กี่", Some("กี่")),
            ("a\u{1cd0}\u{1cd1}\u{1cd2}\u{8d3}b", Some("a\u{1cd0}\u{1cd1}b")),
            ("क\u{93c}\u{94d}\u{93c}", Some("क\u{93c}\u{94d}")),
            (&"x".repeat(100), Some(&*"x".repeat(64))),
        ] {
            let name = ClientName::new(given);
            assert_eq!(name.as_ref().map(ClientName::as_str), shown, "{given:?}");
        }
    }

    #[test]
    fn no_marks_pile_up_whatever_their_script() {
        for mark in [
            '\u{300}',
            '\u{345}',
            '\u{363}',
            '\u{5b0}',
            '\u{5bf}',
            '\u{610}',
            '\u{64b}',
            '\u{670}',
            '\u{6d6}',
            '\u{6e1}',
            '\u{6ed}',
            '\u{711}',
            '\u{730}',
            '\u{7a6}',
            '\u{816}',
            '\u{8d4}',
            '\u{8e3}',
            '\u{902}',
            '\u{e31}',
            '\u{e34}',
            '\u{e47}',
            '\u{eb4}',
            '\u{f71}',
            '\u{1a61}',
            '\u{1ab0}',
            '\u{1abf}',
            '\u{1dc0}',
            '\u{1de7}',
            '\u{20d0}',
            '\u{2de0}',
            '\u{a674}',
            '\u{a69e}',
            '\u{aab0}',
            '\u{fb1e}',
            '\u{fe20}',
            '\u{10d24}',
            '\u{11100}',
            '\u{1e000}',
            '\u{1e947}',
        ] {
            let name = ClientName::new(&format!("a{}b", String::from(mark).repeat(9))).unwrap();
            assert_eq!(name.as_str(), format!("a{mark}{mark}b"), "{:x}", u32::from(mark));
        }
    }

    #[test]
    fn a_client_uses_those_of_its_redirect_uris_that_are_still_allowed() {
        let uri = |string| RedirectUri::parse(string).unwrap();
        let policy =
            RedirectPolicy { allows_loopback: true, uris: vec![uri("https://a.example/cb")] };
        let uris = [
            "http://localhost:1/cb",
            "https://a.example/cb",
            "https://doc.example/cb",
            "https://elsewhere.example/cb",
        ];
        let client =
            |identity| Client { identity, name: None, redirect_uris: uris.map(uri).to_vec() };
        let document = ClientIdentity::Document { host: "doc.example".to_owned() };
        for (identity, usable) in [
            (ClientIdentity::Configured, [true, true, true, true]),
            (document, [true, true, true, false]),
            (ClientIdentity::Registered, [true, true, false, false]),
        ] {
            let client = client(identity);
            assert_eq!(
                uris.map(|string| client.may_use(&uri(string), &policy)),
                usable,
                "{client:?}"
            );
            assert!(!client.may_use(&uri("http://localhost:1/other"), &policy));
        }
    }
}
