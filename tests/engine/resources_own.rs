//! What each resource has of its own: exempt paths, origins, identity headers, mode, document and
//! challenge. And requests that belong to no resource.

use serde_json::{Value, json};

use crate::host::{Outcome, SharedData, Vm, log};
use crate::provider::{ISSUER, claims, fetch, start};
use crate::resources::{code, key, token, two_servers, values};

/// Two servers, the second with these additional members, and these members at the top level.
fn vm(top: Value, second: Value) -> Vm {
    let mut configuration = two_servers();
    let merge = |into: &mut Value, members: Value| {
        for (name, value) in members.as_object().unwrap() {
            into[name] = value.clone();
        }
    };
    merge(&mut configuration, top);
    merge(&mut configuration["resources"][1], second);
    start(&configuration, &SharedData::default())
}

/// Sends a GET with these header fields.
fn get(vm: &Vm, host: &str, path: &str, fields: &[(&str, &str)]) -> Outcome {
    let mut all: Vec<(&str, &[u8])> =
        vec![(":method", b"GET"), (":authority", host.as_bytes()), (":path", path.as_bytes())];
    all.extend(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
    vm.request(&all).1
}

const HOST: &str = "gateway.example.com";

#[test]
fn a_resource_has_its_own_exempt_paths_or_the_common_ones() {
    let top = json!({"exempt": [
        {"path": "/healthz"}, {"path": "/a/mcp/open"}, {"path": "/b/mcp"}, {"path": "/b/mcp/open"},
        {"path": "/b/mcp/both"},
    ]});
    let vm = vm(top, json!({"exempt": [{"path": "/b/mcp/both"}, {"path": "/b/mcp/own"}]}));
    for (host, path, reason) in [
        (HOST, "/a/mcp/open", None),
        (HOST, "/a/mcp", Some("missing_token")),
        (HOST, "/b/mcp/both", None),
        (HOST, "/b/mcp/own", None),
        (HOST, "/b/mcp/open", Some("missing_token")),
        (HOST, "/healthz", None),
        // Under a host of no resource, the common exempt paths are open, except those that a
        // resource protects.
        ("other.example", "/healthz", None),
        ("other.example", "/a/mcp/open", None),
        ("other.example", "/b/mcp/both", None),
        ("other.example", "/b/mcp/own", Some("unknown_resource")),
        ("other.example", "/b/mcp/open", Some("unknown_resource")),
        ("other.example", "/b/mcp", Some("unknown_resource")),
    ] {
        assert_eq!(code(&get(&vm, host, path, &[])).as_deref(), reason, "{host} {path}");
    }
}

#[test]
fn a_resource_has_its_own_origins_or_the_common_ones() {
    let top = json!({"allowed_origins": ["https://all.example"], "exempt": [{"path": "/healthz"}]});
    let vm = vm(top, json!({"allowed_origins": ["https://b.example"]}));
    for (path, origin, is_denied) in [
        ("/a/mcp", "https://all.example", false),
        ("/a/mcp", "https://b.example", true),
        ("/b/mcp", "https://b.example", false),
        ("/b/mcp", "https://all.example", true),
        ("/healthz", "https://all.example", false),
        ("/healthz", "https://b.example", true),
    ] {
        let reason = code(&get(&vm, HOST, path, &[("origin", origin)]));
        assert_eq!(reason.as_deref() == Some("origin_denied"), is_denied, "{path} {origin}");
    }
}

#[test]
fn the_identity_settings_of_a_resource_replace_the_common_ones_as_a_whole() {
    let top = json!({
        "identity": {
            "header_prefix": "x-top-",
            "claims_to_headers": [{"claim": "email", "header": "x-address"}],
            "forward_token": true,
        },
        "exempt": [{"path": "/healthz"}],
    });
    let vm = vm(top, json!({"identity": {"header_prefix": "x-b-"}}));
    let key = key();
    fetch(&vm, &[&key]);
    let authorization = format!("Bearer {}", token(&key, json!(["for-a", "for-b"])));
    let forged = [
        ("authorization", authorization.as_str()),
        ("x-top-user", "root"),
        ("x-b-user", "root"),
        ("x-top-resource", "b"),
        ("x-b-resource", "a"),
        ("x-address", "root"),
    ];
    for (path, own, other, is_of_all) in
        [("/a/mcp", "x-top-", "x-b-", true), ("/b/mcp", "x-b-", "x-top-", false)]
    {
        let outcome = get(&vm, HOST, path, &forged);
        assert_eq!(values(&outcome, &format!("{own}user")), ["ada"], "{path}");
        assert_eq!(values(&outcome, &format!("{own}resource")), [&path[1..2]], "{path}");
        for name in ["user", "resource"] {
            assert_eq!(values(&outcome, &format!("{other}{name}")), [""; 0], "{path}");
        }
        let address: &[&str] = if is_of_all { &["ada@example.com"] } else { &[] };
        assert_eq!(values(&outcome, "x-address"), address, "{path}");
        assert_eq!(values(&outcome, "authorization").len(), usize::from(is_of_all), "{path}");
    }
    let outcome = get(&vm, HOST, "/healthz", &forged);
    for (name, _) in &forged[1..] {
        assert_eq!(values(&outcome, name), [""; 0], "{name}");
    }
}

#[test]
fn default_identity_headers_are_removed_even_if_each_resource_has_its_own() {
    let mut configuration = two_servers();
    for (index, prefix) in ["x-a-", "x-b-"].into_iter().enumerate() {
        configuration["resources"][index]["identity"] = json!({"header_prefix": prefix});
    }
    configuration["exempt"] = json!([{"path": "/healthz"}]);
    let vm = start(&configuration, &SharedData::default());
    let key = key();
    fetch(&vm, &[&key]);
    let authorization = format!("Bearer {}", token(&key, "for-a"));
    let fields = [
        ("authorization", authorization.as_str()),
        ("x-mcp-user", "root"),
        ("x-mcp-resource", "b"),
    ];
    for path in ["/a/mcp", "/healthz"] {
        let outcome = get(&vm, HOST, path, &fields);
        for name in ["x-mcp-user", "x-mcp-resource"] {
            assert_eq!(values(&outcome, name), [""; 0], "{path} {name}");
        }
    }
}

#[test]
fn a_resource_has_its_own_mode_and_exempt_or_reported_requests_name_it() {
    let vm = vm(json!({"exempt": [{"path": "/a/mcp/open"}]}), json!({"mode": "report"}));
    assert_eq!(code(&get(&vm, HOST, "/a/mcp", &[])).as_deref(), Some("missing_token"));
    for (path, id) in [("/b/mcp", "b"), ("/a/mcp/open", "a")] {
        let outcome = get(&vm, HOST, path, &[("x-mcp-resource", "forged")]);
        assert_eq!(values(&outcome, "x-mcp-resource"), [id]);
    }
    assert_eq!(code(&get(&vm, HOST, "/c", &[])).as_deref(), Some("unknown_resource"));
}

#[test]
fn audiences_of_a_resource_replace_the_client_ids_of_its_providers() {
    let mut configuration = two_servers();
    configuration["providers"][0]["client_ids"] = json!(["general"]);
    configuration["resources"][1].as_object_mut().unwrap().remove("audiences");
    let vm = start(&configuration, &SharedData::default());
    let key = key();
    fetch(&vm, &[&key]);
    for (audience, path, reason) in [
        ("general", "/a/mcp", Some("audience_mismatch")),
        ("general", "/b/mcp", None),
        ("for-a", "/a/mcp", None),
        ("for-a", "/b/mcp", Some("audience_mismatch")),
    ] {
        let authorization = format!("Bearer {}", token(&key, audience));
        let outcome = get(&vm, HOST, path, &[("authorization", &authorization)]);
        assert_eq!(code(&outcome).as_deref(), reason, "{audience} {path}");
    }
}

#[test]
fn a_resource_has_its_own_document_and_challenge() {
    let mut configuration = two_servers();
    configuration["providers"].as_array_mut().unwrap().push(json!({
        "name": "other", "issuer": "https://other.example", "client_ids": ["x"],
        "jwks": {"keys": [key().public_jwk()]},
    }));
    let second = json!({
        "id": "b", "url": "https://Gateway.example.com:443/b/mcp/",
        "audiences": {"example": ["for-b"]}, "providers": ["other", "example"],
        "scopes_supported": ["b.read"],
    });
    configuration["resources"][1] = second;
    let vm = start(&configuration, &SharedData::default());
    let Outcome::Refused(document) =
        get(&vm, HOST, "/.well-known/oauth-protected-resource/b/mcp", &[])
    else {
        panic!("no document")
    };
    let document = document.json();
    assert_eq!(document["resource"], "https://Gateway.example.com:443/b/mcp/");
    let first = configuration["providers"][0]["issuer"].clone();
    assert_eq!(document["authorization_servers"], json!(["https://other.example", first]));
    for (path, ends) in [
        ("/a/mcp", "/.well-known/oauth-protected-resource/a/mcp\""),
        ("/b/mcp", "/.well-known/oauth-protected-resource/b/mcp/\", scope=\"b.read\""),
    ] {
        let Outcome::Refused(refused) = get(&vm, HOST, path, &[]) else { panic!("{path}") };
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.ends_with(ends), "{path}: {challenge}");
    }
}

