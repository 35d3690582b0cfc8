//! `envoy/gateway-api`: resources that Kubernetes accepts, and what Envoy Gateway makes of them, in
//! real Envoy. The generated configuration follows the golden files of its translator, version 1.9;
//! the plugin's file is local, and the clusters lead to this machine.

use std::fs;

use serde_json::{Value, json};
use testbed::{Bootstrap, faults_of_kubernetes_resources, repository_root, yaml_documents};

use super::company::Company;
use super::{HOST, Site, TENANT};

/// The name that Envoy Gateway gives the first plugin of a policy.
const PLUGIN: &str = "envoy.filters.http.wasm/envoyextensionpolicy/mcp/mcp-federated-auth/wasm/0";
const RBAC: &str = "envoy.filters.http.rbac";
const BUFFER: &str = "envoy.filters.http.buffer";

/// The resources in both files.
fn resources() -> Vec<Value> {
    let folder = repository_root().join("envoy/gateway-api");
    ["mcp.yaml", "providers.yaml"]
        .into_iter()
        .flat_map(|name| yaml_documents(&fs::read_to_string(folder.join(name)).unwrap()))
        .collect()
}

/// The resource with this kind and name.
fn resource(kind: &str, name: &str) -> Value {
    let is_meant =
        |resource: &Value| resource["kind"] == kind && resource["metadata"]["name"] == name;
    let found = resources().into_iter().find(is_meant);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_fit_the_schemas_of_the_gateway_api_and_envoy_gateway() {
    let mut resources = resources();
    assert_eq!(resources.len(), 12);
    assert_eq!(faults_of_kubernetes_resources(&resources).await, [""; 0]);
    let misspelt = [
        ("HTTPRoute", "/spec/hostname", json!(["mcp.example.com"])),
        ("EnvoyExtensionPolicy", "/spec/wasm/0/code/image/sha265", json!("0")),
        ("ClientTrafficPolicy", "/spec/path/escapedSlashesAction", json!("Reject")),
        ("SecurityPolicy", "/spec/authorization/defaultAction", json!("deny")),
        ("BackendTrafficPolicy", "/spec/requestBuffer/max", json!("1Mi")),
        ("Backend", "/spec/endpoints/0/fqdn/port", json!("https")),
        ("BackendTLSPolicy", "/spec/validation/wellKnownCACertificates", json!("Sytem")),
    ];
    for (kind, path, value) in &misspelt {
        let (parent, field) = path.rsplit_once('/').unwrap();
        let resource = resources.iter_mut().find(|resource| resource["kind"] == *kind).unwrap();
        resource.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    let faults = faults_of_kubernetes_resources(&resources).await;
    for (kind, path, _) in &misspelt {
        let field = path.rsplit('/').next().unwrap();
        let is_meant = |fault: &&String| fault.starts_with(kind) && fault.contains(field);
        assert_eq!(faults.iter().filter(is_meant).count(), 1, "{kind} {field}: {faults:?}");
    }
    assert_eq!(faults.len(), misspelt.len(), "{faults:?}");
}

/// The schemas are those of a version before dynamic modules, which were compared by hand.
#[tokio::test(flavor = "multi_thread")]
async fn the_resources_of_the_native_module_fit_but_for_dynamic_modules() {
    for (file, field) in
        [("envoyproxy.yaml", "dynamicModules"), ("extensionpolicy.yaml", "dynamicModule")]
    {
        let path = repository_root().join("envoy/gateway").join(file);
        let mut resources = yaml_documents(&fs::read_to_string(path).unwrap());
        let faults = faults_of_kubernetes_resources(&resources).await;
        assert!(faults.len() == 1 && faults[0].contains(field), "{file}: {faults:?}");
        resources[0]["spec"].as_object_mut().unwrap().remove(field).unwrap();
        assert_eq!(faults_of_kubernetes_resources(&resources).await, [""; 0], "{file}");
    }
}

#[test]
fn each_resource_refers_to_an_existing_one() {
    let names: Vec<(Value, Value)> = resources()
        .iter()
        .map(|resource| (resource["kind"].clone(), resource["metadata"]["name"].clone()))
        .collect();
    for resource in resources() {
        let spec = &resource["spec"];
        assert_eq!(resource["metadata"]["namespace"], "mcp");
        for target in spec["targetRefs"].as_array().into_iter().flatten() {
            let target = (target["kind"].clone(), target["name"].clone());
            assert!(names.contains(&target), "{target:?}");
        }
        for parent in spec["parentRefs"].as_array().into_iter().flatten() {
            assert_eq!(*parent, json!({"name": "mcp", "sectionName": "https"}));
        }
    }
}

/// The name that Envoy Gateway gives the cluster of a rule.
fn cluster_name(route: &str, rule: usize) -> String {
    format!("httproute/mcp/{route}/rule/{rule}")
}

/// The cluster that Envoy Gateway makes for a rule with a Backend and a BackendTLSPolicy.
fn cluster(rule: usize, backend: &str, site: &Site) -> Value {
    let name = cluster_name("identity-providers", rule);
    let endpoint = resource("Backend", backend)["spec"]["endpoints"][0]["fqdn"].clone();
    let tls = resource("BackendTLSPolicy", backend)["spec"]["validation"].clone();
    let authorities = match tls["wellKnownCACertificates"].as_str() {
        Some("System") => site.path("../ssl/certs/ca-certificates.crt"),
        _ => {
            assert_eq!(tls["caCertificateRefs"][0]["name"], "company-ca");
            site.path("tls/company-ca.crt")
        }
    };
    let policy = resource("BackendTrafficPolicy", "identity-providers")["spec"].clone();
    let timeout = &policy["timeout"]["tcp"]["connectTimeout"];
    json!({
        "name": name,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": timeout,
        "per_connection_buffer_limit_bytes": 32768,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {
                "address": endpoint["hostname"], "port_value": endpoint["port"],
            }}}},
        ]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": tls["hostname"],
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": authorities},
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": tls["hostname"]}},
                ],
            }},
        }},
    })
}

