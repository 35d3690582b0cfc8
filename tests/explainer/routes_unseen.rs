//! `mcp-auth check`: where Envoy may route a request in a way that its file does not show, the
//! program does not report that all is well.

use serde_json::{Value, json};

use crate::routes::{Edit, NOTHING, findings, findings_behind, host, hosts, prefix, route, routes};

/// A route with this match.
fn matching(route_match: Value, cluster: &str) -> Value {
    json!({"match": route_match, "route": {"cluster": cluster}})
}

/// Sets a field of the first route of `gateway`, which belongs to the server `one`.
fn set(manager: &mut Value, field: &str, value: Value) {
    routes(manager, 1)[0]["route"][field] = value;
}

/// The filter chain, in which the plugin comes first.
fn filters(manager: &mut Value) -> &mut Vec<Value> {
    manager["http_filters"].as_array_mut().unwrap()
}

const FIRST: &str = "routes[0] of the virtual host \"gateway\" was not compared for all requests: ";

/// What the file does not show, the edits, and parts of the only warning.
const UNSEEN: [(&str, Edit, [&str; 2]); 18] = [
    (
        "a regular expression of any kind",
        |_, manager| {
            let any = json!({"safe_regex": {"regex": "/(x|one)/m.*"}});
            routes(manager, 1).insert(0, matching(any, "one"));
        },
        [FIRST, "its regular expression was compared for only a few paths"],
    ),
    (
        "a regular expression that cannot be read",
        |_, manager| {
            let any = json!({"safe_regex": {"regex": "/one\\C"}});
            routes(manager, 1).insert(0, matching(any, "one"));
        },
        [FIRST, "which paths its `match` takes is not known"],
    ),
    (
        "a URI template",
        |_, manager| {
            let template = json!({"path_match_policy": {"name": "template", "typed_config": {}}});
            routes(manager, 1).insert(0, matching(template, "two"));
        },
        [FIRST, "which paths its `match` takes is not known"],
    ),
    (
        "CONNECT",
        |_, manager| {
            routes(manager, 1).insert(0, matching(json!({"connect_matcher": {}}), "two"));
        },
        [FIRST, "it matches CONNECT requests, whatever their path"],
    ),
    (
        "a cluster that a header field names",
        |_, manager| routes(manager, 1)[0]["route"] = json!({"cluster_header": "x-cluster"}),
        [FIRST, "the request or an extension selects its cluster"],
    ),
    (
        "one of several clusters that a header field names",
        |_, manager| {
            routes(manager, 1)[0]["route"] = json!({"weighted_clusters": {"clusters": [
                {"name": "one", "weight": 1}, {"cluster_header": "x-cluster", "weight": 1},
            ]}});
        },
        [FIRST, "the request or an extension selects its cluster"],
    ),
    (
        "a regular expression that matches more of another server's paths than were tried",
        |_, manager| {
            let some = json!({"safe_regex": {"regex": "/(one|two)/mcp/admin(/.*)?"}});
            routes(manager, 1).insert(0, matching(some, "two"));
        },
        [FIRST, "its regular expression was compared for only a few paths"],
    ),
    (
        "a cluster that an inline extension names",
        |_, manager| {
            routes(manager, 1)[0]["route"] = json!({"inline_cluster_specifier_plugin": {}});
        },
        [FIRST, "the request or an extension selects its cluster"],
    ),
    (
        "a cluster that an extension names",
        |_, manager| routes(manager, 1)[0]["route"] = json!({"cluster_specifier_plugin": "lua"}),
        [FIRST, "the request or an extension selects its cluster"],
    ),
    (
        "a mirror that a header field names",
        |_, manager| set(manager, "request_mirror_policies", json!([{"cluster_header": "x-copy"}])),
        [FIRST, "the request or an extension selects its cluster"],
    ),
    (
        "a tree of matchers",
        |_, manager| hosts(manager)[1]["matcher"] = json!({"matcher_tree": {}}),
        ["the virtual host \"gateway\" was not compared", "its `matcher` selects routes"],
    ),
    (
        "another configuration of the plugin for a route",
        |_, manager| {
            let overridden = json!({"envoy.filters.http.wasm": {"@type": "x/y.PerRoute"}});
            routes(manager, 1)[0]["typed_per_filter_config"] = overridden;
        },
        [FIRST, "the plugin has another configuration there"],
    ),
    (
        "a filter that may change the path",
        |_, manager| {
            let lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
            filters(manager).insert(1, json!({"name": "a.lua", "typed_config": {"@type": lua}}));
        },
        ["other filters may change host, path or route, which was not compared", ": a.lua; see"],
    ),
    (
        "paths that a regular expression rewrites",
        |_, manager| {
            for index in [0, 1] {
                set(manager, "cluster", json!("both"));
                routes(manager, 1)[index]["route"]["cluster"] = json!("both");
            }
            set(
                manager,
                "regex_rewrite",
                json!({"pattern": {"regex": "one"}, "substitution": "two"}),
            );
        },
        [
            "resources[1] (one) and resources[2] (two) are both in the cluster \"both\"",
            "were not compared: routes[0] of the virtual host \"gateway\" rewrites them",
        ],
    ),
    (
        "a path of one server that is another's in the same cluster",
        |configuration, manager| {
            configuration["resources"][0]["url"] = json!("https://alone.example/");
            *routes(manager, 0) = vec![prefix("/", "two")];
        },
        [
            "a request for alone.example/two/mcp belongs to resources[0] (alone)",
            "reaches the path /two/mcp of the cluster \"two\", which is that of resources[2] (two)",
        ],
    ),
    (
        "the same by a prefix that is rewritten",
        |_, manager| {
            let to = |prefix: &str| json!({"cluster": "both", "prefix_rewrite": prefix});
            *routes(manager, 1) = vec![
                json!({"match": {"prefix": "/one/mcp/"}, "route": to("/")}),
                json!({"match": {"path_separated_prefix": "/two/mcp"}, "route": to("/two/mcp/v1")}),
            ];
            let first = route("/one/mcp", "both");
            routes(manager, 1).push(first);
        },
        [
            "a request for gateway.example/one/mcp/two/mcp/v1 belongs to resources[1] (one)",
            "reaches the path /two/mcp/v1 of the cluster \"both\"",
        ],
    ),
    (
        "a plain spelling of an encoded path",
        |configuration, manager| {
            configuration["resources"][1]["url"] = json!("https://gateway.example/%40one/mcp");
            configuration["resources"][2]["url"] = json!("https://gateway.example/");
            routes(manager, 1)[0] = route("/@one/mcp", "one");
            routes(manager, 1)[1] = prefix("/", "two");
        },
        [
            "resources[1] (one) and resources[2] (two) share routes[1] of the virtual host \"gateway\"",
            "to the cluster \"two\"",
        ],
    ),
    (
        "a route that matches requests of several servers by a header field",
        |_, manager| {
            let mut both = prefix("/", "third");
            both["match"]["query_parameters"] = json!([{"name": "v", "present_match": true}]);
            routes(manager, 0).insert(0, both);
        },
        ["which cluster gets them depends on more than host and path", "routes[0]"],
    ),
];

