//! `mcp-auth check` of a configuration with `login`: what to register, and what would fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use serde_json::{Value, json};
use testbed::{Bootstrap, Port};

use crate::support::{file, mcp_auth, response, self_signed, serve, with};

/// The path of a provider's metadata document.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The metadata of a provider that supports everything that a login needs.
fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "scopes_supported": ["openid", "profile", "offline_access"],
    })
}

/// A gateway whose provider has this issuer.
fn gateway(issuer: &str) -> Value {
    json!({
        "resource": {"url": "https://mcp.example.com/mcp", "scopes_supported": ["mcp.tools"]},
        "secret": {"env": "MCP_AUTH_SECRET"},
        "login": {},
        "providers": [{
            "name": "own", "issuer": issuer, "client_ids": ["mcp"],
            "metadata_url": format!("{issuer}{DISCOVERY}"), "cluster": "own",
            "login": {"client_id": "gateway", "client_secret_env": "OWN_SECRET"},
        }],
    })
}

fn check(configuration: &Value, arguments: &[&str]) -> Value {
    let path = file(".json", &configuration.to_string());
    mcp_auth(&[&["check", &path, "--json"], arguments].concat(), "").json()
}

/// The report on a gateway whose provider responds with this to the metadata request.
fn check_against(document: impl Fn(&str) -> String + Send + 'static) -> Value {
    let address = serve(None, move |path, address| {
        assert_eq!(path, DISCOVERY);
        document(&format!("http://{address}"))
    });
    check(&gateway(&format!("http://{address}")), &[])
}

/// The same with these members in the metadata; null removes one.
fn check_with(members: Value) -> Value {
    check_against(move |issuer| ok(&with(&metadata(issuer), members.clone())))
}

fn ok(document: &Value) -> String {
    response("200 OK", "content-type: application/json\r\n", &document.to_string())
}

fn all(report: &Value, kind: &str) -> Vec<String> {
    let texts = report["plugins"][0][kind].as_array().unwrap_or_else(|| panic!("{report}"));
    texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Asserts that this is the only finding.
#[track_caller]
fn assert_found(report: &Value, kind: &str, parts: &[&str]) {
    let verdict = if kind == "faults" { "faulty" } else { "good" };
    assert_eq!(report["verdict"], verdict, "{report:#}");
    let found = [all(report, "faults"), all(report, "warnings")].concat();
    assert_eq!(found.len(), 1, "{parts:?}: {report:#}");
    assert_eq!(all(report, kind).len(), 1, "{report:#}");
    for part in [&["providers[0].login"], parts].concat() {
        assert!(found[0].contains(part), "{part}: {}", found[0]);
    }
}

#[test]
fn the_redirect_uri_to_register_is_named_and_a_good_provider_causes_no_warning() {
    let report = check_with(json!({}));
    assert_eq!(report["verdict"], "good", "{report:#}");
    assert_eq!((all(&report, "faults"), all(&report, "warnings")), (vec![], vec![]));
    let notes = all(&report, "notes");
    let registration = notes.iter().find(|note| note.contains("redirect URI")).unwrap();
    for part in ["\"gateway\"", "with a secret", "https://mcp.example.com/oauth/callback/own"] {
        assert!(registration.contains(part), "{registration}");
    }
    // The report for people has it too.
    let path = file(".json", &gateway("http://127.0.0.1:1").to_string());
    let run = mcp_auth(&["check", &path], "");
    assert!(run.stdout.contains("https://mcp.example.com/oauth/callback/own"), "{run:?}");
}

#[test]
fn the_redirect_uri_follows_issuer_path_and_name() {
    let mut configuration = gateway("http://127.0.0.1:1");
    configuration["login"] = json!({"issuer": "https://login.example.com", "path": "/sign-in"});
    configuration["providers"][0]["name"] = json!("staff");
    configuration["providers"][0]["login"].as_object_mut().unwrap().remove("client_secret_env");
    let notes = all(&check(&configuration, &["--offline"]), "notes").join("\n");
    assert!(notes.contains("as a public client with PKCE"), "{notes}");
    assert!(notes.contains("https://login.example.com/sign-in/callback/staff"), "{notes}");
}

#[test]
fn metadata_that_make_a_login_impossible_are_faults() {
    for (members, parts) in [
        (json!({"issuer": "https://other.example"}), &["names another issuer"][..]),
        (json!({"issuer": null}), &["names another issuer"]),
        (json!({"authorization_endpoint": null}), &["authorization_endpoint"]),
        (
            json!({"authorization_endpoint": "http://id.example.com/authorize"}),
            &["authorization_endpoint", "https"],
        ),
        (json!({"token_endpoint": null}), &["token_endpoint"]),
        (
            json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}),
            &["client_secret_basic", "client_secret_post"],
        ),
        (
            json!({"code_challenge_methods_supported": ["plain"]}),
            &["does not list S256", "code_challenge_methods_supported"],
        ),
        (json!({"code_challenge_methods_supported": []}), &["does not list S256"]),
    ] {
        assert_found(&check_with(members), "faults", parts);
    }
    assert_found(&check_against(|_| response("200 OK", "", "<html>")), "faults", &["not JSON"]);
    // Entra ID does not list it, but supports it.
    let report = check_with(json!({"code_challenge_methods_supported": null}));
    assert_eq!(report["verdict"], "good", "{report:#}");
}