/// The filters of the listener: each except RBAC is disabled until a route enables it.
fn filters(site: &Site, router: &Value) -> Value {
    let policy = resource("EnvoyExtensionPolicy", "mcp-federated-auth")["spec"].clone();
    let [plugin] = &policy["wasm"].as_array().unwrap()[..] else { panic!("{policy}") };
    json!([
        {"name": BUFFER, "disabled": true, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 1 << 20,
        }},
        {"name": PLUGIN, "disabled": true, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": plugin["name"],
                "fail_open": plugin["failOpen"],
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": plugin["config"].to_string(),
                },
                "vm_config": {
                    "vm_id": "envoyextensionpolicy/mcp/mcp-federated-auth/wasm/0",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": site.path("mcp-federated-auth.wasm")}},
                },
            },
        }},
        {"name": RBAC, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        }},
        router,
    ])
}

/// A route that enables filters for itself.
fn route(path: &Value, cluster: &str, filters: Value) -> Value {
    json!({
        "match": path,
        "route": {"cluster": cluster, "timeout": "0s"},
        "typed_per_filter_config": filters,
    })
}

/// The routes for the identity providers' clusters; RBAC denies every request to them.
fn closed_routes() -> Vec<Value> {
    let denies = resource("SecurityPolicy", "identity-providers")["spec"]["authorization"].clone();
    assert_eq!(denies, json!({"defaultAction": "Deny"}));
    let deny = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        "rbac": {"matcher": {"on_no_match": {"action": {
            "name": "default",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.rbac.v3.Action",
                "name": "DENY",
                "action": "DENY",
            },
        }}}},
    });
    let rules = provider_rules().into_iter().enumerate();
    let routes = rules.map(|(index, rule)| {
        let path = &rule["matches"][0]["path"];
        assert_eq!(path["type"], "Exact");
        let cluster = cluster_name("identity-providers", index);
        route(&json!({"path": path["value"]}), &cluster, json!({RBAC: deny}))
    });
    routes.collect()
}

fn provider_rules() -> Vec<Value> {
    let rules = resource("HTTPRoute", "identity-providers")["spec"]["rules"].clone();
    rules.as_array().unwrap().clone()
}

