//! `mcp-auth check` compares several servers with the routes in Envoy's file, and names each
//! difference.

use serde_json::{Value, json};
use testbed::Bootstrap;

use crate::missing_clusters::add_clusters_of_routes;
use crate::support::{file, mcp_auth, with};

const SERVERS: [(&str, &str); 3] = [
    ("alone", "https://alone.example/mcp"),
    ("one", "https://gateway.example/one/mcp"),
    ("two", "https://gateway.example/two/mcp"),
];

pub fn route(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"path_separated_prefix": prefix}, "route": {"cluster": cluster}})
}

pub fn prefix(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})
}

pub fn host(name: &str, domains: &[&str], routes: Value) -> Value {
    json!({"name": name, "domains": domains, "routes": routes})
}

/// Three servers, with routes that match them.
fn agreeing() -> Bootstrap {
    let mut bootstrap = Bootstrap::example();
    let configuration = bootstrap.plugin_configuration();
    configuration.as_object_mut().unwrap().remove("resource");
    let servers = SERVERS.map(|(id, url)| json!({"id": id, "url": url, "audiences": [id]}));
    configuration["resources"] = json!(servers);
    configuration["providers"][0].as_object_mut().unwrap().remove("client_ids");
    bootstrap.connection_manager()["route_config"] = json!({"virtual_hosts": [
        host("alone", &["alone.example", "alone.example:443"], json!([route("/mcp", "alone")])),
        host(
            "gateway",
            &["gateway.example", "gateway.example:443"],
            json!([route("/one/mcp", "one"), route("/two/mcp", "two")]),
        ),
    ]});
    bootstrap
}

/// The faults, warnings and notes after these edits of the plugin's configuration and of the HTTP
/// connection manager.
pub fn findings(edit: impl FnOnce(&mut Value, &mut Value)) -> [Vec<String>; 3] {
    let mut bootstrap = agreeing();
    edit_both(&mut bootstrap, edit);
    findings_of(&mut bootstrap)
}

fn edit_both(bootstrap: &mut Bootstrap, edit: impl FnOnce(&mut Value, &mut Value)) {
    let mut configuration = bootstrap.plugin_configuration().clone();
    edit(&mut configuration, bootstrap.connection_manager());
    *bootstrap.plugin_configuration() = configuration;
}

/// The same with these members added to the listener.
pub fn findings_behind(
    listener: &Value,
    edit: impl FnOnce(&mut Value, &mut Value),
) -> [Vec<String>; 3] {
    let mut bootstrap = agreeing();
    edit_both(&mut bootstrap, edit);
    let changed = &mut bootstrap.tree()["static_resources"]["listeners"][0];
    changed.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
    findings_of(&mut bootstrap)
}

