//! The routes of Envoy's HTTP connection manager, and whether they agree with the servers that the
//! plugin's configuration names.

mod comparison;
mod domain;
mod login;
mod path_match;
mod sharing;

use std::borrow::Cow;

use serde_json::Value;

pub(crate) use self::comparison::{Findings, compare};
use self::domain::{Domain, Fit};
use self::path_match::{PathMatch, Taken};
use crate::clusters::EnvoyClusters;
use crate::normalisation::{Normalisation, split_port};
use crate::surroundings::{is_off, is_on, member};

/// The routes of a connection manager, as far as the file shows them.
pub(crate) enum Routes {
    /// Envoy gets them from elsewhere, such as by RDS.
    Elsewhere,
    /// The file has them.
    Shown(RouteTable),
}

/// Envoy's route table.
pub(crate) struct RouteTable {
    hosts: Vec<VirtualHost>,
    /// How Envoy changes hosts before the plugin sees them.
    normalisation: Normalisation,
    /// Whether domains are compared with hosts without their ports.
    ignores_ports: bool,
    /// Whether a header field selects the virtual host.
    has_host_header: bool,
    /// Whether Envoy refuses a route to a cluster that it does not have.
    needs_clusters: bool,
}

struct VirtualHost {
    name: String,
    domains: Vec<Domain>,
    routes: Vec<Route>,
    /// Whether it has a tree of matchers instead of routes.
    has_matcher: bool,
}

struct Route {
    /// Its place in the file, for people.
    place: String,
    path: PathMatch,
    /// Whether it depends on more than host and path.
    is_conditional: bool,
    target: Target,
    /// Clusters that get copies of its requests.
    mirrors: Vec<String>,
    /// What else its clusters may tell its requests by.
    marks: Vec<Value>,
    /// What may limit how often its requests come: settings of other filters, and rate limits.
    limits: Vec<Value>,
    /// Why it is unknown where all of its requests go, or which rules apply to them.
    unseen: Vec<&'static str>,
}

/// Where a route leads.
enum Target {
    /// To these clusters, of which one gets each request.
    Clusters { names: Vec<String>, rewrite: Rewrite, host: HostRewrite },
    /// The route itself responds.
    Response,
    /// To a cluster that the request or an extension selects.
    Unknown,
}

/// The path that the cluster gets.
enum Rewrite {
    /// The same.
    None,
    /// The path with this instead of the literal of the route's match.
    Prefix(String),
    /// Any other.
    Unknown,
}

/// The host that the cluster gets.
enum HostRewrite {
    /// That of the request.
    None,
    /// This one.
    Literal(String),
    /// That of the endpoint, if the cluster knows it by name, and otherwise that of the request.
    Endpoint,
    /// Any other.
    Unknown,
}

/// Where Envoy sends a request: the virtual host, and the routes that may take it.
struct Way<'a> {
    host: &'a VirtualHost,
    routes: Vec<&'a Route>,
    /// The last of them, if it takes what none before it takes.
    certain: Option<&'a Route>,
}

impl Routes {
    /// The routes of a connection manager. `plugin` is the HTTP filter that is the plugin, if it is
    /// among those of this manager.
    pub(crate) fn new(
        manager: &Value,
        plugin: Option<&Value>,
        normalisation: Normalisation,
    ) -> Self {
        let filter = plugin.and_then(|plugin| text(plugin, "name")).unwrap_or_default();
        let table = member(manager, "route_config");
        match table.filter(|table| member(table, "vhds").is_none()) {
            Some(table) => Self::Shown(RouteTable::new(table, filter, normalisation)),
            None => Self::Elsewhere,
        }
    }
}

impl RouteTable {
    fn new(table: &Value, filter: &str, normalisation: Normalisation) -> Self {
        let host = |host| VirtualHost::new(host, mirrors(table), filter);
        Self {
            hosts: list(table, "virtual_hosts").map(host).collect(),
            normalisation,
            ignores_ports: is_on(table, "ignore_port_in_host_matching"),
            has_host_header: member(table, "vhost_header").is_some(),
            needs_clusters: !is_off(table, "validate_clusters"),
        }
    }

    /// Routes to clusters that Envoy does not have, for which it refuses the file.
    pub(crate) fn missing_clusters(&self, clusters: &EnvoyClusters) -> Vec<String> {
        let routes = self.hosts.iter().flat_map(|host| &host.routes);
        let named = routes.flat_map(|route| {
            let names = route.clusters().iter().chain(&route.mirrors);
            names.map(move |name| (&route.place, name))
        });
        let missing = named.filter(|(_, name)| self.needs_clusters && clusters.lacks(name));
        let faults = missing.map(|(place, name)| {
            format!("{place}: there is no cluster {name:?} under static_resources.clusters")
        });
        faults.collect()
    }

