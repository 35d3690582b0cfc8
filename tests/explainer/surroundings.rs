//! The warnings of `mcp-auth check` about the surroundings of the plugin's configuration, and that
//! there are none for good files.

use serde_json::{Value, json};
use testbed::Bootstrap;

use crate::support::{configuration, file, mcp_auth, with};

/// The warnings and notes on a document.
fn check(document: &Value) -> (Vec<String>, Vec<String>) {
    let run = mcp_auth(&["check", &file(".yaml", &document.to_string()), "--json"], "");
    assert_eq!(run.code, Some(0), "a warning is not a fault: {run:?}");
    let report = run.json();
    let all = |kind: &str| {
        let plugins = report["plugins"].as_array().unwrap().iter();
        let texts = plugins.flat_map(|plugin| plugin[kind].as_array().unwrap());
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    (all("warnings"), all("notes"))
}

/// Asserts that these are the warnings, in this order.
fn assert_warns(document: &Value, expected: &[&str]) {
    let (warnings, _) = check(document);
    assert_eq!(warnings.len(), expected.len(), "{expected:?}: {warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{expected:?}: {warnings:#?}");
    }
}

/// Rules that decide by messages in bodies.
fn message_rules() -> Value {
    json!({"rules": [{"match": {"mcp_methods": ["tools/call"]}}]})
}

/// The example, whose plugin holds heads back, with this `access`.
fn example(access: Value) -> Bootstrap {
    let mut bootstrap = Bootstrap::example();
    bootstrap.plugin()["allow_on_headers_stop_iteration"] = json!(true);
    if !access.is_null() {
        bootstrap.plugin_configuration()["access"] = access;
    }
    bootstrap
}

fn remote() -> Value {
    configuration(json!([{
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks_url": "https://id.example.com/jwks", "cluster": "outbound|443||id.example.com",
    }]))
}

fn wasm_plugin(fields: Value, access: Value) -> Value {
    let plugin = with(&remote(), json!({"access": access}));
    let spec = json!({"url": "oci://registry.example.com/plugin", "pluginConfig": plugin});
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
        "metadata": {"name": "mcp-federated-auth"},
        "spec": with(&spec, fields),
    })
}

fn extension_policy(fields: Value, access: Value) -> Value {
    let plugin = with(&remote(), json!({"access": access}));
    let wasm = json!({"name": "mcp-federated-auth", "config": plugin});
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy",
        "spec": {"wasm": [with(&wasm, fields)]},
    })
}

#[test]
fn a_plugin_that_fails_open_causes_a_warning() {
    let fails_open = |setting: &str| {
        format!("`{setting}` lets requests pass without authentication while the plugin cannot run")
    };
    for (fields, warning) in [
        (json!({"failure_policy": "FAIL_OPEN"}), Some("failure_policy: FAIL_OPEN")),
        (json!({"failurePolicy": "FAIL_OPEN"}), Some("failure_policy: FAIL_OPEN")),
        (json!({"failure_policy": 3}), Some("failure_policy: FAIL_OPEN")),
        (json!({"fail_open": true}), Some("fail_open: true")),
        (json!({"failOpen": "true"}), Some("fail_open: true")),
        (json!({"fail_open": false}), None),
        (json!({"failure_policy": "FAIL_CLOSED"}), None),
        (json!({"failure_policy": "FAIL_RELOAD"}), None),
        (json!({}), None),
    ] {
        let mut bootstrap = example(Value::Null);
        let plugin = bootstrap.plugin();
        *plugin = with(&with(plugin, json!({"failure_policy": null})), fields);
        let warning = warning.map(fails_open);
        let expected: Vec<&str> = warning.iter().map(String::as_str).collect();
        assert_warns(bootstrap.tree(), &expected);
    }
    for (document, warning) in [
        (
            wasm_plugin(json!({"failStrategy": "FAIL_OPEN"}), Value::Null),
            Some("failStrategy: FAIL_OPEN"),
        ),
        (wasm_plugin(json!({"failStrategy": "FAIL_RELOAD"}), Value::Null), None),
        (wasm_plugin(json!({"failStrategy": "FAIL_CLOSE"}), Value::Null), None),
        (wasm_plugin(json!({}), Value::Null), None),
        (extension_policy(json!({"failOpen": true}), Value::Null), Some("failOpen: true")),
        (extension_policy(json!({"failOpen": false}), Value::Null), None),
        (extension_policy(json!({}), Value::Null), None),
    ] {
        let warning = warning.map(fails_open);
        let expected: Vec<&str> = warning.iter().map(String::as_str).collect();
        assert_warns(&document, &expected);
    }
}

