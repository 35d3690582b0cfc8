//! Why a fetch returned no key set: with all data for the worker that fetched, and as a code and a
//! sentence for everything else.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DocumentFault, KeySetFault};
use crate::callout::{CalloutFault, CalloutResponse, EndpointFault};

/// Why a fetch returned no key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchFault {
    /// The callout failed, or its response is not usable.
    Callout(CalloutFault),
    /// The response is not a usable key set.
    KeySet(KeySetFault),
    /// The key set's URL may not be called.
    KeySetUrl(EndpointFault),
    /// The metadata document is not a JSON object, or this member is missing or not a string.
    Metadata(&'static str, DocumentFault),
    /// The metadata document belongs to another issuer (OpenID Connect Discovery §4.3).
    OtherIssuer {
        /// The configured issuer.
        configured: String,
        /// The `issuer` of the document, clipped.
        found: String,
    },
}

/// A fetch that failed, as workers report it to each other in shared data and to the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FetchFailure {
    /// The fault for programs.
    pub code: FetchFaultCode,
    /// The fault for people: a sentence without its full stop, at most 400 characters.
    pub cause: String,
}

/// Makes the enum of codes, the list of all, and the fix of each from one table.
macro_rules! fetch_fault_codes {
    ($($(#[$doc:meta])+ $code:ident $fix:literal)+) => {
        /// The kinds of [`FetchFault`] that are fixed in different ways. The codes are stable:
        /// `status.json` and shared data have them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum FetchFaultCode {
            $($(#[$doc])+ $code,)+
        }

        impl FetchFaultCode {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$code),+];

            /// What to change, and where: sentences, with names in backticks.
            #[must_use]
            pub(crate) fn fix(self) -> &'static str {
                match self {
                    $(Self::$code => $fix,)+
                }
            }
        }
    };
}

fetch_fault_codes! {
    /// A proxy, firewall or the provider requires credentials: status 401, 403 or 407.
    AccessRefused
        "Something on the network path, such as a proxy or a firewall, requires credentials: let \
         Envoy fetch the document without credentials."

    /// Envoy does not know the cluster, or none of its hosts is healthy.
    ClusterUnavailable
        "Add that cluster to Envoy's configuration, or correct its name in `cluster` or \
         `clusters`. If it is there, none of its hosts is healthy: check that its name resolves \
         in DNS."

    /// The document is compressed.
    Compressed
        "Have the provider, or the proxy in front of it, send the document uncompressed: the \
         plugin does not request compression."

    /// Envoy reports that it could not connect.
    ConnectionFailed
        "Envoy cannot connect. Check the address in the cluster, DNS, firewall and egress rules, \
         whether the provider is up, and whether its certificate is trusted (`trusted_ca`, `sni`, \
         `match_typed_subject_alt_names`). `mcp-auth keys`, run on Envoy's machine, shows \
         which."

    /// No cluster is configured for the host of the key set's URL.
    HostWithoutCluster
        "Add that host to the provider's `clusters`, and a cluster for it to Envoy's \
         configuration."

    /// The `jwks_uri` of the metadata is not a URL that may be called.
    InvalidJwksUri
        "Correct it at the provider, or set `jwks_url` instead."

    /// The metadata belongs to another issuer.
    IssuerMismatch
        "Correct `issuer`, or the URL or template input (tenant, domain, realm) that led to \
         another provider's document."

    /// No response in time, or the connection broke.
    NoResponse
        "Allow traffic from Envoy to that host (a firewall that drops packets looks like \
         this), or raise `keys.timeout`."

    /// The provider publishes an empty object: it has no signing key.
    NoSigningKey
        "The provider has no signing key: give it one (Authentik: \"Signing Key\" of the \
         OAuth2 provider)."

    /// No key of the set can verify a token.
    NoUsableKey
        "The provider must publish a key for signatures: RSA of 2048 to 4096 bits, P-256, \
         P-384, P-521 or Ed25519. `mcp-auth keys` shows what is wrong with each."

    /// There is no such document: status 400, 404 or 410.
    NotFound
        "There is no such document: correct the URL or the template's input (tenant, domain, \
         realm), and open the URL in a browser."

    /// A redirect, which is not followed.
    Redirect
        "Redirects are not followed: configure the address that it leads to, if that is the \
         provider's."

    /// The response is longer than `keys.max_body`.
    ResponseTooLong
        "Raise `keys.max_body` if the document is the right one."

    /// The provider, or a proxy in front of it, fails: status 5xx.
    ServerError
        "The provider fails, or a proxy in front of it: check their status. Keys already \
         fetched stay in use."

    /// Envoy reports that the TLS handshake failed.
    TlsFailed
        "Envoy does not accept the provider's certificate. Name its authority as \
         `trusted_ca` of the cluster; `sni` and `match_typed_subject_alt_names` must fit the \
         provider's host."

    /// Any other status but 200.
    UnexpectedStatus
        "Fetch the URL from Envoy's machine: the body of the response says why."

    /// Something other than metadata or a key set.
    WrongDocument
        "Something else responded, such as a login page or a proxy: open the URL in a \
         browser, and correct it."
}

