//! Environment variables that the configuration names.

use super::Faults;

/// The field of Envoy's `vm_config.environment_variables` that lists variables of Envoy's own. A
/// fault that names it can be mended there.
pub const HOST_VARIABLES: &str = "host_env_keys";

/// Looks up environment variables by name.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of a variable that the field at `path` names. `None` if there is none, which is a
/// fault.
pub(super) fn variable(
    name: &str,
    path: &str,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Option<String> {
    let value = environment(name);
    if value.is_none() {
        faults.add(
            path,
            format!(
                "the environment variable {name:?} is not set or not passed to the plugin: set it \
                 in Envoy's environment and name it in \
                 vm_config.environment_variables.{HOST_VARIABLES}; the native module needs no such \
                 list"
            ),
        );
    }
    value
}
