//! Which `resources` are accepted, and the faults of others.

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
fn servers_that_can_be_distinguished_are_accepted() {
    for members in [
        json!({}),
        json!({"/resources/1/url": "https://other.example/a/mcp"}),
        json!({"/resources/1/url": "https://gateway.example:8443/a/mcp"}),
        json!({"/resources/1/url": "https://gateway.example/a/mcp/below"}),
        json!({"/resources/1/url": "https://gateway.example/A/mcp"}),
        json!({"/resources/1/url": "https://gateway.example/@acme/x:y,z/%7Bid%7D/caf%C3%A9/%40"}),
        json!({"/resources/0/url": "https://gateway.example", "/resources/1/hosts": ["*"]}),
        json!({"/resources/0/audiences": ["for-b"]}),
        json!({"/resources/0/audiences": {"one": ["x"], "two": ["y"]}}),
        json!({"/resources/0/audiences": null, "/resources/1/audiences": null,
               "/providers/0/client_ids": ["x"], "/providers/1/client_ids": ["y"]}),
        json!({"/resources/0/audiences": null, "/resources/0/providers": ["one"],
               "/providers/0/client_ids": ["x"]}),
        // A resource may name an inactive provider.
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
fn servers_that_cannot_be_distinguished_are_refused_with_the_field() {
    let host = "must have a host such as gateway.example.com or gateway.example.com:8443: no \
                user, no final dot, IP addresses in canonical form";
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
            "resources[0].id: must not be none, the label in metrics for requests that belong to \
             no resource"
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
            "providers[0].client_ids: is required because resources[0] has no audiences for it"
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

const PATH: &str =
    "must be a path such as /mcp: no query, no wildcard, no dot segments, no `//`, `;` or `\\`";
const URL: &str = "must be an absolute https URL (http only for loopback hosts)";
const FORM: &str = "must have its path as Envoy forwards it: letters, digits, -, ., _ and ~ plain, and \
                    other characters than !$&'()+,=:@ percent-encoded";
const DOCUMENTS: &str = "must not be below /.well-known";

/// Changed members, the field that is at fault, and the fault.
const FAULTS: [(&str, &str, &str); 34] = [
    (r#"{"/resources": {}}"#, "resources", "invalid type: object, expected a list"),
    (r#"{"/resources/0/id": ""}"#, "resources[0].id", "must consist of a-z, 0-9, _ and -"),
    (
        r#"{"/resources/0/id": 1}"#,
        "resources[0].id",
        "invalid type: integer `1`, expected a string",
    ),
    (r#"{"/resources/0/url": "http://gateway.example/mcp"}"#, "resources[0].url", URL),
    (r#"{"/resources/0/url": "/a/mcp"}"#, "resources[0].url", URL),
    (r#"{"/resources/0/url": "https://gateway.example/a;b"}"#, "resources[0].url", PATH),
    (r#"{"/resources/0/url": "https://gateway.example/a//b"}"#, "resources[0].url", PATH),
    (r#"{"/resources/0/url": "https://gateway.example/a/%2e%2e"}"#, "resources[0].url", PATH),
    (r#"{"/resources/0/url": "https://gateway.example/a%2fb"}"#, "resources[0].url", PATH),
    (r#"{"/resources/0/url": "https://gateway.example/%61/mcp"}"#, "resources[0].url", FORM),
    (r#"{"/resources/0/url": "https://gateway.example/%7Eada"}"#, "resources[0].url", FORM),
    (
        r#"{"/resources/0/url": "https://gateway.example/.well-known"}"#,
        "resources[0].url",
        DOCUMENTS,
    ),
    (
        r#"{"/resources/0/url": "https://gateway.example/.well-known/oauth-protected-resource/b/mcp"}"#,
        "resources[0].url",
        DOCUMENTS,
    ),
    (
        r#"{"/resources/0/url": "https://gateway.example/%2Ewell-known/a"}"#,
        "resources[0].url",
        FORM,
    ),
    (r#"{"/resources/0/url": "https://gateway.example/{id}"}"#, "resources[0].url", URL),
    (r#"{"/resources/0/documentation": "http://docs.example"}"#, "resources[0].documentation", URL),
    (
        r#"{"/resources/0/scopes_supported": ["a b"]}"#,
        "resources[0].scopes_supported[0]",
        "must be a scope: visible ASCII without space, \" and \\",
    ),
    (
        r#"{"/resources/0/scopes_supported": ["a", "offline_access"]}"#,
        "resources[0].scopes_supported[1]",
        "must not be offline_access, which is for the client to request",
    ),
    (
        r#"{"/resources/0/providers": "one"}"#,
        "resources[0].providers",
        "invalid type: string \"one\", expected a list",
    ),
    (
        r#"{"/resources/0/audiences": "for-a"}"#,
        "resources[0].audiences",
        "expected a list, or an object of lists by provider",
    ),
    (
        r#"{"/resources/0/audiences": [""]}"#,
        "resources[0].audiences",
        "must not hold an empty audience",
    ),
    (
        r#"{"/resources/0/audiences": {"one": [], "two": ["y"]}}"#,
        "resources[0].audiences.one",
        "must hold at least one audience",
    ),
    (
        r#"{"/resources/0/hosts": "*"}"#,
        "resources[0].hosts",
        "invalid type: string \"*\", expected a list",
    ),
    (
        r#"{"/resources/0/access": {"rules": [{"match": {"paths": ["/a;b"]}}]}}"#,
        "resources[0].access.rules[0].match.paths[0]",
        PATH,
    ),
    (
        r#"{"/resources/1/access": {"rules": [{"require": {"providers": ["three"]}}]}}"#,
        "resources[1].access.rules[0].require.providers[0]",
        "there is no active provider \"three\"",
    ),
    (r#"{"/resources/0/exempt": [{"path": "/a/.."}]}"#, "resources[0].exempt[0].path", PATH),
    (r#"{"/resources/0/exempt": [{}]}"#, "resources[0].exempt[0].path", "is required"),
    (
        r#"{"/resources/0/allowed_origins": ["https://app.example/"]}"#,
        "resources[0].allowed_origins[0]",
        "must be an origin such as https://app.example.com",
    ),
    (
        r#"{"/resources/0/identity": {"header_prefix": "X_"}}"#,
        "resources[0].identity.header_prefix",
        "must be a header name of a-z, 0-9 and -",
    ),
    (
        r#"{"/resources/0/identity": { "header_prefix": "x-a-", "claims_to_headers": [{"claim": "c", "header": "x-a-resource"}]}}"#,
        "resources[0].identity.claims_to_headers[0].header",
        "is one of the identity headers",
    ),
    (
        r#"{"/identity": {"claims_to_headers": [{"claim": "c", "header": "x-mcp-resource"}]}}"#,
        "identity.claims_to_headers[0].header",
        "is one of the identity headers",
    ),
    (
        r#"{"/resources/0/mode": "off"}"#,
        "resources[0].mode",
        "unknown variant `off`, expected `enforce` or `report`",
    ),
    (
        r#"{"/resources/0/identity": {"colour": 1}}"#,
        "resources[0].identity.colour",
        "unknown field",
    ),
    (
        r#"{"/resources/0/exempt": [{"colour": 1}]}"#,
        "resources[0].exempt[0].colour",
        "unknown field",
    ),
];

#[test]
fn faults_inside_a_resource_are_named_with_its_field() {
    let mut wrong = Vec::new();
    for (members, at, problem) in FAULTS {
        let found = faults(serde_json::from_str(members).unwrap());
        if !found.contains(&format!("{at}: {problem}")) {
            wrong.push(format!("{members}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_claim_header_must_not_be_an_identity_header_of_another_resource() {
    let identity = |prefix: &str, header: &str| json!({"header_prefix": prefix, "claims_to_headers": [{"claim": "c", "header": header}]});
    for (own, other, all, expected) in [
        (
            identity("x-a-", "x-mcp-resource"),
            Value::Null,
            Value::Null,
            Some(
                "resources[0].identity.claims_to_headers[0].header: \"x-mcp-resource\" is one of the \
                  identity headers of identity",
            ),
        ),
        (
            identity("x-a-", "x-mcp-user"),
            Value::Null,
            Value::Null,
            Some(
                "resources[0].identity.claims_to_headers[0].header: \"x-mcp-user\" is one of the identity \
                  headers of identity",
            ),
        ),
        (
            identity("x-a-", "x-b-roles"),
            json!({"header_prefix": "x-b-"}),
            Value::Null,
            Some(
                "resources[0].identity.claims_to_headers[0].header: \"x-b-roles\" is one of the identity \
                  headers of resources[1].identity",
            ),
        ),
        (
            json!({"header_prefix": "x-a-"}),
            Value::Null,
            identity("x-mcp-", "x-a-resource"),
            Some(
                "identity.claims_to_headers[0].header: \"x-a-resource\" is one of the identity headers of \
                  resources[0].identity",
            ),
        ),
        // Names that are not identity headers may be used by several.
        (identity("x-a-", "x-country"), identity("x-b-", "x-country"), Value::Null, None),
        (identity("x-a-", "x-a-country"), identity("x-b-", "x-mcp-country"), Value::Null, None),
    ] {
        let found = faults(json!({
            "/resources/0/identity": own, "/resources/1/identity": other, "/identity": all,
        }));
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn all_faults_of_all_resources_are_reported_at_once() {
    let found = faults(json!({
        "/resources/0/id": "A", "/resources/0/mode": "off", "/resources/1/audiences": [],
        "/resources/1/hosts": ["a."],
    }));
    let at = |field: &str| found.iter().filter(|fault| fault.starts_with(field)).count();
    for field in
        ["resources[0].id", "resources[0].mode", "resources[1].audiences", "resources[1].hosts[0]"]
    {
        assert_eq!(at(field), 1, "{field}: {found:#?}");
    }
}

#[test]
fn providers_of_one_issuer_must_differ_by_their_client_ids_where_a_resource_has_no_audiences() {
    let found = faults(json!({
        "/providers/1/issuer": "https://one.example",
        "/providers/0/client_ids": ["x"], "/providers/1/client_ids": ["x"],
        "/resources/0/audiences": null, "/resources/1/audiences": null,
    }));
    // The fault is reported once for all resources.
    let expected =
        "providers[1].client_ids: \"x\" is also one of providers[0], which has the same issuer";
    assert_eq!(found, [expected]);
}

#[test]
fn with_one_resource_the_resource_header_is_not_reserved() {
    let claims = json!({"claims_to_headers": [{"claim": "c", "header": "x-mcp-resource"}]});
    let found = faults(json!({
        "/resources": null, "/resource": {"url": "https://gateway.example/mcp"}, "/identity": claims,
        "/providers/0/client_ids": ["x"], "/providers/1/client_ids": ["y"],
    }));
    assert_eq!(found, [""; 0]);
}
