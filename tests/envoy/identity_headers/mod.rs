//! The identity that the MCP server receives, which only the plugin sets.

mod copies;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, Document, Fault, IdentityProvider, Port, RecordedRequest, Response,
    SigningKey, Stack, raw_exchange,
};

use self::copies::{forged, forgeries, spellings};
use crate::support::{
    add_listener, add_providers, assert_none, await_active_requests, claims_of, close_at_once,
    issuer_of, static_provider, with, without,
};

const NAMES: [&str; 12] = [
    "x-mcp-user",
    "x-mcp-user-field",
    "x-mcp-subject",
    "x-mcp-issuer",
    "x-mcp-provider",
    "x-mcp-client-id",
    "x-mcp-client-type",
    "x-mcp-scopes",
    "x-mcp-roles",
    "x-mcp-groups",
    "x-mcp-token-id",
    "x-mcp-token-expires",
];

/// Sends the token, and returns the request that the MCP server got.
async fn passed(stack: &Stack, token: &str) -> RecordedRequest {
    let response = stack.call(token).await;
    assert_eq!(response.status, 200, "{response:?}");
    stack.server.requests().pop().expect("it reached the server")
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A stack with one additional static provider, `own`.
async fn start(fields: Value) -> (Stack, SigningKey) {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("own", &[&key], fields);
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .edit(close_at_once)
        .start()
        .await;
    (stack, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_header_holds_the_value_of_its_claim() {
    let (stack, key) = start(json!({"user_claim": "upn", "user_field": "email"})).await;
    let mut claims = claims_of("own");
    for (name, value) in [
        ("upn", json!("ada@example.com")),
        ("azp", json!("agent")),
        ("scope", json!("a.read  b.write")),
        ("roles", json!(["itil", "admin"])),
        ("groups", json!(["ops", "dev"])),
        ("jti", json!("id-1")),
        ("exp", json!(4_000_000_000_u64)),
    ] {
        claims[name] = value;
    }
    let request = passed(&stack, &key.token(&claims)).await;
    let expected = map([
        ("x-mcp-user", "ada@example.com"),
        ("x-mcp-user-field", "email"),
        ("x-mcp-subject", "ada"),
        ("x-mcp-issuer", "https://own.example"),
        ("x-mcp-provider", "own"),
        ("x-mcp-client-id", "agent"),
        ("x-mcp-client-type", "user"),
        ("x-mcp-scopes", "a.read b.write"),
        ("x-mcp-roles", "itil,admin"),
        ("x-mcp-groups", "ops,dev"),
        ("x-mcp-token-id", "id-1"),
        ("x-mcp-token-expires", "4000000000"),
    ]);
    assert_eq!(request.identity(), expected);
    assert_eq!(expected.len(), NAMES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_claims_set_no_header() {
    let (stack, key) = start(json!({})).await;
    let bare = json!({
        "iss": issuer_of("own"), "aud": [Stack::AUDIENCE], "sub": "ada", "exp": 4_000_000_000_u64,
    });
    let expected = map([
        ("x-mcp-user", "ada"),
        ("x-mcp-user-field", "user_name"),
        ("x-mcp-subject", "ada"),
        ("x-mcp-issuer", "https://own.example"),
        ("x-mcp-provider", "own"),
        ("x-mcp-client-type", "user"),
        ("x-mcp-token-expires", "4000000000"),
    ]);
    assert_eq!(passed(&stack, &key.token(&bare)).await.identity(), expected);
    let mut empty = bare.clone();
    for (name, value) in [
        ("scope", json!("")),
        ("scp", json!([])),
        ("roles", json!([])),
        ("groups", json!(["", null, 1])),
        ("azp", json!("")),
        ("jti", json!("")),
        ("email", Value::Null),
    ] {
        empty[name] = value;
    }
    assert_eq!(passed(&stack, &key.token(&empty)).await.identity(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_roles_and_groups_are_found_where_providers_put_them() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let keycloak = json!({
        "scope_claim": ["permissions", "scopes"],
        "roles_claim": ["realm_access", "roles"],
        "groups_claim": "https://claims.example/groups",
    });
    let providers = [
        static_provider("plain", &[&key], json!({})),
        static_provider("keycloak", &[&key], keycloak),
    ];
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, providers))
        .start()
        .await;
    let cases = [
        ("plain", json!({"scope": "a b"}), "a b", "", ""),
        ("plain", json!({"scope": ["a", "b"]}), "a b", "", ""),
        ("plain", json!({"scp": "a b"}), "a b", "", ""),
        ("plain", json!({"scp": ["a", "b"]}), "a b", "", ""),
        ("plain", json!({"scope": "a", "scp": "b"}), "a", "", ""),
        ("plain", json!({"scope": 1}), "", "", ""),
        ("plain", json!({"roles": "one", "groups": "two"}), "", "one", "two"),
        ("plain", json!({"roles": ["a", 1, "b"], "groups": {"a": "b"}}), "", "a,b", ""),
        (
            "keycloak",
            json!({
                "permissions": {"scopes": ["x"]},
                "realm_access": {"roles": ["r", "s"]},
                "https://claims.example/groups": ["g"],
                "scope": "ignored", "roles": ["ignored"], "groups": ["ignored"],
            }),
            "x",
            "r,s",
            "g",
        ),
        (
            "keycloak",
            json!({"realm_access": {"roles": []}, "realm_access.roles": ["x"]}),
            "",
            "",
            "",
        ),
        ("keycloak", json!({"realm_access": ["roles"], "permissions": "scopes"}), "", "", ""),
    ];
    let mut faults = Vec::new();
    for (provider, more, scopes, roles, groups) in cases {
        let mut claims = without(&claims_of(provider), "scope");
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let identity = passed(&stack, &key.token(&claims)).await.identity();
        for (name, expected) in [("scopes", scopes), ("roles", roles), ("groups", groups)] {
            let found = identity.get(&format!("x-mcp-{name}")).map_or("", String::as_str);
            if found != expected {
                faults.push(format!("{provider} {more}: {name} {found:?} and not {expected:?}"));
            }
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_distinguished_from_users() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let providers = [
        static_provider("auto", &[&key], json!({})),
        static_provider("users", &[&key], json!({"client_type": "user"})),
        static_provider("services", &[&key], json!({"client_type": "service"})),
    ];
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, providers))
        .start()
        .await;
    let cases = [
        ("auto", json!({"azp": "a", "client_id": "b", "appid": "c", "cid": "d"}), "a", "user"),
        ("auto", json!({"client_id": "b", "appid": "c", "cid": "d"}), "b", "user"),
        ("auto", json!({"appid": "c", "cid": "d"}), "c", "user"),
        ("auto", json!({"cid": "d"}), "d", "user"),
        ("auto", json!({"azp": 1, "cid": "d"}), "d", "user"),
        ("auto", json!({}), "", "user"),
        ("auto", json!({"azp": "ada"}), "ada", "service"),
        ("auto", json!({"client_id": "ada"}), "ada", "service"),
        ("auto", json!({"azp": "a", "idtyp": "app"}), "a", "service"),
        ("auto", json!({"azp": "a", "idtyp": "user"}), "a", "user"),
        ("auto", json!({"azp": "a", "gty": "client-credentials"}), "a", "service"),
        ("auto", json!({"azp": "a", "gty": "password"}), "a", "user"),
        ("users", json!({"azp": "ada", "idtyp": "app"}), "ada", "user"),
        ("services", json!({"azp": "a"}), "a", "service"),
    ];
    let mut faults = Vec::new();
    for (provider, more, client_id, client_type) in cases {
        let mut claims = without(&claims_of(provider), "client_id");
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let identity = passed(&stack, &key.token(&claims)).await.identity();
        let found_id = identity.get("x-mcp-client-id").map_or("", String::as_str);
        let found_type = &identity["x-mcp-client-type"];
        if (found_id, found_type.as_str()) != (client_id, client_type) {
            faults.push(format!("{provider} {more}: {found_id:?}, {found_type}"));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn values_are_encoded_so_that_none_breaks_out_of_its_header() {
    let (stack, key) = start(json!({})).await;
    let text_cases = [
        ("Ada Lovelace", "Ada Lovelace"),
        (" ada  ", "%20ada%20%20"),
        ("  ", "%20%20"),
        ("100%", "100%25"),
        ("%0A", "%250A"),
        ("a\r\nx-mcp-roles: admin", "a%0D%0Ax-mcp-roles: admin"),
        ("\r\n\r\nGET / HTTP/1.1", "%0D%0A%0D%0AGET / HTTP/1.1"),
        ("a\tb", "a%09b"),
        ("a\u{0}b\u{7f}", "a%00b%7F"),
        ("a,b;c=\"d\"\\", "a,b;c=\"d\"\\"),
        ("Zoë", "Zo%C3%AB"),
        ("名前", "%E5%90%8D%E5%89%8D"),
        ("🔑", "%F0%9F%94%91"),
        ("a\u{a0}b\u{2028}c\u{feff}", "a%C2%A0b%E2%80%A8c%EF%BB%BF"),
    ];
    let mut faults = Vec::new();
    for (text, expected) in text_cases {
        let mut claims = claims_of("own");
        for name in ["sub", "azp", "jti"] {
            claims[name] = json!(text);
        }
        claims["azp"] = json!(format!("{text}x"));
        let identity = passed(&stack, &key.token(&claims)).await.identity();
        for name in ["user", "subject", "token-id"] {
            let found = &identity[&format!("x-mcp-{name}")];
            if found != expected {
                faults.push(format!("{name} {text:?}: {found:?} and not {expected:?}"));
            }
        }
        if identity.len() != 10 {
            faults.push(format!("{text:?}: {identity:?}"));
        }
    }
    let list_cases = [
        (
            json!(["a b", "c,d", "e%2Cf", " g", "Zoë", "h\r\nx: y"]),
            "a b,c%2Cd,e%252Cf,%20g,Zo%C3%AB,h%0D%0Ax: y",
        ),
        (json!(["", "a", ""]), "a"),
        (json!("a,b"), "a%2Cb"),
    ];
    for (list, expected) in list_cases {
        let claims = with(&with(&claims_of("own"), "roles", list.clone()), "groups", list.clone());
        let identity = passed(&stack, &key.token(&claims)).await.identity();
        for name in ["roles", "groups"] {
            let found = &identity[&format!("x-mcp-{name}")];
            if found != expected {
                faults.push(format!("{name} {list}: {found:?} and not {expected:?}"));
            }
        }
    }
    for (scopes, expected) in [
        (json!(["a b", "c"]), "a%20b c"),
        (json!("a\nb c%d é"), "a%0Ab c%25d %C3%A9"),
        (json!(["a,b"]), "a,b"),
    ] {
        let claims = with(&claims_of("own"), "scope", scopes.clone());
        let identity = passed(&stack, &key.token(&claims)).await.identity();
        if identity["x-mcp-scopes"] != expected {
            faults.push(format!("scopes {scopes}: {:?}", identity["x-mcp-scopes"]));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_of_roles_arrive_whole() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("own", &[&key], json!({}));
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["max_token_size"] = json!("48KiB");
            add_providers(configuration, [provider]);
        })
        .start()
        .await;
    let roles: Vec<String> = (0..2000).map(|number| format!("role-{number}")).collect();
    let claims = with(&claims_of("own"), "roles", json!(roles));
    let request = passed(&stack, &key.token(&claims)).await;
    assert_eq!(request.identity()["x-mcp-roles"], roles.join(","));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_keep_their_own_identities() {
    let stack = Stack::builder().start().await;
    let user = |email: &str, roles: Value| {
        let claims = with(&with(&stack.claims(), "email", email), "roles", roles);
        stack.provider.token(&claims)
    };
    let tokens = [
        user("ada@example.com", json!(["admin"])),
        user("bob@example.com", json!([])),
        "a.b.c".to_owned(),
    ];
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let connection = if index == 2 { "close" } else { "keep-alive" };
        text += &format!(
            "GET /{index} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
    }
    let response = raw_exchange(stack.envoy.address(), text.as_bytes()).await;
    let responses = String::from_utf8_lossy(&response.bytes).into_owned();
    assert_eq!(responses.matches("HTTP/1.1 200").count(), 2, "{responses}");
    assert_eq!(responses.matches("HTTP/1.1 401").count(), 1, "{responses}");
    let [ada, bob] = <[_; 2]>::try_from(stack.server.requests()).expect("two reached the server");
    assert_eq!((ada.path.as_str(), bob.path.as_str()), ("/0", "/1"));
    assert_eq!(ada.header("x-mcp-user"), [b"ada@example.com"]);
    assert_eq!(ada.header("x-mcp-roles"), [b"admin"]);
    assert_eq!(bob.header("x-mcp-user"), [b"bob@example.com"]);
    assert!(bob.header("x-mcp-roles").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_get_headers_of_their_own() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("own", &[&key], json!({}));
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["identity"] = json!({"claims_to_headers": [
                {"claim": ["address", "country"], "header": "x-country"},
                {"claim": "address", "header": "X-Address"},
                {"claim": "https://claims.example/level", "header": "x-level"},
                {"claim": "flag", "header": "x-flag"},
                {"claim": "list", "header": "x-list"},
                {"claim": "sub", "header": "x-sub"},
            ]});
            add_providers(configuration, [provider]);
        })
        .start()
        .await;
    let names = ["x-country", "x-address", "x-level", "x-flag", "x-list", "x-sub"];
    let shown = |request: &RecordedRequest| -> BTreeMap<String, String> {
        let named = request.headers.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let shown: Vec<_> = named
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let map: BTreeMap<_, _> = shown.iter().cloned().collect();
        assert_eq!(map.len(), shown.len(), "{request:?}");
        map
    };
    let mut claims = claims_of("own");
    claims["address"] = json!({"country": "Österreich, EU", "zip": 1010});
    claims["https://claims.example/level"] = json!(-3);
    claims["flag"] = json!(false);
    claims["list"] = json!(["a,b", 1, true, null, {"c": 1}, ["d"], ""]);
    let copies = spellings(&names);
    raw_exchange(stack.envoy.address(), &forged("/mcp", &key.token(&claims), &copies)).await;
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(forgeries(&request), Vec::<String>::new());
    let mut headers = shown(&request);
    let address = BASE64_URL_SAFE_NO_PAD.decode(headers.remove("x-address").unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&address).unwrap(), claims["address"]);
    assert_eq!(
        headers,
        map([
            ("x-country", "%C3%96sterreich, EU"),
            ("x-level", "-3"),
            ("x-flag", "false"),
            ("x-list", "a%2Cb,1,true,eyJjIjoxfQ,WyJkIl0"),
            ("x-sub", "ada"),
        ])
    );

    // A claim that the token lacks sets no header, and the client's copy is removed.
    let bare = json!({
        "iss": issuer_of("own"), "aud": Stack::AUDIENCE, "sub": "ada", "exp": 4_000_000_000_u64,
        "flag": null, "list": [], "address": {},
    });
    raw_exchange(stack.envoy.address(), &forged("/mcp", &key.token(&bare), &copies)).await;
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(forgeries(&request), Vec::<String>::new());
    assert_eq!(shown(&request), map([("x-address", "e30"), ("x-sub", "ada")]));
}

// Requirement: token-no-others
// Requirement: token-no-passthrough
#[tokio::test(flavor = "multi_thread")]
async fn the_prefix_of_the_headers_and_the_token_itself_are_as_configured() {
    let (other_prefix, forwarding) = (Port::free(), Port::free());
    let numbers = [other_prefix.number(), forwarding.number()];
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            add_listener(bootstrap, numbers[0], |configuration| {
                configuration["identity"] = json!({"header_prefix": "x-auth-"});
            });
            add_listener(bootstrap, numbers[1], |configuration| {
                configuration["identity"] = json!({"forward_token": true});
            });
        })
        .start()
        .await;
    let token = stack.token();

    let request = forged("/mcp", &token, &["x-auth-user".to_owned(), "X-Auth-Roles".to_owned()]);
    raw_exchange(other_prefix.address(), &request).await;
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(forgeries(&request), Vec::<String>::new());
    assert_eq!(request.header("x-auth-user"), [b"ada@example.com"]);
    assert_eq!(request.header("x-auth-provider"), [b"demo"]);
    assert!(request.identity().is_empty(), "{request:?}");
    assert!(request.header("authorization").is_empty());

    let url = format!("http://{}/mcp", forwarding.address());
    let call = Response::mcp_call(stack.client(), &url)
        .header("authorization", format!("bearer  {token}"));
    assert_eq!(stack.send(call).await.status, 200);
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(request.header("authorization"), [format!("bearer  {token}").as_bytes()]);
    assert_eq!(request.header("x-mcp-user"), [b"ada@example.com"]);

    assert!(passed(&stack, &token).await.header("authorization").is_empty());
}
