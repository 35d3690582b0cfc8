//! `charts/mcp-federated-auth`, as Helm renders it: resources that Kubernetes accepts, and their
//! Envoy configuration in real Envoy. Kubernetes itself runs in no test.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Bootstrap, Document, Envoy, Fault, FleetStore, IdentityProvider, LoginBrowser, LoginClient,
    LoginProvider, Port, Response, ScimDirectory, TlsTunnel, code_blocks,
    faults_of_kubernetes_resources, module_path, rendered_chart, repository_root, yaml,
};
use tokio::time::sleep;

use super::login::{
    Scene, assert_floods_are_limited, assert_ipv6_networks_are_limited,
    assert_people_log_in_at_both, assert_the_host_of_the_login_serves_nothing_else,
};
use super::{
    ENTRA, ENTRA_CLIENT_ID, HOST, KeyHost, Site, TENANT, TlsEnvoy, assert_certificates_matter,
    employee, false_certificates, lead_to,
};
use crate::login_support::SECRET;
use crate::support::{SOON, assert_refusal, with};

const SSO: &str = "sso.example.com";
const DIRECTORY: &str = "directory.example.com";
const CLIENT_DOCUMENT: &str = "https://claude.ai/oauth/mcp.json";
const CLIENT_REDIRECT_URI: &str = "https://claude.ai/api/mcp/auth_callback";

/// The chart's example values.
fn example_values() -> Value {
    yaml(&text("charts/mcp-federated-auth/example.yaml"))
}

/// Values without a login, with the plugin in Envoy's image, and with a provider whose certificate
/// is of a private authority.
fn other_values() -> Value {
    json!({
        "plugin": {
            "resource": {"url": "https://mcp.example.com/mcp"},
            "providers": [
                {
                    "name": "entra", "template": "entra_id", "tenant": TENANT,
                    "client_ids": [ENTRA_CLIENT_ID], "clusters": {(ENTRA): "entra"},
                },
                {
                    "name": "keycloak", "template": "keycloak",
                    "host": SSO, "realm": "acme",
                    "client_ids": ["incident-mcp"], "clusters": {(SSO): "keycloak"},
                },
            ],
        },
        "server": {"host": "incidents.tools.svc.cluster.local", "port": 8080},
        "module": {"path": "/etc/envoy/module/plugin.wasm"},
        "tls": {"secretName": "mcp-tls"},
        "clusters": [keycloak_cluster()],
    })
}

/// A cluster that can be written only in Envoy's own form.
fn keycloak_cluster() -> Value {
    json!({
        "name": "keycloak",
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": "keycloak", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": SSO, "port_value": 443}}}},
        ]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": SSO,
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": "/etc/envoy/tls/company-ca.crt"},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": SSO}}],
            }},
        }},
    })
}

/// The example with all that the plugin calls. The clusters that are values are those of the page.
fn values_with_each_cluster() -> Value {
    let mut values = example_values();
    let [clusters] = &code_blocks(&text("docs/deployment.md"), "yaml")[..] else {
        panic!("the page has one list of clusters");
    };
    values["clusters"] = yaml(clusters);
    values["secret"]["keys"].as_array_mut().unwrap().push(json!("SCIM_TOKEN"));
    let plugin = &mut values["plugin"];
    plugin["login"]["client_metadata"] = json!({"claude.ai": "claude"});
    plugin["users"] = json!({"scim": {
        "url": format!("https://{DIRECTORY}/v2"),
        "cluster": "directory",
        "bearer_token_env": "SCIM_TOKEN",
    }});
    plugin["replay_store"] = json!({"redis": {"cluster": "webdis"}});
    plugin["providers"][0]["jti"] = json!("single_use");
    values
}

fn text(path: &str) -> String {
    fs::read_to_string(repository_root().join(path)).unwrap()
}

/// The resources that Helm renders from these values.
async fn resources(values: &Value) -> Vec<Value> {
    rendered_chart(values).await.unwrap_or_else(|fault| panic!("{fault}"))
}

fn resource<'a>(kind: &str, resources: &'a [Value]) -> &'a Value {
    resources.iter().find(|resource| resource["kind"] == kind).unwrap()
}

