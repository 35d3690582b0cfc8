//! `mcp-auth check`: its findings in configurations, and that it has none in good ones.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::{
    Bootstrap, ConfigurationForm, code_blocks, plugin_configurations, repository_root, yaml,
    yaml_documents, yaml_files,
};

use crate::missing_clusters::add_clusters_of_routes;
use crate::support::{configuration, file, mcp_auth};

fn check(path: &str) -> Value {
    // Offline, because the providers of the examples do not exist.
    mcp_auth(&["check", path, "--offline", "--json"], "").json()
}

/// All findings of one kind.
fn all(report: &Value, kind: &str) -> Vec<String> {
    let plugins = report["plugins"].as_array().unwrap_or_else(|| panic!("{report}")).iter();
    let texts = plugins.flat_map(|plugin| plugin[kind].as_array().unwrap());
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A provider whose keys are fetched from this URL on this cluster.
fn provider(url: &str, cluster: &str) -> Value {
    json!({
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"], "jwks_url": url,
        "cluster": cluster,
    })
}

fn markdown() -> Vec<PathBuf> {
    let root = repository_root();
    let folders = [root.clone(), root.join("docs"), root.join("docs/providers")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

#[test]
fn the_configurations_of_the_repository_are_good() {
    let mut count = 0;
    for path in yaml_files("envoy") {
        let documents = yaml_documents(&fs::read_to_string(&path).unwrap());
        if documents.iter().all(|document| plugin_configurations(document).is_empty()) {
            continue;
        }
        let report = check(path.to_str().unwrap());
        assert_eq!(report["verdict"], "good", "{}: {report}", path.display());
        assert_eq!(all(&report, "warnings"), [""; 0], "{}", path.display());
        count += 1;
    }
    assert!(count >= 7, "{count}");
    let mut count = 0;
    for path in markdown() {
        for block in code_blocks(&fs::read_to_string(&path).unwrap(), "yaml") {
            let value = yaml(&block);
            if value.get("resource").is_some() && value.get("providers").is_some() {
                let report = check(&file(".yaml", &block));
                assert_eq!(report["verdict"], "good", "{}: {report}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 9, "{count}");
}

/// A block that holds only a part of a provider, in the place of the provider in the page's first
/// block.
#[test]
fn the_parts_of_a_provider_on_a_page_fit_the_configuration_there() {
    let mut count = 0;
    for path in markdown().iter().filter(|path| path.parent().unwrap().ends_with("providers")) {
        let blocks = code_blocks(&fs::read_to_string(path).unwrap(), "yaml");
        let whole = blocks.first().map(|block| yaml(block)).unwrap_or_default();
        for part in blocks.iter().map(|block| yaml(block)) {
            let [part] = part["providers"].as_array().map(Vec::as_slice).unwrap_or_default() else {
                continue;
            };
            let mut merged = whole.clone();
            let provider = merged["providers"][0].as_object_mut().unwrap();
            provider.extend(part.as_object().unwrap().clone());
            let report = check(&file(".json", &merged.to_string()));
            assert_eq!(report["verdict"], "good", "{}: {part}: {report}", path.display());
            count += 1;
        }
    }
    assert!(count >= 11, "{count}");
}

#[test]
fn the_clusters_on_the_pages_validate_certificates() {
    let mut count = 0;
    for path in markdown() {
        let blocks = code_blocks(&fs::read_to_string(&path).unwrap(), "yaml");
        let Some(cluster) = blocks.iter().map(|block| yaml(block)).find(Value::is_array) else {
            continue;
        };
        let configuration = yaml(&blocks[0]);
        // Clusters for the Helm chart are on a page without a configuration, and tested with the chart.
        let providers = configuration["providers"].as_array();
        let Some(providers) = providers.filter(|_| cluster[0].get("transport_socket").is_some())
        else {
            continue;
        };
        let mut bootstrap = Bootstrap::example();
        let secrets = providers.iter().map(|provider| &provider["login"]["client_secret_env"]);
        let variables: Vec<&Value> = secrets.chain([&configuration["secret"]["env"]]).collect();
        bootstrap.plugin()["vm_config"]["environment_variables"] =
            json!({"host_env_keys": variables});
        *bootstrap.plugin_configuration() = configuration.clone();
        bootstrap.tree()["static_resources"]["clusters"] = cluster;
        add_clusters_of_routes(&mut bootstrap);
        let report = check(&file(".json", &bootstrap.tree().to_string()));
        assert_eq!(report["verdict"], "good", "{}: {report}", path.display());
        assert_eq!(all(&report, "warnings"), [""; 0], "{}", path.display());
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn faults_are_named_with_their_fields() {
    let mut bootstrap = Bootstrap::example();
    bootstrap.plugin_configuration()["providers"][0]["client_ids"] = json!([]);
    bootstrap.plugin_configuration()["surprise"] = json!(1);
    let expected =
        ["surprise: unknown field", "providers[0].client_ids: must hold at least one audience"];
    for form in [ConfigurationForm::Struct, ConfigurationForm::StringValue] {
        let mut bootstrap = bootstrap.clone();
        bootstrap.set_configuration_form(form);
        let path = file(".json", &bootstrap.tree().to_string());
        assert_eq!(all(&check(&path), "faults"), expected);
        let run = mcp_auth(&["check", &path], "");
        assert_eq!(run.code, Some(1));
        assert!(run.stdout.contains(&format!("fault   {}\n", expected[1])), "{run:?}");
    }
    let twice =
        r#"{"resource": {"url": "https://a.example/"}, "mode": "report", "mode": "enforce"}"#;
    let faults = all(&check(&file(".json", twice)), "faults");
    assert_eq!(faults, ["mode: is duplicated", "providers: is required"]);
}

/// Over HTTP+SSE, lists arrive on the path of the URL, and calls are sent to another path.
#[test]
fn rules_that_name_tools_on_another_path_than_the_lists_cause_a_warning() {
    let warnings = |url: &str, rule: Value, further: Value| {
        let mut bootstrap = Bootstrap::example();
        let configuration = bootstrap.plugin_configuration();
        configuration["resource"]["url"] = json!(url);
        configuration["access"] = json!({"rules": [{"match": rule}, {"match": further}]});
        configuration["access"]["mcp"] = json!({"filter_lists": true});
        all(&check(&file(".json", &bootstrap.tree().to_string())), "warnings")
    };
    let sse = "https://mcp.example.com/sse";
    let named = |paths: Value| json!({"mcp_names": ["a"], "paths": paths});
    let open = json!({"paths": ["/sse"]});
    assert_eq!(
        warnings(sse, named(json!(["/messages"])), open.clone()),
        [
            "access.rules[0].match: names tools on other paths than that of `url`: lists that arrive \
            there are not filtered (HTTP+SSE: GET /sse); name that path too"
        ]
    );
    for (url, rule, further) in [
        (sse, named(json!(["/messages", "/sse"])), open.clone()),
        (sse, json!({"mcp_names": ["a"]}), open.clone()),
        (sse, json!({"mcp_names": ["a"], "path_prefixes": ["/"]}), open.clone()),
        (sse, named(json!(["/messages"])), named(json!(["/sse"]))),
        (sse, json!({"paths": ["/messages"]}), open.clone()),
        ("https://mcp.example.com/", named(json!(["/messages"])), open.clone()),
        ("https://mcp.example.com/messages", named(json!(["/messages"])), open),
    ] {
        assert_eq!(warnings(url, rule.clone(), further), [""; 0], "{url} {rule}");
    }
}

#[test]
fn a_cluster_that_envoy_lacks_is_a_fault() {
    let mut bootstrap = Bootstrap::example();
    bootstrap.plugin_configuration()["providers"][0]["cluster"] = json!("identity");
    bootstrap.plugin_configuration()["users"] = json!({"scim": {
        "url": "https://directory.example.com/", "cluster": "directory",
    }});
    let report = check(&file(".json", &bootstrap.tree().to_string()));
    assert_eq!(report["verdict"], "faulty");
    assert_eq!(
        all(&report, "faults"),
        [
            "providers[0].cluster: there is no cluster \"identity\" under static_resources.clusters",
            "users.scim.cluster: there is no cluster \"directory\" under static_resources.clusters",
        ]
    );

    bootstrap.tree()["dynamic_resources"] = json!({"cds_config": {"ads": {}}});
    let report = check(&file(".json", &bootstrap.tree().to_string()));
    assert_eq!((&report["verdict"], all(&report, "faults").len()), (&"good".into(), 0));
    assert!(all(&report, "notes")[0].contains("CDS"), "{report}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_cluster_that_validates_no_certificate_causes_a_warning() {
    let tls = |context: Value| json!({"typed_config": {"sni": "a", "common_tls_context": context}});
    let trusted = json!({"trusted_ca": {"filename": "f"}});
    let matching = |matchers: Value| json!({"trusted_ca": {"filename": "f"}, "match_typed_subject_alt_names": matchers});
    let exact = |name: &str| json!([{"san_type": "DNS", "matcher": {"exact": name}}]);
    let pattern = json!([{"san_type": "DNS", "matcher": {"suffix": ".example.com"}}]);
    let matched = matching(exact("id.example.com"));
    let automatic = json!({"upstream_http_protocol_options": {
        "auto_sni": true, "auto_san_validation": true,
    }});
    for (fields, warning) in [
        (json!({}), Some("no transport_socket for TLS")),
        (json!({"transport_socket": tls(json!({}))}), Some("no trusted_ca")),
        (
            json!({"transport_socket": tls(json!({"validation_context": trusted}))}),
            Some(
                "no match_typed_subject_alt_names, so a certificate of any host is accepted: have it match id.example.com",
            ),
        ),
        (json!({"transport_socket": tls(json!({"validation_context": matched}))}), None),
        (json!({"transport_socket": tls(json!({"validation_context": matching(pattern)}))}), None),
        (
            json!({"transport_socket": tls(json!({"validation_context": matching(json!([]))}))}),
            Some("a certificate of any host is accepted"),
        ),
        (
            json!({
                "transport_socket": tls(json!({
                    "validation_context": matching(exact("other.example.com")),
                })),
            }),
            Some("for other.example.com, but the host that is called is id.example.com"),
        ),
        (
            json!({
                "transport_socket": {"typed_config": {"common_tls_context": {
                    "validation_context": matched,
                }}},
            }),
            Some("no sni"),
        ),
        (
            json!({
                "transport_socket": {"typed_config": {"common_tls_context": {
                    "validation_context": trusted,
                }}},
                "typed_extension_protocol_options": automatic,
            }),
            None,
        ),
    ] {
        let mut bootstrap = Bootstrap::example();
        let url = "https://id.example.com/jwks";
        bootstrap.plugin_configuration()["providers"] = json!([provider(url, "id")]);
        let mut cluster = fields;
        cluster["name"] = json!("id");
        bootstrap.tree()["static_resources"]["clusters"] = json!([cluster]);
        add_clusters_of_routes(&mut bootstrap);
        let report = check(&file(".json", &bootstrap.tree().to_string()));
        let warnings = all(&report, "warnings");
        assert_eq!(report["verdict"], "good");
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{warnings:?}");
        assert!(
            warnings.iter().all(|candidate| candidate.contains(warning.unwrap())),
            "{warnings:?}"
        );
    }
}

#[test]
fn the_plugin_is_found_in_istios_resources() {
    let plugin =
        configuration(json!([provider("https://id.example.com/jwks", "outbound|443||id")]));
    let wasm_plugin = json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
        "metadata": {"name": "mcp-auth"},
        "spec": {"url": "oci://registry.example.com/plugin", "pluginConfig": plugin},
    });
    let patch = json!({
        "kind": "EnvoyFilter",
        "spec": {"configPatches": [{"patch": {"value": {"typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "value": {"config": {"configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": plugin.to_string(),
            }}},
        }}}}]},
    });
    for (document, place) in [
        (&wasm_plugin, "spec.pluginConfig"),
        (&patch, "spec.configPatches[0].patch.value.typed_config.value.config.configuration"),
    ] {
        let report = check(&file(".yaml", &document.to_string()));
        assert_eq!(report["verdict"], "good", "{report}");
        assert_eq!(report["plugins"][0]["place"], place);
        let notes = all(&report, "notes");
        assert!(notes[0].contains("outbound|443||id"), "{notes:?}");
    }
    let both = format!("{wasm_plugin}\n---\n{patch}\n");
    let path = file(".yaml", &both);
    assert_eq!(check(&path)["plugins"].as_array().unwrap().len(), 2);
    let keys = |plugin: &[&str]| mcp_auth(&[&["explain", &path], plugin].concat(), "x");
    let run = keys(&[]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("select one with --plugin 1 to 2"), "{run:?}");
    assert_eq!(keys(&["--plugin", "2"]).code, Some(1));
    assert_eq!(keys(&["--plugin", "3"]).code, Some(2));
}

#[test]
fn the_status_page_is_not_read_as_an_authenticating_plugin() {
    let mut bootstrap = Bootstrap::status_example();
    let page = bootstrap.status_plugin();
    page["name"] = json!("mcp-federated-auth");
    page["configuration"] = json!({"value": {"hosts": ["status.internal"]}});
    let report = check(&file(".json", &bootstrap.tree().to_string()));
    assert_eq!(report["verdict"], "good", "{report}");
}

#[test]
fn other_files_are_not_read_as_a_configuration() {
    for text in ["", "a: b", "- 1", "kind: Deployment", "static_resources: {}", "eyJh.eyJh.c2ln"] {
        let run = mcp_auth(&["check", &file(".yaml", text)], "");
        assert_eq!(run.code, Some(2), "{text}: {run:?}");
    }
}

#[test]
fn the_schema_is_the_published_one() {
    let run = mcp_auth(&["schema"], "");
    assert_eq!(run.code, Some(0));
    let path = repository_root().join("docs/configuration.schema.json");
    let published: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(run.json(), published);
}