#[test]
fn routing_that_cannot_be_compared_causes_a_warning() {
    for (name, edit, expected) in UNSEEN {
        let [faults, warnings, _] = findings(edit);
        assert_eq!(faults, [""; 0], "{name}");
        let [warning] = warnings.as_slice() else { panic!("{name}: {warnings:#?}") };
        assert!(expected.iter().all(|part| warning.contains(part)), "{name}: {warning}");
    }
}

#[test]
fn routing_that_makes_no_difference_causes_no_warning() {
    let cases: [(&str, Edit); 11] = [
        (
            "regular expressions that are a path, a prefix, or a path and what is below it",
            |_, manager| {
                let all = ["/one/mcp(?:/.*)?", "/two/mcp(/.*)?", "/three", "/four.*"];
                *routes(manager, 1) = all
                    .into_iter()
                    .zip(["one", "two", "x", "y"])
                    .map(|(regex, cluster)| {
                        matching(json!({"safe_regex": {"regex": regex}}), cluster)
                    })
                    .collect();
            },
        ),
        ("a path that begins with that of a regular expression", |configuration, manager| {
            configuration["resources"][2]["url"] = json!("https://gateway.example/one/mcpx");
            let one = json!({"safe_regex": {"regex": "/one/mcp(?:/.*)?"}});
            *routes(manager, 1) = vec![matching(one, "one"), route("/one/mcpx", "two")];
        }),
        ("any regular expression where there is one server", |_, manager| {
            *routes(manager, 0) =
                vec![matching(json!({"safe_regex": {"regex": "/m[c]p.*"}}), "alone")];
        }),
        ("any regular expression that leads to no server", |_, manager| {
            routes(manager, 1).insert(0, matching(json!({"safe_regex": {"regex": "/[ab]+"}}), "x"));
        }),
        ("a cluster that the request selects, under hosts of no server", |_, manager| {
            let any = json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x"}});
            hosts(manager).push(host("rest", &["*"], json!([any])));
        }),
        ("a mirror that is no server", |_, manager| {
            set(manager, "request_mirror_policies", json!([{"cluster": "shadow"}]));
        }),
        ("a listener's port that no server names", |_, manager| {
            manager["strip_matching_host_port"] = json!(true);
        }),
        ("a port that is not the listener's", |configuration, manager| {
            name_port(configuration, manager, 8443);
        }),
        ("a dot at the end, which the plugin sees as Envoy does", |_, manager| {
            manager["strip_trailing_host_dot"] = json!(true);
        }),
        // The plugin refuses every path with a parameter.
        ("path parameters that Envoy ignores", |_, manager| {
            manager["route_config"]["ignore_path_parameters_in_path_matching"] = json!(true);
        }),
        ("filters that change no host and no path", |_, manager| {
            let buffer = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer";
            filters(manager).insert(1, json!({"name": "b", "typed_config": {"@type": buffer}}));
        }),
    ];
    for (name, edit) in cases {
        assert_eq!(findings(edit), NOTHING, "{name}");
    }
}

