//! How a file runs the plugin, and what is unsafe about it.

use mcp_federated_auth::explain::{HOST_VARIABLES, Setup};
use serde_json::Value;

use crate::filter_chain::FilterChain;
use crate::normalisation::Normalisation;
use crate::routes::{RouteTable, Routes};
use crate::variables::Variables;

const BUFFER: &str = "envoy.extensions.filters.http.buffer.v3.Buffer";
const CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The place of a value in the file.
#[derive(Clone, Copy, Default)]
pub(crate) struct Location<'a> {
    /// Envoy's listener around it.
    listener: Option<&'a Value>,
    /// Envoy's HTTP connection manager around it.
    manager: Option<&'a Value>,
    /// The HTTP filter that it belongs to.
    filter: Option<&'a Value>,
    /// The HTTP filter behind that one.
    next_filter: Option<&'a Value>,
    /// Whether it is inside an EnvoyExtensionPolicy of Envoy Gateway.
    is_in_extension_policy: bool,
}

/// How the plugin is run, as far as the file shows it.
#[derive(Default)]
pub(crate) struct Surroundings {
    runner: Runner,
    /// The setting that lets requests pass while the plugin cannot run.
    open_failure: Option<&'static str>,
    /// Whether no part of a request reaches the server before its body has been judged.
    holds_heads: bool,
    /// Whether the plugin gets the body of a request while its head is held back.
    holds_bodies: bool,
    /// The environment variables that the plugin gets; `None` if the file does not show them.
    variables: Option<Variables>,
    manager: Option<Manager>,
}

/// What configures the plugin.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Runner {
    /// Unknown: the file holds only the plugin's configuration.
    #[default]
    Unknown,
    /// A Wasm filter of Envoy.
    Envoy,
    /// A dynamic module of Envoy.
    DynamicModule,
    /// A WasmPlugin of Istio.
    Istio,
    /// An EnvoyExtensionPolicy of Envoy Gateway with a Wasm plugin.
    EnvoyGateway,
    /// The same with a dynamic module.
    EnvoyGatewayModule,
}

/// How Envoy's HTTP connection manager reads requests.
struct Manager {
    normalisation: Normalisation,
    handles_underscores: bool,
    header_limit: usize,
    filters: FilterChain,
    routes: Routes,
}

impl<'a> Location<'a> {
    /// The location of the members of this object, which lies here.
    pub(crate) fn inside(self, object: &'a Value) -> Self {
        let is_policy = object.get("kind").and_then(Value::as_str) == Some("EnvoyExtensionPolicy");
        let is_listener = ["filter_chains", "default_filter_chain"]
            .iter()
            .any(|name| member(object, name).is_some());
        Self {
            listener: is_listener.then_some(object).or(self.listener),
            manager: member(object, "http_filters").map(|_| object).or(self.manager),
            is_in_extension_policy: is_policy || self.is_in_extension_policy,
            ..self
        }
    }

    /// The location of an element of this array, which lies here.
    pub(crate) fn element(self, array: &'a Value, index: usize) -> Self {
        let filters = self.manager.and_then(|manager| member(manager, "http_filters"));
        match filters {
            Some(filters) if std::ptr::eq(filters, array) => Self {
                filter: filters.get(index),
                next_filter: filters.get(index.saturating_add(1)),
                ..self
            },
            _ => self,
        }
    }

    /// Whether this is where Envoy Gateway expects the configuration of a plugin.
    pub(crate) fn is_in_extension_policy(self) -> bool {
        self.is_in_extension_policy
    }
}

