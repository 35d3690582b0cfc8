//! The servers of a configuration with `resources`, for a comparison with Envoy's routes.

use serde_json::Value;

use super::setup::Setup;
use crate::access::CanonicalPath;
use crate::request::RequestHead;
use crate::resource::{Authority, ProtectedResource, ResourceId};

/// One of several servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The element that describes it: `resources[0]`.
    pub field: String,
    /// Its `id`.
    pub id: String,
    /// The path of its `url`.
    pub path: String,
    /// The hosts that the configuration names: that of `url`, then `hosts`. Each in its accepted
    /// spellings, of which the one without the default port comes first.
    pub hosts: Vec<Vec<String>>,
    /// Whether it serves all other hosts too (`*`).
    pub has_any_host: bool,
}

/// A path of the top-level `exempt` that lies at or below that of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptPath {
    /// The field: `exempt[0].path`.
    pub field: String,
    /// The path.
    pub path: String,
    /// The server's place in [`Setup::servers`].
    pub server: usize,
    /// Whether that server exempts it.
    pub is_exempt_there: bool,
    /// Whether it needs no token under hosts of no server.
    pub is_exempt_elsewhere: bool,
}

impl Setup {
    /// The servers, in the order of the configuration; empty if all requests belong to the only
    /// one.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        let resources = &self.config.resources;
        if resources.outside().is_none() {
            return vec![];
        }
        resources.entries().filter_map(|(id, resource)| self.server(id, resource)).collect()
    }

    /// The place in [`servers`](Self::servers) of the server that a request with this host and path
    /// belongs to.
    #[must_use]
    pub fn server_at(&self, host: &str, path: &str) -> Option<usize> {
        let fields: [(&[u8], &[u8]); 2] =
            [(b":authority", host.as_bytes()), (b":path", path.as_bytes())];
        let head = RequestHead::new(&fields, false);
        let resources = &self.config.resources;
        let owner = resources.owner(head, &resources.address(head)).ok()??;
        resources.entries().position(|(id, _)| id == owner)
    }

    /// The paths of the top-level `exempt`, once for each server that they lie below.
    #[must_use]
    pub fn exempt_paths_of_servers(&self) -> Vec<ExemptPath> {
        let resources = &self.config.resources;
        let Some(outside) = resources.outside() else { return vec![] };
        let written = self.document.get("exempt").and_then(Value::as_array);
        let mut found = Vec::new();
        for (index, element) in written.into_iter().flatten().enumerate() {
            let Some(text) = element.get("path").and_then(Value::as_str) else { continue };
            let Some(path) = CanonicalPath::parse(text.as_bytes()) else { continue };
            for (server, resource) in resources.iter().enumerate() {
                let own = CanonicalPath::parse(resource.url.path().as_bytes());
                if own.is_some_and(|own| own.is_prefix_of(&path)) {
                    found.push(ExemptPath {
                        field: format!("exempt[{index}].path"),
                        path: text.to_owned(),
                        server,
                        is_exempt_there: resource.exempt.contains(&path),
                        is_exempt_elsewhere: outside.exempt.contains(&path),
                    });
                }
            }
        }
        found
    }

    /// A warning for each part of a server's configuration that applies to none of its requests.
    #[must_use]
    pub fn idle_parts(&self) -> Vec<String> {
        let resources = &self.config.resources;
        if resources.outside().is_none() {
            return vec![];
        }
        let parts = resources.entries().flat_map(|(id, resource)| {
            let Some((position, written)) = self.written_resource(id) else { return vec![] };
            let at = format!("resources[{position}]");
            let mut warnings = idle_paths(&at, resource, written);
            warnings.extend(self.idle_providers(&at, resource, written));
            warnings
        });
        parts.collect()
    }

    /// A warning for each rule of a single server that names tools on paths beside that of its URL,
    /// where no rule names any: over HTTP+SSE, messages are sent to one path, and what responds to
    /// them, lists too, arrives on another.
    #[must_use]
    pub fn unfiltered_lists(&self) -> Vec<String> {
        let access = self.document.get("access");
        let is_filtered = access.and_then(|access| access.pointer("/mcp/filter_lists"));
        let (None, Some(resource)) =
            (self.config.resources.outside(), self.config.resources.iter().next())
        else {
            return vec![];
        };
        let Some(own) = CanonicalPath::parse(resource.url.path().as_bytes()) else {
            return vec![];
        };
        if is_filtered == Some(&Value::Bool(false)) {
            return vec![];
        }
        let rules = elements(access.and_then(|access| access.get("rules"))).enumerate();
        let naming =
            rules.filter(|(_, rule)| elements(rule.pointer("/match/mcp_names")).next().is_some());
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            naming.partition(|(_, rule)| may_match_below(rule, &own));
        if !here.is_empty() {
            return vec![];
        }
        let warning = |(index, _): (usize, _)| {
            format!(
                "access.rules[{index}].match: names tools on other paths than that of `url`: lists \
                 that arrive there are not filtered (HTTP+SSE: GET {}); name that path too",
                resource.url.path()
            )
        };
        elsewhere.into_iter().map(warning).collect()
    }

    /// Providers that rules require, and whose tokens the server does not accept.
    fn idle_providers(
        &self,
        at: &str,
        resource: &ProtectedResource,
        written: &Value,
    ) -> Vec<String> {
        let accepted: Vec<&str> =
            resource.providers.ids().map(|id| self.config.providers[id].name.as_str()).collect();
        let mut warnings = Vec::new();
        for (rule, required) in elements(written.pointer("/access/rules")).enumerate() {
            for (index, name) in elements(required.pointer("/require/providers")).enumerate() {
                if let Some(name) = name.as_str().filter(|name| !accepted.contains(name)) {
                    warnings.push(format!(
                        "{at}.access.rules[{rule}].require.providers[{index}]: tokens of {name:?} are not \
                         accepted here, see {at}.providers"
                    ));
                }
            }
        }
        warnings
    }

    fn server(&self, id: ResourceId, resource: &ProtectedResource) -> Option<Server> {
        let (position, written) = self.written_resource(id)?;
        let further = written.get("hosts").and_then(Value::as_array);
        let further: Vec<&str> = further.into_iter().flatten().filter_map(Value::as_str).collect();
        let named = [resource.url.authority()].into_iter().chain(further.iter().copied());
        let authorities = named.filter_map(|host| Authority::parse(host.as_bytes()));
        let default_port = resource.url.default_port();
        Some(Server {
            field: format!("resources[{position}]"),
            id: resource.label.as_ref()?.id().to_owned(),
            path: resource.url.path().to_owned(),
            hosts: authorities.map(|host| host.spellings(default_port).collect()).collect(),
            has_any_host: further.contains(&"*"),
        })
    }
}