fn findings_of(bootstrap: &mut Bootstrap) -> [Vec<String>; 3] {
    add_clusters_of_routes(bootstrap);
    let run = mcp_auth(&["check", &file(".json", &bootstrap.tree().to_string()), "--json"], "");
    let report = run.json();
    let all = |kind: &str| -> Vec<String> {
        let texts = report["plugins"][0][kind].as_array().unwrap().iter();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let found = ["faults", "warnings", "notes"].map(all);
    assert_eq!(run.code, Some(i32::from(!found[0].is_empty())), "{run:?}");
    found
}

pub fn hosts(manager: &mut Value) -> &mut Vec<Value> {
    manager["route_config"]["virtual_hosts"].as_array_mut().unwrap()
}

/// The routes of one of the virtual hosts.
pub fn routes(manager: &mut Value, index: usize) -> &mut Vec<Value> {
    hosts(manager)[index]["routes"].as_array_mut().unwrap()
}

pub const NOTHING: [Vec<String>; 3] = [const { Vec::new() }; 3];

pub type Edit = fn(&mut Value, &mut Value);

#[test]
fn routes_that_agree_with_the_servers_are_good() {
    let cases: [(&str, Edit); 10] = [
        ("as they are", |_, _| {}),
        ("a wildcard domain", |_, manager| {
            hosts(manager)[0]["domains"] = json!(["*.example"]);
        }),
        ("a domain with the same beginning, for any port", |_, manager| {
            hosts(manager)[1]["domains"] = json!(["gateway.*"]);
        }),
        ("another server for all other hosts", |_, manager| {
            hosts(manager).push(host("rest", &["*"], json!([prefix("/", "rest")])));
        }),
        ("a path below a server that another cluster serves", |_, manager| {
            routes(manager, 1).insert(0, route("/one/mcp/files", "files"));
        }),
        ("a regular expression", |_, manager| {
            routes(manager, 1)[1]["match"] = json!({"safe_regex": {"regex": "/two/mcp(/.*)?"}});
        }),
        ("a prefix that matches more paths, of no server", |_, manager| {
            routes(manager, 1)[0]["match"] = json!({"prefix": "/one"});
        }),
        ("weighted clusters of one server", |_, manager| {
            routes(manager, 0)[0]["route"] = json!({"weighted_clusters": {"clusters": [
                {"name": "alone", "weight": 90}, {"name": "alone-next", "weight": 10},
            ]}});
        }),
        ("header fields that only change the timeout", |_, manager| {
            let mut slow = route("/mcp", "alone");
            slow["match"]["headers"] = json!([{"name": "x-slow", "present_match": true}]);
            routes(manager, 0).insert(0, slow);
        }),
        ("a server for any host", |configuration, manager| {
            configuration["resources"][0]["hosts"] = json!(["*"]);
            hosts(manager)[0]["domains"] = json!(["*"]);
        }),
    ];
    for (name, edit) in cases {
        assert_eq!(findings(edit), NOTHING, "{name}");
    }
}

/// The difference, the edits, and a part of the fault.
const CROSSINGS: [(&str, Edit, &str); 7] = [
    (
        "a default port that only `*` takes, where a server of any host is",
        |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/mcp");
            configuration["resources"][2]["hosts"] = json!(["*"]);
            routes(manager, 1)[1] = route("/mcp", "two");
            hosts(manager)[0]["domains"] = json!(["alone.example"]);
            hosts(manager).push(host("rest", &["*"], json!([route("/mcp", "two")])));
        },
        "a request for alone.example:443/mcp belongs to resources[0] (alone), but Envoy sends it to the \
         cluster \"two\" of resources[2] (two), by routes[0] of the virtual host \"rest\"",
    ),
    (
        "ports that Envoy ignores",
        |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/mcp");
            configuration["resources"][2]["hosts"] = json!(["*"]);
            routes(manager, 1)[1] = route("/mcp", "two");
            manager["route_config"]["ignore_port_in_host_matching"] = json!(true);
        },
        "a request for alone.example:65535/mcp belongs to resources[2] (two), but Envoy sends it to the \
         cluster \"alone\" of resources[0] (alone), by routes[0] of the virtual host \"alone\"",
    ),
    (
        "another port that is another server",
        |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/mcp");
            configuration["resources"][2]["hosts"] = json!(["alone.example:8443"]);
            routes(manager, 1)[1] = route("/mcp", "two");
            hosts(manager)[0]["domains"] = json!(["alone.*"]);
        },
        "a request for alone.example:8443/mcp belongs to resources[2] (two), but Envoy sends it to the \
         cluster \"alone\" of resources[0] (alone)",
    ),
    (
        "case that Envoy ignores, below a server that has the whole host",
        |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/");
            routes(manager, 1)[0]["match"]["case_sensitive"] = json!(false);
            routes(manager, 1)[1] = prefix("/", "two");
        },
        "a request for gateway.example/ONE/MCP belongs to resources[2] (two), but Envoy sends it to the \
         cluster \"one\" of resources[1] (one)",
    ),
    (
        "a prefix that matches more paths, below a server that has the whole host",
        |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/");
            routes(manager, 1)[0]["match"] = json!({"prefix": "/one/mcp"});
            routes(manager, 1)[1] = prefix("/", "two");
        },
        "a request for gateway.example/one/mcpx belongs to resources[2] (two)",
    ),
    (
        "an exact path, without the paths below it",
        |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/");
            routes(manager, 1)[0]["match"] = json!({"path": "/one/mcp"});
            routes(manager, 1)[1] = prefix("/", "two");
        },
        "a request for gateway.example/one/mcp/ belongs to resources[1] (one), but Envoy sends it to \
         the cluster \"two\" of resources[2] (two)",
    ),
    (
        "a regular expression that matches a path of another server",
        |_, manager| {
            let all = json!({"safe_regex": {"regex": "/(one|two)/mcp/.+"}});
            routes(manager, 1).insert(0, json!({"match": all, "route": {"cluster": "one"}}));
        },
        "a request for gateway.example/two/mcp/x belongs to resources[2] (two), but Envoy sends it to \
         the cluster \"one\" of resources[1] (one), by routes[0] of the virtual host \"gateway\"",
    ),
];

