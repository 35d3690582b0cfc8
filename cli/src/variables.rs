//! The environment variables that the file passes to the plugin.

use std::collections::BTreeMap;

use mcp_federated_auth::explain::{HOST_VARIABLES, Variable};
use serde_json::Value;

use crate::surroundings::{Runner, member};

/// The environment variables that the plugin gets.
#[derive(Default)]
pub(crate) struct Variables(BTreeMap<String, Variable>);

impl Variables {
    /// The variables of a plugin whose configuration is a member of this object; `None` if the file
    /// does not limit them.
    pub(crate) fn new(runner: Runner, plugin: &Value) -> Option<Self> {
        let mut variables = Self::default();
        match runner {
            // A dynamic module gets all of Envoy's.
            Runner::Unknown | Runner::DynamicModule | Runner::EnvoyGatewayModule => return None,
            Runner::Envoy => {
                let vm = member(plugin, "vm_config");
                let given = vm.and_then(|vm| member(vm, "environment_variables"));
                let given = given.unwrap_or(&Value::Null);
                variables.add_from_host(member(given, HOST_VARIABLES));
                let values = member(given, "key_values").and_then(Value::as_object);
                for (name, value) in values.into_iter().flatten() {
                    variables.add(name, value.as_str());
                }
            }
            Runner::EnvoyGateway => {
                let env = member(plugin, "env");
                variables.add_from_host(env.and_then(|env| member(env, "host_keys")));
            }
            Runner::Istio => {
                let env = member(plugin, "vm_config").and_then(|vm| member(vm, "env"));
                for entry in env.and_then(Value::as_array).into_iter().flatten() {
                    let text = |name| member(entry, name).and_then(Value::as_str);
                    let is_inline = text("value_from") != Some("HOST");
                    let value = is_inline.then(|| text("value").unwrap_or_default());
                    variables.add(text("name").unwrap_or_default(), value);
                }
            }
        }
        Some(variables)
    }

    /// What is known of a variable.
    pub(crate) fn get(&self, name: &str) -> Variable {
        self.0.get(name).cloned().unwrap_or(Variable::Missing)
    }

    fn add_from_host(&mut self, names: Option<&Value>) {
        let names = names.and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).for_each(|name| self.add(name, None));
    }

    /// `value`: `None` if it is not in the file.
    fn add(&mut self, name: &str, value: Option<&str>) {
        let variable = value.map_or(Variable::Unknown, |value| Variable::Set(value.to_owned()));
        self.0.insert(name.to_owned(), variable);
    }
}
