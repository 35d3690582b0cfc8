use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{repository_root, yaml};

use crate::native::replace_plugin;

/// Envoy's configuration as a tree that can be edited before Envoy starts.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    tree: Value,
}

impl Bootstrap {
    /// The example of the README, `envoy/envoy.yaml`.
    pub fn example() -> Self {
        Self::from_file(&repository_root().join("envoy/envoy.yaml"))
    }

    /// The example of the status page, `envoy/status.yaml`.
    pub fn status_example() -> Self {
        Self::from_file(&repository_root().join("envoy/status.yaml"))
    }

    /// The example of several servers, `envoy/gateway.yaml`, for clients of this port. The issuers
    /// are those of its providers, `staff` and `partners`.
    ///
    /// # Panics
    ///
    /// If the file has other issuers or another port than this function knows.
    pub fn gateway_example(port: u16, [staff, partners]: [&str; 2]) -> Self {
        let example = Self::from_file(&repository_root().join("envoy/gateway.yaml"));
        let mut text = example.tree.to_string();
        for (own, count, replacement) in [
            // In `url`, `audiences` and `domains`, and the port of the listener.
            (":10000", 9, format!(":{port}").as_str()),
            // In `issuer` and `metadata_url`.
            ("http://127.0.0.1:9001", 2, staff),
            ("http://127.0.0.1:9002", 2, partners),
        ] {
            assert_eq!(text.matches(own).count(), count, "{own} in envoy/gateway.yaml");
            text = text.replace(own, replacement);
        }
        Self { tree: serde_json::from_str(&text).expect("it is still JSON") }
    }

    /// Another file of the same kind.
    pub fn from_file(path: &Path) -> Self {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        Self { tree: yaml(&text) }
    }

    /// The whole tree.
    pub fn tree(&mut self) -> &mut Value {
        &mut self.tree
    }

    /// The HTTP connection manager of the first listener.
    pub fn connection_manager(&mut self) -> &mut Value {
        &mut self.tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    }

    /// The HTTP filters of the first listener.
    pub fn http_filters(&mut self) -> &mut Vec<Value> {
        self.connection_manager()["http_filters"]
            .as_array_mut()
            .expect("the connection manager has filters")
    }

    /// The filter's `config`: the plugin's name, VM, module and configuration.
    pub fn plugin(&mut self) -> &mut Value {
        let filter = self
            .http_filters()
            .iter_mut()
            .find(|filter| filter["name"] == "envoy.filters.http.wasm")
            .expect("there is a Wasm filter");
        &mut filter["typed_config"]["config"]
    }

    /// The plugin's own configuration, which the contract describes.
    pub fn plugin_configuration(&mut self) -> &mut Value {
        &mut self.plugin()["configuration"]["value"]
    }

    /// Passes the configuration to the plugin in this form.
    ///
    /// Call it last: afterwards [`plugin_configuration`](Self::plugin_configuration) may be a
    /// string.
    pub fn set_configuration_form(&mut self, form: ConfigurationForm) {
        if form == ConfigurationForm::StringValue {
            let text = self.plugin_configuration().to_string();
            self.set_configuration_text(text);
        }
    }