#[test]
fn a_provider_that_would_give_no_refresh_tokens_causes_a_warning() {
    for (members, part) in [
        (json!({"grant_types_supported": ["authorization_code"]}), "grant_types_supported"),
        (
            json!({"scopes_supported": ["openid"]}),
            "does not list offline_access in scopes_supported",
        ),
    ] {
        assert_found(&check_with(members), "warnings", &[part, "log in again"]);
    }
    let address = serve(None, |_, address| ok(&metadata(&format!("http://{address}"))));
    let mut configuration = gateway(&format!("http://{address}"));
    configuration["providers"][0]["login"]["always"] = json!(["openid"]);
    let report = check(&configuration, &[]);
    assert_found(&report, "warnings", &["offline_access is not in `always`", "log in again"]);
    // Google issues one if a parameter asks for it.
    configuration["providers"][0]["login"]["parameters"] = json!({"access_type": "offline"});
    assert_eq!(all(&check(&configuration, &[]), "warnings"), [""; 0]);
}

#[test]
fn metadata_that_cannot_be_read_from_here_cause_a_warning_with_the_cause() {
    for (status, part) in [("404 Not Found", "status 404"), ("500 Oh", "status 500")] {
        let report = check_against(move |_| response(status, "", "{}"));
        assert_found(&report, "warnings", &[part, DISCOVERY]);
    }
    let report = check_against(|_| response("302 Found", "location: https://x.example/\r\n", ""));
    assert_found(&report, "warnings", &["https://x.example/", DISCOVERY]);
    let closed = Port::free();
    let report = check(&gateway(&format!("http://{}", closed.address())), &[]);
    assert_found(&report, "warnings", &["could not be read from here", "no connection"]);
    let report = check(&gateway("https://nobody.invalid"), &[]);
    assert_found(&report, "warnings", &["could not be read from here"]);
}

#[test]
fn an_untrusted_certificate_causes_a_warning() {
    let (tls, pem): (Arc<ServerConfig>, String) = self_signed();
    let issuer = |address: SocketAddr| format!("https://localhost:{}", address.port());
    let address = serve(Some(tls), move |_, address| ok(&metadata(&issuer(address))));
    let configuration = gateway(&issuer(address));
    let report = check(&configuration, &[]);
    assert_found(&report, "warnings", &["could not be read from here", "TLS failed"]);
    let ca = file(".pem", &pem);
    assert_eq!(all(&check(&configuration, &["--ca", &ca]), "warnings"), [""; 0]);
}

#[test]
fn no_callout_is_made_offline() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let address = serve(None, move |_, address| {
        count.fetch_add(1, Ordering::SeqCst);
        ok(&metadata(&format!("http://{address}")))
    });
    let configuration = gateway(&format!("http://{address}"));
    check(&configuration, &["--offline"]);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    check(&configuration, &[]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn scopes_that_the_provider_reads_as_those_of_another_api_cause_a_warning() {
    let mut configuration = gateway("http://127.0.0.1:1");
    configuration["providers"][0] = json!({
        "name": "entra", "template": "entra_id",
        "tenant": "11111111-2222-3333-4444-555555555555", "client_ids": ["mcp"],
        "clusters": {"login.microsoftonline.com": "entra"},
        "login": {"client_id": "mcp", "scopes": {"mcp.tools": "mcp.tools"}},
    });
    let of_scopes = |configuration: &Value| all(&check(configuration, &["--offline"]), "warnings");
    let warnings = of_scopes(&configuration);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("providers[0].login.scopes.mcp.tools: "), "{warnings:?}");
    assert!(warnings[0].contains("no resource in front"), "{warnings:?}");
    for (scopes, count) in [
        (json!({"mcp.tools": "api://mcp/mcp.tools"}), 0),
        (json!({"mcp.tools": "api://mcp/.default"}), 1),
    ] {
        configuration["providers"][0]["login"]["scopes"] = scopes;
        let warnings = of_scopes(&configuration);
        assert_eq!(warnings.len(), count, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("/.default")), "{warnings:?}");
    }
}

#[test]
fn an_envoy_file_without_the_cluster_or_the_option_is_reported() {
    let address = serve(None, |_, address| ok(&metadata(&format!("http://{address}"))));
    let mut bootstrap = Bootstrap::example();
    *bootstrap.plugin_configuration() = gateway(&format!("http://{address}"));
    bootstrap.plugin().as_object_mut().unwrap().remove("allow_on_headers_stop_iteration");
    let report = check(bootstrap.tree(), &[]);
    let faults = all(&report, "faults");
    assert!(faults.iter().any(|fault| fault.contains("own")), "no such cluster: {report:#}");
    let warnings = all(&report, "warnings").join("\n");
    let option = "allow_on_headers_stop_iteration: true` is missing";
    assert!(warnings.contains(option) && warnings.contains("respond with 500"), "{warnings}");

    bootstrap.plugin()["allow_on_headers_stop_iteration"] = json!(true);
    bootstrap.plugin()["vm_config"]["environment_variables"] =
        json!({"host_env_keys": ["MCP_AUTH_SECRET", "OWN_SECRET"]});
    let provider = &mut bootstrap.plugin_configuration()["providers"][0];
    provider["cluster"] = json!("identity_provider");
    let report = check(bootstrap.tree(), &[]);
    assert_eq!(report["verdict"], "good", "{report:#}");
    assert!(!all(&report, "warnings").join("\n").contains(option), "{report:#}");
}