    /// The host of a request as the plugin sees it.
    fn seen<'a>(&self, host: &'a str) -> Cow<'a, str> {
        self.normalisation.host(host)
    }

    fn host(&self, host: &str) -> Option<&VirtualHost> {
        let seen = self.seen(host);
        let host = if self.ignores_ports { split_port(&seen).0 } else { &seen };
        let fits =
            self.hosts.iter().filter_map(|candidate| Some((candidate.fit(host)?, candidate)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, found)| found)
    }

    /// Where a request with this host and path goes.
    fn way(&self, host: &str, path: &str) -> Option<Way<'_>> {
        let host = self.host(host)?;
        let mut routes = Vec::new();
        let mut certain = None;
        for route in &host.routes {
            match route.takes(path) {
                Taken::No => {}
                Taken::Perhaps => routes.push(route),
                Taken::Yes => {
                    routes.push(route);
                    certain = Some(route);
                    break;
                }
            }
        }
        Some(Way { host, routes, certain })
    }
}

impl VirtualHost {
    /// `inherited`: the clusters of mirrors where neither it nor a route names any.
    fn new(host: &Value, inherited: Vec<String>, filter: &str) -> Self {
        let name = text(host, "name").unwrap_or("?").to_owned();
        let domains = list(host, "domains").filter_map(Value::as_str).map(Domain::new).collect();
        let mirrors = non_empty(mirrors(host)).unwrap_or(inherited);
        let has_unknown_mirror = is_selected_by_request(host);
        let has_own_plugin = has_configuration_for(host, filter);
        let routes = list(host, "routes").enumerate().map(|(index, written)| {
            let mut route = Route::new(written, &name, index, filter);
            if route.mirrors.is_empty() {
                route.mirrors.clone_from(&mirrors);
            }
            route.marks.extend(marks(host));
            route.limits.extend(limits(host));
            route.unseen.extend(has_own_plugin.then_some(OWN_PLUGIN));
            route.unseen.extend(has_unknown_mirror.then_some(SELECTED_BY_REQUEST));
            route
        });
        let routes = routes.collect();
        Self { name, domains, routes, has_matcher: member(host, "matcher").is_some() }
    }

    fn fit(&self, host: &str) -> Option<Fit> {
        self.domains.iter().filter_map(|domain| domain.fit(host)).max()
    }
}

impl Route {
    fn new(route: &Value, host: &str, index: usize, filter: &str) -> Self {
        /// The fields of a match that concern the path alone. Any other is a condition.
        const OF_PATH: [&str; 11] = [
            "path",
            "prefix",
            "path_separated_prefix",
            "pathSeparatedPrefix",
            "safe_regex",
            "safeRegex",
            "connect_matcher",
            "connectMatcher",
            "path_match_policy",
            "pathMatchPolicy",
            "case_sensitive",
        ];
        let route_match = member(route, "match").unwrap_or(&Value::Null);
        let mut fields = route_match.as_object().into_iter().flat_map(|fields| fields.keys());
        let action = member(route, "route").unwrap_or(&Value::Null);
        let path = PathMatch::parse(route_match);
        let target = member(route, "route").map_or(Target::Response, Target::new);
        let mut unseen = Vec::new();
        if is_selected_by_request(action) || matches!(target, Target::Unknown) {
            unseen.push(SELECTED_BY_REQUEST);
        }
        if has_configuration_for(route, filter) || has_configuration_for(action, filter) {
            unseen.push(OWN_PLUGIN);
        }
        Self {
            place: format!("routes[{index}] of the virtual host {host:?}"),
            path,
            is_conditional: fields
                .any(|name| !OF_PATH.contains(&name.as_str()) && name.as_str() != "caseSensitive"),
            target,
            mirrors: mirrors(action),
            marks: marks(route).into_iter().chain(marks(action)).collect(),
            limits: limits(route).chain(limits(action)).collect(),
            unseen,
        }
    }

    fn takes(&self, path: &str) -> Taken {
        match self.path.takes(path) {
            Taken::Yes if self.is_conditional => Taken::Perhaps,
            taken => taken,
        }
    }

    fn clusters(&self) -> &[String] {
        match &self.target {
            Target::Clusters { names, .. } => names,
            Target::Response | Target::Unknown => &[],
        }
    }

    /// The path that its clusters get for this one; `None` if it is unknown.
    fn forwarded(&self, path: &str) -> Option<String> {
        match &self.target {
            Target::Clusters { rewrite: Rewrite::None, .. } => Some(path.to_owned()),
            Target::Clusters { rewrite: Rewrite::Prefix(prefix), .. } => {
                Some(format!("{prefix}{}", self.path.rest(path)?))
            }
            Target::Clusters { rewrite: Rewrite::Unknown, .. }
            | Target::Response
            | Target::Unknown => None,
        }
    }
}

impl Target {
    fn new(action: &Value) -> Self {
        let weighted = member(action, "weighted_clusters");
        let weighted = weighted.into_iter().flat_map(|weighted| list(weighted, "clusters"));
        let one = text(action, "cluster").into_iter();
        let names = one.chain(weighted.filter_map(|cluster| text(cluster, "name")));
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return Self::Unknown;
        }
        let rewrite = match text(action, "prefix_rewrite") {
            Some(prefix) => Rewrite::Prefix(prefix.to_owned()),
            None if ["regex_rewrite", "path_rewrite_policy", "path_rewrite"]
                .iter()
                .any(|name| member(action, name).is_some()) =>
            {
                Rewrite::Unknown
            }
            None => Rewrite::None,
        };
        Self::Clusters { names, rewrite, host: HostRewrite::new(action) }
    }
}