impl Surroundings {
    /// What the file says about a plugin whose object has this configuration as a member.
    pub(crate) fn new(
        plugin: &Value,
        configuration: &str,
        location: Location<'_>,
        documents: &[&Value],
    ) -> Self {
        let runner = match configuration {
            "configuration" => Runner::Envoy,
            "filter_config" | "filterConfig" => Runner::DynamicModule,
            "config" if member(plugin, "filter_name").is_some() => Runner::EnvoyGatewayModule,
            "config" => Runner::EnvoyGateway,
            _ => Runner::Istio,
        };
        let is_buffer = |filter: &Value| is_of_type(filter, BUFFER);
        let anywhere = |is_wanted: &dyn Fn(&Value) -> bool| {
            documents.iter().find_map(|document| find(document, is_wanted))
        };
        let is_buffered = match location.manager {
            Some(_) => location.next_filter.is_some_and(|next| find(next, &is_buffer).is_some()),
            // The additions of an EnvoyFilter are elsewhere.
            None => anywhere(&is_buffer).is_some(),
        };
        let holds_bodies = match runner {
            // A dynamic module always holds the head back.
            Runner::DynamicModule | Runner::EnvoyGatewayModule => true,
            Runner::Envoy => is_on(plugin, "allow_on_headers_stop_iteration"),
            Runner::Unknown | Runner::Istio | Runner::EnvoyGateway => false,
        };
        let manager =
            location.manager.or_else(|| anywhere(&|value| is_of_type(value, CONNECTION_MANAGER)));
        Self {
            runner,
            open_failure: open_failure(runner, plugin),
            holds_heads: is_buffered || holds_bodies,
            holds_bodies,
            variables: Variables::new(runner, plugin),
            manager: manager.map(|manager| Manager::new(manager, location)),
        }
    }

    /// Envoy's limit on the header fields of a request, in bytes.
    pub(crate) fn header_limit(&self) -> usize {
        self.manager.as_ref().map_or(Setup::HEADER_LIMIT, |manager| manager.header_limit)
    }