/// The limits of `envoy/login.yaml` at these domains, for a login with these settings.
fn limits(domains: &[&str], login: &Value) -> [Vec<String>; 2] {
    let limit = json!({"envoy.filters.http.local_ratelimit": {"stat_prefix": "login"}});
    let limited = |path: &str| {
        json!({
            "match": {"prefix": path}, "direct_response": {"status": 404},
            "typed_per_filter_config": limit,
        })
    };
    let to_server = json!({"match": {"prefix": "/"}, "route": {"cluster": "mcp_server"}});
    limits_of(
        &json!([
            {"name": "login", "domains": domains, "routes": [limited("/oauth/"), to_server]},
            {"name": "mcp", "domains": ["mcp.*"], "routes": [to_server]},
        ]),
        login,
    )
}

/// The warnings and notes about the limits of a login in these virtual hosts.
fn limits_of(virtual_hosts: &Value, login: &Value) -> [Vec<String>; 2] {
    let mut bootstrap = Bootstrap::example();
    let mut configuration = gateway("https://id.example.com");
    configuration["login"] = login.clone();
    *bootstrap.plugin_configuration() = configuration;
    bootstrap.connection_manager()["route_config"] = json!({"virtual_hosts": virtual_hosts});
    let report = check(bootstrap.tree(), &["--offline"]);
    ["warnings", "notes"].map(|kind| {
        let mut found = all(&report, kind);
        found.retain(|finding| finding.starts_with("login: "));
        found
    })
}

#[test]
fn limits_that_another_spelling_of_the_host_would_pass_cause_a_warning() {
    let own_host = json!({"issuer": "https://login.example.com"});
    let of_server = json!({});
    for (domains, login, passed) in [
        (&["login.example.com"][..], &own_host, Some("login.example.com:443")),
        (&["login.example.com", "login.example.com:443"], &own_host, None),
        (&["login.example.com", "login.example.com:*"], &own_host, None),
        (&["*"], &own_host, None),
        (&["*", "mcp.example.com"], &of_server, Some("mcp.example.com:443")),
        (&["mcp.example.com", "mcp.example.com:*"], &of_server, Some("mcp.invalid")),
        (&["mcp.example.com"], &of_server, Some("mcp.example.com:443")),
        (&["login.example.com:8443"], &json!({"issuer": "https://login.example.com:8443"}), None),
    ] {
        let [warnings, notes] = limits(domains, login);
        assert_eq!(notes, [""; 0], "{domains:?}");
        let Some(host) = passed else {
            assert_eq!(warnings, [""; 0], "{domains:?}");
            continue;
        };
        assert_eq!(warnings.len(), 1, "{domains:?}: {warnings:?}");
        for part in ["routes[0] of the virtual host \"login\"", &format!("{host}/oauth/authorize")]
        {
            assert!(warnings[0].contains(part), "{part}: {warnings:?}");
        }
    }
}

#[test]
fn a_login_of_the_servers_host_has_its_limits_under_every_host() {
    let limits = json!({"rate_limits": [{"actions": [{"remote_address": {}}]}]});
    let routes = json!([
        {"match": {"prefix": "/oauth/"}, "direct_response": {"status": 404}},
        {"match": {"prefix": "/"}, "route": {"cluster": "mcp_server"}},
    ]);
    let mut host = json!({"name": "mcp", "domains": ["*"], "routes": routes});
    host.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    let found = limits_of(&json!([host]), &json!({}));
    assert_eq!(found, [vec![""; 0], vec![""; 0]]);
    host["domains"] = json!(["mcp.example.com", "mcp.example.com:*"]);
    let [warnings, _] = limits_of(&json!([host]), &json!({}));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["unlisted.invalid/oauth/authorize", "domains: [\"*\"]", "host of its own"] {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }
}

#[test]
fn endpoints_without_any_limit_are_named() {
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "mcp_server"}}]);
    let hosts = json!([{"name": "mcp", "domains": ["*"], "routes": routes}]);
    let [warnings, notes] = limits_of(
        &hosts,
        &json!({"registration": false, "clients": [
            {"client_id": "reports", "redirect_uris": ["https://reports.example.com/cb"]},
        ]}),
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!(notes.len(), 1, "{notes:?}");
    let paths = "/oauth/authorize, /oauth/token, /oauth/callback/own at mcp.example.com, ";
    assert!(notes[0].contains(paths), "{notes:?}");
}
