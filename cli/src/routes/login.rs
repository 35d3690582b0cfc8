//! Whether the limits that routes set on the endpoints of a login apply to all requests that the
//! login responds to.

use std::ptr;

use mcp_federated_auth::explain::{LoginAddress, Setup};

use super::comparison::{Findings, OTHER_PORT};
use super::{Route, RouteTable};

/// Compares the routes of the login's endpoints under each host that it responds to. The plugin
/// responds before Envoy's router, but only the route's limits apply.
pub(super) fn limits(setup: &Setup, table: &RouteTable, findings: &mut Findings) {
    let Some(login) = setup.login_address() else { return };
    let (mut limited, mut unlimited) = (Vec::new(), Vec::new());
    for path in &login.paths {
        match table.limited_route(&login.host, path) {
            Some(route) => limited.push((path, route)),
            None => unlimited.push(path.as_str()),
        }
    }
    if !unlimited.is_empty() {
        findings.notes.push(format!(
            "login: anyone may call {} at {}, and no route limits how often: see envoy/login.yaml",
            unlimited.join(", "),
            login.host
        ));
    }
    let hosts = other_hosts(&login, table);
    let bypassed = limited.into_iter().find_map(|(path, route)| {
        let is_bypassed = |host: &&String| {
            table.limited_route(host, path).is_none_or(|other| !other.limits_like(route))
        };
        Some((path, route, hosts.iter().find(is_bypassed)?))
    });
    if let Some((path, route, host)) = bypassed {
        let fix = match login.responds_everywhere {
            true => {
                "give the virtual host `domains: [\"*\"]`, or the login an `issuer` on a host of its \
                 own"
                .to_owned()
            }
            false => format!("add {host:?} to the `domains` of its virtual host"),
        };
        findings.warnings.push(format!(
            "login: {} limits requests for {}{path}, but not those for {host}{path}, to which the \
             login responds too: {fix}",
            route.place, login.host
        ));
    }
}

/// Samples of the other hosts under which the login responds.
fn other_hosts(login: &LoginAddress, table: &RouteTable) -> Vec<String> {
    let mut hosts: Vec<String> = login.with_default_port.iter().cloned().collect();
    if login.responds_everywhere {
        let domains = table.hosts.iter().flat_map(|host| &host.domains);
        hosts.extend(domains.map(super::Domain::sample));
        hosts.push(format!("{}:{OTHER_PORT}", login.host));
        hosts.push(super::Domain::Any.sample());
    }
    hosts
}

impl RouteTable {
    /// The first route that may take this request, if it has limits.
    fn limited_route(&self, host: &str, path: &str) -> Option<&Route> {
        let route = *self.way(host, path)?.routes.first()?;
        (!route.limits.is_empty()).then_some(route)
    }
}

impl Route {
    /// Whether requests that another route takes meet the same limits.
    fn limits_like(&self, other: &Self) -> bool {
        ptr::eq(self, other) || self.limits == other.limits
    }
}
