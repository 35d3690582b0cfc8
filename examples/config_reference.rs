//! Prints the reference of the plugin's configuration: `make schema` puts it into docs/.

fn main() {
    print!("{}", mcp_federated_auth::config_reference());
}
