//! `resources`: several protected resources, and which requests belong to each.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, de};

use super::Faults;
use super::access::{Access, RawAccess, access, canonical_path, exempt};
use super::field::{Field, UnknownFields, refuse_unknown};
use super::identity::{Identity, RawIdentity, identity};
use super::provider::{ReadProviders, refuse_bad_audiences};
use super::resource::{Described, RawDescription, RawExempt, RawMode, allowed_origins};
use crate::access::CanonicalPath;
use crate::provider::{AcceptedProviders, ProviderId};
use crate::resource::{
    Addresses, Authority, Mode, Outside, ProtectedResource, ResourceLabel, ResourceUrl, Resources,
};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawProtectedResource {
    /// Its name in logs, metrics, filter state, on the status page and in the header field
    /// `x-mcp-resource`, unique: a-z, 0-9, _ and -.
    pub(super) id: Field<String>,
    /// The public URL of the MCP endpoint, exactly as clients write it: https, or http for a
    /// loopback host. Requests belong to it by host and path. Not below `/.well-known`.
    pub(super) url: Field<String>,
    /// The name that people see. Default: none.
    pub(super) name: Field<String>,
    /// The URL of its documentation: https, or http for a loopback host. Default: none.
    pub(super) documentation: Field<String>,
    /// Scopes that clients are asked to request; most clients request all of them at the first
    /// login. Never `offline_access`. Default: none.
    pub(super) scopes_supported: Field<Vec<String>>,
    /// Names of the providers whose tokens are accepted here, in the order in which clients see
    /// them. Default: all.
    pub(super) providers: Field<Vec<String>>,
    /// Accepted values of `aud` here, for all providers or for each by its name. Default:
    /// `client_ids` of the token's provider.
    pub(super) audiences: Field<RawAudiences>,
    /// Further hosts, with a port unless it is that of the URL's scheme, under which requests for it
    /// arrive; `*` means any host. The longest path wins, and of equally long ones a named host.
    /// Default: that of `url` alone.
    pub(super) hosts: Field<Vec<String>>,
    /// Who may do what here. Default: what the top-level `access` says.
    pub(super) access: Field<RawAccess>,
    /// Paths that need no token here. Default: what the top-level `exempt` says.
    pub(super) exempt: Field<Vec<Field<RawExempt>>>,
    /// Origins of web pages that may send requests here. Default: what the top-level
    /// `allowed_origins` says.
    pub(super) allowed_origins: Field<Vec<String>>,
    /// How this server learns who is calling. Default: what the top-level `identity` says.
    pub(super) identity: Field<RawIdentity>,
    /// Whether refusals are enforced here. Default: what the top-level `mode` says.
    pub(super) mode: Field<RawMode>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// Accepted audiences: a list for all providers, or a list for each by its name.
#[derive(Debug)]
pub(super) enum RawAudiences {
    OfAll(Vec<String>),
    ByProvider(BTreeMap<String, Vec<String>>),
}

impl<'de> Deserialize<'de> for RawAudiences {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(reader)? {
            list @ serde_json::Value::Array(_) => {
                serde_json::from_value(list).map(Self::OfAll).map_err(de::Error::custom)
            }
            map @ serde_json::Value::Object(_) => {
                serde_json::from_value(map).map(Self::ByProvider).map_err(de::Error::custom)
            }
            _ => Err(de::Error::custom("expected a list, or an object of lists by provider")),
        }
    }
}

/// The top-level settings that a resource may override.
pub(super) struct Defaults {
    pub(super) access: Access,
    pub(super) exempt: Vec<CanonicalPath>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) identity: Identity,
    pub(super) mode: Mode,
}

impl Defaults {
    /// The only resource, with this `resource`.
    pub(super) fn only_resource(
        self,
        described: Option<Described>,
        providers: &ReadProviders,
        faults: &mut Faults,
    ) -> Option<Resources> {
        let all = providers.providers.entries().map(|(id, _)| id).collect();
        let accepted = AcceptedProviders::new(&providers.providers, all, |id, _| {
            let clients = &providers.clients[id];
            clients.tokens(clients.ids.as_deref().unwrap_or_default())
        });
        for SharedAudience { positions, audience } in shared_audiences(&accepted, providers) {
            let (at, problem) = shared_client_id(positions, &audience);
            faults.add(&at, problem);
        }
        let Described { url, name, documentation, scopes_supported } = described?;
        Some(Resources::only(ProtectedResource {
            label: None,
            url,
            name,
            documentation,
            providers: accepted,
            access: self.access.into_policy(&scopes_supported),
            scopes_supported,
            exempt: self.exempt,
            allowed_origins: self.allowed_origins,
            identity_headers: self.identity.headers,
            forward_token: self.identity.forward_token,
            mode: self.mode,
        }))
    }