impl FetchFault {
    /// The kind of the fault.
    #[must_use]
    pub(crate) fn code(&self) -> FetchFaultCode {
        use FetchFaultCode as Code;
        match self {
            Self::Callout(fault) => Code::from(fault),
            Self::KeySet(KeySetFault::NoUsableKey(_)) => Code::NoUsableKey,
            Self::KeySet(KeySetFault::NotAKeySet(DocumentFault::MissingMember {
                others, ..
            })) if others.is_empty() => Code::NoSigningKey,
            Self::KeySet(KeySetFault::NotAKeySet(DocumentFault::Compressed(_)))
            | Self::Metadata(_, DocumentFault::Compressed(_)) => Code::Compressed,
            Self::KeySet(KeySetFault::NotAKeySet(_) | KeySetFault::TooManyKeys(_))
            | Self::Metadata(..) => Code::WrongDocument,
            Self::KeySetUrl(EndpointFault::NoCluster { .. }) => Code::HostWithoutCluster,
            Self::KeySetUrl(EndpointFault::Insecure | EndpointFault::NotAUrl) => {
                Code::InvalidJwksUri
            }
            Self::OtherIssuer { .. } => Code::IssuerMismatch,
        }
    }

    /// Adds what the response headers reveal.
    #[must_use]
    pub(super) fn explained_by(self, response: &CalloutResponse) -> Self {
        match self {
            Self::KeySet(KeySetFault::NotAKeySet(fault)) => {
                Self::KeySet(KeySetFault::NotAKeySet(fault.explained_by(response)))
            }
            Self::Metadata(member, fault) => Self::Metadata(member, fault.explained_by(response)),
            other => other,
        }
    }
}

impl fmt::Display for FetchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(why) => why.fmt(f),
            Self::KeySet(why) => write!(f, "the key set is not usable: {why}"),
            Self::KeySetUrl(why) => write!(f, "the jwks_uri from the metadata document: {why}"),
            Self::Metadata(name, why) => {
                write!(f, "the metadata document is not JSON with a string member {name}: {why}")
            }
            Self::OtherIssuer { configured, found } => write!(
                f,
                "the metadata document says issuer {found:?}, but {configured:?} is configured"
            ),
        }
    }
}

impl FetchFailure {
    /// Maximum length of a cause in characters: it is kept in shared data.
    const MAX_CAUSE: usize = 400;

    /// The failure of a fetch whose last callout was to this URL.
    #[must_use]
    pub(super) fn new(url: &str, fault: &FetchFault) -> Self {
        let cause = format!("fetching keys from {url} failed: {fault}");
        Self { code: fault.code(), cause: cause.chars().take(Self::MAX_CAUSE).collect() }
    }
}

impl FetchFaultCode {
    /// Classifies a status other than 200. If Envoy gets no response, it creates one with status
    /// 503 or 504 whose body says why.
    fn from_status(status: u16, body: &str) -> Self {
        match status {
            503 if body.contains("TLS_error") => Self::TlsFailed,
            503 if body.contains("upstream connect error") => Self::ConnectionFailed,
            503 if body.contains("no healthy upstream") => Self::ConnectionFailed,
            504 if body.contains("upstream request timeout") => Self::NoResponse,
            300..=399 => Self::Redirect,
            400 | 404 | 410 => Self::NotFound,
            401 | 403 | 407 => Self::AccessRefused,
            500..=599 => Self::ServerError,
            _ => Self::UnexpectedStatus,
        }
    }
}