/// The port of the example's listener.
const OWN_PORT: u16 = 10_000;

/// Names a host with this port, and makes Envoy remove the listener's own port.
fn name_port(configuration: &mut Value, manager: &mut Value, port: u16) {
    configuration["resources"][0]["hosts"] = json!([format!("alone.example:{port}")]);
    hosts(manager)[0]["domains"] = json!(["alone.*"]);
    manager["strip_matching_host_port"] = json!(true);
}

#[test]
fn the_listeners_own_port_is_removed_as_in_envoy() {
    let [faults, warnings, _] = findings(|configuration, manager| {
        name_port(configuration, manager, OWN_PORT);
        configuration["resources"][0]["url"] = json!("https://alone.example:10000/mcp");
        configuration["resources"][0].as_object_mut().unwrap().remove("hosts");
        // No request that this route matches belongs to a server.
        let any = json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x"}});
        routes(manager, 0).push(any);
    });
    assert_eq!(faults, [""; 0]);
    let [warning] = warnings.as_slice() else { panic!("{warnings:#?}") };
    let expected =
        "resources[0] (alone): requests for alone.example:10000/mcp: Envoy removes the port";
    assert!(warning.starts_with(expected), "{warning}");
}

#[test]
fn a_host_with_the_listeners_own_port_is_routed_like_the_one_without() {
    // Envoy routes `gateway.example:10000` as `gateway.example`, and the plugin judges it so.
    let with_own_port = |strips: bool| {
        findings(move |_, manager| {
            manager["strip_matching_host_port"] = json!(strips);
            let all = json!([prefix("/", "alone")]);
            hosts(manager).push(host("with port", &["gateway.example:10000"], all));
        })
    };
    assert_eq!(with_own_port(true), NOTHING);
    assert_eq!(with_own_port(false), NOTHING);
    // The twin: a domain with another port, under any host, matches requests that belong to a
    // server.
    let [faults, ..] = findings(|configuration, manager| {
        manager["strip_matching_host_port"] = json!(true);
        configuration["resources"][1]["hosts"] = json!(["*"]);
        let all = json!([prefix("/", "alone")]);
        hosts(manager).push(host("with port", &["other.example:8443"], all));
    });
    let [fault] = faults.as_slice() else { panic!("{faults:#?}") };
    assert!(fault.contains("a request for other.example:8443/one/mcp"), "{fault}");
}

