//! `login`: the gateway as the authorization server that clients see.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Faults;
use super::defaults::{LOGIN_PATH, LOGIN_REGISTRATION};
use super::field::{Field, UnknownFields, refuse_unknown};
use super::secret::ReadSecret;
use crate::access::CanonicalPath;
use crate::callout::Clusters;
use crate::claim::AudienceClaim;
use crate::login::{
    ClientName, ConfiguredClient, ConsentMode, Issuer, Login, LoginProvider, LoginResource,
    RedirectPolicy, RedirectUri,
};
use crate::provider::{ProviderId, ProviderMap, Providers};
use crate::resource::{ProtectedResource, ResourceId, Resources};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawLogin {
    /// The issuer that clients see: an origin that reaches this listener. A host of its own keeps
    /// the page apart from what MCP servers serve. Default: the origin of the resource's `url`.
    pub(super) issuer: Field<String>,
    /// The path prefix of the endpoints.
    pub(super) path: Field<String>,
    /// Whether clients may register themselves (RFC 7591).
    pub(super) registration: Field<bool>,
    /// Redirect URIs that registering clients may use: URIs, compared exactly, and `loopback` for
    /// any port and path of localhost, 127.0.0.1 and `[::1]`. Default: `loopback`, and the published
    /// URIs of Claude, VS Code and Cursor.
    pub(super) redirect_uris: Field<Vec<String>>,
    /// Clients that need not register. Default: none.
    pub(super) clients: Field<Vec<Field<RawClient>>>,
    /// Hosts whose client ID metadata documents are accepted, each with the Envoy cluster on which
    /// it is called. Default: none.
    pub(super) client_metadata: Field<BTreeMap<String, String>>,
    /// How often people are asked for consent.
    pub(super) consent: Field<RawConsent>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawClient {
    /// Its `client_id`.
    pub(super) client_id: Field<String>,
    /// Its redirect URIs, compared exactly; loopback URIs match with any port.
    pub(super) redirect_uris: Field<Vec<String>>,
    /// Its name on the page. Default: none.
    pub(super) name: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawConsent {
    /// At each login.
    #[default]
    Always,
    /// Once for each client, redirect URI, resource and provider, for 90 days in the same browser.
    Remember,
}

/// The parts of the configuration that the login depends on.
pub(super) struct Surroundings<'a> {
    pub(super) secret: ReadSecret,
    /// Whether any active provider, faulty ones included, has `login`.
    pub(super) has_login: bool,
    pub(super) logins: ProviderMap<Option<LoginProvider>>,
    pub(super) providers: &'a Providers,
    pub(super) resources: &'a Resources,
}

/// Redirect URIs that clients publish, and that are allowed by default.
const PUBLISHED_REDIRECT_URIS: [&str; 5] = [
    "https://claude.ai/api/mcp/auth_callback",
    "https://claude.com/api/mcp/auth_callback",
    "https://vscode.dev/redirect",
    "https://insiders.vscode.dev/redirect",
    "cursor://anysphere.cursor-mcp/oauth/callback",
];
/// Means all redirect URIs on loopback hosts.
const LOOPBACK: &str = "loopback";

/// The login, if it is configured.
pub(super) fn login(
    raw: Field<RawLogin>,
    surroundings: Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Login> {
    if matches!(raw, Field::Absent) {
        if surroundings.has_login {
            faults.add("login", "is required because a provider has login");
        }
        return None;
    }
    let raw = raw.optional("login", faults)?;
    refuse_unknown("login.", &raw.unknown, faults);
    if surroundings.secret.is_absent() {
        faults.add("login", "needs secret, which seals what clients and browsers send back");
    }
    if !surroundings.has_login {
        faults.add("login", "needs at least one provider that has login");
    }
    let issuer = issuer(raw.issuer, surroundings.resources, faults);
    let path = path(raw.path, surroundings.resources, faults);
    let registers = LOGIN_REGISTRATION.read(raw.registration, "login.registration", faults);
    let redirect_policy = redirect_policy(raw.redirect_uris, faults);
    let clients = clients(raw.clients, faults);
    let client_documents = client_documents(raw.client_metadata, faults);
    if !registers && clients.is_empty() && client_documents.is_none() {
        let problem = "needs registration, clients or client_metadata: no client could log in";
        faults.add("login", problem);
    }
    if registers && redirect_policy.is_empty() {
        faults.add("login.redirect_uris", "must not be empty while registration is true");
    }
    let consent = match raw.consent.or_default("login.consent", faults) {
        RawConsent::Always => ConsentMode::Always,
        RawConsent::Remember => ConsentMode::Remember,
    };
    let (issuer, has_any_authority) = issuer?;
    let login_resources = login_resources(&surroundings);
    let is_on_its_host = |authority: &str| issuer.is_on_host_of(authority.as_bytes());
    Some(Login {
        has_own_host: !surroundings.resources.any_authority(is_on_its_host),
        issuer,
        has_any_authority,
        path: path?,
        registers,
        redirect_policy,
        clients,
        client_documents,
        consent,
        sealer: surroundings.secret.sealer()?.clone(),
        resources: login_resources,
        providers: surroundings.logins,
    })
}

/// The issuer, and whether the login responds under any authority.
fn issuer(
    raw: Field<String>,
    resources: &Resources,
    faults: &mut Faults,
) -> Option<(Issuer, bool)> {
    let has_any_authority = resources.outside().is_none();
    let mut origins = resources.iter().map(|resource| Issuer::from_url(resource.url.as_str()));
    let first = origins.next();
    let is_one = origins.all(|other| Some(&other) == first.as_ref());
    match raw.optional("login.issuer", faults) {
        Some(given) => match Issuer::parse(&given) {
            Ok(issuer) => {
                let is_of_resource = first == Some(Ok(issuer.clone()));
                Some((issuer, is_of_resource && has_any_authority))
            }
            Err(fault) => {
                faults.add("login.issuer", fault.to_string());
                None
            }
        },
        None if is_one => {
            // A resource without a usable URL has already been reported.
            first?.ok().map(|issuer| (issuer, has_any_authority))
        }
        None => {
            faults.add("login.issuer", "is required because the resources have several origins");
            None
        }
    }
}

fn path(raw: Field<String>, resources: &Resources, faults: &mut Faults) -> Option<String> {
    let path: String = LOGIN_PATH.read(raw, "login.path", faults);
    let canonical = CanonicalPath::parse(path.as_bytes());
    let canonical = canonical.filter(|canonical| {
        let is_plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~')
        };
        canonical.as_bytes() == path.as_bytes()
            && !canonical.is_root()
            && path.bytes().all(is_plain)
    });
    let Some(canonical) = canonical else {
        faults.add(
            "login.path",
            "must be a path such as /oauth: letters, digits and -._~, without a slash at its end",
        );
        return None;
    };
    if canonical.segments().next() == Some(b".well-known") {
        faults.add("login.path", "must not be below /.well-known");
    }
    let mut of_resources = resources
        .iter()
        .filter_map(|resource| CanonicalPath::parse(resource.url.path().as_bytes()));
    if of_resources.any(|path| canonical.is_prefix_of(&path)) {
        faults.add("login.path", "must not be the path of a resource or a prefix of it");
    }
    let outside = resources.outside().into_iter().flat_map(|outside| &outside.exempt);
    let mut exempt = resources.iter().flat_map(|resource| &resource.exempt).chain(outside);
    if exempt.any(|path| canonical.is_prefix_of(path)) {
        faults.add("login.path", "must not be an exempt path or a prefix of one");
    }
    Some(path)
}

/// The resources as the login sees them.
fn login_resources(surroundings: &Surroundings<'_>) -> Vec<LoginResource> {
    let Surroundings { logins, resources, .. } = surroundings;
    let login_resource = |(id, resource): (ResourceId, &ProtectedResource)| {
        let providers = resource.providers.ids().filter(|provider| logins[*provider].is_some());
        let providers: Vec<ProviderId> = providers.collect();
        let others = resources.entries().filter(|(other, _)| *other != id);
        let shares_tokens = |other: &ProtectedResource| {
            let opens = |provider: &ProviderId| surroundings.opens(*provider, resource, other);
            providers.iter().any(opens)
        };
        let audiences = |id: &ProviderId| {
            let tokens = resource.providers.get(*id)?;
            Some((*id, tokens.audiences.clone()))
        };
        LoginResource {
            url: resource.url.as_str().to_owned(),
            name: resource.name.clone(),
            scopes_supported: resource.scopes_supported.clone(),
            known_scopes: resource.access.known_scopes().clone(),
            shares_tokens_with: others
                .filter(|(_, other)| shares_tokens(other))
                .map(|(_, other)| other.url.as_str().to_owned())
                .collect(),
            audiences: providers.iter().filter_map(audiences).collect(),
            providers,
        }
    };
    resources.entries().map(login_resource).filter(|own| !own.providers.is_empty()).collect()
}

impl Surroundings<'_> {
    /// Whether `other` may accept a token that people get at this provider for `resource`: by any of
    /// its providers with the same issuer.
    fn opens(
        &self,
        id: ProviderId,
        resource: &ProtectedResource,
        other: &ProtectedResource,
    ) -> bool {
        let audiences = |resource: &ProtectedResource, id| {
            let tokens = resource.providers.get(id);
            tokens.map(|tokens| tokens.audiences.clone()).unwrap_or_default()
        };
        let own = audiences(resource, id);
        let client_id = self.logins[id].as_ref().map(|login| &login.client_id);
        other.providers.ids().any(|by| {
            let (issuing, accepting) = (&self.providers[id], &self.providers[by]);
            let accepted = audiences(other, by);
            let compares_clients = accepting.claim_rules.audience_claim == AudienceClaim::ClientId;
            let names_client = || client_id.is_some_and(|client| accepted.contains(client));
            issuing.issuers.iter().any(|issuer| accepting.issuers.contains(issuer))
                && (own.iter().any(|audience| accepted.contains(audience))
                    || (compares_clients && names_client()))
        })
    }
}