    /// Passes any string to the plugin as its configuration, JSON or not, in a `StringValue`.
    pub fn set_configuration_text(&mut self, text: impl Into<String>) {
        self.plugin()["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": text.into(),
        });
    }

    /// The module that Envoy loads.
    pub fn set_module(&mut self, path: &Path) {
        self.plugin()["vm_config"]["code"] = json!({"local": {"filename": path}});
    }

    /// Replaces each filter by the native module at this path, with the same configuration. Comes last.
    /// Returns the environment variables that the plugin has of its own.
    pub fn replace_plugin(&mut self, module: &Path) -> Vec<(String, String)> {
        replace_plugin(&mut self.tree, module)
    }

    /// The port that clients connect to.
    pub fn set_listener_port(&mut self, port: u16) {
        let listener = &mut self.tree["static_resources"]["listeners"][0];
        listener["address"]["socket_address"]["port_value"] = json!(port);
    }

    /// The port of the admin interface; 0 selects a free one.
    pub fn set_admin_port(&mut self, port: u16) {
        self.tree["admin"]["address"]["socket_address"]["port_value"] = json!(port);
    }

    /// The status page's plugin in `envoy/status.yaml`.
    pub fn status_plugin(&mut self) -> &mut Value {
        &mut self.status_listener()["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
            [0]["typed_config"]["config"]
    }

    /// Serves the status page of `envoy/status.yaml` on this port. Call it after
    /// [`set_module`](Self::set_module): the page runs in the same VM as the plugin.
    pub fn set_status_port(&mut self, port: u16) {
        self.status_listener()["address"]["socket_address"]["port_value"] = json!(port);
        let vm_config = self.plugin()["vm_config"].clone();
        self.status_plugin()["vm_config"] = vm_config;
    }

    /// The listener of the status page in `envoy/status.yaml`.
    pub fn status_listener(&mut self) -> &mut Value {
        &mut self.tree["static_resources"]["listeners"][1]
    }

    /// Makes Envoy itself respond to this path with 200 once the filters let a request pass.
    pub fn respond_directly(&mut self, path: &str) {
        let route = json!({
            "match": {"path": path},
            "direct_response": {"status": 200, "body": {"inline_string": "passed"}},
        });
        let host = &mut self.connection_manager()["route_config"]["virtual_hosts"][0];
        host["routes"].as_array_mut().expect("the host has routes").insert(0, route);
    }

    /// Makes Envoy read its listeners from this file, and watch it for replacement. Returns the
    /// content of the file, under this version.
    pub fn move_listeners(&mut self, file: &Path, version: u64) -> Value {
        // With dynamic resources, Envoy requires a node name.
        self.tree["node"] = json!({"id": "test", "cluster": "test"});
        self.tree["dynamic_resources"]["lds_config"] =
            json!({"path_config_source": {"path": file}});
        let mut listeners = self.tree["static_resources"]["listeners"].take();
        for listener in listeners.as_array_mut().expect("there are listeners") {
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        }
        json!({"version_info": version.to_string(), "resources": listeners})
    }

    /// Makes Envoy read all clusters and listeners from these files.
    pub(crate) fn move_all(&mut self, clusters: &Path, listeners: &Path) {
        self.tree["node"] = json!({"id": "test", "cluster": "test"});
        self.tree["dynamic_resources"] = json!({
            "cds_config": {"path_config_source": {"path": clusters}},
            "lds_config": {"path_config_source": {"path": listeners}},
        });
        self.tree["static_resources"] = json!({});
    }

    /// Whether it differs from the example in nothing but listeners, clusters and ports.
    pub(crate) fn is_like_the_example(&self) -> bool {
        let rest = |bootstrap: &Self| {
            let mut tree = bootstrap.tree.clone();
            tree["admin"].take();
            tree["static_resources"]["listeners"].take();
            tree["static_resources"]["clusters"].take();
            tree
        };
        rest(self) == rest(&Self::example())
    }

    /// Adds a cluster without hosts.
    pub fn add_empty_cluster(&mut self, name: &str) {
        let cluster = json!({"name": name, "type": "STATIC", "connect_timeout": "1s"});
        let clusters = self.tree["static_resources"]["clusters"].as_array_mut();
        clusters.expect("the configuration has clusters").push(cluster);
    }

    /// Points a cluster at an address; adds the cluster if it is missing.
    pub fn set_cluster(&mut self, name: &str, address: SocketAddr) {
        let endpoints = json!({
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": address.ip(),
                "port_value": address.port(),
            }}}}]}],
        });
        let clusters = self.tree["static_resources"]["clusters"]
            .as_array_mut()
            .expect("the configuration has clusters");
        match clusters.iter_mut().find(|cluster| cluster["name"] == name) {
            Some(cluster) => cluster["load_assignment"] = endpoints,
            None => clusters.push(json!({
                "name": name,
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": endpoints,
            })),
        }
    }
}

/// The form in which the plugin receives its configuration.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConfigurationForm {
    /// `google.protobuf.StringValue` with JSON, as Istio passes `pluginConfig`.
    StringValue,
    /// `google.protobuf.Struct`, plain YAML in Envoy's own file.
    #[default]
    Struct,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_all_that_the_harness_replaces() {
        let mut bootstrap = Bootstrap::example();
        let before = bootstrap.tree().clone();
        bootstrap.set_listener_port(10000);
        bootstrap.set_admin_port(9901);
        bootstrap.set_module(Path::new("dist/mcp-federated-auth.wasm"));
        bootstrap.set_cluster("mcp_server", ([127, 0, 0, 1], 9000).into());
        bootstrap.set_cluster("identity_provider", ([127, 0, 0, 1], 9001).into());
        bootstrap.set_configuration_form(ConfigurationForm::Struct);
        assert_eq!(*bootstrap.tree(), before);
    }

    #[test]
    fn string_values_hold_the_same_configuration_as_json() {
        let mut bootstrap = Bootstrap::example();
        let before = bootstrap.plugin_configuration().clone();
        bootstrap.set_configuration_form(ConfigurationForm::StringValue);
        let text = bootstrap.plugin_configuration().as_str().expect("it is text");
        assert_eq!(serde_json::from_str::<Value>(text).expect("it is JSON"), before);
    }

    #[test]
    fn listeners_are_moved_with_all_that_they_hold() {
        let mut bootstrap = Bootstrap::example();
        let before = bootstrap.tree()["static_resources"]["listeners"][0].clone();
        let file = bootstrap.move_listeners(Path::new("listeners.json"), 3);
        assert_eq!(file["version_info"], "3");
        assert_eq!(file["resources"].as_array().map(Vec::len), Some(1));
        assert_eq!(file["resources"][0]["filter_chains"], before["filter_chains"]);
        assert!(bootstrap.tree()["static_resources"]["listeners"].is_null());
    }

    #[test]
    fn new_clusters_are_added() {
        let mut bootstrap = Bootstrap::example();
        bootstrap.set_cluster("second", ([127, 0, 0, 1], 9002).into());
        let clusters = &bootstrap.tree()["static_resources"]["clusters"];
        assert_eq!(clusters[2]["name"], "second");
    }
}
