//! Keys that cannot be had, or are not the token's.

use super::super::key_run::MadeCall;
use super::super::outside::NoReply;
use super::super::setup::Written;
use super::super::words::either;
use super::{Case, Remedy};
use crate::callout::{CalloutFault, EndpointFault};
use crate::jose::Misfit;
use crate::keys::{DocumentFault, FetchFault, KeySetFault, KeySource, Start, retraced};
use crate::provider::Provider;

/// A provider whose keys cannot be had.
pub(in super::super) struct KeyFault<'a> {
    pub(in super::super) provider: &'a Provider,
    pub(in super::super) written: Option<Written<'a>>,
    pub(in super::super) calls: &'a [MadeCall],
}

pub(super) fn unavailable(case: &Case<'_>) -> Remedy {
    let Some(provider) = case.provider else {
        return Remedy::new("There are no keys.", "Look at `providers`.");
    };
    let written = case.setup.written(provider);
    keys_unavailable(&KeyFault { provider, written, calls: case.calls })
}

/// Why there are no keys of a provider.
pub(in super::super) fn keys_unavailable(fault: &KeyFault<'_>) -> Remedy {
    let source = match &fault.provider.key_source {
        KeySource::Remote(source) => source,
        KeySource::Static(_) => {
            return Remedy::new("The keys of the configuration serve nothing.", "Replace them.");
        }
    };
    let Some(last) = fault.calls.last() else {
        return Remedy::new("Nothing was fetched.", "Try again.");
    };
    // The second fetch, for a key that the first did not bring, may have failed too.
    let answers = |calls: &[MadeCall]| {
        let first = calls.first().map(|call| call.at).unwrap_or_default();
        retraced(source, calls.iter().map(MadeCall::told), first)
    };
    let reached = match answers(fault.calls) {
        Some(Err(reached)) => Some(reached),
        _ => None,
    };
    fault
        .of_connection(last)
        .or_else(|| reached.and_then(|why| fault.of_answer(last, &why)))
        .unwrap_or_else(|| {
            Remedy::new(
                format!("The keys could not be fetched from {}.", last.url),
                "Look at Envoy's log, which says why.",
            )
        })
}

