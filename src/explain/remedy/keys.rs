//! Keys that are unavailable, or do not match the token.

use super::super::offline::CompletedCallout;
use super::super::outside::CalloutError;
use super::super::setup::Written;
use super::super::words::either;
use super::{Case, Remedy};
use crate::callout::EndpointFault;
use crate::jose::KeyMismatch;
use crate::keys::{DocumentFault, FetchFault, FetchFaultCode, KeySetFault, KeySource, Start};
use crate::provider::Provider;

/// A provider whose keys are unavailable.
pub(in super::super) struct KeyFault<'a> {
    pub(in super::super) provider: &'a Provider,
    pub(in super::super) written: Option<Written<'a>>,
    /// The last callout.
    pub(in super::super) last: Option<&'a CompletedCallout>,
    /// Why the last fetch failed.
    pub(in super::super) fault: Option<&'a FetchFault>,
}

pub(super) fn unavailable(case: &Case<'_>) -> Remedy {
    let Some(provider) = case.provider else {
        return Remedy::new("There are no keys.", "Look at `providers`.");
    };
    let written = case.setup.written(provider);
    let (last, fault) = (case.callouts.last(), case.fetch_fault);
    keys_unavailable(&KeyFault { provider, written, last, fault })
}

/// Why a provider's keys are unavailable.
pub(in super::super) fn keys_unavailable(fault: &KeyFault<'_>) -> Remedy {
    if let KeySource::Static(_) = fault.provider.key_source {
        return Remedy::new("None of the configured keys can verify a token.", "Replace them.");
    }
    let (Some(last), Some(why)) = (fault.last, fault.fault) else {
        return Remedy::new("Nothing was fetched.", "Try again.");
    };
    fault.for_connection(last).unwrap_or_else(|| fault.for_response(last, why))
}

