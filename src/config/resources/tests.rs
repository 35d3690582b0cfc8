//! Which `resources` are accepted, and how others are refused.

use serde_json::{Value, json};

use crate::config::Config;

/// Two servers, and two providers with different issuers.
fn valid() -> Value {
    let provider = |name: &str| {
        let issuer = format!("https://{name}.example");
        json!({"name": name, "issuer": issuer, "jwks_url": format!("{issuer}/jwks"), "cluster": name})
    };
    json!({
        "resources": [
            {"id": "a", "url": "https://gateway.example/a/mcp", "audiences": ["for-a"]},
            {"id": "b", "url": "https://gateway.example/b/mcp", "audiences": ["for-b"]},
        ],
        "providers": [provider("one"), provider("two")],
    })
}

/// The faults if these members have other values; null removes one.
fn faults(members: Value) -> Vec<String> {
    let mut document = valid();
    for (path, value) in members.as_object().unwrap() {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{path}"));
        let parent = parent.as_object_mut().unwrap_or_else(|| panic!("{path}"));
        match value {
            Value::Null => drop(parent.remove(name)),
            value => drop(parent.insert(name.to_owned(), value.clone())),
        }
    }
    match Config::from_bytes(document.to_string().as_bytes()) {
        Ok(_) => vec![],
        Err(error) => error.faults().map(ToString::to_string).collect(),
    }
}

#[test]
fn servers_that_can_be_told_apart_are_accepted() {
    for members in [
        json!({}),
        json!({"/resources/1/url": "https://other.example/a/mcp"}),
        json!({"/resources/1/url": "https://gateway.example:8443/a/mcp"}),
        json!({"/resources/1/url": "https://gateway.example/a/mcp/below"}),
        json!({"/resources/1/url": "https://gateway.example/A/mcp"}),
        json!({"/resources/0/url": "https://gateway.example", "/resources/1/hosts": ["*"]}),
        json!({"/resources/0/audiences": ["for-b"]}),
        json!({"/resources/0/audiences": {"one": ["x"], "two": ["y"]}}),
        json!({"/resources/0/audiences": null, "/resources/1/audiences": null,
               "/providers/0/client_ids": ["x"], "/providers/1/client_ids": ["y"]}),
        json!({"/resources/0/audiences": null, "/resources/0/providers": ["one"],
               "/providers/0/client_ids": ["x"]}),
        // A provider that is switched off may be named.
        json!({"/resources/0/providers": ["two", "one"], "/providers/1/active": false}),
        // Providers of one issuer whose audiences differ at each server.
        json!({"/providers/1/issuer": "https://one.example",
               "/resources/0/audiences": {"one": ["x"], "two": ["y"]},
               "/resources/1/audiences": {"one": ["y"], "two": ["x"]}}),
        json!({"/providers/1/issuer": "https://one.example",
               "/resources/0/providers": ["one"], "/resources/1/providers": ["two"]}),
    ] {
        assert_eq!(faults(members.clone()), [""; 0], "{members}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn others_are_refused_with_the_field() {
    let host = "must have a host such as gateway.example.com or gateway.example.com:8443: no user, no \
                dot at its end, IP addresses in their usual form";
    for (members, expected) in [
        (
            json!({"/resource": {"url": "https://gateway.example/mcp"}}),
            "resources: must not be given together with resource".to_owned(),
        ),
        (json!({"/resources": []}), "resource: is required".to_owned()),
        (json!({"/resources/0/id": null}), "resources[0].id: is required".to_owned()),
        (json!({"/resources/0/url": null}), "resources[0].url: is required".to_owned()),
        (
            json!({"/resources/0/id": "A"}),
            "resources[0].id: must consist of a-z, 0-9, _ and -".to_owned(),
        ),
        (
            json!({"/resources/0/id": "none"}),
            "resources[0].id: must not be none, which metrics have for requests that belong to no \
             resource"
                .to_owned(),
        ),
        (json!({"/resources/1/id": "a"}), "resources[1].id: \"a\" is duplicated".to_owned()),
        (
            json!({"/resources/1/url": "https://gateway.example/a/mcp"}),
            "resources[1].url: resources[0] has the same path under the host \"gateway.example\""
                .to_owned(),
        ),
        (
            json!({"/resources/1/url": "https://GATEWAY.example:443/a/%6dcp/"}),
            "resources[1].url: resources[0] has the same path under the host \"gateway.example\""
                .to_owned(),
        ),
        (
            json!({"/resources/1/url": "https://b.example/a/mcp",
                   "/resources/1/hosts": ["gateway.example"]}),
            "resources[1].url: resources[0] has the same path under the host \"gateway.example\""
                .to_owned(),
        ),
        (
            json!({"/resources/1/url": "https://b.example/a/mcp", "/resources/0/hosts": ["*"],
                   "/resources/1/hosts": ["*"]}),
            "resources[1].url: resources[0] has the same path under the host \"*\"".to_owned(),
        ),
        (
            json!({"/resources/0/url": "https://gateway.example./a/mcp"}),
            format!("resources[0].url: {host}"),
        ),
        (
            json!({"/resources/0/hosts": ["user@gateway.example"]}),
            format!("resources[0].hosts[0]: {host}"),
        ),
        (
            json!({"/resources/0/hosts": ["*", "x.example", "*"]}),
            "resources[0].hosts[2]: \"*\" is duplicated".to_owned(),
        ),
        (
            json!({"/resources/0/providers": []}),
            "resources[0].providers: must hold at least one provider".to_owned(),
        ),
        (
            json!({"/resources/0/providers": ["three"]}),
            "resources[0].providers[0]: there is no provider \"three\"".to_owned(),
        ),
        (
            json!({"/resources/0/providers": ["one", "one"]}),
            "resources[0].providers[1]: \"one\" is duplicated".to_owned(),
        ),
        (
            json!({"/resources/0/audiences": []}),
            "resources[0].audiences: must hold at least one audience".to_owned(),
        ),
        (
            json!({"/resources/0/audiences": {}}),
            "resources[0].audiences: must hold at least one provider".to_owned(),
        ),
        (
            json!({"/resources/0/audiences": {"one": ["x"], "two": ["y"], "three": ["z"]}}),
            "resources[0].audiences.three: there is no provider \"three\"".to_owned(),
        ),
        (
            json!({"/resources/0/providers": ["one"],
                   "/resources/0/audiences": {"one": ["x"], "two": ["y"]}}),
            "resources[0].audiences.two: \"two\" is not one of resources[0].providers".to_owned(),
        ),
        (
            json!({"/resources/0/audiences": null, "/resources/0/providers": ["one"]}),
            "providers[0].client_ids: is required, since resources[0] has no audiences for it"
                .to_owned(),
        ),
        (
            json!({"/providers/1/issuer": "https://one.example", "/resources/0/providers": ["one"]}),
            "resources[1].audiences: \"for-b\" is accepted from providers[0] and providers[1], which \
             have the same issuer"
                .to_owned(),
        ),
        (json!({"/resources/0/colour": "red"}), "resources[0].colour: unknown field".to_owned()),
    ] {
        let found = faults(members.clone());
        assert!(found.contains(&expected), "{members}: {found:?}");
    }
}