impl KeyFault<'_> {
    fn at(&self, field: &str) -> String {
        self.written.map_or_else(|| format!("providers[].{field}"), |written| written.path(field))
    }

    /// The field that has the URL which is called first.
    fn start_field(&self) -> String {
        let KeySource::Remote(source) = &self.provider.key_source else { return String::new() };
        match (&source.start, self.written.map(|written| written.template())) {
            (Start::KeySet(_), _) => self.at("jwks_url"),
            (Start::Metadata(_), _) if self.written.is_some_and(|own| own.has("metadata_url")) => {
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

    fn of_connection(&self, call: &MadeCall) -> Option<Remedy> {
        let MadeCall { url, cluster, .. } = call;
        let cause = |what: &str| format!("The keys cannot be fetched: {what}.");
        Some(match call.outcome.as_ref().err()? {
            NoReply::NoCluster => Remedy::new(
                cause(&format!(
                    "Envoy's file has no cluster {cluster:?}, on which {url} is called"
                )),
                format!(
                    "Add the cluster {cluster:?} under `static_resources.clusters`, or correct its name in `{}`.",
                    self.cluster_field()
                ),
            ),
            NoReply::UnknownHost => Remedy::new(
                cause(&format!("the host name of {url} is not known here")),
                format!(
                    "Correct `{}`; or, if the name is right, let this machine and Envoy's resolve it (DNS).",
                    self.start_field()
                ),
            ),
            NoReply::Tls(why) => Remedy::new(
                cause(&format!("the TLS handshake with {url} failed: {why}")),
                format!(
                    "If the provider's certificate is by an authority of your own, name that \
                     authority's certificate as `trusted_ca` of Envoy's cluster {cluster:?}, and here \
                     as `--ca FILE`. If its names do not fit, the host in `{}` or `sni` and \
                     `match_typed_subject_alt_names` of the cluster are wrong.",
                    self.start_field()
                ),
            ),
            NoReply::Unreachable(why) => Remedy::new(
                cause(&format!("{url} cannot be reached ({why})")),
                format!(
                    "Open the way from Envoy to that host (firewall, egress policy, the address in \
                     cluster {cluster:?}), or correct `{}`. Until then no token by a new key can be \
                     judged: keys that were fetched before go on serving for `keys.max_stale`.",
                    self.start_field()
                ),
            ),
            NoReply::TimedOut => Remedy::new(
                cause(&format!("{url} does not answer in time")),
                format!(
                    "Open the way from Envoy to that host (a firewall that drops packets looks like \
                     this), or raise `keys.timeout`. The cluster is {cluster:?}."
                ),
            ),
        })
    }

    fn of_answer(&self, call: &MadeCall, fault: &FetchFault) -> Option<Remedy> {
        let url = &call.url;
        let cause = |what: &str| format!("The keys cannot be fetched: {what}.");
        Some(match fault {
            FetchFault::OtherIssuer { configured, found } => Remedy::new(
                cause(&format!(
                    "the document at {url} is about the issuer {found:?}, and {configured:?} is \
                     configured"
                )),
                format!(
                    "If tokens have `iss` {found:?}, write that as `{}`. If they have \
                     {configured:?}, correct `{}`: it names another tenant, realm or domain.",
                    self.at("issuer"),
                    self.start_field()
                ),
            ),
            FetchFault::KeySetUrl(EndpointFault::NoCluster { host }) => Remedy::new(
                cause(&format!(
                    "discovery names a key set on the host {host}, for which no cluster is configured"
                )),
                format!(
                    "Add `{host}: <cluster>` to `{}`, and a cluster for that host to Envoy's file.",
                    self.at("clusters")
                ),
            ),
            FetchFault::KeySetUrl(why) => Remedy::new(
                cause(&format!("the `jwks_uri` of {url} is not called: it {why}")),
                format!("Correct it at the provider, or give `{}` instead.", self.at("jwks_url")),
            ),
            FetchFault::NoMetadata(member, why) => self.of_document(
                why,
                cause(&format!(
                    "what {url} answers is no metadata document, which has `{member}` as text: {why}"
                )),
            ),
            FetchFault::KeySet(KeySetFault::NoUsableKey(why)) => Remedy::new(
                cause(&format!("{url} publishes no key that could verify a token: {why}")),
                "`mcp-auth keys` lists them with what is wrong with each; the provider must publish a \
                 key for signatures: RSA of 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519.",
            ),
            FetchFault::KeySet(KeySetFault::NoKeySet(why)) => {
                self.of_document(why, cause(&format!("what {url} answers is no key set: {why}")))
            }
            FetchFault::KeySet(why) => Remedy::new(
                cause(&format!("what {url} answers is no key set: {why}")),
                format!("Open the URL in a browser, and correct `{}`.", self.start_field()),
            ),
            FetchFault::Call(CalloutFault::Redirect { status, location }) => Remedy::new(
                cause(&format!(
                    "{url} answers with status {status}, a redirect to {location:?}, and redirects \
                     are not followed"
                )),
                format!("If that is the right place, write it as `{}`.", self.start_field()),
            ),
            FetchFault::Call(CalloutFault::TooLong(limit)) => Remedy::new(
                cause(&format!("the answer of {url} is longer than {} bytes", limit.bytes)),
                format!("Raise `{}` if the document is right.", limit.setting),
            ),
            FetchFault::Call(CalloutFault::Status { status: Some(status), .. }) => {
                self.of_status(url, *status)
            }
            FetchFault::Call(_) => return None,
        })
    }

    /// Something else than the document came.
    fn of_document(&self, fault: &DocumentFault, cause: String) -> Remedy {
        let field = self.start_field();
        let cure = match fault {
            DocumentFault::Certificates => format!(
                "Correct `{field}`: the provider has its keys as a JSON Web Key Set elsewhere (Google: \
                 https://www.googleapis.com/oauth2/v3/certs). Or copy the certificates to `{}`.",
                self.at("certificates")
            ),
            DocumentFault::Compressed(_) => "Let the provider, or the proxy before it, send the \
                 document as it is: the plugin does not ask for compression."
                .to_owned(),
            DocumentFault::MissingMember { name: "keys", others } if others.is_empty() => {
                "The provider has no signing key: give it one (Authentik: \"Signing Key\" of the \
                 OAuth2 provider)."
                    .to_owned()
            }
            DocumentFault::MissingMember { name: "keys", others } if has(others, "jwks_uri") => {
                format!(
                    "That is a metadata document: write its URL as `{}` instead.",
                    self.at("metadata_url")
                )
            }
            DocumentFault::MissingMember { others, .. } if has(others, "keys") => {
                format!("That is a key set: write its URL as `{}` instead.", self.at("jwks_url"))
            }
            DocumentFault::SingleKey => format!(
                "Correct `{field}`; or copy the key to `{}`, as `{{keys: [ … ]}}`.",
                self.at("jwks")
            ),
            DocumentFault::Empty
            | DocumentFault::MemberTooLong(_)
            | DocumentFault::MissingMember { .. }
            | DocumentFault::NotAnObject(_)
            | DocumentFault::NotJson(_)
            | DocumentFault::WrongType { .. } => {
                return Remedy::new(
                    format!("{cause} A login page or a proxy may have answered."),
                    format!("Open the URL in a browser, and correct `{field}`."),
                );
            }
        };
        Remedy::new(cause, cure)
    }

    fn of_status(&self, url: &str, status: u16) -> Remedy {
        let cause = format!("The keys cannot be fetched: {url} answers with status {status}");
        match status {
            300..=399 => Remedy::new(
                format!("{cause}, a redirect that does not say where to."),
                format!("Open the URL in a browser, and correct `{}`.", self.start_field()),
            ),
            400 | 404 | 410 => Remedy::new(
                format!(
                    "{cause}: there is no such document. The tenant, realm or path is not right."
                ),
                format!("Correct `{}`.", self.start_field()),
            ),
            401 | 403 | 407 => Remedy::new(
                format!("{cause}: somebody on the way (a proxy, a firewall) refuses."),
                "Let Envoy fetch it without a login.",
            ),
            _ => Remedy::new(
                format!("{cause}."),
                "The provider is at fault for now; keys that were fetched before go on serving. Try \
                 again later.",
            ),
        }
    }

    fn cluster_field(&self) -> String {
        let field = if self.written.is_some_and(|own| own.has("clusters")) {
            "clusters"
        } else {
            "cluster"
        };
        self.at(field)
    }
}

fn has(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name == wanted)
}

pub(super) fn unknown_kid(case: &Case<'_>, kid: Option<&str>) -> Remedy {
    let kids: Vec<String> = case.kids();
    let cause = match kid {
        Some(kid) => format!(
            "The token names the key {kid:?}, and the provider publishes only {}.",
            either(&kids)
        ),
        None => "The token names no key, and none that the provider publishes is of its algorithm."
            .to_owned(),
    };
    let has = |field: &str| {
        let written = case.provider.and_then(|provider| case.setup.written(provider));
        written.is_some_and(|written| written.has(field))
    };
    if case.uses_given_keys {
        return Remedy::new(
            format!("{cause} These are the keys of the file that was given."),
            "Take a newer key set from the provider; or leave `--keys` out, to fetch them.",
        );
    }
    if let Some(field) = ["jwks", "certificates"].into_iter().find(|field| has(field)) {
        return Remedy::new(
            format!(
                "{cause} These stand in the configuration: the provider has changed its key since."
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
            format!(
                "{cause} The key was withdrawn since the token was issued, or the token is of \
                 another environment that calls itself by the same issuer."
            ),
            format!(
                "Let the client get a new token. If that one is refused too, compare where it comes \
                 from with `{}`, and see `mcp-auth keys`.",
                case.at(if has("jwks_url") { "jwks_url" } else { "metadata_url" })
            ),
        ),
    }
}

pub(super) fn misfit(case: &Case<'_>, misfit: &Misfit) -> Remedy {
    let cure = match misfit {
        Misfit::Use(_) | Misfit::Operations => {
            "Let the provider publish its signing keys with `use: sig`, and sign with one of them."
        }
        Misfit::Unusable(_) => {
            "Let the provider sign with an RSA key of 2048 to 4096 bits, or with P-256, P-384, P-521 \
             or Ed25519."
        }
        Misfit::Algorithm { .. } | Misfit::Type { .. } => {
            "Let the provider publish the key with the `alg` that it signs with. If it does, the \
             token was not made by it."
        }
    };
    let kid = case.header.get("kid").map(ToString::to_string).unwrap_or_default();
    Remedy::new(
        format!("The key {kid} of the provider must not verify this token: {misfit}."),
        cure,
    )
}

pub(super) fn bad_signature(case: &Case<'_>) -> Remedy {
    Remedy::new(
        "The provider has a key of the name that the token gives, but the token was not signed with \
         it, or was changed afterwards: a letter lost while copying is enough.",
        format!(
            "Copy the token anew. If it is whole, it comes from another environment (test, \
             production) that calls itself by the same issuer, or from a forger: compare with `{}`.",
            if case.uses_given_keys { "--keys".to_owned() } else { case.at("metadata_url") }
        ),
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
