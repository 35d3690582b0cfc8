//! Servers whose requests go to the same cluster: whether those for one may reach the other.

use std::collections::BTreeSet;

use mcp_federated_auth::explain::Server;

use super::comparison::{Comparison, Findings, main_host, named};
use super::{HostRewrite, Rewrite, Route, Target, Way};

impl Comparison<'_> {
    /// Compares each two servers.
    pub(super) fn shared_clusters(&self, findings: &mut Findings) {
        for (index, first) in self.servers.iter().enumerate() {
            for second in self.servers.iter().skip(index.saturating_add(1)) {
                let (Some(one), Some(other)) = (self.main_way(first), self.main_way(second)) else {
                    continue;
                };
                let ways = [(first, &one), (second, &other)];
                if let Some(shared) = Shared::find(ways) {
                    self.compare_two(&shared, findings);
                }
            }
        }
    }

    fn compare_two(&self, shared: &Shared<'_>, findings: &mut Findings) {
        let Shared { cluster, servers: [first, second], routes: [route, other] } = *shared;
        let both = format!("{} and {}", named(first), named(second));
        if let Some(fault) = self.alike(shared) {
            findings.faults.push(fault);
        } else if std::ptr::eq(route, other) {
            findings.warnings.push(format!(
                "{both} share {}, to the cluster {cluster:?}: give each a route of its own, with its \
                 path as `path_separated_prefix`",
                route.place
            ));
        } else if route.forwarded(&first.path).is_some()
            && route.forwarded(&first.path) == other.forwarded(&second.path)
        {
            findings.warnings.push(format!(
                "requests for {both} reach the same path of the cluster {cluster:?}, by {} and \
                 {}: a request allowed at one of them reaches the other too, unless the cluster \
                 selects its server by host",
                route.place, other.place
            ));
        } else if let Some(unknown) = [route, other].into_iter().find(|route| route.is_rewritten())
        {
            findings.warnings.push(format!(
                "{both} are both in the cluster {cluster:?}, and the paths that it gets were not \
                 compared: {} rewrites them",
                unknown.place
            ));
        } else if let Some(crossing) =
            self.path_of_another(shared).or_else(|| self.path_of_another(&shared.turned()))
        {
            findings.warnings.push(crossing);
        } else {
            findings.notes.push(format!(
                "{both} are both in the cluster {cluster:?}: its servers must not take a path of \
                 one for a path of the other"
            ));
        }
    }

    /// That the cluster cannot tell requests for one server from those for the other.
    fn alike(&self, shared: &Shared<'_>) -> Option<String> {
        let Shared { cluster, servers: [first, second], .. } = *shared;
        let hosts: BTreeSet<&str> = [first, second]
            .into_iter()
            .flat_map(|server| server.hosts.iter().filter_map(|spellings| spellings.first()))
            .map(String::as_str)
            .collect();
        let of_second: Vec<Sent<'_>> =
            hosts.iter().filter_map(|host| self.sent(second, host, cluster)).collect();
        hosts.iter().filter_map(|host| self.sent(first, host, cluster)).find_map(|one| {
            let other = of_second.iter().find(|other| one.is_like(other))?;
            let by = match std::ptr::eq(one.route, other.route) {
                true => one.route.place.clone(),
                false => format!("{} and {}", one.route.place, other.route.place),
            };
            Some(format!(
                "requests for {} and {} reach the same host and path of the cluster {cluster:?}, by \
                 {by}: it cannot tell them apart, so a request allowed at one of them reaches the \
                 other too",
                named(first),
                named(second)
            ))
        })
    }

    /// What this cluster gets of a request for a server under this host, if that is certain.
    fn sent<'b>(&'b self, server: &Server, host: &'b str, cluster: &str) -> Option<Sent<'b>> {
        if self.owner(host, &server.path) != Some(server) {
            return None;
        }
        let route = self.table().way(host, &server.path)?.certain?;
        let is_taken = route.clusters().iter().any(|candidate| candidate == cluster);
        let Target::Clusters { host: rewrite, .. } = &route.target else { return None };
        let (host, is_of_endpoint) = match rewrite {
            HostRewrite::None => (host, false),
            HostRewrite::Literal(literal) => (literal.as_str(), false),
            HostRewrite::Endpoint => (host, true),
            HostRewrite::Unknown => return None,
        };
        let path = route.forwarded(&server.path).filter(|_| is_taken)?;
        Some(Sent { host, is_of_endpoint, path, route })
    }

    /// A path that belongs to the first server, and that reaches the cluster as one of the second.
    fn path_of_another(&self, shared: &Shared<'_>) -> Option<String> {
        let Shared { cluster, servers: [first, second], routes: [_, other] } = *shared;
        let wanted = other.forwarded(&second.path)?;
        let host = main_host(first)?;
        let reaches_it = |path: &String| {
            let way = self.table().way(host, path);
            let is_taken = way.iter().flat_map(Way::clusters).any(|(candidate, route)| {
                candidate == cluster && route.forwarded(path).as_deref() == Some(wanted.as_str())
            });
            is_taken && self.owner(host, path) == Some(first)
        };
        let routes = self.table().host(host)?.routes.iter();
        let path = routes.filter_map(|route| route.source(&wanted)).find(reaches_it)?;
        Some(format!(
            "a request for {host}{path} belongs to {}, and reaches the path {wanted} of the cluster \
             {cluster:?}, which is that of {}, unless the cluster selects its server by host",
            named(first),
            named(second)
        ))
    }
}

/// What a cluster gets of a request.
struct Sent<'a> {
    host: &'a str,
    /// Whether the endpoint's host may replace it.
    is_of_endpoint: bool,
    path: String,
    route: &'a Route,
}

impl Sent<'_> {
    fn is_like(&self, other: &Self) -> bool {
        (self.host, self.is_of_endpoint, &self.path)
            == (other.host, other.is_of_endpoint, &other.path)
            && self.route.marks == other.route.marks
    }
}

/// A cluster that two servers share.
struct Shared<'a> {
    cluster: &'a str,
    servers: [&'a Server; 2],
    /// The route by which each gets its requests there.
    routes: [&'a Route; 2],
}

impl<'a> Shared<'a> {
    fn find([(first, one), (second, other)]: [(&'a Server, &Way<'a>); 2]) -> Option<Self> {
        one.main_clusters().find_map(|(cluster, route)| {
            let mut of_other = other.main_clusters();
            let (_, other_route) = of_other.find(|(candidate, _)| *candidate == cluster)?;
            Some(Self { cluster, servers: [first, second], routes: [route, other_route] })
        })
    }

    fn turned(&self) -> Self {
        let Self { cluster, servers: [first, second], routes: [route, other] } = *self;
        Self { cluster, servers: [second, first], routes: [other, route] }
    }
}

impl Route {
    /// Whether the path that its clusters get is unknown.
    fn is_rewritten(&self) -> bool {
        matches!(self.target, Target::Clusters { rewrite: Rewrite::Unknown, .. })
    }

    /// The path of a request that its clusters get as this one, if there is one.
    fn source(&self, forwarded: &str) -> Option<String> {
        match &self.target {
            Target::Clusters { rewrite: Rewrite::None, .. } => Some(forwarded.to_owned()),
            Target::Clusters { rewrite: Rewrite::Prefix(prefix), .. } => {
                let rest = forwarded.strip_prefix(prefix.as_str())?;
                Some(format!("{}{rest}", self.path.literal()?))
            }
            Target::Clusters { rewrite: Rewrite::Unknown, .. }
            | Target::Response
            | Target::Unknown => None,
        }
    }
}
