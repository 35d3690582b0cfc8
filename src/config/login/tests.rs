//! Which configurations of `login`, `secret` and a provider's `login` are accepted, and the faults
//! of others.

use serde_json::{Value, json};

use crate::config::Config;

const SECRET: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// Two servers with one origin and two providers; people log in at the first.
fn valid() -> Value {
    let provider = |name: &str| {
        let issuer = format!("https://{name}.example");
        let metadata_url = format!("{issuer}/.well-known/openid-configuration");
        json!({"name": name, "issuer": issuer, "metadata_url": metadata_url, "cluster": name})
    };
    let mut document = json!({
        "resources": [
            {"id": "a", "url": "https://gateway.example/a/mcp", "audiences": ["for-a"]},
            {"id": "b", "url": "https://gateway.example/b/mcp", "audiences": ["for-b"]},
        ],
        "providers": [provider("one"), provider("two")],
        "exempt": [{"path": "/health"}],
        "secret": {"env": "SECRET"},
        "login": {},
    });
    document["providers"][0]["login"] =
        json!({"client_id": "gateway", "client_secret_env": "ONE_SECRET"});
    document
}

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" | "PREVIOUS" => SECRET,
        "WITH_NEWLINE" => return Some(format!("{SECRET}\n")),
        "BASE64URL" => "__-_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE",
        "SHORT" => "QUFBQQ==",
        "NO_BASE64" => "not base64, but long enough to be a secret",
        "ONE_SECRET" => "s3cret",
        "EMPTY" => " \n",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The faults if these members have other values; null removes one.