#[test]
fn envoy_must_normalise_paths_where_rules_name_them() {
    let by_rule = || example(json!({"rules": [{"match": {"paths": ["/mcp"]}}]}));
    let by_prefix = || example(json!({"rules": [{"match": {"path_prefixes": ["/mcp"]}}]}));
    let by_exemption = || {
        let mut bootstrap = example(Value::Null);
        bootstrap.plugin_configuration()["exempt"] = json!([{"path": "/healthz"}]);
        bootstrap
    };
    let by_nothing = || example(json!({"rules": [{"match": {"methods": ["GET", "POST"]}}]}));
    for (field, safe, unsafe_values) in [
        ("normalize_path", vec![json!("true")], vec![json!(false), Value::Null]),
        ("merge_slashes", vec![], vec![json!(false), Value::Null]),
        (
            "path_with_escaped_slashes_action",
            vec![json!("UNESCAPE_AND_REDIRECT"), json!("UNESCAPE_AND_FORWARD"), json!(2)],
            vec![
                json!("KEEP_UNCHANGED"),
                json!("IMPLEMENTATION_SPECIFIC_DEFAULT"),
                json!(1),
                Value::Null,
            ],
        ),
    ] {
        for value in unsafe_values {
            for mut bootstrap in [by_rule(), by_prefix(), by_exemption()] {
                assert_warns(bootstrap.tree(), &[]);
                bootstrap.connection_manager()[field] = value.clone();
                assert_warns(bootstrap.tree(), &[&format!("`{field}: ")]);
            }
            let mut bootstrap = by_nothing();
            bootstrap.connection_manager()[field] = value;
            assert_warns(bootstrap.tree(), &[]);
        }
        for value in safe {
            let mut bootstrap = by_rule();
            bootstrap.connection_manager()[field] = value;
            assert_warns(bootstrap.tree(), &[]);
        }
    }
    // Envoy accepts the names in camel case, too.
    let mut bootstrap = by_rule();
    let manager = bootstrap.connection_manager().as_object_mut().unwrap();
    let value = manager.remove("normalize_path").unwrap();
    manager.insert("normalizePath".to_owned(), value);
    assert_warns(bootstrap.tree(), &[]);
}

#[test]
fn header_names_with_underscores_must_be_refused() {
    for (options, warning) in [
        (json!({"headers_with_underscores_action": "REJECT_REQUEST"}), None),
        (json!({"headers_with_underscores_action": "DROP_HEADER"}), None),
        (json!({"headersWithUnderscoresAction": 1}), None),
        (json!({"headers_with_underscores_action": "ALLOW"}), Some("underscores")),
        (json!({"headers_with_underscores_action": 0}), Some("underscores")),
        (json!({"idle_timeout": "60s"}), Some("underscores")),
        (Value::Null, Some("underscores")),
    ] {
        let mut bootstrap = example(Value::Null);
        bootstrap.connection_manager()["common_http_protocol_options"] = options;
        assert_warns(bootstrap.tree(), warning.as_slice());
    }
}

#[test]
fn heads_must_be_held_back_where_rules_read_messages() {
    let missing = "`allow_on_headers_stop_iteration: true` is missing";
    let by_headers = json!({
        "rules": [{"match": {"mcp_names": ["whoami"]}}],
        "mcp": {
            "inspect": "headers", "upstream_validates_headers": true,
            "protocol_versions": ["2026-07-28"],
        },
    });
    for (access, is_asked_for) in [
        (message_rules(), true),
        (json!({"rules": [{"match": {"mcp_names": ["whoami"]}}]}), true),
        (json!({"rules": [{}, {"match": {"mcp_methods": ["ping"]}}]}), true),
        (json!({"rules": [{"match": {"methods": ["POST"], "mcp_methods": []}}]}), false),
        (by_headers, false),
        (Value::Null, false),
    ] {
        for (value, is_on) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (Value::Null, false),
        ] {
            let mut bootstrap = example(access.clone());
            bootstrap.plugin()["allow_on_headers_stop_iteration"] = value;
            let expected = [missing];
            assert_warns(bootstrap.tree(), if is_asked_for && !is_on { &expected } else { &[] });
        }
    }
    // Envoy's buffer filter directly after the plugin does it too, and only there.
    let buffer = json!({
        "name": "envoy.filters.http.buffer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 1_048_576,
        },
    });
    for (place, expected) in [(1, &[][..]), (0, &[missing])] {
        let mut bootstrap = example(message_rules());
        bootstrap.plugin()["allow_on_headers_stop_iteration"] = json!(false);
        bootstrap.http_filters().insert(place, buffer.clone());
        assert_warns(bootstrap.tree(), expected);
    }
}