#[test]
fn the_log_line_of_a_refusal_names_the_resource_of_the_request() {
    let vm = vm(json!({}), json!({}));
    for path in ["/a/mcp", "/b/mcp", "/c/mcp"] {
        get(&vm, HOST, path, &[]);
    }
    let lines: Vec<String> =
        log().into_iter().filter(|line| line.starts_with("refused: ")).collect();
    let begins = [
        "refused: reason=missing_token resource=a provider=-",
        "refused: reason=missing_token resource=b provider=-",
        "refused: reason=unknown_resource provider=-",
    ];
    assert!(
        lines.len() == 3 && lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)),
        "{lines:?}"
    );
}

#[test]
fn a_step_up_requests_no_scope_that_only_another_resource_has() {
    let rules = |scope: &str| json!({"rules": [{"require": {"scopes": [scope]}}]});
    let mut configuration = two_servers();
    configuration["resources"][0]["scopes_supported"] = json!(["a.read"]);
    configuration["resources"][0]["access"] = rules("a.write");
    configuration["resources"][1]["scopes_supported"] = json!(["b.read"]);
    configuration["resources"][1]["access"] = rules("b.write");
    let vm = start(&configuration, &SharedData::default());
    let key = key();
    fetch(&vm, &[&key]);
    let mut claims = claims(ISSUER, "none");
    claims["aud"] = json!(["for-a", "for-b"]);
    claims["scope"] = json!("a.read b.read");
    let authorization = format!("Bearer {}", key.token(&claims));
    for (path, scope) in [("/a/mcp", "a.write a.read"), ("/b/mcp", "b.write b.read")] {
        let outcome = get(&vm, HOST, path, &[("authorization", &authorization)]);
        let Outcome::Refused(refused) = outcome else { panic!("{path}") };
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{path}: {challenge}");
    }
}