/// The pod's only container.
fn container(resources: &[Value]) -> Value {
    let pod = &resource("Deployment", resources)["spec"]["template"]["spec"];
    let [container] = &pod["containers"].as_array().unwrap()[..] else { panic!("{pod}") };
    container.clone()
}

/// A file of the ConfigMap.
fn configuration(name: &str, resources: &[Value]) -> String {
    resource("ConfigMap", resources)["data"][name].as_str().unwrap().to_owned()
}

/// Runs the pod's Envoy on this site's machine. The inner listeners get free ports.
fn installed(site: &Site, resources: &[Value]) -> Bootstrap {
    let etc = site.directory.path().to_str().unwrap();
    let moved = |text: &str| text.replace("/etc/", &format!("{etc}/"));
    for folder in ["configuration", "module"] {
        fs::create_dir_all(site.path(folder)).unwrap();
    }
    let secret = moved(&configuration("tls.yaml", resources));
    fs::write(site.path("configuration/tls.yaml"), secret).unwrap();
    let module = site.path("module/plugin.wasm");
    if !module.exists() {
        symlink(module_path().canonicalize().unwrap(), module).unwrap();
    }
    let mut tree = yaml(&moved(&configuration("envoy.yaml", resources)));
    let parts = &mut tree["static_resources"];
    site.lead_here(&mut parts["clusters"]);
    for listener in parts["listeners"].as_array_mut().unwrap() {
        listener["address"]["socket_address"]["address"] = json!("127.0.0.1");
        if listener["name"] != "mcp" {
            listener["address"]["socket_address"]["port_value"] = json!(0);
        }
    }
    let file = site.path("configuration/envoy.json");
    fs::write(&file, tree.to_string()).unwrap();
    Bootstrap::from_file(&file)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_accepts_the_resources_and_would_refuse_misspelt_ones() {
    for values in [example_values(), other_values()] {
        let mut resources = resources(&values).await;
        let kinds: Vec<&str> =
            resources.iter().map(|resource| resource["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service"]);
        assert_eq!(faults_of_kubernetes_resources(&resources).await, [""; 0]);
        resources[1]["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = json!([]);
        resources[3]["spec"]["ports"][0]["port"] = json!("https");
        let faults = faults_of_kubernetes_resources(&resources).await;
        for (fault, word) in faults.iter().zip(["volumeMount", "port"]) {
            assert!(fault.contains(word), "{faults:?}");
        }
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_has_each_file_and_variable_that_envoy_reads_and_no_privilege() {
    for values in [example_values(), other_values()] {
        let resources = resources(&values).await;
        let container = container(&resources);
        let mounts: Vec<&str> = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["mountPath"].as_str().unwrap())
            .collect();
        let text = configuration("envoy.yaml", &resources) + &configuration("tls.yaml", &resources);
        let read = text.split("/etc/envoy/").skip(1);
        // A file that is in Envoy's image needs no mount.
        let in_image = ["module/plugin.wasm", "tls/company-ca.crt"];
        for file in read.map(|rest| rest.split(['"', '}', '\n']).next().unwrap()) {
            let path = format!("/etc/envoy/{file}");
            let is_mounted = mounts.iter().any(|mount| Path::new(&path).starts_with(mount));
            let is_in_image = values["module"].get("path").is_some() && in_image.contains(&file);
            assert!(is_mounted || is_in_image, "{path} is not among {mounts:?}");
        }
        let variables: Vec<&Value> = container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|variable| &variable["name"])
            .collect();
        let listeners = yaml(&configuration("envoy.yaml", &resources))["static_resources"].clone();
        let passed = listeners.to_string().matches("host_env_keys").count();
        assert_eq!(passed > 0, !variables.is_empty());
        for name in values["secret"]["keys"].as_array().into_iter().flatten() {
            assert!(variables.contains(&name), "{name}");
        }
        let pod = &resource("Deployment", &resources)["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_as_in_the_example_without_kubernetes() {
    let site = Site::new().await;
    let bootstrap = installed(&site, &resources(&example_values()).await);
    let scene = Scene::with(site, bootstrap).await;
    assert_people_log_in_at_both(&scene).await;
    assert_the_host_of_the_login_serves_nothing_else(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoints_of_the_login_have_limits_on_each_kind_of_host() {
    let own_host = example_values();
    let mut shared_host = example_values();
    shared_host["plugin"]["login"] = json!({});
    let mut named_host = example_values();
    named_host["plugin"]["login"] = json!({"issuer": "https://mcp.example.com"});
    for (values, hosts) in [(own_host, 2), (shared_host, 1), (named_host, 1)] {
        let site = Site::new().await;
        let mut bootstrap = installed(&site, &resources(&values).await);
        let table = bootstrap.connection_manager()["route_config"]["virtual_hosts"].clone();
        assert_eq!(table.as_array().unwrap().len(), hosts, "{table}");
        let scene = Scene::with(site, bootstrap).await;
        assert_floods_are_limited(&scene).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_all_ipv6_addresses_of_one_network_share_a_limit() {
    let mut values = example_values();
    values["trustedProxies"] = json!(1);
    let site = Site::new().await;
    let bootstrap = installed(&site, &resources(&values).await);
    assert_ipv6_networks_are_limited(&Scene::with(site, bootstrap).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_requests_pass_only_with_a_token_of_a_provider_with_a_valid_certificate() {
    let site = Site::new().await;
    let entra = site.entra().await;
    let keycloak = site
        .provider(super::Vendor {
            issuer: "https://sso.example.com/realms/acme",
            metadata_url: "https://sso.example.com/realms/acme/.well-known/openid-configuration",
            jwks_url: "https://sso.example.com/realms/acme/protocol/openid-connect/certs",
            authority: &site.company,
        })
        .await;
    let resources = resources(&other_values()).await;
    let gate = site.start(installed(&site, &resources)).await;
    gate.assert_is_closed(&site.server).await;
    let token = entra.token(&employee(&entra));
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    let mut claims = keycloak.claims("incident-mcp");
    claims["preferred_username"] = json!("ada");
    let of_keycloak = keycloak.token(&claims);
    gate.assert_passes(&of_keycloak, "ada", "keycloak").await;
    drop(gate);
    let hosts = [
        KeyHost { host: ENTRA, authority: &site.public, provider: &entra, token },
        KeyHost { host: SSO, authority: &site.company, provider: &keycloak, token: of_keycloak },
    ];
    assert_certificates_matter(&site, || installed(&site, &resources), &hosts).await;
}

/// A client's metadata document, at its URL on `claude.ai`.
async fn client_document() -> IdentityProvider {
    let publisher = IdentityProvider::start().await;
    publisher.serve_at(Document::Discovery, "/oauth/mcp.json");
    let document = json!({"client_id": CLIENT_DOCUMENT, "redirect_uris": [CLIENT_REDIRECT_URI]});
    publisher.fail(Document::Discovery, Fault::Body(document.to_string().into_bytes()));
    publisher
}

/// Whether the login accepts the client of [`client_document`].
async fn is_client_accepted(gate: &TlsEnvoy) -> bool {
    let address = gate.tunnel.address();
    let mut client = LoginClient::discover("https://mcp.example.com/mcp", address).await;
    CLIENT_DOCUMENT.clone_into(&mut client.client_id);
    CLIENT_REDIRECT_URI.clone_into(&mut client.redirect_uri);
    let hosts = ["login.example.com", HOST].map(|host| (format!("https://{host}"), address));
    let page = LoginBrowser::new(hosts).open(&client.authorization_url("mcp.tools")).await;
    page.asks_for_consent()
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_store_and_documents_of_clients_are_reached_by_the_clusters_of_the_page() {
    let site = Site::new().await;
    let (entra, directory, store) =
        (site.entra().await, ScimDirectory::start().await, FleetStore::start().await);
    directory.add_user(json!({"userName": "ada@example.com", "active": true})).await;
    site.entrance.serve(DIRECTORY, &site.public, directory.address());
    let document = client_document().await;
    let resources = resources(&values_with_each_cluster()).await;
    let start = async || {
        let mut bootstrap = installed(&site, &resources);
        let clusters = &mut bootstrap.tree()["static_resources"]["clusters"];
        let mut clusters = clusters.as_array_mut().unwrap().iter_mut();
        let webdis = clusters.rfind(|cluster| cluster["name"] == "webdis");
        lead_to(webdis.unwrap(), store.gateway.address());
        let envoy = Envoy::builder()
            .bootstrap(bootstrap)
            .environment("MCP_AUTH_SECRET", SECRET)
            .environment("SCIM_TOKEN", ScimDirectory::BEARER_TOKEN)
            .environment("ENTRA_SECRET", LoginProvider::CLIENT[1])
            .environment("GOOGLE_SECRET", LoginProvider::CLIENT[1]);
        TlsEnvoy::before(envoy.start().await, &site.company).await
    };

    site.entrance.serve("claude.ai", &site.public, document.address());
    let gate = start().await;
    let token = entra.token(&employee(&entra));
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    assert_refusal(&gate.call(&token).await, "jti_replayed");
    let unknown = with(&employee(&entra), "preferred_username", "eve@example.com");
    assert_refusal(&gate.call(&entra.token(&unknown)).await, "user_unknown");
    assert!(is_client_accepted(&gate).await);
    for (certificate, _) in false_certificates("claude.ai", &site.public) {
        site.entrance.serve_with("claude.ai", certificate, document.address());
        assert!(!is_client_accepted(&start().await).await);
    }
}

/// The address of a listener.
async fn listener(envoy: &Envoy, name: &str) -> String {
    let listeners = envoy.admin("/listeners?format=json").await;
    let listeners: Value = serde_json::from_str(&listeners).unwrap();
    let all = listeners["listener_statuses"].as_array().unwrap();
    let found = all.iter().find(|listener| listener["name"] == name).unwrap();
    let address = &found["local_address"]["socket_address"];
    format!("http://{}:{}", address["address"].as_str().unwrap(), address["port_value"])
}

#[tokio::test(flavor = "multi_thread")]
async fn only_readiness_and_metrics_of_the_admin_interface_are_reachable_from_outside() {
    let site = Site::new().await;
    let admin = Port::free();
    let mut bootstrap = installed(&site, &resources(&other_values()).await);
    bootstrap.set_cluster("admin", admin.address());
    let envoy = Envoy::builder().bootstrap(bootstrap).admin_port(admin.number()).start().await;
    let gate = TlsEnvoy::before(envoy, &site.company).await;
    assert_eq!(gate.send(gate.request()).await.status, 401);
    let health = listener(&gate.envoy, "health").await;
    let ready = gate.send(gate.client.get(format!("{health}/ready"))).await;
    assert_eq!((ready.status, ready.text.trim()), (200, "LIVE"));
    let metrics = gate.send(gate.client.get(format!("{health}/stats/prometheus"))).await;
    let refusal =
        "mcp_auth_requests{provider=\"none\",outcome=\"refused\",reason=\"missing_token\"}";
    assert!(metrics.text.contains(refusal), "{}", metrics.text);
    for path in ["/", "/config_dump", "/quitquitquit", "/stats", "/ready/../quitquitquit"] {
        let response = gate.send(gate.client.post(format!("{health}{path}"))).await;
        assert_eq!(response.status, 404, "{path}");
    }
    let posted = gate.send(gate.client.post(format!("{health}/ready"))).await;
    assert_eq!(posted.status, 404);
    let status = listener(&gate.envoy, "status").await;
    let asked = Instant::now();
    loop {
        let page = gate.send(gate.client.get(format!("{status}/status.json"))).await;
        if page.text.contains("missing_token") {
            break;
        }
        assert!(asked.elapsed() < SOON, "{page:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Replaces files as the kubelet does: a new directory, to which the link `..data` then points.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let site = Site::new().await;
    let resources = resources(&other_values()).await;
    let put = |version: &str, host: &str| {
        let folder = site.path(&format!("tls/{version}"));
        fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = site.company.certify(host);
        fs::write(folder.join("tls.crt"), certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
        symlink(version, site.path("tls/..next")).unwrap();
        fs::rename(site.path("tls/..next"), site.path("tls/..data")).unwrap();
    };
    for name in ["tls.crt", "tls.key"] {
        fs::remove_file(site.path(&format!("tls/{name}"))).unwrap();
        symlink(format!("..data/{name}"), site.path(&format!("tls/{name}"))).unwrap();
    }
    put("..1", HOST);
    let gate = site.start(installed(&site, &resources)).await;
    assert_eq!(gate.send(gate.request()).await.status, 401);
    put("..2", "renewed.example.com");
    let tunnel = TlsTunnel::start(gate.envoy.address(), "renewed.example.com", &site.company).await;
    let url = format!("http://{}/mcp", tunnel.address());
    let start = Instant::now();
    loop {
        let request = Response::mcp_call(&gate.client, &url).header("host", HOST);
        if let Ok(response) = request.send().await {
            assert_eq!(response.status(), 401);
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{}", gate.envoy.log());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_have_the_labels_of_the_examples() {
    let rendered = yaml(&configuration("envoy.yaml", &resources(&example_values()).await));
    let example = yaml(&text("envoy/envoy.yaml"));
    assert_eq!(rendered["stats_config"], example["stats_config"]);
}

/// Asserts that the chart refuses each of these changes of the example, with these words.
async fn assert_refused(edits: &[(&str, Value, &str)]) {
    let mut seen = BTreeSet::new();
    for (path, value, words) in edits {
        let mut values = example_values();
        let (parent, name) = path.rsplit_once('/').unwrap();
        match values.pointer_mut(parent).unwrap() {
            Value::Array(elements) => elements[name.parse::<usize>().unwrap()] = value.clone(),
            parent => parent[name] = value.clone(),
        }
        let fault = rendered_chart(&values).await.expect_err(path);
        assert!(fault.contains(words), "{path}: {fault}");
        seen.insert(fault);
    }
    assert_eq!(seen.len(), edits.len(), "{seen:?}");
    assert!(rendered_chart(&example_values()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_make_a_gateway_are_refused() {
    assert_refused(&[
        ("/plugin", json!({}), "providers"),
        ("/plugin/providers", json!(null), "providers"),
        ("/server/host", json!(""), "minLength"),
        ("/server/port", json!("https"), "/server/port"),
        ("/module/image", json!(""), "/module"),
        ("/tls/secret", json!("mcp-tls"), "'secret' not allowed"),
        ("/secret/name", json!(""), "/secret/name"),
        ("/secret/keys/0", json!("A-B"), "/secret/keys/0"),
        ("/trustedProxies", json!(-1), "/trustedProxies"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_missing_or_would_be_for_two_hosts_is_refused() {
    let scim = json!({"scim": {"url": "https://directory.example.com", "cluster": "directory"}});
    assert_refused(&[
        (
            "/plugin/providers/1/clusters/www.googleapis.com",
            json!("entra"),
            "the cluster entra is for login.microsoftonline.com and for www.googleapis.com",
        ),
        (
            "/plugin/login/client_metadata",
            json!({"claude.ai": "entra"}),
            "the cluster entra is for claude.ai and for login.microsoftonline.com",
        ),
        (
            "/plugin/login/client_metadata",
            json!({"claude.ai": "mcp_server"}),
            "the cluster mcp_server is for the MCP server and for claude.ai",
        ),
        ("/plugin/providers/0/cluster", json!("sso"), "plugin.providers[0].cluster: there is no"),
        ("/plugin/users", scim, "plugin.users.scim.cluster: there is no cluster directory"),
        (
            "/plugin/replay_store",
            json!({"redis": {"cluster": "webdis"}}),
            "plugin.replay_store.redis.cluster: there is no cluster webdis",
        ),
        ("/clusters", json!([{"name": "admin"}]), "/clusters/0/name"),
    ])
    .await;
}

/// The default, written down.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_each_envoy_needs_no_cluster() {
    let mut values = example_values();
    values["plugin"]["replay_store"] = json!("local");
    let resources = resources(&values).await;
    let envoy = configuration("envoy.yaml", &resources);
    assert!(envoy.contains("replay_store: local"), "{envoy}");
}
