//! `envoy/istio`: resources that Kubernetes accepts, and what Istio makes of them, in real Envoy.

use std::fs;

use serde_json::{Value, json};
use testbed::{
    ConfigurationForm, ScimDirectory, faults_of_kubernetes_resources, repository_root,
    yaml_documents,
};

use super::company::Company;
use super::{Site, employee, false_certificates};
use crate::support::{assert_refusal, with};

const DIRECTORY: &str = "directory.example.com";

/// The resources in a file.
fn resources(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(repository_root().join("envoy/istio").join(name)).unwrap();
    yaml_documents(&text)
}

fn all_resources() -> Vec<Value> {
    ["wasmplugin.yaml", "identity-providers.yaml", "envoyfilter.yaml"]
        .into_iter()
        .flat_map(resources)
        .collect()
}

fn specs(kind: &str) -> Vec<Value> {
    let all = all_resources().into_iter();
    all.filter(|resource| resource["kind"] == kind).map(|value| value["spec"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_fit_the_schemas_of_istio() {
    let resources = all_resources();
    assert_eq!(resources.len(), 8);
    assert_eq!(faults_of_kubernetes_resources(&resources).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_detect_typos() {
    let mut resources = all_resources();
    let plugin = &mut resources[0]["spec"];
    plugin["failStratgy"] = json!("FAIL_OPEN");
    let rule = resources.iter_mut().find(|resource| resource["kind"] == "DestinationRule").unwrap();
    rule["spec"]["trafficPolicy"]["tls"]["subjectAltName"] = json!(["x"]);
    let entry = resources.iter_mut().find(|resource| resource["kind"] == "ServiceEntry").unwrap();
    entry["spec"]["location"] = json!("OUTSIDE");
    let faults = faults_of_kubernetes_resources(&resources).await;
    for (fault, word) in faults.iter().zip(["failStratgy", "location", "subjectAltName"]) {
        assert!(fault.contains(word), "{faults:?}");
    }
    assert_eq!(faults.len(), 3, "{faults:?}");
}

/// The clusters that Istio generates from the ServiceEntries and DestinationRules.
fn clusters() -> Value {
    let rules = specs("DestinationRule");
    let clusters = specs("ServiceEntry").into_iter().map(|entry| {
        let host = entry["hosts"][0].as_str().unwrap();
        let port = &entry["ports"][0]["number"];
        let name = format!("outbound|{port}||{host}");
        let rule = rules.iter().find(|rule| rule["host"] == host).unwrap();
        let (policy, tls) = (&rule["trafficPolicy"], &rule["trafficPolicy"]["tls"]);
        assert_eq!((&tls["mode"], &tls["sni"]), (&json!("SIMPLE"), &json!(host)));
        let names = tls["subjectAltNames"].as_array().unwrap().iter();
        let names: Vec<_> = names
            .map(|name| json!({"san_type": "DNS", "matcher": {"exact": name}}))
            .collect();
        json!({
            "name": name,
            "type": "STRICT_DNS",
            "connect_timeout": policy["connectionPool"]["tcp"]["connectTimeout"],
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}},
            ]}]},
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": host,
                "common_tls_context": {"validation_context": {
                    "trusted_ca": {"filename": tls["caCertificates"]},
                    "match_typed_subject_alt_names": names,
                }},
            }},
        })
    });
    clusters.collect()
}

/// The bootstrap that Istio generates from all resources: the listener of minimal.yaml, with the
/// plugin and its configuration in JSON, the clusters, and the EnvoyFilter applied.
fn bootstrap(site: &Site) -> testbed::Bootstrap {
    let mut bootstrap = site.example("minimal.yaml");
    let mut site_clusters = clusters();
    let text = site_clusters.to_string();
    let etc = site.path("..");
    let etc = etc.to_str().unwrap();
    site_clusters = serde_json::from_str(
        &text
            .replace("/etc/company/ca.crt", &format!("{etc}/envoy/tls/company-ca.crt"))
            .replace("/etc/ssl/", &format!("{etc}/ssl/")),
    )
    .unwrap();
    site.lead_here(&mut site_clusters);
    let clusters = &mut bootstrap.tree()["static_resources"]["clusters"];
    let clusters = clusters.as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] == "mcp_server");
    clusters.extend(site_clusters.as_array().unwrap().clone());

    let [spec] = specs("WasmPlugin").try_into().unwrap();
    *bootstrap.plugin_configuration() = spec["pluginConfig"].clone();
    bootstrap.set_configuration_form(ConfigurationForm::StringValue);
    let plugin = bootstrap.plugin();
    plugin["name"] = json!("istio-ingress.mcp-federated-auth");
    plugin["failure_policy"] = spec["failStrategy"].clone();
    let vm = plugin["vm_config"].as_object_mut().unwrap();
    vm.remove("vm_id");
    let names = spec["vmConfig"]["env"].as_array().unwrap().iter();
    let names = names
        .inspect(|variable| assert_eq!(variable["valueFrom"], "HOST"))
        .map(|value| &value["name"]);
    vm.insert(
        "environment_variables".to_owned(),
        json!({"host_env_keys": names.collect::<Vec<_>>()}),
    );

    let manager = bootstrap.connection_manager().as_object_mut().unwrap();
    for name in ["normalize_path", "merge_slashes", "path_with_escaped_slashes_action"] {
        manager.remove(name).unwrap();
    }
    manager.remove("common_http_protocol_options").unwrap();
    let [filter] = specs("EnvoyFilter").try_into().unwrap();
    let patch = filter["configPatches"][0]["patch"]["value"]["typed_config"].clone();
    manager.extend(patch.as_object().unwrap().clone());
    bootstrap
}

struct World {
    company: Company,
    directory: ScimDirectory,
}

impl World {
    async fn new() -> Self {
        let company = Company::new("ada@example.com").await;
        let directory = ScimDirectory::start().await;
        directory.add_user(json!({"userName": "ada@example.com", "active": true})).await;
        let site = &company.site;
        site.entrance.serve(DIRECTORY, &site.company, directory.address());
        Self { company, directory }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_only_with_a_token() {
    let World { company, directory: _directory } = World::new().await;
    let Company { site, entra, .. } = &company;
    let gate = site.start(bootstrap(site)).await;
    company.assert_requests_need_a_token(&gate).await;
    let before = site.server.count();
    let unknown = with(&employee(entra), "preferred_username", "eve@example.com");
    assert_refusal(&gate.call(&entra.token(&unknown)).await, "user_unknown");
    let request = gate.request().bearer_auth(company.token_of_entra());
    assert_eq!(gate.send(request.header("x_mcp_user", "root")).await.status, 400);
    assert_eq!(site.server.count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_invalid_certificate_is_not_trusted() {
    let World { company, directory } = World::new().await;
    company.assert_certificates_matter(bootstrap).await;
    let (site, token) = (&company.site, company.token_of_entra());
    let asked = directory.gateway.requests().len();
    for (certificate, _) in false_certificates(DIRECTORY, &site.company) {
        site.entrance.serve_with(DIRECTORY, certificate, directory.address());
        let gate = site.start(bootstrap(site)).await;
        assert_refusal(&gate.call(&token).await, "directory_unavailable");
        assert_eq!(directory.gateway.requests().len(), asked);
    }
}