fn faults(members: &Value) -> Vec<String> {
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
    match Config::with_environment(document.to_string().as_bytes(), &environment) {
        Ok(_) => vec![],
        Err(error) => error.faults().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn assert_refused(members: &Value, expected: &str) {
    let faults = faults(members);
    assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{members}: {faults:?}");
}

/// Redirect URIs that are refused wherever they are listed.
const REDIRECT_URIS_REFUSED: [&str; 13] = [
    "",
    "callback",
    "/callback",
    "https://",
    "http://app.example/cb",
    "https://app.example/cb#part",
    "https://user@app.example/cb",
    "https://user:pass@app.example/cb",
    "http://localhost.evil.example/cb",
    "http://localhost@evil.example/cb",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "myapp://callback",
];

#[test]
fn logins_that_work_are_accepted() {
    for members in [
        json!({}),
        json!({"/secret/env": "WITH_NEWLINE"}),
        json!({"/secret/env": "BASE64URL"}),
        json!({"/secret/previous_env": "PREVIOUS"}),
        json!({"/login/issuer": "https://login.example"}),
        json!({"/login/issuer": "http://localhost:8080"}),
        json!({"/login/path": "/sign-in/v1"}),
        json!({"/login/redirect_uris": ["loopback", "https://app.example/cb", "com.example.app:/cb",
               "cursor://anysphere.cursor-mcp/oauth/callback", "vscode://x/y", "http://127.0.0.1:1/"]}),
        json!({"/login/registration": false,
               "/login/clients": [{"client_id": "a", "redirect_uris": ["https://app.example/cb"]}]}),
        json!({"/login/registration": false, "/login/client_metadata": {"app.example": "app"}}),
        json!({"/login/registration": false, "/login/redirect_uris": [],
               "/login/client_metadata": {"app.example": "app"}}),
        json!({"/login/consent": "remember"}),
        // The gateway is a public client of the provider.
        json!({"/providers/0/login/client_secret_env": null}),
        json!({"/providers/0/login/scopes": ["read"]}),
        json!({"/providers/0/login/scopes": {"read": "api://x/read"}}),
        json!({"/providers/0/login/token": "id_token"}),
        json!({"/providers/0/login/parameters": {"prompt": "select_account", "audience": "x"}}),
        // A secret that nothing uses is allowed.
        json!({"/login": null, "/providers/0/login": null}),
    ] {
        assert_eq!(faults(&members), [""; 0], "{members}");
    }
}

#[test]
fn a_login_needs_a_secret_a_provider_and_a_client() {
    for (members, expected) in [
        (json!({"/secret": null}), "login: needs secret"),
        (json!({"/secret/env": null}), "secret.env: is required"),
        (
            json!({"/secret/env": "UNSET"}),
            "secret.env: the environment variable \"UNSET\" is not set or not passed",
        ),
        (json!({"/secret/env": "SHORT"}), "secret.env: the value of \"SHORT\""),
        (json!({"/secret/env": "NO_BASE64"}), "secret.env: the value of \"NO_BASE64\""),
        (json!({"/secret/previous_env": "UNSET"}), "secret.previous_env: the environment variable"),
        (json!({"/secret/previous_env": "SHORT"}), "secret.previous_env: the value of \"SHORT\""),
        (json!({"/secret/other": 1}), "secret.other: "),
        (json!({"/providers/0/login": null}), "login: needs at least one provider that has login"),
        (json!({"/login": null}), "login: is required because a provider has login"),
        (json!({"/login/registration": false}), "login: needs registration, clients"),
        (json!({"/login/redirect_uris": []}), "login.redirect_uris: must not be empty while"),
    ] {
        assert_refused(&members, expected);
    }
    for value in ["SHORT", "NO_BASE64"] {
        let faults = format!("{:?}", faults(&json!({"/secret/env": value})));
        assert!(!faults.contains(&environment(value).unwrap()), "the value is not shown: {faults}");
    }
}

#[test]
fn a_faulty_secret_or_provider_is_not_reported_as_missing() {
    for (members, field) in [
        (json!({"/secret/env": "UNSET"}), "secret.env"),
        (json!({"/secret/env": null}), "secret.env"),
        (json!({"/secret": "SECRET"}), "secret"),
        (json!({"/providers/0/issuer": ""}), "providers[0].issuer"),
        (json!({"/providers/0/name": "ONE"}), "providers[0].name"),
        (json!({"/providers/0/name": null}), "providers[0].name"),
        (json!({"/providers/0/cluster": null}), "providers[0]"),
        (json!({"/providers/0/login/client_id": null}), "providers[0].login.client_id"),
        (json!({"/providers/0/login": "on"}), "providers[0].login"),
    ] {
        let found = faults(&members);
        let is_expected = |fault: &String| fault.starts_with(field);
        assert!(!found.is_empty() && found.iter().all(is_expected), "{members}: {found:?}");
    }
    // An inactive provider logs nobody in, faulty or not.
    let members = json!({"/providers/0/active": false, "/providers/0/issuer": ""});
    assert_refused(&members, "login: needs at least one provider that has login");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_field_of_login_has_its_form() {
    let client = |members: Value| {
        let mut client = json!({"client_id": "a", "redirect_uris": ["https://app.example/cb"]});
        client.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        client
    };
    for (members, expected) in [
        (json!({"/login/other": 1}), "login.other: "),
        (json!({"/login": "on"}), "login: "),
        (json!({"/login/issuer": "login.example"}), "login.issuer: "),
        (json!({"/login/issuer": "http://login.example"}), "login.issuer: "),
        (json!({"/login/issuer": "https://login.example/"}), "login.issuer: "),
        (json!({"/login/issuer": "https://login.example/path"}), "login.issuer: "),
        (json!({"/login/issuer": "https://login.example?x=1"}), "login.issuer: "),
        (json!({"/login/issuer": "https://u@login.example"}), "login.issuer: "),
        (json!({"/resources/1/url": "https://other.example/mcp"}), "login.issuer: is required"),
        (json!({"/login/path": "oauth"}), "login.path: must be a path such as /oauth"),
        (json!({"/login/path": "/"}), "login.path: must be a path such as /oauth"),
        (json!({"/login/path": "/oauth/"}), "login.path: must be a path such as /oauth"),
        (json!({"/login/path": "/a/../oauth"}), "login.path: must be a path such as /oauth"),
        (json!({"/login/path": "/o%61uth"}), "login.path: must be a path such as /oauth"),
        (json!({"/login/path": "/oauth?x"}), "login.path: must be a path such as /oauth"),
        (
            json!({"/login/path": "/.well-known/oauth"}),
            "login.path: must not be below /.well-known",
        ),
        (
            json!({"/login/path": "/a"}),
            "login.path: must not be the path of a resource or a prefix of it",
        ),
        (json!({"/login/path": "/b/mcp"}), "login.path: must not be the path of a resource"),
        (json!({"/login/path": "/health"}), "login.path: must not be an exempt path"),
        (
            json!({"/exempt": [{"path": "/oauth/callback"}]}),
            "login.path: must not be an exempt path or a prefix",
        ),
        (json!({"/login/registration": "yes"}), "login.registration: "),
        (json!({"/login/redirect_uris": "loopback"}), "login.redirect_uris: "),
        (
            json!({"/login/clients": [client(json!({"client_id": ""}))]}),
            "login.clients[0].client_id: must have 1 to 512 bytes",
        ),
        (
            json!({"/login/clients": [client(json!({"client_id": "x".repeat(513)}))]}),
            "login.clients[0].client_id: must have 1 to 512 bytes",
        ),
        (
            json!({"/login/clients": [client(json!({})), client(json!({}))]}),
            "login.clients[1].client_id: is duplicated",
        ),
        (
            json!({"/login/clients": [client(json!({"redirect_uris": []}))]}),
            "login.clients[0].redirect_uris: must hold at least one URI",
        ),
        (
            json!({"/login/clients": [client(json!({"client_secret": "x"}))]}),
            "login.clients[0].client_secret: ",
        ),
        (
            json!({"/login/clients": [{"client_id": "a"}]}),
            "login.clients[0].redirect_uris: is required",
        ),
        (
            json!({"/login/clients": [{"redirect_uris": ["https://app.example/cb"]}]}),
            "login.clients[0].client_id: is required",
        ),
        (
            json!({"/login/client_metadata": {"App.example": "app"}}),
            "login.client_metadata.App.example: must be a host name",
        ),
        (
            json!({"/login/client_metadata": {"app.example:443": "app"}}),
            "login.client_metadata.app.example:443: must be a host name",
        ),
        (
            json!({"/login/client_metadata": {"https://app.example": "app"}}),
            "login.client_metadata.https://app.example: must be a host name",
        ),
        (
            json!({"/login/client_metadata": {"app.example": ""}}),
            "login.client_metadata.app.example: must name a cluster",
        ),
        (json!({"/login/consent": "never"}), "login.consent: "),
    ] {
        assert_refused(&members, expected);
    }
}

#[test]
fn redirect_uris_that_could_send_a_code_elsewhere_are_refused_wherever_they_are_listed() {
    for uri in REDIRECT_URIS_REFUSED {
        assert_refused(&json!({"/login/redirect_uris": [uri]}), "login.redirect_uris[0]: ");
        let client = json!([{"client_id": "a", "redirect_uris": [uri]}]);
        assert_refused(&json!({"/login/clients": client}), "login.clients[0].redirect_uris[0]: ");
    }
    // `loopback` is for clients that register; a configured client has URIs.
    let client = json!([{"client_id": "a", "redirect_uris": ["loopback"]}]);
    assert_refused(&json!({"/login/clients": client}), "login.clients[0].redirect_uris[0]: ");
}

#[test]
fn each_field_of_a_providers_login_has_its_form() {
    for (members, expected) in [
        (json!({"/providers/0/login/other": 1}), "providers[0].login.other: "),
        (
            json!({"/providers/0/login/client_id": null}),
            "providers[0].login.client_id: is required",
        ),
        (
            json!({"/providers/0/login/client_id": ""}),
            "providers[0].login.client_id: must not be empty",
        ),
        (
            json!({"/providers/0/login/client_secret_env": "UNSET"}),
            "providers[0].login.client_secret_env: the environment variable \"UNSET\" is not set",
        ),
        (
            json!({"/providers/0/login/client_secret_env": "EMPTY"}),
            "providers[0].login.client_secret_env: the environment variable \"EMPTY\" is empty",
        ),
        (
            json!({"/providers/0/login/scopes": {"re ad": "x"}}),
            "providers[0].login.scopes: must be a scope",
        ),
        (
            json!({"/providers/0/login/scopes": {"read": "x y"}}),
            "providers[0].login.scopes.read: must be a scope",
        ),
        (json!({"/providers/0/login/scopes": "read"}), "providers[0].login.scopes: "),
        (
            json!({"/providers/0/login/always": ["open id"]}),
            "providers[0].login.always[0]: must be a scope",
        ),
        (json!({"/providers/0/login/token": "refresh_token"}), "providers[0].login.token: "),
        (
            json!({"/providers/0/login/token": "id_token", "/providers/0/login/always": ["profile"]}),
            "providers[0].login.always: must include openid",
        ),
        (
            json!({"/providers/0/metadata_url": null, "/providers/0/jwks_url": "https://one.example/keys"}),
            "providers[0].login: needs metadata_url",
        ),
    ] {
        assert_refused(&members, expected);
    }
}

#[test]
fn parameters_that_the_gateway_sets_itself_cannot_be_configured() {
    for name in [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "state",
        "nonce",
        "scope",
        "resource",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
    ] {
        assert_refused(
            &json!({"/providers/0/login/parameters": {name: "x"}}),
            &format!("providers[0].login.parameters.{name}: is set by the gateway itself"),
        );
    }
}

/// The servers that the page for the first one names, if these members have other values.
fn opened(members: &[(&str, Value)]) -> Vec<String> {
    let mut document = valid();
    for (path, value) in members {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(name.to_owned(), value.clone());
    }
    let config = Config::with_environment(document.to_string().as_bytes(), &environment).unwrap();
    let login = config.login.unwrap();
    login.resources[0].shares_tokens_with.clone()
}

#[test]
fn the_page_names_each_server_that_accepts_the_token_by_whatever_provider() {
    let b = ["https://gateway.example/b/mcp"];
    let shared = ("/resources/1/audiences", json!(["for-b", "for-a"]));
    let by_two = ("/resources/1/providers", json!(["two"]));
    let same_issuer = ("/providers/1/issuer", json!("https://one.example"));
    let also = ("/providers/1/additional_issuers", json!(["https://one.example"]));
    let of_one = ("/resources/0/providers", json!(["one"]));
    for (members, named) in [
        (&[][..], &[][..]),
        (std::slice::from_ref(&shared), &b),
        (&[shared.clone(), by_two.clone(), of_one.clone()], &[]),
        (&[shared.clone(), by_two.clone(), of_one.clone(), also.clone()], &b),
        (&[shared.clone(), by_two.clone(), of_one.clone(), same_issuer.clone()], &b),
        // A token for another audience opens nothing there.
        (&[by_two.clone(), of_one.clone(), also.clone()], &[]),
    ] {
        assert_eq!(opened(members), named, "{members:?}");
    }
    // Where clients are compared, the gateway's own client id opens the server.
    let clients = ("/providers/1/audience_claim", json!("client_id"));
    let gateways = ("/resources/1/audiences", json!(["gateway"]));
    let members = [by_two, of_one, also, gateways.clone()];
    assert_eq!(opened(&members), Vec::<String>::new());
    assert_eq!(opened(&[members.as_slice(), &[clients]].concat()), b);
}
