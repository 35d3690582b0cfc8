//! A duplicated field is named with its path, whatever the file: Envoy silently uses one of the
//! two.

use serde_json::{Value, json};
use testbed::Bootstrap;

use crate::support::{configuration, file, file_of_bytes, mcp_auth};

fn faults(path: &str) -> Vec<String> {
    let run = mcp_auth(&["check", path, "--json"], "");
    let report = run.json();
    let plugins = report["plugins"].as_array().unwrap_or_else(|| panic!("{run:?}")).iter();
    let faults = plugins.flat_map(|plugin| plugin["faults"].as_array().unwrap());
    let faults: Vec<String> = faults.map(|fault| fault.as_str().unwrap().to_owned()).collect();
    assert_eq!(run.code, Some(i32::from(!faults.is_empty())), "{run:?}");
    faults
}

const PLUGIN: &str = "\
resource: {url: https://mcp.example.com/mcp}
providers:
- name: own
  issuer: https://id.example.com
  client_ids: [mcp]
  jwks_url: https://id.example.com/jwks
  cluster: own
mode: report
";

#[test]
fn each_duplicate_in_yaml_is_named_with_its_path() {
    assert_eq!(faults(&file(".yaml", PLUGIN)), [""; 0]);
    let twice = PLUGIN.replace("  cluster: own\n", "  cluster: own\n  cluster: other\n");
    let twice = twice + "mode: enforce\n";
    assert_eq!(
        faults(&file(".yaml", &twice)),
        ["providers[0].cluster: is duplicated", "mode: is duplicated"]
    );
    // In flow style, which looks like JSON but is not.
    let flow = "{resource: {url: https://mcp.example.com/mcp}, providers: [{name: own, issuer: \
                https://id.example.com, client_ids: [mcp], jwks_url: https://id.example.com/jwks, \
                cluster: own}], mode: report, mode: enforce}";
    assert_eq!(faults(&file(".yaml", flow)), ["mode: is duplicated"]);
    // Together with other faults.
    let faulty = format!("{twice}surprise: 1\n");
    assert_eq!(
        faults(&file(".yaml", &faulty)),
        ["providers[0].cluster: is duplicated", "mode: is duplicated", "surprise: unknown field",]
    );
    let path = file(".yaml", &twice);
    for arguments in [&["explain", &path][..], &["keys", &path]] {
        let run = mcp_auth(arguments, "x");
        assert_eq!(run.code, Some(2), "{run:?}");
        let lines =
            "configuration refused:\nproviders[0].cluster: is duplicated\nmode: is duplicated\n";
        assert!(run.stderr.contains(lines), "{run:?}");
        assert!(!run.stderr.contains("duplicate mapping key"), "{run:?}");
    }
}

#[test]
fn duplicates_in_files_of_envoy_and_kubernetes_are_named_too() {
    let mut bootstrap = Bootstrap::example();
    let json = bootstrap.tree().to_string();
    assert_eq!(faults(&file(".json", &json)), [""; 0]);
    // In the plugin's configuration, by the path there.
    let twice = json.replacen("\"user_claim\":", "\"user_claim\":\"sub\",\"user_claim\":", 1);
    assert_eq!(faults(&file(".json", &twice)), ["providers[0].user_claim: is duplicated"]);
    // Elsewhere, by the whole path.
    let twice =
        json.replacen("\"merge_slashes\":", "\"merge_slashes\":false,\"merge_slashes\":", 1);
    assert_eq!(
        faults(&file(".json", &twice)),
        [
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.merge_slashes: is \
          duplicated"
        ]
    );
    let plugin: Value = configuration(json!([{
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks_url": "https://id.example.com/jwks", "cluster": "own",
    }]));
    let inner =
        plugin.to_string().replacen('{', "{\"mode\": \"report\", \"mode\": \"enforce\",", 1);
    for (kind, fields) in [
        ("WasmPlugin", format!("{{pluginConfig: {inner}}}")),
        ("EnvoyExtensionPolicy", format!("{{wasm: [{{config: {inner}}}]}}")),
    ] {
        let resource = format!("kind: {kind}\nspec: {fields}\n");
        assert_eq!(faults(&file(".yaml", &resource)), ["mode: is duplicated"], "{kind}");
        // Outside the plugin's configuration, too.
        let both = format!("kind: ServiceEntry\nkind: ServiceEntry\n---\n{resource}");
        let expected = ["mode: is duplicated", "kind: is duplicated"];
        assert_eq!(faults(&file(".yaml", &both)), expected, "{kind}");
    }
}

#[test]
fn keys_overridden_by_a_merge_are_not_duplicates() {
    let merged = PLUGIN.replace("- name: own\n", "- <<: {cluster: other}\n  name: own\n");
    assert_ne!(merged, PLUGIN);
    assert_eq!(faults(&file(".yaml", &merged)), [""; 0]);
}

#[test]
fn a_file_is_read_with_a_byte_order_mark_and_named_in_utf_16() {
    for text in [PLUGIN.to_owned(), Bootstrap::example().tree().to_string()] {
        assert_eq!(faults(&file(".yaml", &format!("\u{feff}{text}"))), [""; 0]);
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let run = mcp_auth(&["check", &file_of_bytes(".yaml", &bytes)], "");
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains("is in UTF-16: save it as UTF-8"), "{run:?}");
    }
}