impl HostRewrite {
    fn new(action: &Value) -> Self {
        /// By which the clusters of one route may get different requests.
        const OF_CLUSTER: [&str; 4] = [
            "host_rewrite_literal",
            "metadata_match",
            "request_headers_to_add",
            "typed_per_filter_config",
        ];
        let weighted = member(action, "weighted_clusters");
        let mut weighted = weighted.into_iter().flat_map(|weighted| list(weighted, "clusters"));
        let has = |object: &Value, name: &&str| member(object, name).is_some();
        if weighted.any(|cluster| OF_CLUSTER.iter().any(|name| has(cluster, name)))
            || ["host_rewrite_header", "host_rewrite_path_regex", "host_rewrite"]
                .iter()
                .any(|name| has(action, name))
        {
            return Self::Unknown;
        }
        match text(action, "host_rewrite_literal") {
            Some(host) => Self::Literal(host.to_ascii_lowercase()),
            None if is_on(action, "auto_host_rewrite") => Self::Endpoint,
            None => Self::None,
        }
    }
}

impl<'a> Way<'a> {
    /// Each cluster that may get the request, with the route that leads there.
    fn clusters(&self) -> impl Iterator<Item = (&'a str, &'a Route)> {
        self.routes.iter().flat_map(|route| {
            route.clusters().iter().map(move |cluster| (cluster.as_str(), *route))
        })
    }

    /// Each cluster that may get a copy of the request, with the route that has it sent.
    fn mirrors(&self) -> impl Iterator<Item = (&'a str, &'a Route)> {
        self.routes
            .iter()
            .flat_map(|route| route.mirrors.iter().map(move |cluster| (cluster.as_str(), *route)))
    }

    /// The clusters of the route that takes the request for certain, or else of all that may, with the
    /// routes that lead there.
    fn main_clusters(&self) -> impl Iterator<Item = (&'a str, &'a Route)> {
        let certain = self.certain;
        self.clusters()
            .filter(move |(_, route)| certain.is_none_or(|certain| std::ptr::eq(certain, *route)))
    }
}

/// Why a route with a configuration of its own for the plugin's filter is not compared.
const OWN_PLUGIN: &str = "the plugin has another configuration there";
/// Why a route whose clusters the file does not name is not compared.
const SELECTED_BY_REQUEST: &str = "the request or an extension selects its cluster";

/// What a route or virtual host does to requests, other than to their host and path.
fn marks(object: &Value) -> Vec<Value> {
    let names = [
        "request_headers_to_add",
        "request_headers_to_remove",
        "metadata_match",
        "typed_per_filter_config",
    ];
    names.map(|name| member(object, name).cloned().unwrap_or_default()).into()
}

/// What a route or virtual host sets that may limit how often requests come.
fn limits(object: &Value) -> impl Iterator<Item = Value> {
    let names = ["typed_per_filter_config", "rate_limits"];
    names.into_iter().filter_map(|name| member(object, name).cloned())
}

/// The clusters that get copies of requests.
fn mirrors(object: &Value) -> Vec<String> {
    let policies = list(object, "request_mirror_policies");
    policies.filter_map(|policy| text(policy, "cluster")).map(str::to_owned).collect()
}

fn non_empty(names: Vec<String>) -> Option<Vec<String>> {
    (!names.is_empty()).then_some(names)
}

/// Whether a cluster of a route's action, or of its mirrors, is selected outside of the file.
fn is_selected_by_request(action: &Value) -> bool {
    let by_header = |object: &Value| member(object, "cluster_header").is_some();
    let is_nameless = |cluster: &Value| text(cluster, "name").is_none_or(str::is_empty);
    let weighted = member(action, "weighted_clusters");
    let mut weighted = weighted.into_iter().flat_map(|weighted| list(weighted, "clusters"));
    let mut mirrors = list(action, "request_mirror_policies");
    by_header(action)
        || member(action, "cluster_specifier_plugin").is_some()
        || member(action, "inline_cluster_specifier_plugin").is_some()
        || weighted.any(is_nameless)
        || mirrors.any(by_header)
}

/// Whether this has another configuration for a filter, or one of its clusters has.
fn has_configuration_for(object: &Value, filter: &str) -> bool {
    let own = |object: &Value| {
        let all = member(object, "typed_per_filter_config");
        let own = all.and_then(|all| all.get(filter));
        own.is_some_and(|own| !is_on(own, "disabled"))
    };
    let weighted = member(object, "weighted_clusters");
    let mut weighted = weighted.into_iter().flat_map(|weighted| list(weighted, "clusters"));
    own(object) || weighted.any(own)
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    member(object, name).and_then(Value::as_str)
}

fn list<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    member(object, name).and_then(Value::as_array).into_iter().flatten()
}
