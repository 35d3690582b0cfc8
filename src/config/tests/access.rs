//! Access rules.

use super::*;

#[test]
fn access_rules_are_read_with_all_their_fields() {
    let access = json!({
        "default": "deny",
        "rules": [
            {
                "name": "write",
                "match": {
                    "paths": ["/mcp/"], "path_prefixes": ["/"], "methods": ["POST"],
                    "mcp_methods": ["tools/call", "resources/*"], "mcp_names": ["update_*", "*"],
                },
                "require": {
                    "scopes": ["a"], "any_scope": ["b", "c"], "roles": ["r"], "groups": [],
                    "providers": ["example"], "client_types": ["user", "service"],
                    "claims": {"amr": ["mfa", "hwk"], "level": 2},
                },
            },
            {},
        ],
        "scope_hierarchy": {"a": ["b"]},
        "mcp": {
            "inspect": "headers", "max_body": "16MiB", "upstream_validates_headers": true,
            "protocol_versions": ["2026-07-28", "2027-01-01"],
        },
    });
    let document = edited(|document| {
        document["access"] = access;
        document["exempt"] = json!([{"path": "/healthz"}]);
        document["mode"] = json!("report");
        document["errors"] = json!({"format": "json_rpc"});
        document["providers"][0]["auth_scopes"] = json!(["a"]);
        document["providers"][0]["restrict_to_policies"] = json!(true);
    });
    assert_eq!(faults(&document), [""; 0]);
}

// Requirement: header-values-sole-basis
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faults_of_access_rules_are_named_with_their_paths() {
    let document = edited(|document| {
        document["access"] = json!({
            "default": "maybe",
            "rules": [
                {
                    "match": {
                        "paths": ["mcp", "/a/../b", "/a?x", "/a*"], "path_prefixes": ["/a//b"],
                        "methods": ["post", ""], "mcp_methods": ["*/call"], "mcp_names": [""], "path": "/mcp",
                    },
                    "require": {
                        "scopes": ["two words"], "any_scope": [""], "roles": "itil",
                        "providers": ["entra"], "client_types": ["auto"], "claims": {"a": {}},
                        "role": ["itil"],
                    },
                },
                5,
            ],
            "scope_hierarchy": {"a b": ["c"], "d": ["\""]},
            "mcp": {
                "inspect": "headers", "max_body": "0B", "names": [],
                "protocol_versions": ["2026-07-28", "2025-11-25", "2026-7-28x", "DRAFT-2027"],
            },
            "rule": [],
        });
        document["exempt"] = json!([{"path": "/a%2fb"}, {}, {"path": "/a", "method": "GET"}, "/b"]);
        document["mode"] = json!("off");
        document["errors"] = json!({"format": "xml"});
        document["providers"][0]["auth_scopes"] = json!(["a b"]);
        document["providers"][0]["restrict_to_policies"] = json!("yes");
    });
    let path = "must be a path such as /mcp: no query, no wildcard, no dot segments, no `//`, `;` \
                or `\\`";
    let scope = "must be a scope: visible ASCII without space, \" and \\";
    let method = "must be an HTTP method in upper case, such as POST";
    let pattern = "must be a string with `*` at most once, at its end, such as update_*";
    let version = "must be an MCP revision from 2026-07-28 on: older ones have no headers";
    assert_eq!(
        faults(&document),
        [
            format!("providers[0].auth_scopes[0]: {scope}"),
            "providers[0].restrict_to_policies: invalid type: string \"yes\", expected a boolean"
                .to_owned(),
            "errors.format: unknown variant `xml`, expected one of `json_rpc`, `oauth`, `servicenow`"
                .to_owned(),
            "access.rule: unknown field".to_owned(),
            "access.mcp.names: unknown field".to_owned(),
            "access.mcp.max_body: must be between 1B and 16MiB".to_owned(),
            format!("access.mcp.protocol_versions[1]: {version}"),
            format!("access.mcp.protocol_versions[2]: {version}"),
            format!("access.mcp.protocol_versions[3]: {version}"),
            "access.mcp.upstream_validates_headers: must be true with inspect: headers, or the \
             headers may differ from the body"
                .to_owned(),
            "access.rules[0].match.path: unknown field".to_owned(),
            format!("access.rules[0].match.paths[0]: {path}"),
            format!("access.rules[0].match.paths[1]: {path}"),
            format!("access.rules[0].match.paths[2]: {path}"),
            format!("access.rules[0].match.paths[3]: {path}"),
            format!("access.rules[0].match.path_prefixes[0]: {path}"),
            format!("access.rules[0].match.methods[0]: {method}"),
            format!("access.rules[0].match.methods[1]: {method}"),
            format!("access.rules[0].match.mcp_methods[0]: {pattern}"),
            format!("access.rules[0].match.mcp_names[0]: {pattern}"),
            "access.rules[0].require.role: unknown field".to_owned(),
            format!("access.rules[0].require.scopes[0]: {scope}"),
            format!("access.rules[0].require.any_scope[0]: {scope}"),
            "access.rules[0].require.roles: invalid type: string \"itil\", expected a list"
                .to_owned(),
            "access.rules[0].require.providers[0]: there is no active provider \"entra\"".to_owned(),
            "access.rules[0].require.client_types[0]: must be user or service".to_owned(),
            "access.rules[0].require.claims.a: must be a string, number or boolean, or a list of them"
                .to_owned(),
            "access.rules[1]: invalid type: integer `5`, expected an object".to_owned(),
            "access.default: unknown variant `maybe`, expected `allow` or `deny`".to_owned(),
            format!("access.scope_hierarchy.a b: {scope}"),
            format!("access.scope_hierarchy.d[0]: {scope}"),
            format!("exempt[0].path: {path}"),
            "exempt[1].path: is required".to_owned(),
            "exempt[2].method: unknown field".to_owned(),
            "exempt[3]: invalid type: string \"/b\", expected an object".to_owned(),
            "mode: unknown variant `off`, expected `enforce` or `report`".to_owned(),
        ]
    );
}

#[test]
fn a_rule_names_resources_by_uris_that_requests_may_have() {
    let with_names = |names: Value| {
        let rule = json!({"match": {"mcp_names": names}, "require": {"roles": ["admin"]}});
        faults(&edited(|document| document["access"] = json!({"rules": [rule]})))
    };
    let normal = ["note://open/a", "file:///etc/passwd", "https://example.com/", "NOTE://*", "add"];
    assert_eq!(with_names(json!(normal)), [""; 0]);
    let other = [
        "Note://a",
        "file:/a",
        "file://localhost/a",
        "https://example.com",
        "note://a//b",
        " note://a",
    ];
    let expected = "must be a URI in its normal form (https://example.com/ and not \
                    HTTPS://example.com:443): requests with another form are refused";
    let expected: Vec<String> = (0..other.len())
        .map(|index| format!("access.rules[0].match.mcp_names[{index}]: {expected}"))
        .collect();
    assert_eq!(with_names(json!(other)), expected);
}
