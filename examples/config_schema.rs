//! Prints the JSON Schema of the plugin's configuration: `make schema` puts it into docs/.

fn main() {
    println!("{:#}", mcp_federated_auth::config_schema());
}