fn redirect_policy(raw: Field<Vec<String>>, faults: &mut Faults) -> RedirectPolicy {
    let given = raw.optional("login.redirect_uris", faults);
    let mut policy = RedirectPolicy { allows_loopback: given.is_none(), uris: Vec::new() };
    let published = || PUBLISHED_REDIRECT_URIS.map(str::to_owned).to_vec();
    for (index, uri) in given.unwrap_or_else(published).iter().enumerate() {
        if uri == LOOPBACK {
            policy.allows_loopback = true;
            continue;
        }
        match RedirectUri::parse(uri) {
            Ok(uri) => policy.uris.push(uri),
            Err(fault) => {
                let problem = format!("{fault}; or be the string {LOOPBACK}");
                faults.add(&format!("login.redirect_uris[{index}]"), problem);
            }
        }
    }
    policy
}

fn clients(raw: Field<Vec<Field<RawClient>>>, faults: &mut Faults) -> Vec<ConfiguredClient> {
    let mut clients: Vec<ConfiguredClient> = Vec::new();
    for (index, raw) in raw.or_default("login.clients", faults).into_iter().enumerate() {
        let path = format!("login.clients[{index}]");
        let Some(client) = raw.optional(&path, faults).and_then(|raw| client(raw, &path, faults))
        else {
            continue;
        };
        if clients.iter().any(|other| other.client_id == client.client_id) {
            faults.add(&format!("{path}.client_id"), "is duplicated");
        }
        clients.push(client);
    }
    clients
}