#[test]
fn a_request_that_reaches_a_server_by_the_rules_of_another_is_a_fault() {
    for (name, edit, expected) in CROSSINGS {
        let [faults, ..] = findings(edit);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{name}: {faults:#?}");
    }
}

/// The difference, the edits, and a part of the only warning.
const WARNINGS: [(&str, Edit, &str); 16] = [
    (
        "no virtual host",
        |_, manager| drop(hosts(manager).remove(0)),
        "resources[0] (alone): requests for alone.example/mcp: no virtual host of Envoy has this host \
         among its `domains`",
    ),
    (
        "a virtual host for the default port only",
        |_, manager| hosts(manager)[0]["domains"] = json!(["alone.example:443"]),
        "resources[0] (alone): requests for alone.example/mcp: no virtual host",
    ),
    (
        "one of `hosts` without a virtual host",
        |configuration, _| configuration["resources"][0]["hosts"] = json!(["alone.internal:8443"]),
        "resources[0] (alone): requests for alone.internal:8443/mcp: no virtual host",
    ),
    (
        "no route",
        |_, manager| drop(routes(manager, 1).remove(0)),
        "resources[1] (one): requests for gateway.example/one/mcp: the virtual host \"gateway\" has no \
         route for this path",
    ),
    (
        "a route in another case",
        |_, manager| routes(manager, 1)[0] = route("/One/mcp", "one"),
        "the virtual host \"gateway\" has no route for this path",
    ),
    (
        "a route that responds",
        |_, manager| {
            routes(manager, 0)[0] =
                json!({"match": {"prefix": "/"}, "redirect": {"https_redirect": true}});
        },
        "routes[0] of the virtual host \"alone\" responds to them itself",
    ),
    (
        "header fields that select the cluster",
        |_, manager| {
            let mut canary = route("/mcp", "canary");
            canary["match"]["headers"] = json!([{"name": "x-canary", "present_match": true}]);
            routes(manager, 0).insert(0, canary);
        },
        "depends on more than host and path, because routes[0] of the virtual host \"alone\" matches \
         other parts of a request",
    ),
    (
        "one route for two servers",
        |_, manager| {
            routes(manager, 1).clear();
            routes(manager, 1).push(prefix("/", "both"));
        },
        "resources[1] (one) and resources[2] (two) share routes[0] of the virtual host \"gateway\", to \
         the cluster \"both\"",
    ),
    (
        "two routes to one path of one cluster, under two hosts",
        |_, manager| {
            for (index, host) in ["one.internal", "two.internal"].into_iter().enumerate() {
                routes(manager, 1)[index]["route"] = json!({
                    "cluster": "both", "prefix_rewrite": "/mcp", "host_rewrite_literal": host,
                });
            }
        },
        "requests for resources[1] (one) and resources[2] (two) reach the same path of the cluster \
         \"both\"",
    ),
    (
        "a default port that only `*` takes",
        |_, manager| {
            hosts(manager)[0]["domains"] = json!(["alone.example"]);
            hosts(manager).push(host("rest", &["*"], json!([prefix("/", "rest")])));
        },
        "resources[0] (alone): requests for alone.example:443 go to the virtual host \"rest\" (cluster \
         \"rest\"), those for alone.example do not: add \"alone.example:443\" to the `domains`",
    ),
    (
        "ports that Envoy ignores",
        |_, manager| manager["route_config"]["ignore_port_in_host_matching"] = json!(true),
        "`ignore_port_in_host_matching` in the routes",
    ),
    (
        "a header field that selects the virtual host",
        |_, manager| manager["route_config"]["vhost_header"] = json!("x-host"),
        "`vhost_header` in the routes",
    ),
    (
        "case that Envoy ignores",
        |_, manager| routes(manager, 1)[1]["match"]["case_sensitive"] = json!(false),
        "`case_sensitive: false` in routes[1] of the virtual host \"gateway\"",
    ),
    (
        "a port that Envoy removes",
        |configuration, manager| {
            configuration["resources"][0]["url"] = json!("https://alone.example:8443/mcp");
            manager["strip_any_host_port"] = json!(true);
        },
        "resources[0] (alone): requests for alone.example:8443/mcp: Envoy removes the port",
    ),
    (
        "an exempt path that is open under any host",
        |configuration, manager| {
            configuration["exempt"] = json!([{"path": "/healthz"}, {"path": "/one/mcp/open"}]);
            let all = json!([route("/one/mcp", "one"), route("/healthz", "one")]);
            hosts(manager).push(host("rest", &["*"], all));
        },
        "exempt[1].path: /one/mcp/open lies below resources[1] (one), and Envoy sends it there under \
         hosts of no server too, such as ",
    ),
    (
        "an exempt path that its server does not exempt",
        |configuration, _| {
            configuration["exempt"] = json!([{"path": "/one/mcp/open"}]);
            configuration["resources"][1]["exempt"] = json!([]);
        },
        "exempt[0].path: /one/mcp/open lies below resources[1] (one), whose own `exempt` does not list \
         it",
    ),
];

#[test]
fn every_other_difference_causes_a_warning() {
    for (name, edit, expected) in WARNINGS {
        let [faults, warnings, _] = findings(edit);
        assert_eq!(faults, [""; 0], "{name}");
        let [warning] = warnings.as_slice() else { panic!("{name}: {warnings:#?}") };
        assert!(warning.contains(expected), "{name}: {warning}");
    }
}

/// Routes the requests for `one` and `two` to the same path of one cluster, and adds these members
/// to the routes' actions.
fn same_path(manager: &mut Value, members: [Value; 2]) {
    for (route, members) in routes(manager, 1).iter_mut().zip(members) {
        let action = json!({"cluster": "both", "prefix_rewrite": "/mcp"});
        route["route"] = with(&action, members);
    }
}

#[test]
fn two_servers_that_their_cluster_cannot_distinguish_are_a_fault() {
    let by_two = "routes[0] of the virtual host \"gateway\" and routes[1] of the virtual host \
                  \"gateway\"";
    let cases: [(&str, Edit, &str); 4] = [
        ("the same host", |_, manager| same_path(manager, [json!({}), json!({})]), by_two),
        (
            "the host of the endpoint",
            |_, manager| {
                let members = json!({"auto_host_rewrite": true});
                same_path(manager, [members.clone(), members]);
            },
            by_two,
        ),
        (
            "another host, rewritten to that of the first",
            |configuration, manager| {
                configuration["resources"][2]["url"] = json!("https://two.example/mcp");
                same_path(manager, [json!({}), json!({})]);
                routes(manager, 1).pop();
                let action = json!({"cluster": "both", "host_rewrite_literal": "Gateway.example"});
                let only = json!([{"match": {"prefix": "/"}, "route": action}]);
                hosts(manager).push(host("two", &["two.example", "two.example:443"], only));
            },
            "routes[0] of the virtual host \"gateway\" and routes[0] of the virtual host \"two\"",
        ),
        (
            "one route of two hosts, which rewrites them",
            |configuration, manager| {
                configuration["resources"][1]["url"] = json!("https://one.example/mcp");
                configuration["resources"][2]["url"] = json!("https://two.example/mcp");
                let action = json!({"cluster": "both", "host_rewrite_literal": "internal"});
                *routes(manager, 1) = vec![json!({"match": {"prefix": "/"}, "route": action})];
                let domains = ["one.example", "one.example:443", "two.example", "two.example:443"];
                hosts(manager)[1]["domains"] = json!(domains);
            },
            "routes[0] of the virtual host \"gateway\"",
        ),
    ];
    for (name, edit, by) in cases {
        let [faults, warnings, notes] = findings(edit);
        let expected = format!(
            "requests for resources[1] (one) and resources[2] (two) reach the same host and path of \
             the cluster \"both\", by {by}: it cannot tell them apart, so a request allowed at one of \
             them reaches the other too"
        );
        assert_eq!((faults, warnings, notes), (vec![expected], vec![], vec![]), "{name}");
    }
}

#[test]
fn anything_by_which_a_cluster_may_distinguish_servers_is_not_a_fault() {
    let marked = json!({"metadata_match": {"filter_metadata": {"envoy.lb": {"server": "two"}}}});
    let cases = [
        ("a subset of the cluster", marked),
        ("a host from a header field", json!({"host_rewrite_header": "x-host"})),
        (
            "hosts of weighted clusters",
            json!({"cluster": null, "weighted_clusters": {"clusters": [
                {"name": "both", "weight": 1, "host_rewrite_literal": "two.internal"},
            ]}}),
        ),
    ];
    for (name, members) in cases {
        let [faults, warnings, _] = findings(|_, manager| same_path(manager, [json!({}), members]));
        assert_eq!(faults, [""; 0], "{name}");
        assert!(
            warnings[0].contains("unless the cluster selects its server"),
            "{name}: {warnings:?}"
        );
    }
    // A header field that a route adds.
    let [faults, ..] = findings(|_, manager| {
        same_path(manager, [json!({}), json!({})]);
        routes(manager, 1)[1]["request_headers_to_add"] =
            json!([{"header": {"key": "x-server", "value": "two"}}]);
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn two_paths_of_one_cluster_are_noted() {
    let [faults, warnings, notes] = findings(|_, manager| {
        routes(manager, 1)[1]["route"]["cluster"] = json!("one");
    });
    assert_eq!((faults, warnings), (vec![], vec![]));
    let expected = "resources[1] (one) and resources[2] (two) are both in the cluster \"one\": its \
                    servers must not take a path of one for a path of the other";
    assert_eq!(notes, [expected]);
}

#[test]
fn routes_that_the_file_does_not_show_are_noted() {
    let unseen: [Edit; 2] = [
        |_, manager| {
            manager.as_object_mut().unwrap().remove("route_config");
            manager["rds"] = json!({"route_config_name": "mcp", "config_source": {"ads": {}}});
        },
        |_, manager| manager["route_config"]["vhds"] = json!({"config_source": {"ads": {}}}),
    ];
    for edit in unseen {
        let [faults, warnings, notes] = findings(edit);
        assert_eq!((faults, warnings), (vec![], vec![]));
        assert!(
            notes[0].starts_with("`resources` was not compared with Envoy's routes"),
            "{notes:?}"
        );
    }
    // With one server there is nothing to compare.
    let mut bootstrap = Bootstrap::example();
    bootstrap.connection_manager().as_object_mut().unwrap().remove("route_config");
    let path = file(".json", &bootstrap.tree().to_string());
    let report = mcp_auth(&["check", &path, "--json"], "").json();
    assert_eq!(report["plugins"][0]["notes"], json!([]), "{report}");
}

#[test]
fn a_hundred_servers_are_compared_quickly() {
    let started = std::time::Instant::now();
    let found = findings(|configuration, manager| {
        let paths: Vec<String> = (0..100).map(|index| format!("/s{index}/mcp")).collect();
        let server = |(index, path): (usize, &String)| {
            let url = format!("https://gateway.example{path}");
            json!({"id": format!("s{index}"), "url": url, "audiences": [url]})
        };
        configuration["resources"] = paths.iter().enumerate().map(server).collect();
        hosts(manager).remove(0);
        *routes(manager, 0) = paths.iter().map(|path| route(path, path)).collect();
    });
    assert_eq!(found, NOTHING);
    // The limit is for a debug build on a busy machine.
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