/// Paths in `exempt` and in rules that no request for the server has.
fn idle_paths(at: &str, resource: &ProtectedResource, written: &Value) -> Vec<String> {
    let Some(own) = CanonicalPath::parse(resource.url.path().as_bytes()) else { return vec![] };
    let mut named = Vec::new();
    for (index, exempt) in elements(written.get("exempt")).enumerate() {
        named.push((format!("{at}.exempt[{index}].path"), exempt.get("path"), false));
    }
    for (rule, written) in elements(written.pointer("/access/rules")).enumerate() {
        let at = format!("{at}.access.rules[{rule}].match");
        for (name, is_prefix) in [("paths", false), ("path_prefixes", true)] {
            let paths = written.get("match").and_then(|conditions| conditions.get(name));
            for (index, path) in elements(paths).enumerate() {
                named.push((format!("{at}.{name}[{index}]"), Some(path), is_prefix));
            }
        }
    }
    let idle = named.into_iter().filter_map(|(field, path, is_prefix)| {
        let text = path.and_then(Value::as_str)?;
        let path = CanonicalPath::parse(text.as_bytes())?;
        let concerns_it = own.is_prefix_of(&path) || (is_prefix && path.is_prefix_of(&own));
        (!concerns_it).then(|| {
            format!(
                "{field}: {text} is not at or below the path of `url`, so no request for this \
                 server matches it"
            )
        })
    });
    idle.collect()
}

/// Whether a rule matches a path at or below this one.
fn may_match_below(rule: &Value, own: &CanonicalPath) -> bool {
    let of = |name: &str| {
        let paths = elements(rule.get("match").and_then(|conditions| conditions.get(name)));
        let paths = paths.filter_map(|path| CanonicalPath::parse(path.as_str()?.as_bytes()));
        paths.collect::<Vec<_>>()
    };
    let (paths, prefixes) = (of("paths"), of("path_prefixes"));
    (paths.is_empty() && prefixes.is_empty())
        || paths.iter().chain(&prefixes).any(|path| own.is_prefix_of(path))
        || prefixes.iter().any(|prefix| prefix.is_prefix_of(own))
}

fn elements(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}
