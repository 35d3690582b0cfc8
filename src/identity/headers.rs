//! The identity headers for the server, and the detection of forged ones in requests.

use std::borrow::Cow;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::string_list::{StringList, StringListBuilder};
use super::{ConfirmedIdentity, encoding};
use crate::claim::ClaimPath;
use crate::json::Json;
use crate::request::{RequestHead, compare_spelling, plain_byte};

/// The names of the identity headers, and what they hold.
#[derive(Clone, Debug)]
pub(crate) struct IdentityHeaders {
    /// The standard names, then those of `claims`.
    names: Rc<[String]>,
    claims: Vec<ClaimPath>,
}

/// The names of header fields that only this plugin may set.
#[derive(Clone, Debug)]
pub(crate) struct ReservedNames {
    /// The names by length, those of 63 and more bytes together.
    by_length: Box<[NamesOfLength; 64]>,
}

/// Reserved names of one length.
#[derive(Clone, Debug, Default)]
struct NamesOfLength {
    /// Bit n is set when a name ends with a byte whose lower six bits are n. Most fields of a request
    /// end differently.
    ends: u64,
    /// Sorted.
    names: Vec<String>,
}

/// The identity headers of one identity.
#[derive(Debug, PartialEq, Eq)]
pub struct IdentityFields {
    names: Rc<[String]>,
    /// One value for each name; empty where the header is not sent.
    values: StringList,
    provider: Rc<str>,
}

/// A claim that is sent in a header field of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimHeader {
    /// Path of the claim.
    pub claim: ClaimPath,
    /// Name of the header field, in lower case.
    pub header: String,
}

impl IdentityHeaders {
    /// The standard names, without the prefix.
    const SUFFIXES: [&str; 12] = [
        "user",
        "user-field",
        "subject",
        "issuer",
        "provider",
        "client-id",
        "client-type",
        "scopes",
        "roles",
        "groups",
        "token-id",
        "token-expires",
    ];

    /// Most values fit into so many bytes together.
    const USUAL_SIZE: usize = 256;

    /// The place of `client-id`.
    const CLIENT_ID: usize = 5;

    /// The standard headers under `prefix`, followed by those of `claims`.
    #[must_use]
    pub(crate) fn new(prefix: &str, claims: Vec<ClaimHeader>) -> Self {
        let standard = Self::SUFFIXES.map(|suffix| format!("{prefix}{suffix}"));
        let (claims, of_claims): (Vec<_>, Vec<_>) =
            claims.into_iter().map(|claim| (claim.claim, claim.header)).unzip();
        Self { names: standard.into_iter().chain(of_claims).collect(), claims }
    }

    /// The names that every configuration has.
    pub(crate) fn standard_names(&self) -> impl Iterator<Item = &str> {
        self.names().take(Self::SUFFIXES.len())
    }

    /// The names of the headers of claims.
    pub(crate) fn claim_names(&self) -> impl Iterator<Item = &str> {
        self.names().skip(Self::SUFFIXES.len())
    }

    /// The names of all headers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The headers of `identity`.
    #[must_use]
    pub(crate) fn fields(&self, identity: &ConfirmedIdentity<'_>) -> IdentityFields {
        let ConfirmedIdentity { token, standard, rules, scopes, roles, groups, .. } = identity;
        let mut values = StringListBuilder::with_capacity(self.names.len(), Self::USUAL_SIZE);
        let mut push = |text: &str| values.push_with(|to| encoding::write_value(text, to));
        push(&identity.user);
        push(&rules.user_field);
        push(standard.subject.unwrap_or_default());
        push(standard.issuer.unwrap_or_default());
        // The name of a provider is a-z, 0-9, _ and - alone.
        values.push(&rules.provider);
        values.push_with(|to| encoding::write_value(standard.client_id().unwrap_or_default(), to));
        values.push(identity.client_type.as_str());
        values.push_with(|to| encoding::write_scopes(scopes.iter(), to));
        values.push_with(|to| encoding::write_list(roles.iter(), to));
        values.push_with(|to| encoding::write_list(groups.iter(), to));
        values.push_with(|to| encoding::write_value(standard.token_id.unwrap_or_default(), to));
        values.push(&token.validity().expires.as_secs().to_string());
        for claim in &self.claims {
            let claim = claim.find(token.claims()).unwrap_or(Json::Null);
            values.push_with(|to| write_claim(claim, to));
        }
        let (names, provider) = (self.names.clone(), rules.provider.clone());
        IdentityFields { names, values: values.build(), provider }
    }
}