#[test]
fn the_buffer_filter_is_recommended_where_no_field_holds_heads_back() {
    let nothing = || json!({});
    // Kubernetes removes fields that are not in the schema.
    let unknown = || json!({"allowOnHeadersStopIteration": true});
    for (document, other, name) in [
        (
            wasm_plugin(unknown(), message_rules()),
            wasm_plugin(nothing(), Value::Null),
            "Istio's WasmPlugin has no field for `allow_on_headers_stop_iteration`",
        ),
        (
            extension_policy(unknown(), message_rules()),
            extension_policy(nothing(), Value::Null),
            "EnvoyExtensionPolicy has no field for `allow_on_headers_stop_iteration`",
        ),
    ] {
        let (warnings, notes) = check(&document);
        assert!(warnings[0].contains(name), "{warnings:?}");
        assert!(warnings[0].contains("buffer filter directly behind the plugin"), "{warnings:?}");
        assert!(warnings[0].ends_with("see docs/access.md"), "{warnings:?}");
        assert_eq!(warnings.len(), 1);
        // The file does not show how the gateway normalises paths.
        assert!(notes[1].contains("normalise paths"), "{notes:?}");
        assert_warns(&other, &[]);
    }
    // An EnvoyFilter in the same file adds the buffer filter and the normalisation of paths.
    let patch = json!({"kind": "EnvoyFilter", "spec": {"configPatches": [
        {"applyTo": "HTTP_FILTER", "patch": {"value": {"typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 1_048_576,
        }}}},
        {"applyTo": "NETWORK_FILTER", "patch": {"value": {"typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "merge_slashes": true,
        }}}},
    ]}});
    let plugin = wasm_plugin(nothing(), message_rules());
    let path = file(".yaml", &format!("{plugin}\n---\n{patch}\n"));
    let report = mcp_auth(&["check", &path, "--json"], "").json();
    let warnings = report["plugins"][0]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{report}");
    assert!(warnings[0].as_str().unwrap().contains("underscores"), "{report}");
    assert_eq!(report["plugins"][0]["notes"].as_array().unwrap().len(), 1, "{report}");
}

#[test]
fn a_token_size_that_exceeds_envoys_limit_causes_a_warning() {
    for (size, kilobytes, warning) in [
        ("8KiB", Value::Null, None),
        ("60KiB", Value::Null, None),
        ("61KiB", Value::Null, Some("`max_token_size` is 62464 bytes, but Envoy accepts 61440")),
        ("61KiB", json!(96), None),
        ("8KiB", json!(4), Some("`max_token_size` is 8192 bytes, but Envoy accepts 4096")),
    ] {
        let mut bootstrap = example(Value::Null);
        bootstrap.plugin_configuration()["max_token_size"] = json!(size);
        bootstrap.connection_manager()["max_request_headers_kb"] = kilobytes;
        assert_warns(bootstrap.tree(), warning.as_slice());
    }
}

#[test]
fn a_native_module_from_a_remote_place_causes_a_warning() {
    let module = |source: Value, access: Value| {
        let mut bootstrap = example(access);
        let _environment = bootstrap.replace_plugin("dist/libmcp_federated_auth.so".as_ref());
        let mut tree = bootstrap.tree().clone();
        let filters = &mut tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"];
        let filters = filters[0]["typed_config"]["http_filters"].as_array_mut().unwrap();
        let module =
            filters.iter_mut().find(|filter| filter["typed_config"]["filter_config"].is_object());
        module.unwrap()["typed_config"]["dynamic_module_config"] = source;
        tree
    };
    let local = json!({"module": {"local": {"filename": "dist/libmcp_federated_auth.so"}}});
    let remote = json!({"module": {"remote": {"http_uri": {"uri": "https://example.com/m.so"}}}});
    // A native module always holds heads back.
    assert_warns(&module(local, message_rules()), &[]);
    assert_warns(&module(json!({"name": "mcp_federated_auth"}), Value::Null), &[]);
    assert_warns(&module(remote, Value::Null), &["`module.remote` lets requests pass"]);
}

#[test]
fn a_native_module_of_envoy_gateway_holds_heads_back() {
    let plugin = with(&remote(), json!({"access": message_rules()}));
    let module = json!({
        "name": "mcp-federated-auth", "filterName": "mcp-federated-auth", "config": plugin,
    });
    let policy = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy",
        "spec": {"dynamicModule": [module]},
    });
    assert_warns(&policy, &[]);
}