impl KeyFault<'_> {
    fn at(&self, field: &str) -> String {
        self.written.map_or_else(|| format!("providers[].{field}"), |written| written.path(field))
    }

    /// The field with the URL that is called first.
    fn start_field(&self) -> String {
        let KeySource::Remote(source) = &self.provider.key_source else { return String::new() };
        match (&source.start, self.written.map(|written| written.template())) {
            (Start::KeySet(_), _) => self.at("jwks_url"),
            (Start::Metadata(_), _)
                if self.written.is_some_and(|written| written.has("metadata_url")) =>
            {
                self.at("metadata_url")
            }
            (_, Some("entra_id")) => self.at("tenant"),
            (_, Some("okta")) => {
                format!("{}` and `{}", self.at("domain"), self.at("authorization_server"))
            }
            (_, Some("auth0")) => self.at("domain"),
            (_, Some("adfs")) => self.at("host"),
            (_, Some("keycloak")) => format!("{}` and `{}", self.at("host"), self.at("realm")),
            _ => self.at("metadata_url"),
        }
    }

    fn for_connection(&self, call: &CompletedCallout) -> Option<Remedy> {
        let CompletedCallout { url, cluster, .. } = call;
        let cause = |what: &str| format!("The keys cannot be fetched: {what}.");
        Some(match call.outcome.as_ref().err()? {
            CalloutError::NoCluster => Remedy::new(
                cause(&format!(
                    "Envoy's file has no cluster {cluster:?}, on which {url} is called"
                )),
                format!(
                    "Add the cluster {cluster:?} under `static_resources.clusters`, or correct its name in `{}`.",
                    self.cluster_field()
                ),
            ),
            CalloutError::UnknownHost => Remedy::new(
                cause(&format!("the host name of {url} does not resolve here")),
                format!(
                    "Correct `{}`; or, if the name is right, make sure that this machine and Envoy's can resolve it (DNS).",
                    self.start_field()
                ),
            ),
            CalloutError::Tls(why) => Remedy::new(
                cause(&format!("the TLS handshake with {url} failed: {why}")),
                format!(
                    "If the provider's certificate is issued by your own authority, name that \
                     authority's certificate as `trusted_ca` of Envoy's cluster {cluster:?}, and \
                     here as `--ca FILE`. If its names do not fit, the host in `{}` or `sni` and \
                     `match_typed_subject_alt_names` of the cluster are wrong.",
                    self.start_field()
                ),
            ),
            CalloutError::Unreachable(why) => Remedy::new(
                cause(&format!("{url} cannot be reached ({why})")),
                format!(
                    "Allow traffic from Envoy to that host (firewall, egress policy, the address in \
                     cluster {cluster:?}), or correct `{}`. Until then no token with a new key can \
                     be verified: keys already fetched stay in use for `keys.max_stale`.",
                    self.start_field()
                ),
            ),
            CalloutError::TimedOut => Remedy::new(
                cause(&format!("{url} does not respond in time")),
                format!(
                    "Allow traffic from Envoy to that host (a firewall that drops packets looks like \
                     this), or raise `keys.timeout`. The cluster is {cluster:?}."
                ),
            ),
        })
    }

    fn for_response(&self, call: &CompletedCallout, fault: &FetchFault) -> Remedy {
        let cause = format!("Keys cannot be fetched from {}: {fault}.", call.url);
        Remedy::new(cause, self.fix(fault))
    }

    /// What to change: from the data of the fault, or from its code.
    fn fix(&self, fault: &FetchFault) -> String {
        match fault {
            FetchFault::OtherIssuer { configured, found } => format!(
                "If tokens have `iss` {found:?}, set `{}` to that. If they have {configured:?}, \
                 correct `{}`: it names another tenant, realm or domain.",
                self.at("issuer"),
                self.start_field()
            ),
            FetchFault::KeySetUrl(EndpointFault::NoCluster { host }) => format!(
                "Add `{host}: <cluster>` to `{}`, and a cluster for that host to Envoy's file.",
                self.at("clusters")
            ),
            FetchFault::Metadata(_, why) | FetchFault::KeySet(KeySetFault::NotAKeySet(why)) => {
                self.document_fix(why).unwrap_or_else(|| self.common_fix(fault.code()))
            }
            FetchFault::Callout(_) | FetchFault::KeySet(_) | FetchFault::KeySetUrl(_) => {
                self.common_fix(fault.code())
            }
        }
    }

    /// What to change if a known kind of other document was returned.
    fn document_fix(&self, fault: &DocumentFault) -> Option<String> {
        let has = |names: &[String], wanted| names.iter().any(|name| name == wanted);
        Some(match fault {
            DocumentFault::Certificates => format!(
                "Correct `{}`: the provider has its keys as a JSON Web Key Set elsewhere (Google: \
                 https://www.googleapis.com/oauth2/v3/certs). Or copy the certificates to `{}`.",
                self.start_field(),
                self.at("certificates")
            ),
            DocumentFault::MissingMember { name: "keys", others } if has(others, "jwks_uri") => {
                format!(
                    "That is a metadata document: configure its URL as `{}` instead.",
                    self.at("metadata_url")
                )
            }
            DocumentFault::MissingMember { others, .. } if has(others, "keys") => {
                format!(
                    "That is a key set: configure its URL as `{}` instead.",
                    self.at("jwks_url")
                )
            }
            DocumentFault::SingleKey => format!(
                "Correct `{}`; or copy the key to `{}`, as `{{keys: [ … ]}}`.",
                self.start_field(),
                self.at("jwks")
            ),
            DocumentFault::Compressed(_)
            | DocumentFault::Empty
            | DocumentFault::MemberTooLong(_)
            | DocumentFault::MissingMember { .. }
            | DocumentFault::NotAnObject(_)
            | DocumentFault::NotJson(_)
            | DocumentFault::WrongType { .. } => return None,
        })
    }

    fn common_fix(&self, code: FetchFaultCode) -> String {
        use FetchFaultCode::{NotFound, Redirect, WrongDocument};
        let is_of_url = matches!(code, NotFound | Redirect | WrongDocument);
        let origin = if is_of_url {
            format!(" It comes from `{}`.", self.start_field())
        } else {
            String::new()
        };
        format!("{}{origin}", code.fix())
    }

    fn cluster_field(&self) -> String {
        let field = if self.written.is_some_and(|written| written.has("clusters")) {
            "clusters"
        } else {
            "cluster"
        };
        self.at(field)
    }
}