    /// What is unsafe with this configuration.
    pub(crate) fn warnings(&self, setup: &Setup) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(self.open_failure.map(|setting| self.fails_open(setting)));
        if setup.reads_bodies() && !self.holds_heads {
            warnings.extend(self.early_heads());
        }
        if setup.has_login() && !self.holds_bodies {
            warnings.extend(self.withheld_forms());
        }
        warnings.extend(self.manager.iter().flat_map(|manager| manager.warnings(setup)));
        warnings
    }

    /// Faults because of environment variables that the plugin does not get, or whose values in the
    /// file it does not accept.
    pub(crate) fn variable_faults(&self, setup: &Setup) -> Vec<String> {
        let Some(variables) = &self.variables else { return Vec::new() };
        let mut faults = setup.variable_faults(&|name| variables.get(name));
        let place = match self.runner {
            Runner::Istio => "in Istio's WasmPlugin: vmConfig.env, with valueFrom: HOST",
            Runner::EnvoyGateway => "in Envoy Gateway's EnvoyExtensionPolicy: env.hostKeys",
            _ => return faults,
        };
        for fault in faults.iter_mut().filter(|fault| fault.contains(HOST_VARIABLES)) {
            *fault = format!("{fault} ({place})");
        }
        faults
    }

    /// What the file does not show.
    pub(crate) fn unseen(&self) -> Option<String> {
        let example = match self.runner {
            Runner::Unknown => return None,
            Runner::Envoy => "as envoy/envoy.yaml has it",
            Runner::DynamicModule => "as envoy/native.yaml has it",
            Runner::Istio => "by an EnvoyFilter, as envoy/istio/envoyfilter.yaml has it",
            Runner::EnvoyGateway | Runner::EnvoyGatewayModule => {
                "by a ClientTrafficPolicy (`path`, `headers`)"
            }
        };
        self.manager.is_none().then(|| {
            format!(
                "Envoy must normalise paths and refuse header names with underscores, which this file \
                 does not show: {example}"
            )
        })
    }

    /// How Envoy changes hosts and paths before the plugin sees them, if the file shows it.
    pub(crate) fn normalisation(&self) -> Option<Normalisation> {
        self.manager.as_ref().map(|manager| manager.normalisation)
    }

    /// The routes, if the file shows them.
    pub(crate) fn routes(&self) -> Option<&RouteTable> {
        match self.manager.as_ref().map(|manager| &manager.routes) {
            Some(Routes::Shown(table)) => Some(table),
            Some(Routes::Elsewhere) | None => None,
        }
    }

    fn fails_open(&self, setting: &str) -> String {
        let fix = match self.runner {
            Runner::Istio => "use FAIL_RELOAD",
            Runner::EnvoyGateway | Runner::EnvoyGatewayModule => "remove it",
            Runner::Envoy | Runner::Unknown => "use `failure_policy: FAIL_RELOAD`",
            Runner::DynamicModule => {
                return format!(
                    "`{setting}` lets requests pass without authentication while the module cannot \
                     be fetched: use a local file"
                );
            }
        };
        format!(
            "`{setting}` lets requests pass without authentication while the plugin cannot run, \
             such as after a crash: {fix}"
        )
    }

    /// Whether the forms of a login cannot be read.
    fn withheld_forms(&self) -> Option<String> {
        let option = match self.runner {
            Runner::Unknown | Runner::DynamicModule | Runner::EnvoyGatewayModule => return None,
            Runner::Envoy => {
                "`allow_on_headers_stop_iteration: true` is missing next to `configuration`"
            }
            Runner::Istio => {
                "Istio's WasmPlugin has no field for `allow_on_headers_stop_iteration`"
            }
            Runner::EnvoyGateway => {
                "Envoy Gateway's EnvoyExtensionPolicy has no field for \
                 `allow_on_headers_stop_iteration`"
            }
        };
        Some(format!(
            "{option}, so the forms of `login` cannot be read and its endpoints respond with 500: \
             see docs/login.md"
        ))
    }

    /// Whether the head of a request is forwarded before its body is judged.
    fn early_heads(&self) -> Option<String> {
        let (option, fix) = match self.runner {
            Runner::Unknown | Runner::DynamicModule | Runner::EnvoyGatewayModule => return None,
            Runner::Envoy => (
                "`allow_on_headers_stop_iteration: true` is missing next to `configuration`",
                "set it (Envoy 1.35 and later), or put Envoy's buffer filter directly behind the \
                 plugin",
            ),
            Runner::Istio => (
                "Istio's WasmPlugin has no field for `allow_on_headers_stop_iteration`",
                "put Envoy's buffer filter directly behind the plugin by an EnvoyFilter",
            ),
            Runner::EnvoyGateway => (
                "Envoy Gateway's EnvoyExtensionPolicy has no field for \
                 `allow_on_headers_stop_iteration`",
                "put Envoy's buffer filter directly behind the plugin by an EnvoyPatchPolicy",
            ),
        };
        Some(format!(
            "{option}, and access rules read messages (mcp_methods, mcp_names): the head of a \
             request reaches the server before its message is checked; {fix}: see docs/access.md"
        ))
    }
}

impl Manager {
    /// `location`: that of the plugin.
    fn new(manager: &Value, location: Location<'_>) -> Self {
        let Location { listener, filter, .. } = location;
        let normalisation = Normalisation::new(manager, listener);
        let protocol = member(manager, "common_http_protocol_options");
        let underscores =
            protocol.and_then(|protocol| member(protocol, "headers_with_underscores_action"));
        let kilobytes = member(manager, "max_request_headers_kb").and_then(Value::as_u64);
        Self {
            normalisation,
            handles_underscores: is_one_of(
                underscores,
                &[("REJECT_REQUEST", 1), ("DROP_HEADER", 2)],
            ),
            header_limit: kilobytes
                .and_then(|kilobytes| usize::try_from(kilobytes).ok()?.checked_mul(1024))
                .unwrap_or(Setup::HEADER_LIMIT),
            filters: FilterChain::new(manager, filter),
            routes: Routes::new(manager, filter, normalisation),
        }
    }