    /// Several resources. `provider_names` includes those of inactive providers.
    pub(super) fn resources(
        self,
        raw: Vec<Field<RawProtectedResource>>,
        providers: &ReadProviders,
        provider_names: &BTreeSet<String>,
        faults: &mut Faults,
    ) -> Resources {
        let mut read = Vec::new();
        let mut positions = Vec::new();
        let mut identities = vec![("identity".to_owned(), self.identity.clone())];
        let mut ids = BTreeSet::new();
        let mut ambiguous = BTreeSet::new();
        for (position, raw) in raw.into_iter().enumerate() {
            let at = format!("resources[{position}]");
            let Some(raw) = raw.optional(&at, faults) else { continue };
            let reader = ResourceReader { at, defaults: &self, providers, provider_names };
            let parsed = reader.read(raw, &mut identities, &mut ambiguous, faults);
            let Some((resource, addresses)) = parsed else { continue };
            let id = resource.label.as_ref().map(ResourceLabel::id).unwrap_or_default();
            if !ids.insert(id.to_owned()) {
                faults.add(&reader.member("id"), format!("{id:?} is duplicated"));
            }
            positions.push(position);
            read.push((resource, addresses));
        }
        refuse_foreign_names(&identities, faults);
        let lets_through = self.mode == Mode::Report
            && read.iter().all(|(resource, _)| resource.mode == Mode::Report);
        let names = self.identity.headers.names().map(str::to_owned);
        let header = ResourceLabel::header_name(&self.identity.prefix);
        // Envoy may send any host to a resource's server, so what a resource keeps closed is closed
        // under all hosts.
        let is_kept_closed = |path: &CanonicalPath| {
            read.iter().any(|(resource, Addresses { path: own, .. })| {
                own.is_prefix_of(path) && !resource.exempt.contains(path)
            })
        };
        let outside = Outside {
            identity_names: names.chain([header]).collect(),
            exempt: self.exempt.into_iter().filter(|path| !is_kept_closed(path)).collect(),
            allowed_origins: self.allowed_origins,
            forward_token: self.identity.forward_token,
            // A request that belongs to no resource could reach any of them.
            mode: if lets_through { Mode::Report } else { Mode::Enforce },
        };
        let (resources, conflicts) = Resources::by_address(read, outside);
        let mut positions = positions.into_iter();
        let positions = resources.map(|_| positions.next().unwrap_or_default());
        for (id, conflict) in conflicts {
            faults.add(
                &format!("resources[{}].url", positions[id]),
                format!(
                    "resources[{}] has the same path under the host {:?}",
                    positions[conflict.with], conflict.authority
                ),
            );
        }
        resources
    }
}

/// Reads one element of `resources`.
struct ResourceReader<'a> {
    at: String,
    defaults: &'a Defaults,
    providers: &'a ReadProviders,
    provider_names: &'a BTreeSet<String>,
}

