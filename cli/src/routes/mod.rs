//! The routes of Envoy's HTTP connection manager, and whether they agree with the servers that the
//! plugin's configuration names.

mod comparison;
mod domain;
mod path_match;

use serde_json::Value;

pub(crate) use self::comparison::{Findings, compare};
use self::domain::{Domain, Fit};
use self::path_match::{PathMatch, Taken};
use crate::surroundings::{is_on, member};

/// The routes of a connection manager, as far as the file shows them.
pub(crate) enum Routes {
    /// Envoy gets them from elsewhere: by RDS, for instance.
    Elsewhere,
    /// The file has them.
    Shown(RouteTable),
}

/// Envoy's route table.
pub(crate) struct RouteTable {
    hosts: Vec<VirtualHost>,
    /// Whether ports are taken off before the plugin sees a host.
    strips_ports: bool,
    /// Whether domains are compared with hosts without their ports.
    ignores_ports: bool,
    /// Whether a header field selects the virtual host.
    has_host_header: bool,
}

struct VirtualHost {
    name: String,
    domains: Vec<Domain>,
    routes: Vec<Route>,
}

struct Route {
    /// Where it is in the file, for people.
    place: String,
    path: PathMatch,
    /// Whether it depends on more than host and path.
    is_conditional: bool,
    target: Target,
}

/// Where a route leads.
enum Target {
    /// To these clusters, of which one gets each request.
    Clusters { names: Vec<String>, rewrite: Rewrite },
    /// The route itself responds.
    Response,
    /// To a cluster that the request or an extension selects.
    Unknown,
}

/// The path that the cluster gets.
enum Rewrite {
    /// The same.
    None,
    /// With this in the place of what the route's match names.
    Prefix(String),
    /// Any other.
    Unknown,
}

/// Where Envoy sends a request: the virtual host, and the routes that may take it. Only the last one
/// takes it for certain.
struct Way<'a> {
    host: &'a VirtualHost,
    routes: Vec<&'a Route>,
}

impl Routes {
    /// The routes of a connection manager.
    pub(crate) fn new(manager: &Value) -> Self {
        let table = member(manager, "route_config");
        match table.filter(|table| member(table, "vhds").is_none()) {
            Some(table) => {
                Self::Shown(RouteTable::new(table, is_on(manager, "strip_any_host_port")))
            }
            None => Self::Elsewhere,
        }
    }
}

impl RouteTable {
    fn new(table: &Value, strips_ports: bool) -> Self {
        Self {
            hosts: list(table, "virtual_hosts").map(VirtualHost::new).collect(),
            strips_ports,
            ignores_ports: is_on(table, "ignore_port_in_host_matching"),
            has_host_header: member(table, "vhost_header").is_some(),
        }
    }

    /// The host of a request as the plugin sees it, and as Envoy then compares it with domains.
    fn seen<'a>(&self, host: &'a str) -> (&'a str, &'a str) {
        let seen = if self.strips_ports { without_port(host) } else { host };
        (seen, if self.ignores_ports { without_port(seen) } else { seen })
    }

    fn host(&self, host: &str) -> Option<&VirtualHost> {
        let (_, host) = self.seen(host);
        let fits =
            self.hosts.iter().filter_map(|candidate| Some((candidate.fit(host)?, candidate)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, found)| found)
    }

    /// Where a request with this host and path goes.
    fn way(&self, host: &str, path: &str) -> Option<Way<'_>> {
        let host = self.host(host)?;
        let mut routes = Vec::new();
        for route in &host.routes {
            match route.takes(path) {
                Taken::No => {}
                Taken::Perhaps => routes.push(route),
                Taken::Yes => {
                    routes.push(route);
                    break;
                }
            }
        }
        Some(Way { host, routes })
    }
}

impl VirtualHost {
    fn new(host: &Value) -> Self {
        let name = text(host, "name").unwrap_or("?").to_owned();
        let domains = list(host, "domains").filter_map(Value::as_str).map(Domain::new).collect();
        let routes = list(host, "routes").enumerate();
        let routes = routes.map(|(index, route)| Route::new(route, &name, index)).collect();
        Self { name, domains, routes }
    }

    fn fit(&self, host: &str) -> Option<Fit> {
        self.domains.iter().filter_map(|domain| domain.fit(host)).max()
    }
}

impl Route {
    fn new(route: &Value, host: &str, index: usize) -> Self {
        const CONDITIONS: [&str; 8] = [
            "headers",
            "query_parameters",
            "cookies",
            "grpc",
            "tls_context",
            "dynamic_metadata",
            "filter_state",
            "runtime_fraction",
        ];
        let route_match = member(route, "match").unwrap_or(&Value::Null);
        Self {
            place: format!("routes[{index}] of the virtual host {host:?}"),
            path: PathMatch::parse(route_match),
            is_conditional: CONDITIONS.iter().any(|name| member(route_match, name).is_some()),
            target: member(route, "route").map_or(Target::Response, Target::new),
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

    /// The path that its clusters get for this one; none if it is unknown.
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
        Self::Clusters { names, rewrite }
    }
}

impl Way<'_> {
    /// Each cluster that may get the request, with the route that leads there.
    fn clusters(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.routes.iter().flat_map(|route| {
            route.clusters().iter().map(move |cluster| (cluster.as_str(), *route))
        })
    }
}

fn without_port(host: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((bare, port)) if is_port(port) => bare,
        _ => host,
    }
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    member(object, name).and_then(Value::as_str)
}

fn list<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    member(object, name).and_then(Value::as_array).into_iter().flatten()
}
