//! `mcp-auth check`: routes to clusters that Envoy does not have.

use serde_json::{Value, json};
use testbed::Bootstrap;

use crate::support::{file, mcp_auth};

/// Adds each cluster that a route names.
pub fn add_clusters_of_routes(bootstrap: &mut Bootstrap) {
    let mut names = Vec::new();
    collect(&bootstrap.connection_manager()["route_config"], &mut names);
    let clusters = &mut bootstrap.tree()["static_resources"]["clusters"];
    let clusters = clusters.as_array_mut().unwrap();
    clusters.extend(names.into_iter().map(|name| json!({"name": name})));
}

fn collect(value: &Value, names: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            names.extend(members.get("cluster").cloned());
            let weighted = members.get("clusters").and_then(Value::as_array);
            names.extend(weighted.into_iter().flatten().map(|cluster| cluster["name"].clone()));
            members.values().for_each(|member| collect(member, names));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, names)),
        _ => {}
    }
}

fn faults(edit: impl FnOnce(&mut Bootstrap)) -> Value {
    let mut bootstrap = Bootstrap::example();
    edit(&mut bootstrap);
    let path = file(".json", &bootstrap.tree().to_string());
    let run = mcp_auth(&["check", &path, "--offline", "--json"], "");
    let faults = run.json()["plugins"][0]["faults"].clone();
    assert_eq!(run.code, Some(i32::from(faults != json!([]))), "{run:?}");
    faults
}

/// Replaces the routes of Envoy's file by these.
fn route_to(bootstrap: &mut Bootstrap, action: &Value) {
    let routes = json!([{"match": {"prefix": "/"}, "route": action}]);
    let host = json!({"name": "mcp", "domains": ["*"], "routes": routes});
    bootstrap.connection_manager()["route_config"] = json!({"virtual_hosts": [host]});
}

#[test]
fn a_route_to_a_cluster_that_envoy_lacks_is_a_fault() {
    let known = "present";
    let weighted = json!([{"name": known, "weight": 1}, {"name": "wikki", "weight": 1}]);
    for action in [
        json!({"cluster": "wikki"}),
        json!({"weighted_clusters": {"clusters": weighted}}),
        json!({"cluster": known, "request_mirror_policies": [{"cluster": "wikki"}]}),
    ] {
        let found = faults(|bootstrap| {
            route_to(bootstrap, &json!({"cluster": known}));
            add_clusters_of_routes(bootstrap);
            route_to(bootstrap, &action);
        });
        let expected = "routes[0] of the virtual host \"mcp\": there is no cluster \"wikki\" under \
                        static_resources.clusters";
        assert_eq!(found, json!([expected]), "{action}");
    }
}

#[test]
fn clusters_that_envoy_may_get_elsewhere_are_not_missing() {
    let edits: [fn(&mut Bootstrap); 4] = [
        |bootstrap| {
            bootstrap.tree()["dynamic_resources"] = json!({"cds_config": {"ads": {}}});
        },
        |bootstrap| {
            bootstrap.tree()["dynamicResources"] = json!({"cdsConfig": {"ads": {}}});
        },
        |bootstrap| {
            let routes = &mut bootstrap.connection_manager()["route_config"];
            routes["validate_clusters"] = json!(false);
        },
        |bootstrap| route_to(bootstrap, &json!({"cluster_header": "x-cluster"})),
    ];
    for edit in edits {
        let found = faults(|bootstrap| {
            route_to(bootstrap, &json!({"cluster": "wikki"}));
            edit(bootstrap);
        });
        assert_eq!(found, json!([]));
    }
}