impl ResourceReader<'_> {
    fn member(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    fn read(
        &self,
        raw: RawProtectedResource,
        identities: &mut Vec<(String, Identity)>,
        ambiguous: &mut BTreeSet<String>,
        faults: &mut Faults,
    ) -> Option<(ProtectedResource, Addresses)> {
        refuse_unknown(&format!("{}.", self.at), &raw.unknown, faults);
        let id = self.id(raw.id, faults);
        let RawProtectedResource { url, name, documentation, scopes_supported, .. } = raw;
        let described = RawDescription { url, name, documentation, scopes_supported };
        let described = described.parse(&self.at, faults);
        let addresses = described
            .as_ref()
            .and_then(|described| self.addresses(&described.url, raw.hosts, faults));
        let accepted = self.accepted(raw.providers, raw.audiences, ambiguous, faults);
        let defaults = self.defaults;
        let access = self.own(raw.access, "access", faults, |raw, at, faults| {
            access(raw, at, &self.providers.providers, faults)
        });
        let exempt = self.own(raw.exempt, "exempt", faults, exempt);
        let origins = self.own(raw.allowed_origins, "allowed_origins", faults, allowed_origins);
        let identity = self.own(raw.identity, "identity", faults, |raw, at, faults| {
            identity(raw, at, true, faults)
        });
        let mode = raw.mode.optional(&self.member("mode"), faults).map(Mode::from);
        identities.extend(identity.iter().map(|own| (self.member("identity"), own.clone())));
        let identity = identity.unwrap_or_else(|| defaults.identity.clone());
        let access = access.unwrap_or_else(|| defaults.access.clone());
        let Described { url, name, documentation, scopes_supported } = described?;
        let resource = ProtectedResource {
            label: Some(ResourceLabel::new(&id?, &identity.prefix)),
            url,
            name,
            documentation,
            providers: accepted?,
            access: access.into_policy(&scopes_supported),
            scopes_supported,
            exempt: exempt.unwrap_or_else(|| defaults.exempt.clone()),
            allowed_origins: origins.unwrap_or_else(|| defaults.allowed_origins.clone()),
            identity_headers: identity.headers,
            forward_token: identity.forward_token,
            mode: mode.unwrap_or(defaults.mode),
        };
        Some((resource, addresses?))
    }

    /// The resource's own setting, if it has one.
    fn own<R, T>(
        &self,
        raw: Field<R>,
        name: &str,
        faults: &mut Faults,
        read: impl FnOnce(R, &str, &mut Faults) -> T,
    ) -> Option<T> {
        let at = self.member(name);
        raw.optional(&at, faults).map(|raw| read(raw, &at, faults))
    }

    fn id(&self, raw: Field<String>, faults: &mut Faults) -> Option<String> {
        let id = raw.required(&self.member("id"), faults)?;
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        };
        if id.is_empty() || !id.bytes().all(is_plain) {
            faults.add(&self.member("id"), "must consist of a-z, 0-9, _ and -");
        } else if id == "none" {
            faults.add(
                &self.member("id"),
                "must not be none, the label in metrics for requests that belong to no resource",
            );
        }
        Some(id)
    }

    fn addresses(
        &self,
        url: &ResourceUrl,
        hosts: Field<Vec<String>>,
        faults: &mut Faults,
    ) -> Option<Addresses> {
        let path = canonical_path(url.path(), &self.member("url"), faults);
        if path.is_some() && !url.is_normalised() {
            faults.add(&self.member("url"), PATH_EXPECTED);
        }
        let first = path.as_ref().and_then(|path| path.segments().next());
        if first == Some(b".well-known") {
            faults.add(&self.member("url"), "must not be below /.well-known");
        }
        let own = Authority::parse(url.authority().as_bytes());
        if own.is_none() {
            faults.add(&self.member("url"), AUTHORITY_EXPECTED);
        }
        let mut authorities: Vec<Authority> = own.into_iter().collect();
        let mut has_any_authority = false;
        let hosts = hosts.or_default(&self.member("hosts"), faults);
        for (index, host) in hosts.iter().enumerate() {
            let at = self.member(&format!("hosts[{index}]"));
            if hosts.iter().take(index).any(|other| other == host) {
                faults.add(&at, format!("{host:?} is duplicated"));
            }
            match Authority::parse(host.as_bytes()) {
                _ if host == "*" => has_any_authority = true,
                Some(authority) => authorities.push(authority),
                None => faults.add(&at, AUTHORITY_EXPECTED),
            }
        }
        let spellings =
            authorities.iter().flat_map(|authority| authority.spellings(url.default_port()));
        Some(Addresses { authorities: spellings.collect(), has_any_authority, path: path? })
    }

    /// The accepted tokens. A fault that several resources may share is added once: `noted` has
    /// those that have been added.
    fn accepted(
        &self,
        names: Field<Vec<String>>,
        audiences: Field<RawAudiences>,
        noted: &mut BTreeSet<String>,
        faults: &mut Faults,
    ) -> Option<AcceptedProviders> {
        let has_audiences = !matches!(audiences, Field::Absent);
        let audiences_are_faulty = matches!(audiences, Field::Malformed(_));
        let names = self.provider_names(names, faults);
        let audiences = audiences.optional(&self.member("audiences"), faults);
        if let Some(audiences) = &audiences {
            self.refuse_audiences(audiences, names.as_deref(), faults);
        }
        let all = &self.providers.providers;
        let by_name = |name: &String| {
            let mut entries = all.entries();
            entries.find(|(_, provider)| provider.name == *name).map(|(id, _)| id)
        };
        let order: Vec<ProviderId> = match &names {
            Some(names) => names.iter().filter_map(by_name).collect(),
            None => all.entries().map(|(id, _)| id).collect(),
        };
        let mut is_whole = true;
        let accepted = AcceptedProviders::new(all, order, |id, provider| {
            let clients = &self.providers.clients[id];
            let own = match &audiences {
                Some(RawAudiences::OfAll(audiences)) => Some(audiences),
                Some(RawAudiences::ByProvider(map)) => map.get(&provider.name),
                None => None,
            };
            let Some(own) = own.or(clients.ids.as_ref()) else {
                is_whole = false;
                let at = format!("providers[{}].client_ids", clients.position);
                if !audiences_are_faulty && noted.insert(at.clone()) {
                    faults.add(
                        &at,
                        format!("is required because {} has no audiences for it", self.at),
                    );
                }
                return clients.tokens(&[]);
            };
            clients.tokens(own)
        });
        self.refuse_ambiguous(&accepted, has_audiences, noted, faults);
        is_whole.then_some(accepted)
    }

    fn provider_names(&self, raw: Field<Vec<String>>, faults: &mut Faults) -> Option<Vec<String>> {
        let at = self.member("providers");
        let names = raw.optional(&at, faults)?;
        for (index, name) in names.iter().enumerate() {
            let at = format!("{at}[{index}]");
            if !self.provider_names.contains(name) {
                faults.add(&at, format!("there is no provider {name:?}"));
            } else if names.iter().take(index).any(|other| other == name) {
                faults.add(&at, format!("{name:?} is duplicated"));
            }
        }
        if names.is_empty() {
            faults.add(&at, "must hold at least one provider");
        }
        Some(names)
    }

    fn refuse_audiences(
        &self,
        audiences: &RawAudiences,
        names: Option<&[String]>,
        faults: &mut Faults,
    ) {
        let at = self.member("audiences");
        let map = match audiences {
            RawAudiences::OfAll(audiences) => return refuse_bad_audiences(audiences, &at, faults),
            RawAudiences::ByProvider(map) => map,
        };
        if map.is_empty() {
            faults.add(&at, "must hold at least one provider");
        }
        for (name, audiences) in map {
            let at = format!("{at}.{name}");
            refuse_bad_audiences(audiences, &at, faults);
            if !self.provider_names.contains(name) {
                faults.add(&at, format!("there is no provider {name:?}"));
            } else if names.is_some_and(|names| !names.contains(name)) {
                faults.add(&at, format!("{name:?} is not one of {}", self.member("providers")));
            }
        }
    }

    /// The audience distinguishes providers with the same issuer, so no two may share one.
    fn refuse_ambiguous(
        &self,
        accepted: &AcceptedProviders,
        has_audiences: bool,
        noted: &mut BTreeSet<String>,
        faults: &mut Faults,
    ) {
        for SharedAudience { positions, audience } in shared_audiences(accepted, self.providers) {
            let [first, second] = positions;
            let (at, problem) = if has_audiences {
                let problem = format!(
                    "{audience:?} is accepted from providers[{first}] and providers[{second}], which \
                     have the same issuer"
                );
                (self.member("audiences"), problem)
            } else {
                shared_client_id(positions, &audience)
            };
            if noted.insert(format!("{at} {problem}")) {
                faults.add(&at, problem);
            }
        }
    }
}