#[test]
fn a_port_that_the_file_does_not_show_is_reported_as_not_compared() {
    for listener in [
        json!({"use_original_dst": true}),
        json!({"listener_filters": [{"name": "envoy.filters.listener.proxy_protocol"}]}),
        json!({"address": {"pipe": {"path": "/run/envoy"}}}),
        json!({"address": {"socket_address": {"address": "::", "port_value": 0}}}),
    ] {
        let [faults, warnings, _] = findings_behind(&listener, |configuration, manager| {
            name_port(configuration, manager, OWN_PORT);
        });
        assert_eq!(faults, [""; 0], "{listener}");
        let [warning] = warnings.as_slice() else { panic!("{listener}: {warnings:#?}") };
        assert!(warning.starts_with("`strip_matching_host_port`"), "{listener}: {warning}");
        assert!(warning.contains("it was not compared"), "{listener}: {warning}");
    }
}

#[test]
fn paths_that_envoy_does_not_normalise_cause_a_warning() {
    let settings: [(&str, Edit); 3] = [
        ("`normalize_path: true`", |_, manager| manager["normalize_path"] = json!(false)),
        ("`merge_slashes: true`", |_, manager| manager["merge_slashes"] = json!(false)),
        ("`path_with_escaped_slashes_action: REJECT_REQUEST`", |_, manager| {
            manager["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
        }),
    ];
    for (setting, edit) in settings {
        let [faults, warnings, _] = findings(edit);
        assert_eq!(faults, [""; 0], "{setting}");
        let [warning] = warnings.as_slice() else { panic!("{setting}: {warnings:#?}") };
        assert!(warning.starts_with(&format!("{setting} is missing")), "{warning}");
        assert!(warning.contains("`resources` name paths"), "{warning}");
    }
}

/// How a request reaches another server, the edits, and a part of the fault.
const CROSSINGS: [(&str, Edit, &str); 8] = [
    (
        "a mirror that is another server",
        |_, manager| set(manager, "request_mirror_policies", json!([{"cluster": "two"}])),
        "belongs to resources[1] (one), but Envoy sends it to the cluster \"two\" of resources[2] (two)",
    ),
    (
        "a mirror of a whole virtual host",
        |_, manager| hosts(manager)[0]["request_mirror_policies"] = json!([{"cluster": "two"}]),
        "a request for alone.example/mcp belongs to resources[0] (alone), but Envoy sends it to the \
         cluster \"two\" of resources[2] (two)",
    ),
    (
        "a mirror of all routes",
        |_, manager| {
            manager["route_config"]["request_mirror_policies"] = json!([{"cluster": "two"}]);
        },
        "a request for alone.example/mcp belongs to resources[0] (alone), but Envoy sends it to the \
         cluster \"two\" of resources[2] (two)",
    ),
    (
        "a header field that selects another server",
        |_, manager| {
            let mut chosen = prefix("/", "two");
            chosen["match"]["headers"] = json!([{"name": "x-two", "present_match": true}]);
            routes(manager, 1).insert(0, chosen);
        },
        "a request for gateway.example/one/mcp belongs to resources[1] (one), but Envoy sends it to \
         the cluster \"two\" of resources[2] (two), by routes[0]",
    ),
    (
        "a condition that is not known here",
        |_, manager| {
            let mut chosen = prefix("/", "two");
            chosen["match"]["some_new_condition"] = json!({});
            routes(manager, 1).insert(0, chosen);
        },
        "belongs to resources[1] (one), but Envoy sends it to the cluster \"two\"",
    ),
    (
        "a cluster that only an additional host of its server leads to",
        |configuration, manager| {
            configuration["resources"][0]["hosts"] = json!(["alone.internal"]);
            hosts(manager)[0]["domains"] = json!(["alone.internal"]);
            routes(manager, 1).insert(0, route("/one/mcp/admin", "alone"));
        },
        "a request for gateway.example/one/mcp/admin belongs to resources[1] (one), but Envoy sends it \
         to the cluster \"alone\" of resources[0] (alone)",
    ),
    (
        "one of several clusters that is another server's only one",
        |_, manager| {
            routes(manager, 1)[0]["route"] = json!({"weighted_clusters": {"clusters": [
                {"name": "one", "weight": 1}, {"name": "two", "weight": 1},
            ]}});
        },
        "a request for gateway.example/one/mcp belongs to resources[1] (one), but Envoy sends it to the \
         cluster \"two\" of resources[2] (two)",
    ),
    (
        "a wildcard domain that is more specific than a server for any host",
        |configuration, manager| {
            configuration["resources"][0]["hosts"] = json!(["*"]);
            hosts(manager)[0]["domains"] = json!(["*", "alone.example"]);
            let inner = host("inner", &["*.corp.example"], json!([route("/mcp", "two")]));
            hosts(manager).push(inner);
        },
        "a request for unlisted.corp.example/mcp belongs to resources[0] (alone), but Envoy sends it to \
         the cluster \"two\" of resources[2] (two)",
    ),
];

#[test]
fn a_request_that_reaches_another_server_in_an_unusual_way_is_a_fault() {
    for (name, edit, expected) in CROSSINGS {
        let [faults, ..] = findings(edit);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{name}: {faults:#?}");
    }
}

/// How the plugin is turned off, the edits, and a part of the only warning.
const OFF: [(&str, Edit, &str); 6] = [
    (
        "a route",
        |_, manager| routes(manager, 1)[0]["typed_per_filter_config"] = off(),
        "route_config.virtual_hosts[1].routes[0] turns the plugin off",
    ),
    (
        "a virtual host",
        |_, manager| hosts(manager)[0]["typed_per_filter_config"] = off(),
        "route_config.virtual_hosts[0] turns the plugin off",
    ),
    (
        "one of several clusters",
        |_, manager| {
            routes(manager, 0)[0]["route"] = json!({"weighted_clusters": {"clusters": [
                {"name": "alone", "weight": 1, "typed_per_filter_config": off()},
            ]}});
        },
        "routes[0].route.weighted_clusters.clusters[0] turns the plugin off",
    ),
    (
        "all routes",
        |_, manager| manager["route_config"]["typed_per_filter_config"] = off(),
        "route_config turns the plugin off",
    ),
    (
        "the filter itself",
        |_, manager| filters(manager)[0]["disabled"] = json!(true),
        "`disabled: true` turns the plugin off: requests pass without authentication",
    ),
    (
        "upgrades with filters of their own",
        |_, manager| {
            let router = filters(manager).last().unwrap().clone();
            manager["upgrade_configs"] =
                json!([{"upgrade_type": "websocket", "filters": [router]}]);
        },
        "`upgrade_configs` has filters of its own for \"websocket\", without the plugin",
    ),
];

fn off() -> Value {
    let kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
    json!({"envoy.filters.http.wasm": {"@type": kind, "disabled": true}})
}

#[test]
fn where_the_plugin_does_not_run_there_is_a_warning() {
    for (name, edit, expected) in OFF {
        let [faults, warnings, _] = findings(edit);
        assert_eq!(faults, [""; 0], "{name}");
        let [warning] = warnings.as_slice() else { panic!("{name}: {warnings:#?}") };
        assert!(warning.contains(expected), "{name}: {warning}");
    }
    // The twins.
    let found = findings(|_, manager| {
        let mut other = off();
        let settings = other["envoy.filters.http.wasm"].take();
        routes(manager, 1)[0]["typed_per_filter_config"] =
            json!({"envoy.filters.http.cors": settings});
        manager["upgrade_configs"] = json!([
            {"upgrade_type": "websocket", "filters": filters(manager).clone()},
            {"upgrade_type": "other"},
        ]);
    });
    assert_eq!(found, NOTHING);
}
