//! `envoy/ecds.yaml`: the plugin's configuration is delivered while Envoy runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Envoy, IdentityProvider, Port};

use super::{ENTRA, KeyHost, Site, TlsEnvoy, assert_certificates_matter, employee, put};
use crate::support::{SOON, assert_refusal, with};

const FILE: &str = "ecds.yaml";
const PLUGIN: &str = "xds/mcp-federated-auth.yaml";
const CLUSTERS: &str = "xds/clusters.yaml";
const UPDATES: &str = "extension_config_discovery.http_filter.mcp-federated-auth";

/// How long a delivery may take. Envoy compiles the module when the first one arrives.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(60);

/// The contents of the files that Envoy watches.
struct Delivery<'a> {
    site: &'a Site,
    clusters: Value,
    plugin: Value,
}

impl<'a> Delivery<'a> {
    fn new(site: &'a Site) -> Self {
        fs::create_dir_all(site.path("xds")).unwrap();
        let mut clusters = site.installed(CLUSTERS);
        site.lead_here(&mut clusters["resources"]);
        Self { site, clusters, plugin: site.installed(PLUGIN) }
    }

    fn configuration(&mut self) -> &mut Value {
        &mut self.plugin["resources"][0]["typed_config"]["config"]["configuration"]["value"]
    }

    fn deliver(&self) {
        self.deliver_clusters();
        put(&self.site.path(PLUGIN), &self.plugin);
    }

    fn deliver_clusters(&self) {
        put(&self.site.path(CLUSTERS), &self.clusters);
    }
}

/// Waits until this many deliveries of the plugin have had this result.
async fn await_update(envoy: &Envoy, result: &str, count: u64) {
    await_stat(envoy, &format!("{UPDATES}.{result}"), count).await;
}