/// Refuses `claims_to_headers` that fill an identity header of another resource, or of the
/// top-level `identity`: a server trusts these headers.
fn refuse_foreign_names(identities: &[(String, Identity)], faults: &mut Faults) {
    for (at, identity) in identities {
        for (index, name) in identity.headers.claim_names().enumerate() {
            let mut others = identities.iter().filter(|(other, _)| other != at);
            let owner = others.find(|(_, other)| {
                ResourceLabel::header_name(&other.prefix) == name
                    || other.headers.standard_names().any(|own| own == name)
            });
            if let Some((owner, _)) = owner {
                faults.add(
                    &format!("{at}.claims_to_headers[{index}].header"),
                    format!("{name:?} is one of the identity headers of {owner}"),
                );
            }
        }
    }
}

const AUTHORITY_EXPECTED: &str = "must have a host such as gateway.example.com or \
     gateway.example.com:8443: no user, no final dot, IP addresses in canonical form";

const PATH_EXPECTED: &str = "must have its path as Envoy forwards it: letters, digits, -, ., _ and ~ \
     plain, and other characters than !$&'()+,=:@ percent-encoded";

/// An audience that two providers with the same issuer share.
struct SharedAudience {
    /// The indices of the two in `providers`, in ascending order.
    positions: [usize; 2],
    audience: String,
}

fn shared_audiences(
    accepted: &AcceptedProviders,
    providers: &ReadProviders,
) -> Vec<SharedAudience> {
    let mut shared = Vec::new();
    for (index, id) in accepted.ids().enumerate() {
        for other in accepted.ids().take(index) {
            let [issuers, others] = [id, other].map(|id| &providers.providers[id].issuers);
            if !issuers.iter().any(|issuer| others.contains(issuer)) {
                continue;
            }
            let (Some(tokens), Some(others)) = (accepted.get(id), accepted.get(other)) else {
                continue;
            };
            let mut positions = [other, id].map(|id| providers.clients[id].position);
            positions.sort_unstable();
            let both =
                tokens.audiences.iter().filter(|audience| others.audiences.contains(audience));
            shared.extend(
                both.map(|audience| SharedAudience { positions, audience: audience.clone() }),
            );
        }
    }
    shared
}

/// The path and the text of the fault that two providers of one issuer share a client id.
fn shared_client_id([first, second]: [usize; 2], audience: &str) -> (String, String) {
    (
        format!("providers[{second}].client_ids"),
        format!("{audience:?} is also one of providers[{first}], which has the same issuer"),
    )
}

#[cfg(test)]
mod tests;