    fn warnings(&self, setup: &Setup) -> Vec<String> {
        let path = |is_there: bool, setting: &str, example: &str| {
            (setup.names_paths() && !is_there).then(|| {
                format!(
                    "`{setting}` is missing in the HTTP connection manager, and access rules, \
                     `exempt` or `resources` name paths: the server could interpret {example} as \
                     another path than the plugin does"
                )
            })
        };
        let underscores = (!self.handles_underscores).then(|| {
            "`common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}` is \
             missing in the HTTP connection manager: some servers read `_` in the names of header \
             fields as `-`"
                .to_owned()
        });
        let limit = self.header_limit;
        let token = (setup.max_token_size() > limit).then(|| {
            format!(
                "`max_token_size` is {} bytes, but Envoy accepts {limit} for all header fields of \
                 a request and responds with 431 to more: raise `max_request_headers_kb` of the \
                 HTTP connection manager",
                setup.max_token_size()
            )
        });
        let filters = self.filters.warnings(setup);
        [
            path(self.normalisation.normalizes_path(), "normalize_path: true", "`/a/../b`"),
            path(self.normalisation.merges_slashes(), "merge_slashes: true", "`//a`"),
            path(
                self.normalisation.handles_escaped_slashes(),
                "path_with_escaped_slashes_action: REJECT_REQUEST",
                "`/a%2Fb`",
            ),
            underscores,
            token,
        ]
        .into_iter()
        .flatten()
        .chain(filters)
        .collect()
    }
}

/// The setting that lets requests pass while this plugin cannot run.
fn open_failure(runner: Runner, plugin: &Value) -> Option<&'static str> {
    match runner {
        Runner::Unknown | Runner::EnvoyGatewayModule => None,
        Runner::DynamicModule => member(plugin, "dynamic_module_config")
            .and_then(|module| member(member(module, "module")?, "remote"))
            .map(|_| "module.remote"),
        Runner::Envoy if is_on(plugin, "fail_open") => Some("fail_open: true"),
        Runner::Envoy => is_one_of(member(plugin, "failure_policy"), &[("FAIL_OPEN", 3)])
            .then_some("failure_policy: FAIL_OPEN"),
        Runner::Istio => is_one_of(member(plugin, "fail_strategy"), &[("FAIL_OPEN", 1)])
            .then_some("failStrategy: FAIL_OPEN"),
        Runner::EnvoyGateway => is_on(plugin, "fail_open").then_some("failOpen: true"),
    }
}

/// A field by its name in Envoy's API, or in camel case, which Envoy and Kubernetes also accept.
pub(crate) fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    let camel = words.fold(first, |name, word| {
        let (initial, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        name + &initial.to_ascii_uppercase() + rest
    });
    object.get(name).or_else(|| object.get(camel)).filter(|value| !value.is_null())
}

/// Envoy also accepts a switch in quotes.
pub(crate) fn is_on(object: &Value, name: &str) -> bool {
    member(object, name).is_some_and(|value| *value == Value::Bool(true) || *value == "true")
}

/// The same for a switch that is on by default.
pub(crate) fn is_off(object: &Value, name: &str) -> bool {
    member(object, name).is_some_and(|value| *value == Value::Bool(false) || *value == "false")
}

/// Envoy accepts the number of a constant as well as its name.
pub(crate) fn is_one_of(value: Option<&Value>, constants: &[(&str, u64)]) -> bool {
    value.is_some_and(|value| {
        constants.iter().any(|(name, number)| *value == **name || *value == *number)
    })
}

fn is_of_type(value: &Value, name: &str) -> bool {
    type_name(value) == Some(name)
}

/// The name of the message that an `Any` holds.
pub(crate) fn type_name(value: &Value) -> Option<&str> {
    let url = value.get("@type").and_then(Value::as_str)?;
    url.rsplit('/').next()
}

/// The first value in a document of which this is true.
fn find<'a>(value: &'a Value, is_wanted: &dyn Fn(&Value) -> bool) -> Option<&'a Value> {
    if is_wanted(value) {
        return Some(value);
    }
    match value {
        Value::Object(members) => members.values().find_map(|inner| find(inner, is_wanted)),
        Value::Array(elements) => elements.iter().find_map(|inner| find(inner, is_wanted)),
        _ => None,
    }
}
