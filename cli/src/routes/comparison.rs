//! Compares routes with servers: for each kind of request that may make a difference, which
//! server's rules apply to it, and which cluster gets it.

use std::collections::{BTreeMap, BTreeSet};

use mcp_federated_auth::explain::{ExemptPath, Server, Setup};

use super::{Route, RouteTable, Target, VirtualHost, Way, login};
use crate::normalisation::{StrippedPorts, split_port};

/// The results of the comparison.
#[derive(Default)]
pub(crate) struct Findings {
    /// A server gets requests to which the rules of another one apply, or those of two.
    pub(crate) faults: Vec<String>,
    /// What is unsafe or does not work.
    pub(crate) warnings: Vec<String>,
    /// What is fine in some setups.
    pub(crate) notes: Vec<String>,
}

/// Compares the routes with the servers and the login of a configuration.
pub(crate) fn compare(setup: &Setup, table: &RouteTable) -> Findings {
    let mut findings = Findings::default();
    login::limits(setup, table, &mut findings);
    let servers = setup.servers();
    if servers.is_empty() {
        return findings;
    }
    let own = servers.iter().map(|server| own_clusters(server, table)).collect();
    let comparison = Comparison { setup, table, servers, own };
    findings.warnings.extend(comparison.settings());
    for server in &comparison.servers {
        findings.warnings.extend(comparison.way_to(server));
    }
    comparison.shared_clusters(&mut findings);
    findings.faults.extend(comparison.crossings());
    findings.warnings.extend(comparison.default_ports());
    findings.warnings.extend(comparison.exempt_paths());
    findings.warnings.extend(comparison.unseen());
    findings
}

pub(super) struct Comparison<'a> {
    setup: &'a Setup,
    table: &'a RouteTable,
    pub(super) servers: Vec<Server>,
    /// For each server, the clusters that get requests for its `url`.
    own: Vec<BTreeSet<&'a str>>,
}

/// A port that no configuration is likely to name.
pub(super) const OTHER_PORT: u16 = 65_535;

/// The clusters that get requests for a server, under each of its hosts, and for paths below its own.
fn own_clusters<'a>(server: &Server, table: &'a RouteTable) -> BTreeSet<&'a str> {
    let ways = ways_of(server, table);
    ways.flat_map(|way| way.main_clusters().map(|(cluster, _)| cluster).collect::<Vec<_>>())
        .collect()
}

/// Where requests for a server go, under each of its hosts.
fn ways_of<'a>(server: &Server, table: &'a RouteTable) -> impl Iterator<Item = Way<'a>> {
    let below = format!("{}/x", server.path.trim_end_matches('/'));
    let hosts = server.hosts.iter().filter_map(|spellings| spellings.first());
    hosts.flat_map(move |host| {
        [server.path.as_str(), &below]
            .into_iter()
            .filter_map(|path| table.way(host, path))
            .collect::<Vec<_>>()
    })
}

fn clusters<'a>(way: &Way<'a>) -> Vec<&'a str> {
    way.routes.iter().flat_map(|route| route.clusters()).map(String::as_str).collect()
}