fn client(raw: RawClient, path: &str, faults: &mut Faults) -> Option<ConfiguredClient> {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let client_id = raw.client_id.required(&format!("{path}.client_id"), faults);
    if client_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 512) {
        faults.add(&format!("{path}.client_id"), "must have 1 to 512 bytes");
    }
    let field = format!("{path}.redirect_uris");
    let uris = raw.redirect_uris.required(&field, faults);
    if uris.as_ref().is_some_and(Vec::is_empty) {
        faults.add(&field, "must hold at least one URI");
    }
    let mut redirect_uris = Vec::new();
    for (index, uri) in uris.unwrap_or_default().iter().enumerate() {
        match RedirectUri::parse(uri) {
            Ok(uri) => redirect_uris.push(uri),
            Err(fault) => faults.add(&format!("{field}[{index}]"), fault.to_string()),
        }
    }
    let name = raw.name.optional(&format!("{path}.name"), faults);
    let name = name.as_deref().and_then(ClientName::new);
    Some(ConfiguredClient { client_id: client_id?, redirect_uris, name })
}

fn client_documents(raw: Field<BTreeMap<String, String>>, faults: &mut Faults) -> Option<Clusters> {
    let hosts = raw.or_default("login.client_metadata", faults);
    for (host, cluster) in &hosts {
        let path = format!("login.client_metadata.{host}");
        let is_host = !host.is_empty()
            && host.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
            });
        if !is_host {
            faults.add(&path, "must be a host name in lower case, without a port");
        }
        if cluster.is_empty() {
            faults.add(&path, "must name a cluster");
        }
    }
    (!hosts.is_empty()).then_some(Clusters::ByHost(hosts))
}

#[cfg(test)]
mod tests;