impl ReservedNames {
    /// These names, in any [spelling](compare_spelling).
    #[must_use]
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut by_length = Box::new([const { NamesOfLength { ends: 0, names: Vec::new() } }; 64]);
        for name in names {
            let name = name.to_ascii_lowercase().replace('_', "-");
            if let Some(same) = by_length.get_mut(length_index(name.as_bytes())) {
                same.ends |= end_bit(name.as_bytes());
                same.names.push(name);
            }
        }
        for same in by_length.iter_mut() {
            same.names.sort_unstable();
            same.names.dedup();
        }
        Self { by_length }
    }

    /// The names of a request's fields that are reserved for this plugin. CGI and WSGI servers treat
    /// `_` like `-`, so both spellings count.
    #[must_use]
    pub(crate) fn forged(&self, head: RequestHead<'_>) -> Vec<Cow<'static, str>> {
        let mut forged: Vec<Cow<'static, str>> = Vec::new();
        for name in head.names() {
            if self.is_reserved(name) && !forged.iter().any(|known| known.as_bytes() == name) {
                // Reserved names are ASCII, so the conversion is lossless.
                forged.push(Cow::Owned(String::from_utf8_lossy(name).into_owned()));
            }
        }
        forged
    }

    /// True when the field name is reserved for this plugin.
    #[must_use]
    pub(crate) fn is_reserved(&self, name: &[u8]) -> bool {
        let Some(same) = self.by_length.get(length_index(name)) else { return false };
        same.ends & end_bit(name) != 0
            && same.names.binary_search_by(|reserved| compare_spelling(reserved, name)).is_ok()
    }
}

impl IdentityFields {
    /// Names and values of the headers that are sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.names.iter().map(String::as_str);
        names.zip(self.values.iter()).filter(|(_, value)| !value.is_empty())
    }

    /// The mapped user, for access logs.
    #[must_use]
    pub fn user(&self) -> &str {
        self.values.iter().next().unwrap_or_default()
    }

    /// The client id, for access logs; empty if the token names none.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.values.iter().nth(IdentityHeaders::CLIENT_ID).unwrap_or_default()
    }

    /// The provider's name, for access logs.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Approximate size in bytes.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.values.heap_size()
    }
}

/// The bit for the last byte of a name, the same for all its spellings.
fn end_bit(name: &[u8]) -> u64 {
    name.last().map_or(0, |byte| 1 << (plain_byte(*byte) & 63))
}

fn length_index(name: &[u8]) -> usize {
    name.len().min(63)
}

fn write_claim(claim: Json<'_>, to: &mut String) {
    match claim {
        Json::Array(items) => encoding::write_list(items.iter().filter_map(plain), to),
        claim => encoding::write_value(&plain(claim).unwrap_or_default(), to),
    }
}

fn plain(claim: Json<'_>) -> Option<Cow<'_, str>> {
    match claim {
        Json::Null => None,
        Json::Bool(value) => Some(value.to_string().into()),
        Json::Number(value) => Some(value.to_string().into()),
        Json::String(value) => Some(value.into()),
        Json::Array(_) | Json::Object(_) => {
            Some(URL_SAFE_NO_PAD.encode(Value::from(claim).to_string()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::is_spelling;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_name_is_reserved_if_it_is_a_spelling_of_a_reserved_one(
            names in prop::collection::vec("[a-z0-9-]{1,3}|x-[a-c]{1,2}-(user|roles)|[a-b-]{62,65}", 0..12),
            sent in "[a-zA-Z0-9_.~-]{0,3}|[xX].[a-cA-C]{1,2}.(user|ROLES)|[abAB_-]{62,65}",
            chosen in any::<prop::sample::Index>(),
            is_chosen: bool,
        ) {
            let reserved = ReservedNames::new(names.iter().map(String::as_str));
            // A reserved name in another spelling.
            let sent = match names.get(chosen.index(names.len().max(1))) {
                Some(name) if is_chosen => name.to_ascii_uppercase().replace('-', "."),
                _ => sent,
            };
            let expected = names.iter().any(|name| is_spelling(sent.as_bytes(), name));
            prop_assert_eq!(reserved.is_reserved(sent.as_bytes()), expected);
        }
    }
}