/// The route of the MCP server, with the plugin and the buffer filter.
fn open_route() -> Value {
    let rules = resource("HTTPRoute", "mcp")["spec"]["rules"].clone();
    let everything = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
    assert_eq!(rules[0]["matches"], everything);
    let filters = json!({
        PLUGIN: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}},
        BUFFER: {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
            "buffer": {"max_request_bytes": 1 << 20},
        },
    });
    route(&json!({"prefix": "/"}), &cluster_name("mcp", 0), filters)
}

/// The bootstrap that Envoy Gateway generates from all resources.
fn bootstrap(site: &Site) -> Bootstrap {
    let mut bootstrap = site.example("minimal.yaml");
    let traffic = resource("ClientTrafficPolicy", "mcp")["spec"].clone();
    assert_eq!(traffic["path"]["escapedSlashesAction"], "RejectRequest");
    assert_eq!(traffic["headers"]["withUnderscoresAction"], "RejectRequest");
    assert_eq!(traffic["connection"]["bufferLimit"], "1Mi");
    let buffer = resource("BackendTrafficPolicy", "mcp")["spec"]["requestBuffer"].clone();
    assert_eq!(buffer["limit"], "1Mi");

    let listener = &mut bootstrap.tree()["static_resources"]["listeners"][0];
    listener["per_connection_buffer_limit_bytes"] = json!(1 << 20);
    let manager = bootstrap.connection_manager();
    let router = manager["http_filters"].as_array().unwrap().last().unwrap().clone();
    manager["http_filters"] = filters(site, &router);
    // The most specific path comes first, as the Gateway API requires.
    let mut routes = closed_routes();
    routes.push(open_route());
    let hosts = resource("HTTPRoute", "mcp")["spec"]["hostnames"].clone();
    manager["route_config"]["virtual_hosts"][0] =
        json!({"name": "mcp", "domains": hosts, "routes": routes});

    let backends = provider_rules().into_iter().enumerate().map(|(index, rule)| {
        cluster(index, rule["backendRefs"][0]["name"].as_str().unwrap(), site)
    });
    let mut clusters: Value = backends.collect();
    site.lead_here(&mut clusters);
    let all = bootstrap.tree()["static_resources"]["clusters"].as_array_mut().unwrap();
    all.retain(|cluster| cluster["name"] == "mcp_server");
    all[0]["name"] = json!(cluster_name("mcp", 0));
    all.extend(clusters.as_array().unwrap().clone());
    bootstrap
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_only_with_a_token() {
    let company = Company::new("ada").await;
    let gate = company.site.start(bootstrap(&company.site)).await;
    company.assert_requests_need_a_token(&gate).await;
    let metadata = gate.client.get(gate.url("/.well-known/oauth-protected-resource/mcp"));
    let metadata = gate.send(metadata.header("host", HOST)).await;
    assert_eq!(metadata.status, 200, "{metadata:?}");
    assert!(metadata.text.contains(TENANT), "{metadata:?}");
    // 40 KiB is more than a connection's default limit, and less than the policy's.
    let long = gate.request().bearer_auth(company.token_of_entra());
    let long = long.header("x-padding", "x").body(call_of(40_000));
    assert_eq!(gate.send(long).await.status, 200);
}

/// A call to `whoami` with arguments of this size.
fn call_of(size: usize) -> String {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "whoami", "arguments": {"padding": "x".repeat(size)}},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_for_the_clusters_deny_every_request() {
    let company = Company::new("ada").await;
    let gate = company.site.start(bootstrap(&company.site)).await;
    let token = company.token_of_entra();
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    let asked = company.entra.requests().len();
    for path in ["/.identity-providers/entra", "/.identity-providers/keycloak"] {
        for request in [gate.client.get(gate.url(path)), gate.client.post(gate.url(path))] {
            for request in [request.try_clone().unwrap(), request.bearer_auth(&token)] {
                let response = gate.send(request.header("host", HOST)).await;
                assert_eq!(response.status, 403, "{path}: {response:?}");
            }
        }
    }
    assert_eq!(company.entra.requests().len(), asked);
    // Any other path below it belongs to the server, behind the plugin.
    let response = gate.client.get(gate.url("/.identity-providers/")).header("host", HOST);
    assert_eq!(gate.send(response).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_invalid_certificate_is_not_trusted() {
    Company::new("ada").await.assert_certificates_matter(bootstrap).await;
}