impl From<&CalloutFault> for FetchFaultCode {
    fn from(fault: &CalloutFault) -> Self {
        match fault {
            CalloutFault::Dispatch { .. } => Self::ClusterUnavailable,
            CalloutFault::NoResponse => Self::NoResponse,
            CalloutFault::Redirect { .. } => Self::Redirect,
            CalloutFault::Status { status: None, .. } => Self::UnexpectedStatus,
            CalloutFault::Status { status: Some(status), body } => Self::from_status(*status, body),
            CalloutFault::TooLong(_) => Self::ResponseTooLong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callout::BodyLimit;
    use crate::keys::KeySet;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn each_fault_has_the_code_of_its_fix() {
        use FetchFaultCode as Code;
        let status = |status, body: &str| {
            FetchFault::Callout(CalloutFault::Status {
                status: Some(status),
                body: body.to_owned(),
            })
        };
        let key_set =
            |document: &[u8]| FetchFault::KeySet(KeySet::from_json(document).unwrap_err());
        let not_a_key_set = |why| FetchFault::KeySet(KeySetFault::NotAKeySet(why));
        let connect = "upstream connect error or disconnect/reset before headers. reset reason: remote \
                       connection failure, transport failure reason: ";
        let tls = format!("{connect}TLS_error:|268435581:SSL routines");
        let refused = format!("{connect}delayed connect error: Connection refused");
        let redirect = CalloutFault::Redirect { status: 302, location: "https://b/".to_owned() };
        let limit = BodyLimit { bytes: 1, setting: "keys.max_body" };
        for (fault, code) in [
            (
                FetchFault::Callout(CalloutFault::Dispatch { cluster: "id".to_owned() }),
                Code::ClusterUnavailable,
            ),
            (FetchFault::Callout(CalloutFault::NoResponse), Code::NoResponse),
            (FetchFault::Callout(redirect), Code::Redirect),
            (FetchFault::Callout(CalloutFault::TooLong(limit)), Code::ResponseTooLong),
            (
                FetchFault::Callout(CalloutFault::Status { status: None, body: String::new() }),
                Code::UnexpectedStatus,
            ),
            (status(503, &tls), Code::TlsFailed),
            (status(503, &refused), Code::ConnectionFailed),
            (status(503, "no healthy upstream"), Code::ConnectionFailed),
            (status(504, "upstream request timeout"), Code::NoResponse),
            (status(503, "no keys today"), Code::ServerError),
            (status(500, "TLS_error"), Code::ServerError),
            (status(302, ""), Code::Redirect),
            (status(404, "Not Found"), Code::NotFound),
            (status(403, ""), Code::AccessRefused),
            (status(429, ""), Code::UnexpectedStatus),
            (status(204, ""), Code::UnexpectedStatus),
            (
                FetchFault::KeySetUrl(EndpointFault::NoCluster { host: "a".to_owned() }),
                Code::HostWithoutCluster,
            ),
            (FetchFault::KeySetUrl(EndpointFault::Insecure), Code::InvalidJwksUri),
            (
                FetchFault::OtherIssuer { configured: "a".to_owned(), found: "b".to_owned() },
                Code::IssuerMismatch,
            ),
            (key_set(br#"{"keys":[]}"#), Code::NoUsableKey),
            (key_set(br#"{"keys":[{"kty":"RSA","n":"!"}]}"#), Code::NoUsableKey),
            (key_set(b"{}"), Code::NoSigningKey),
            (key_set(br#"{"issuer":"a"}"#), Code::WrongDocument),
            (key_set(b"<html>"), Code::WrongDocument),
            (not_a_key_set(DocumentFault::Compressed("gzip".to_owned())), Code::Compressed),
            (FetchFault::KeySet(KeySetFault::TooManyKeys(1001)), Code::WrongDocument),
            (FetchFault::Metadata("issuer", DocumentFault::Empty), Code::WrongDocument),
            (
                FetchFault::Metadata("issuer", DocumentFault::Compressed("br".to_owned())),
                Code::Compressed,
            ),
        ] {
            assert_eq!(fault.code(), code, "{fault}");
        }
    }

    #[test]
    fn the_troubleshooting_page_has_the_fix_of_each_code() {
        const PAGE: &str = include_str!("../../docs/troubleshooting.md");
        let rows = FetchFaultCode::ALL.iter().map(|code| {
            let name = serde_json::to_value(code).unwrap();
            format!("| `{}` | {} |\n", name.as_str().unwrap(), code.fix())
        });
        let table =
            format!("| `failure.code` | fix |\n| --- | --- |\n{}", rows.collect::<String>());
        assert!(PAGE.contains(&format!("\n\n{table}\n")), "the table should be:\n{table}");
    }

    #[test]
    fn a_failure_is_short_and_has_a_known_code() {
        let body = "é".repeat(240);
        let fault = FetchFault::Callout(CalloutFault::Status { status: Some(500), body });
        let url = format!("https://id.example.com/{}", "x".repeat(1000));
        let failure = FetchFailure::new(&url, &fault);
        assert_eq!(failure.cause.chars().count(), 400);
        let json = serde_json::to_value(&failure).unwrap();
        assert_eq!(json["code"], "server_error");
        assert_eq!(serde_json::from_value::<FetchFailure>(json.clone()).unwrap(), failure);
        for (member, value) in [("code", "later"), ("hint", "x")] {
            let mut other = json.clone();
            other[member] = value.into();
            assert!(serde_json::from_value::<FetchFailure>(other).is_err(), "{member}");
        }
    }
}