impl<'a> Comparison<'a> {
    /// Settings that make Envoy select routes by other criteria than the plugin selects servers.
    fn settings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.table.ignores_ports {
            warnings.push(
                "`ignore_port_in_host_matching` in the routes: Envoy treats `host:8443` and \
                 `host` alike, but for the plugin they are two hosts. Remove it"
                    .to_owned(),
            );
        }
        let names_port =
            |server: &Server| server.hosts.iter().any(|spellings| spellings.len() == 1);
        let is_unknown = self.table.normalisation.ports() == StrippedPorts::Own(None);
        if is_unknown && self.servers.iter().any(names_port) {
            warnings.push(
                "`strip_matching_host_port`: Envoy removes the port of its listener from a host \
                 before the plugin sees it. This file does not show that port, so it was not compared: \
                 name the hosts of `resources` without it"
                    .to_owned(),
            );
        }
        if self.table.has_host_header {
            warnings.push(
                "`vhost_header` in the routes: Envoy selects the virtual host by a header field, and \
                 the plugin the server by the host. Remove it"
                    .to_owned(),
            );
        }
        for route in self.table.hosts.iter().flat_map(|host| &host.routes) {
            if route.path.ignores_case() {
                warnings.push(format!(
                    "`case_sensitive: false` in {}: the plugin distinguishes `/MCP` and `/mcp`. Remove \
                     it",
                    route.place
                ));
            }
        }
        warnings
    }

    /// Whether requests for a server's own addresses belong to it, and reach anything.
    fn way_to(&self, server: &Server) -> Vec<String> {
        let Server { path, field, id, .. } = server;
        let mut warnings = Vec::new();
        for host in server.hosts.iter().filter_map(|spellings| spellings.first()) {
            let problem = match self.table.way(host, path) {
                _ if self.owner(host, path) != Some(server) => {
                    "Envoy removes the port before the plugin sees the host (`strip_any_host_port`, \
                     `strip_matching_host_port`), so they do not belong to it: name the host without \
                     port in `hosts`"
                        .to_owned()
                }
                None => "no virtual host of Envoy has this host among its `domains`".to_owned(),
                Some(Way { host, .. }) if host.has_matcher => continue,
                Some(Way { host, routes, .. }) if routes.is_empty() => {
                    format!("the virtual host {:?} has no route for this path", host.name)
                }
                Some(Way { routes, .. })
                    if routes.iter().all(|route| matches!(route.target, Target::Response)) =>
                {
                    let route = routes.first().map_or("a route", |route| route.place.as_str());
                    format!("{route} responds to them itself, and does not send them to a cluster")
                }
                Some(way) if way.routes.len() > 1 && different_clusters(&way) => format!(
                    "which cluster gets them depends on more than host and path, because {} \
                     matches other parts of a request, but the plugin applies the same rules to \
                     all of them",
                    way.routes.first().map_or("a route", |route| route.place.as_str())
                ),
                Some(_) => continue,
            };
            warnings.push(format!("{field} ({id}): requests for {host}{path}: {problem}"));
        }
        warnings
    }

    /// Requests that belong to one server, and that Envoy sends to the cluster of another.
    fn crossings(&self) -> Vec<String> {
        let mut faults: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for host in self.hosts() {
            let Some(found) = self.table.host(&host) else { continue };
            for path in self.paths(&host, found) {
                let Some(owner) = self.setup.server_at(&self.table.seen(&host), &path) else {
                    continue;
                };
                let Some(way) = self.table.way(&host, &path) else { continue };
                // A route of which it is not known what it takes is named for that.
                let known = |(_, route): &(&str, &Route)| !route.path.is_unknown();
                for (cluster, route) in way.clusters().chain(way.mirrors()).filter(known) {
                    let Some(other) = self.other_owner(cluster, owner) else { continue };
                    let (Some(server), Some(other_server)) =
                        (self.servers.get(owner), self.servers.get(other))
                    else {
                        continue;
                    };
                    faults.entry((owner, other)).or_insert_with(|| {
                        format!(
                            "a request for {host}{path} belongs to {}, but Envoy sends it to the \
                             cluster {cluster:?} of {}, by {}",
                            named(server),
                            named(other_server),
                            route.place
                        )
                    });
                }
            }
        }
        faults.into_values().collect()
    }

    /// The server, other than this one, whose cluster this is. One of several clusters of a server
    /// (`weighted_clusters`) is not its own if another server has that one alone.
    fn other_owner(&self, cluster: &str, owner: usize) -> Option<usize> {
        let is_of = |index: &usize| self.own.get(*index).is_some_and(|own| own.contains(cluster));
        let has_it_alone =
            |index: &usize| is_of(index) && self.own.get(*index).is_some_and(|own| own.len() == 1);
        let mut others = (0..self.servers.len()).filter(|index| *index != owner);
        if is_of(&owner) {
            return others.find(has_it_alone).filter(|_| !has_it_alone(&owner));
        }
        others.find(is_of)
    }

    /// Spellings of a host with the default port that Envoy sends to another cluster than the one
    /// without it.
    fn default_ports(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for server in &self.servers {
            let spellings = server.hosts.iter().filter_map(|hosts| hosts.first_chunk::<2>());
            for [bare, with_port] in spellings {
                let way = |host: &String| self.table.way(host, &server.path);
                let (Some(bare_way), Some(way)) = (way(bare), way(with_port)) else { continue };
                let own = clusters(&bare_way);
                let elsewhere = clusters(&way).into_iter().find(|name| !own.contains(name));
                if let Some(cluster) = elsewhere {
                    warnings.push(format!(
                        "{}: requests for {with_port} go to the virtual host {:?} (cluster {cluster:?}), \
                         those for {bare} do not: add {with_port:?} to the `domains` next to \
                         {bare:?}",
                        named(server),
                        way.host.name
                    ));
                }
            }
        }
        warnings
    }

    /// Paths below a server that need no token at other hosts, or only seem to need none.
    fn exempt_paths(&self) -> Vec<String> {
        let paths = self.setup.exempt_paths_of_servers();
        paths.iter().filter_map(|path| self.exempt_path(path)).collect()
    }

    fn exempt_path(&self, exempt: &ExemptPath) -> Option<String> {
        let ExemptPath { field, path, .. } = exempt;
        let server = self.servers.get(exempt.server)?;
        if !exempt.is_exempt_there {
            return Some(format!(
                "{field}: {path} lies below {}, whose own `exempt` does not list it: it needs a token \
                 there, and is refused under hosts of no server",
                named(server)
            ));
        }
        if !exempt.is_exempt_elsewhere || server.path == "/" {
            return None;
        }
        let own = self.own.get(exempt.server)?;
        let host = self.hosts().into_iter().find(|host| {
            let way = self.table.way(host, path);
            self.setup.server_at(&self.table.seen(host), path).is_none()
                && way.is_some_and(|way| clusters(&way).iter().any(|name| own.contains(name)))
        })?;
        Some(format!(
            "{field}: {path} lies below {}, and Envoy sends it there under hosts of no server too, such \
             as {host}, where `allowed_origins` and `identity` of that server do not count: limit the \
             `domains` of its virtual host",
            named(server)
        ))
    }

    /// Routes whose requests may go to other clusters than the comparison assumes.
    fn unseen(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (host, owners) in self.table.hosts.iter().zip(self.owners()) {
            if owners.is_empty() {
                continue;
            }
            if host.has_matcher {
                warnings.push(format!(
                    "the virtual host {:?} was not compared: its `matcher` selects routes",
                    host.name
                ));
            }
            for route in &host.routes {
                let path = route.path.unseen().filter(|_| self.may_cross(route, &owners));
                let reason = route.unseen.first().copied().or(path);
                warnings.extend(reason.map(|reason| {
                    format!("{} was not compared for all requests: {reason}", route.place)
                }));
            }
        }
        warnings
    }

    /// For each virtual host, the servers that requests which reach it may belong to.
    fn owners(&self) -> Vec<BTreeSet<usize>> {
        let mut owners = vec![BTreeSet::new(); self.table.hosts.len()];
        for host in self.hosts() {
            let Some(found) = self.table.host(&host) else { continue };
            let mut all = self.table.hosts.iter().zip(&mut owners);
            let Some((_, owners)) = all.find(|(own, _)| std::ptr::eq(*own, found)) else {
                continue;
            };
            let seen = &self.table.seen(&host);
            let servers = self.servers.iter();
            owners.extend(servers.filter_map(|server| self.setup.server_at(seen, &server.path)));
        }
        owners
    }

    /// Whether a route leads to a server that is not the only one of its virtual host.
    fn may_cross(&self, route: &Route, owners: &BTreeSet<usize>) -> bool {
        let has = |index: &usize, cluster: &String| {
            self.own.get(*index).is_some_and(|own| own.contains(cluster.as_str()))
        };
        route.clusters().iter().chain(&route.mirrors).any(|cluster| {
            (0..self.servers.len()).any(|server| has(&server, cluster))
                && owners.iter().any(|owner| !has(owner, cluster))
        })
    }

    /// Hosts for which routes or servers may differ.
    fn hosts(&self) -> BTreeSet<String> {
        let named = self.servers.iter().flat_map(|server| &server.hosts).flatten();
        let domains = self.table.hosts.iter().flat_map(|host| &host.domains);
        let mut hosts: BTreeSet<String> = named.cloned().collect();
        hosts.extend(domains.map(super::Domain::sample));
        let own_port = match self.table.normalisation.ports() {
            StrippedPorts::Own(port) => port,
            StrippedPorts::None | StrippedPorts::All => None,
        };
        let ports = [Some(OTHER_PORT), own_port].into_iter().flatten();
        let others = ports.flat_map(|port| {
            hosts.iter().map(move |host| format!("{}:{port}", split_port(host).0))
        });
        let others: Vec<String> = others.collect();
        hosts.extend(others);
        hosts
    }

    /// Paths for which the routes of this virtual host or the servers of this host may differ.
    fn paths(&self, host: &str, virtual_host: &VirtualHost) -> BTreeSet<String> {
        let is_named =
            |server: &&Server| server.hosts.iter().flatten().any(|candidate| candidate == host);
        let servers = self.servers.iter().filter(|server| server.has_any_host || is_named(server));
        let of_servers = servers.map(|server| server.path.as_str());
        let of_routes = virtual_host.routes.iter().filter_map(|route| route.path.literal());
        let mut paths = BTreeSet::from(["/".to_owned(), "/unlisted".to_owned()]);
        for path in of_servers.chain(of_routes) {
            let path = path.trim_end_matches('/');
            let upper = path.to_ascii_uppercase();
            let all =
                [path, &upper, &format!("{path}/"), &format!("{path}/x"), &format!("{path}x")];
            paths.extend(all.into_iter().filter(|path| path.starts_with('/')).map(str::to_owned));
        }
        paths
    }

    pub(super) fn table(&self) -> &'a RouteTable {
        self.table
    }

    pub(super) fn owner(&self, host: &str, path: &str) -> Option<&Server> {
        self.servers.get(self.setup.server_at(&self.table.seen(host), path)?)
    }

    /// Where requests for the URL of a server go.
    pub(super) fn main_way(&self, server: &Server) -> Option<Way<'a>> {
        ways_of(server, self.table).find(|way| !way.routes.is_empty())
    }
}

/// The host of a server's `url`, without the default port.
pub(super) fn main_host(server: &Server) -> Option<&str> {
    Some(server.hosts.first()?.first()?)
}

pub(super) fn named(server: &Server) -> String {
    format!("{} ({})", server.field, server.id)
}

fn different_clusters(way: &Way<'_>) -> bool {
    // A route of which it is not known what it takes is named for that.
    let known = way.routes.iter().filter(|route| !route.path.is_unknown());
    let mut all = known.map(|route| route.clusters());
    let first = all.next();
    all.any(|clusters| Some(clusters) != first)
}