async fn await_stat(envoy: &Envoy, name: &str, count: u64) {
    let asked = Instant::now();
    while envoy.stat(name).await < Some(count) {
        assert!(
            asked.elapsed() < DELIVERY_DEADLINE,
            "{name}: {:?}\n{}",
            envoy.stat(name).await,
            envoy.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts with this delivery.
async fn start(site: &Site, delivery: &Delivery<'_>) -> (IdentityProvider, TlsEnvoy) {
    let entra = site.entra().await;
    delivery.deliver();
    let gate = site.start(site.example(FILE)).await;
    (entra, gate)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_only_with_a_token() {
    let site = Site::new().await;
    let delivery = Delivery::new(&site);
    let (entra, gate) = start(&site, &delivery).await;
    gate.assert_is_closed(&site.server).await;
    gate.assert_passes(&entra.token(&employee(&entra)), "ada@example.com", "entra").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_invalid_certificate_is_not_trusted() {
    let site = Site::new().await;
    let delivery = Delivery::new(&site);
    let entra = site.entra().await;
    delivery.deliver();
    let token = entra.token(&employee(&entra));
    let host = KeyHost { host: ENTRA, authority: &site.public, provider: &entra, token };
    assert_certificates_matter(&site, || site.example(FILE), &[host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_is_closed_until_the_source_has_responded() {
    let site = Site::new().await;
    let entra = site.entra().await;
    let token = entra.token(&employee(&entra));
    Delivery::new(&site).deliver();
    let mut bootstrap = site.example(FILE);
    // An unreachable management server, as in the comment in the file.
    let source = &mut bootstrap.http_filters()[0]["config_discovery"]["config_source"];
    source.as_object_mut().unwrap().remove("path_config_source").unwrap();
    source["api_config_source"] = json!({
        "api_type": "GRPC", "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "management_server"}}],
    });
    let unused = Port::free();
    bootstrap.tree()["static_resources"]["clusters"] = json!([]);
    bootstrap.set_cluster("management_server", unused.address());
    bootstrap.tree()["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    let envoy = Envoy::builder().bootstrap(bootstrap).start_unready().await;
    let gate = TlsEnvoy::before(envoy, &site.company).await;
    await_stat(&gate.envoy, "cluster.management_server.upstream_cx_connect_fail", 2).await;
    for request in [gate.request(), gate.request().bearer_auth(&token)] {
        assert!(request.send().await.is_err());
    }
    assert!(!gate.envoy.is_ready().await);
    assert_eq!(site.server.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_before_a_plugin_was_delivered() {
    let site = Site::new().await;
    let entra = site.entra().await;
    let token = entra.token(&employee(&entra));
    let mut right = Delivery::new(&site);
    let mut faulty = Delivery::new(&site);
    faulty.configuration()["providers"] = json!([]);
    let mut none = Delivery::new(&site);
    none.plugin["resources"] = json!([]);
    right.plugin["version_info"] = json!("2");
    for first in [none, faulty] {
        first.deliver();
        let gate = site.start(site.example(FILE)).await;
        let before = site.server.count();
        for request in [gate.request(), gate.request().bearer_auth(&token)] {
            assert_eq!(gate.send(request).await.status, 500);
        }
        assert_eq!(site.server.count(), before);
        right.deliver();
        await_update(&gate.envoy, "config_reload", 1).await;
        gate.assert_is_closed(&site.server).await;
        gate.assert_passes(&token, "ada@example.com", "entra").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_effect_and_leaves_no_request_unprotected() {
    let site = Site::new().await;
    let mut delivery = Delivery::new(&site);
    let (entra, gate) = start(&site, &delivery).await;
    let token = entra.token(&employee(&entra));
    let other = entra.token(&with(&employee(&entra), "aud", "another"));
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    let first = site.server.count();

    // Meanwhile a client without a token keeps trying.
    let (stop, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let trying = tokio::spawn({
        let (stop, tries, request) = (stop.clone(), tries.clone(), gate.request());
        async move {
            let mut others = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let response = request.try_clone().unwrap().send().await.unwrap();
                if response.status() != 401 {
                    others.push(response.status());
                }
                tries.fetch_add(1, Ordering::Relaxed);
            }
            others
        }
    });
    let mut passed = 0;
    for round in 1..=5 {
        // The configuration alternates between two audiences.
        let (audience, right, wrong) = if round % 2 == 1 {
            ("another", &other, &token)
        } else {
            (super::ENTRA_CLIENT_ID, &token, &other)
        };
        delivery.configuration()["providers"][0]["client_ids"] = json!([audience]);
        delivery.plugin["version_info"] = json!(round.to_string());
        delivery.deliver();
        await_update(&gate.envoy, "config_reload", 1 + round).await;
        gate.assert_passes(right, "ada@example.com", "entra").await;
        passed += 1;
        assert_refusal(&gate.call(wrong).await, "audience_mismatch");
        // The client without a token makes several attempts in each round.
        let before = tries.load(Ordering::Relaxed);
        let asked = Instant::now();
        while tries.load(Ordering::Relaxed) < before + 3 {
            assert!(asked.elapsed() < SOON, "no attempt was made");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(trying.await.unwrap(), [0u16; 0]);
    assert_eq!(site.server.count(), first + passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_changes_takes_effect() {
    let site = Site::new().await;
    let mut delivery = Delivery::new(&site);
    let entra = site.entra().await;
    // Kubernetes writes each version into a new folder and then moves a link to it.
    let folder = site.path("xds");
    let mount = |version: &str, delivery: &Delivery<'_>| {
        let files = folder.join(version);
        fs::create_dir(&files).unwrap();
        put(&files.join("clusters.yaml"), &delivery.clusters);
        put(&files.join("mcp-federated-auth.yaml"), &delivery.plugin);
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    for file in [CLUSTERS, PLUGIN] {
        let name = file.strip_prefix("xds/").unwrap();
        symlink(format!("..data/{name}"), site.path(file)).unwrap();
    }
    mount("..1", &delivery);
    let gate = site.start(site.example(FILE)).await;
    let token = entra.token(&employee(&entra));
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    delivery.configuration()["providers"][0]["client_ids"] = json!(["another"]);
    delivery.plugin["version_info"] = json!("2");
    mount("..2", &delivery);
    await_update(&gate.envoy, "config_reload", 2).await;
    assert_refusal(&gate.call(&token).await, "audience_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_faults_changes_nothing() {
    let site = Site::new().await;
    let mut delivery = Delivery::new(&site);
    let (entra, gate) = start(&site, &delivery).await;
    let token = entra.token(&employee(&entra));
    gate.assert_passes(&token, "ada@example.com", "entra").await;

    delivery.configuration()["providers"][0]["client_ids"] = json!([]);
    delivery.plugin["version_info"] = json!("2");
    delivery.deliver();
    await_update(&gate.envoy, "config_fail", 1).await;
    gate.envoy.await_log("providers[0].client_ids: must hold at least one audience", SOON).await;
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    gate.assert_is_closed(&site.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_provider_is_delivered_with_its_cluster() {
    let site = Site::new().await;
    let mut delivery = Delivery::new(&site);
    let (_entra, gate) = start(&site, &delivery).await;
    let vendor = super::Vendor {
        issuer: "https://acme.okta.com/oauth2/default",
        metadata_url: "https://acme.okta.com/oauth2/default/.well-known/openid-configuration",
        jwks_url: "https://acme.okta.com/oauth2/default/v1/keys",
        authority: &site.public,
    };
    let okta = site.provider(vendor).await;
    let token = okta.token(&okta.claims("api://incident-tools"));
    assert_refusal(&gate.call(&token).await, "unknown_issuer");

    // Its cluster and its entry, as in providers.yaml.
    let mut providers = site.example("providers.yaml");
    let clusters = providers.tree()["static_resources"]["clusters"].as_array().unwrap();
    let mut cluster = clusters.iter().find(|cluster| cluster["name"] == "okta").unwrap().clone();
    cluster["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    delivery.clusters["resources"].as_array_mut().unwrap().push(cluster);
    delivery.clusters["version_info"] = json!("2");
    delivery.deliver_clusters();
    await_stat(&gate.envoy, "cluster.okta.membership_healthy", 1).await;
    let entry = providers.plugin_configuration()["providers"][1].clone();
    delivery.configuration()["providers"].as_array_mut().unwrap().push(entry);
    delivery.plugin["version_info"] = json!("2");
    delivery.deliver();
    await_update(&gate.envoy, "config_reload", 2).await;
    gate.assert_passes(&token, "ada", "okta").await;
}