pub(super) fn unknown_kid(case: &Case<'_>, kid: Option<&str>) -> Remedy {
    let kids: Vec<String> = case.kids();
    let cause = match kid {
        Some(kid) => format!(
            "The token names the key {kid:?}, but the provider publishes only {}.",
            either(&kids)
        ),
        None => {
            "The token names no key, and the provider publishes none for its algorithm.".to_owned()
        }
    };
    let has = |field: &str| {
        let written = case.provider.and_then(|provider| case.setup.written(provider));
        written.is_some_and(|written| written.has(field))
    };
    if case.uses_given_keys {
        return Remedy::new(
            format!("{cause} The keys are those of the given file."),
            "Get a newer key set from the provider; or omit `--keys`, so that the keys are \
             fetched.",
        );
    }
    if let Some(field) = ["jwks", "certificates"].into_iter().find(|field| has(field)) {
        return Remedy::new(
            format!(
                "{cause} The keys are part of the configuration: the provider has changed its \
                 key since."
            ),
            format!(
                "Put the new key into `{}`; or give `metadata_url` or `jwks_url` with a cluster \
                 instead, so that the plugin follows each change.",
                case.at(field)
            ),
        );
    }
    match case.template() {
        "entra_id" => Remedy::new(
            format!(
                "{cause} Issuer and tenant are right, so the application probably has a signing key \
                 of its own, as claims mapping gives it."
            ),
            format!(
                "Set `{}` to the tenant's metadata URL with `?appid={}` at its end.",
                case.at("metadata_url"),
                case.text("aud").unwrap_or("<client id>").trim_start_matches("api://")
            ),
        ),
        _ => Remedy::new(
            cause,
            format!(
                "{} The keys come from `{}`; see `mcp-auth keys`.",
                case.fix(),
                case.at(if has("jwks_url") { "jwks_url" } else { "metadata_url" })
            ),
        ),
    }
}

pub(super) fn mismatch(case: &Case<'_>, mismatch: &KeyMismatch) -> Remedy {
    let fix = match mismatch {
        KeyMismatch::Use(_) | KeyMismatch::Operations => case.fix().to_owned(),
        KeyMismatch::Unusable(_) => {
            "Have the provider sign with an RSA key of 2048 to 4096 bits, or with P-256, P-384, P-521 \
             or Ed25519."
                .to_owned()
        }
        KeyMismatch::Algorithm { .. } | KeyMismatch::Type { .. } => {
            format!("{} If it does, the token is not from this provider.", case.fix())
        }
    };
    let kid = case.header.get("kid").map(ToString::to_string).unwrap_or_default();
    Remedy::new(
        format!("The key {kid} of the provider may not verify this token: {mismatch}."),
        fix,
    )
}

pub(super) fn bad_signature(case: &Case<'_>) -> Remedy {
    let source = if case.uses_given_keys { "--keys".to_owned() } else { case.at("metadata_url") };
    Remedy::new(
        "The provider has a key with the token's kid, but the token was not signed with it, or \
         was changed afterwards.",
        format!("{} The keys come from `{source}`.", case.fix()),
    )
}

impl Case<'_> {
    /// The keys that the provider publishes.
    fn kids(&self) -> Vec<String> {
        let details = self.refusal.details();
        let published = details.get("published").and_then(serde_json::Value::as_array);
        let kids = published.into_iter().flatten().filter_map(serde_json::Value::as_str);
        kids.map(str::to_owned).collect()
    }
}
