//! The HTTP filters of a connection manager: where the plugin does not run, and which other filters
//! may send a request elsewhere.

use mcp_federated_auth::explain::Setup;
use serde_json::Value;

use crate::surroundings::{is_on, member, type_name};

/// The plugin's filter, and the filters next to it.
#[derive(Default)]
pub(crate) struct FilterChain {
    /// Whether the plugin is off unless a route turns it on.
    is_off: bool,
    /// Where it is turned off: routes, virtual hosts and clusters.
    off_at: Vec<String>,
    /// Upgrades with filters of their own, without the plugin.
    upgrades_without: Vec<String>,
    /// Names of the filters that may change the host, the path or the route of a request.
    others: Vec<String>,
}

/// Types of filters that may change the host, the path or the route of a request.
const REROUTING: [&str; 9] = [
    "envoy.extensions.filters.http.lua.v3.Lua",
    "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    "envoy.extensions.filters.http.golang.v3alpha.Config",
    "envoy.extensions.filters.http.wasm.v3.Wasm",
    "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
    "envoy.extensions.filters.http.composite.v3.Composite",
    "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
];

impl FilterChain {
    /// Reads the filters of a connection manager. `plugin` is the element of `http_filters` that is the
    /// plugin, if one is.
    pub(crate) fn new(manager: &Value, plugin: Option<&Value>) -> Self {
        let Some(plugin) = plugin else { return Self::default() };
        let mut off_at = Vec::new();
        if let (Some(table), Some(name)) = (member(manager, "route_config"), name(plugin)) {
            find_disabled(table, "route_config", name, &mut off_at);
        }
        let settings = member(plugin, "typed_config");
        let is_plugin =
            |filter: &Value| settings.is_some() && member(filter, "typed_config") == settings;
        let upgrades = elements(manager, "upgrade_configs").filter(|upgrade| {
            let mut filters = elements(upgrade, "filters").peekable();
            filters.peek().is_some() && !filters.any(is_plugin)
        });
        let upgrades = upgrades.map(|upgrade| text(upgrade, "upgrade_type"));
        let others = elements(manager, "http_filters").filter(|filter| {
            let kind = member(filter, "typed_config").and_then(type_name);
            !std::ptr::eq(*filter, plugin) && kind.is_some_and(|kind| REROUTING.contains(&kind))
        });
        Self {
            is_off: is_on(plugin, "disabled"),
            off_at,
            upgrades_without: upgrades.map(str::to_owned).collect(),
            others: others.map(|filter| text(filter, "name").to_owned()).collect(),
        }
    }

    /// What is unsafe about it.
    pub(crate) fn warnings(&self, setup: &Setup) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_off {
            warnings.push(
                "`disabled: true` turns the plugin off: requests pass without authentication on \
                 all routes that do not turn it on"
                    .to_owned(),
            );
        }
        warnings.extend(self.off_at.iter().map(|place| {
            format!(
                "{place} turns the plugin off (`typed_per_filter_config`): requests pass there \
                 without authentication; for paths that need no token, use `exempt`"
            )
        }));
        warnings.extend(self.upgrades_without.iter().map(|upgrade| {
            format!(
                "`upgrade_configs` has filters of its own for {upgrade:?}, without the plugin: such \
                 requests pass without authentication"
            )
        }));
        if !setup.servers().is_empty() && !self.others.is_empty() {
            warnings.push(format!(
                "other filters may change host, path or route, which was not compared with \
                 `resources`: {}; see docs/several-servers.md",
                self.others.join(", ")
            ));
        }
        warnings
    }
}

/// Adds the places below `value` that turn this filter off.
fn find_disabled(value: &Value, place: &str, filter: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let own = member(value, "typed_per_filter_config").and_then(|all| all.get(filter));
            if own.is_some_and(|own| is_on(own, "disabled")) {
                found.push(place.to_owned());
            }
            for (name, inner) in members {
                find_disabled(inner, &format!("{place}.{name}"), filter, found);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                find_disabled(inner, &format!("{place}[{index}]"), filter, found);
            }
        }
        _ => {}
    }
}

fn name(filter: &Value) -> Option<&str> {
    member(filter, "name").and_then(Value::as_str)
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    member(object, name).and_then(Value::as_str).unwrap_or("?")
}

fn elements<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    member(object, name).and_then(Value::as_array).into_iter().flatten()
}
