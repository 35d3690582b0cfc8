//! Set-up and assertions that several files need.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use testbed::{
    Bootstrap, Document, IdentityProvider, KeptConnection, RawResponse, Response, ScimDirectory,
    SigningKey, Stack, StackBuilder,
};

/// The deadline of everything that should happen soon.
pub const SOON: Duration = Duration::from_secs(15);

/// The contract's table of responses: reason code, status and `error`.
const RESPONSES: [(&str, u16, Option<&str>); 32] = [
    ("audience_mismatch", 401, Some("invalid_token")),
    ("bad_signature", 401, Some("invalid_token")),
    ("bound_token", 401, Some("invalid_token")),
    ("claim_mismatch", 401, Some("invalid_token")),
    ("directory_unavailable", 503, None),
    ("expired", 401, Some("invalid_token")),
    ("graph_token", 401, Some("invalid_token")),
    ("jti_missing", 401, Some("invalid_token")),
    ("jti_replayed", 401, Some("invalid_token")),
    ("key_mismatch", 401, Some("invalid_token")),
    ("keys_unavailable", 503, None),
    ("malformed_authorization", 400, Some("invalid_request")),
    ("malformed_token", 401, Some("invalid_token")),
    ("mcp_body_invalid", 400, None),
    ("missing_claim", 401, Some("invalid_token")),
    ("missing_token", 401, None),
    ("not_yet_valid", 401, Some("invalid_token")),
    ("origin_denied", 403, None),
    ("replay_store_unavailable", 503, None),
    ("session_mismatch", 404, None),
    ("token_too_old", 401, Some("invalid_token")),
    ("unknown_issuer", 401, Some("invalid_token")),
    ("unknown_kid", 401, Some("invalid_token")),
    ("unknown_resource", 404, None),
    ("unsupported_algorithm", 401, Some("invalid_token")),
    ("unsupported_critical_header", 401, Some("invalid_token")),
    ("user_inactive", 403, None),
    ("user_not_service_account", 403, None),
    ("user_unknown", 403, None),
    ("wrong_token_type", 401, Some("invalid_token")),
    ("access_denied", 403, None),
    ("insufficient_scope", 403, Some("insufficient_scope")),
];

/// Asserts everything that the contract says about the response to a request refused for this
/// reason.
pub fn assert_refusal(response: &Response, reason: &str) {
    let faults = faults_of_refusal(response, reason);
    assert!(faults.is_empty(), "{}: {response:?}", faults.join("; "));
}

/// Sends the token of each case (a name, the token, the reason for its refusal), and asserts for
/// each [`assert_refusal`] and that the MCP server was not reached.
pub async fn assert_tokens_refused<N: AsRef<str>>(
    stack: &Stack,
    cases: impl IntoIterator<Item = (N, String, &str)>,
) {
    let mut faults = Vec::new();
    for (name, token, reason) in cases {
        let before = stack.server.count();
        let response = stack.call(&token).await;
        faults.extend(named(name.as_ref(), faults_of_refusal(&response, reason)));
        if stack.server.count() != before {
            faults.push(format!("{}: reached the MCP server", name.as_ref()));
        }
    }
    assert_none(&faults);
}

/// Sends the token of each case (a name and the token), and asserts that it passes.
pub async fn assert_tokens_accepted<N: AsRef<str>>(
    stack: &Stack,
    cases: impl IntoIterator<Item = (N, String)>,
) {
    let mut faults = Vec::new();
    for (name, token) in cases {
        let response = stack.call(&token).await;
        if response.status != 200 || response.whoami().is_null() {
            faults.push(format!("{}: {} {}", name.as_ref(), response.status, response.text));
        }
    }
    assert_none(&faults);
}

/// Asserts that there are no faults, and shows all of them otherwise.
pub fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is wrong with the response to a request that should have been refused for this reason.
pub fn faults_of_refusal(response: &Response, reason: &str) -> Vec<String> {
    let (_, status, error) = RESPONSES
        .into_iter()
        .find(|(candidate, ..)| *candidate == reason)
        .unwrap_or_else(|| panic!("{reason} is no reason of the contract"));
    let mut faults = Vec::new();
    let mut expect = |what: &str, found: String, expected: String| {
        if found != expected {
            faults.push(format!("{what} is {found} and not {expected}"));
        }
    };
    expect("status", response.status.to_string(), status.to_string());
    expect("reason", response.body["reason"].to_string(), json!(reason).to_string());
    expect("error", response.body["error"].to_string(), json!(error.unwrap_or(reason)).to_string());
    expect("content-type", all(response, "content-type"), one("application/json"));
    expect("cache-control", all(response, "cache-control"), one("no-store"));
    let challenges = usize::from(status == 401 || reason == "insufficient_scope");
    let lines = response.headers.get_all("www-authenticate").iter().count();
    expect("number of challenges", lines.to_string(), challenges.to_string());
    if challenges == 1 {
        let found = response.header("www-authenticate").split_once("error=\"");
        let found = found.and_then(|(_, rest)| rest.split('"').next());
        expect("error of the challenge", format!("{found:?}"), format!("{error:?}"));
    }
    let retries = response.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0);
    expect("Retry-After", retries.to_string(), (status == 503).to_string());
    if response.body["error_description"].as_str().is_none_or(str::is_empty) {
        faults.push("there is no error_description".to_owned());
    }
    faults
}

/// These faults, prefixed with the name of their case.
pub fn named(name: &str, faults: Vec<String>) -> impl Iterator<Item = String> {
    faults.into_iter().map(move |fault| format!("{name}: {fault}"))
}

/// All values of a header.
fn all(response: &Response, name: &str) -> String {
    format!("{:?}", response.headers.get_all(name).iter().collect::<Vec<_>>())
}

fn one(value: &str) -> String {
    format!("[{value:?}]")
}

/// A raw response in the type of all others.
pub fn parsed(raw: &RawResponse) -> Response {
    let text = String::from_utf8_lossy(&raw.bytes);
    let mut headers = HeaderMap::new();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) =
            (name.parse::<HeaderName>(), HeaderValue::from_str(value.trim()))
        {
            headers.append(name, value);
        }
    }
    let text = raw.body();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Response { status: raw.status(), headers, body, text }
}

/// The object with this member.
pub fn with(object: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut object = object.clone();
    object[name] = value.into();
    object
}

/// The object without this member.
pub fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().expect("it is an object").remove(name);
    object
}

/// Base64url without padding.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these two segments, whatever they are, with a valid signature.
pub fn signed(key: &SigningKey, header: &str, payload: &str) -> String {
    let input = format!("{header}.{payload}");
    let signature = base64url(key.sign_parts(input.as_bytes()));
    format!("{input}.{signature}")
}

/// The configuration of a provider with inline keys and these additional fields. Its issuer is
/// [`issuer_of`] its name.
pub fn static_provider(name: &str, keys: &[&SigningKey], fields: Value) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
    let mut provider = json!({
        "name": name,
        "issuer": issuer_of(name),
        "client_ids": [Stack::AUDIENCE],
        "jwks": {"keys": keys},
    });
    for (name, value) in fields.as_object().expect("they are an object") {
        provider[name] = value.clone();
    }
    provider
}

/// The usual claims of a token of a [`static_provider`].
pub fn claims_of(name: &str) -> Value {
    testbed::claims(&issuer_of(name), Stack::AUDIENCE)
}

/// The issuer of a [`static_provider`].
pub fn issuer_of(name: &str) -> String {
    format!("https://{name}.example")
}

/// Adds providers to the plugin's configuration.
pub fn add_providers(configuration: &mut Value, providers: impl IntoIterator<Item = Value>) {
    configuration["providers"].as_array_mut().expect("it has providers").extend(providers);
}

/// Adds a listener to the same Envoy, MCP server and VM, with another configuration of the plugin.
pub fn add_listener(bootstrap: &mut Bootstrap, port: u16, configure: impl FnOnce(&mut Value)) {
    let original = bootstrap.plugin_configuration().clone();
    configure(bootstrap.plugin_configuration());
    let listeners = &mut bootstrap.tree()["static_resources"]["listeners"];
    let mut listener = listeners[0].clone();
    listener["name"] = json!(format!("listener-{port}"));
    listener["address"]["socket_address"]["port_value"] = json!(port);
    listeners.as_array_mut().expect("there are listeners").push(listener);
    *bootstrap.plugin_configuration() = original;
}

/// Starts with this number of workers and these settings of `keys`.
pub fn with_keys(workers: usize, keys: Value) -> StackBuilder {
    Stack::builder().workers(workers).configure(move |configuration| configuration["keys"] = keys)
}

/// The path that [`with_direct_responses`] makes Envoy respond to itself.
pub const DIRECT: &str = "/direct";

/// Adds a path for many requests: behind the plugin, but without an MCP server.
pub fn with_direct_responses(builder: StackBuilder) -> StackBuilder {
    builder.edit(|bootstrap| bootstrap.respond_directly(DIRECT))
}

/// Opens connections until each worker has at least two.
pub async fn connections_to_all_workers(stack: &Stack, workers: usize) -> Vec<KeptConnection> {
    let asked = Instant::now();
    let mut connections = Vec::new();
    loop {
        // A worker that has not taken over the listener yet has no counter.
        let accepted = stack.envoy.connections_per_worker().await;
        if accepted.len() == workers && accepted.iter().all(|count| *count >= 2) {
            return connections;
        }
        assert!(asked.elapsed() < SOON, "{accepted:?}");
        let connection = KeptConnection::open(stack.envoy.address()).await;
        connections.push(connection.expect("Envoy accepts connections"));
    }
}

/// Sends a request to [`DIRECT`] with this token on a connection that stays open.
pub async fn call_on(connection: &mut KeptConnection, token: &str) -> Response {
    let response = connection.get(DIRECT, token).await.expect("Envoy responds");
    assert!(connection.is_open(), "{response:?}");
    parsed(&response)
}

/// Sends a request with each of these tokens, all at once.
pub async fn call_together(stack: &Stack, tokens: Vec<String>) -> Vec<Response> {
    let calls: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let request = stack.request().bearer_auth(token);
            tokio::spawn(async {
                Response::read(request.send().await.expect("Envoy responds")).await
            })
        })
        .collect();
    let mut responses = Vec::new();
    for call in calls {
        responses.push(call.await.expect("the call ends"));
    }
    responses
}

/// How often the discovery document and the key set were fetched.
pub fn counts(provider: &IdentityProvider) -> [usize; 2] {
    [Document::Discovery, Document::KeySet].map(|document| provider.count(document))
}

/// Asserts that no two workers fetch at the same time.
pub fn assert_one_at_a_time(provider: &IdentityProvider) {
    for document in [Document::Discovery, Document::KeySet] {
        assert!(provider.max_in_flight(document) <= 1, "{document:?}");
    }
}

/// Asserts that the fetches of the key set began at least `cooldown` apart. The first `earlier`
/// ones are left out; the next one began at `since` or later.
///
/// A fetch that arrives late makes the next gap shorter. So this measures from `since`: no fetch
/// arrives before it begins.
pub fn assert_cooldown(
    provider: &IdentityProvider,
    earlier: usize,
    since: Instant,
    cooldown: Duration,
) {
    let requests = provider.requests().into_iter();
    let key_sets = requests.filter(|request| request.document == Some(Document::KeySet));
    let arrivals: Vec<_> = key_sets.skip(earlier).map(|request| request.at - since).collect();
    for (arrival, cooldowns) in arrivals.iter().zip(0..) {
        assert!(*arrival >= cooldown * cooldowns, "{arrivals:?}");
    }
    assert!(arrivals.len() > 1, "{arrivals:?}");
}

/// A token of this provider that is accepted.
pub fn token_of(provider: &IdentityProvider) -> String {
    provider.token(&provider.claims(Stack::AUDIENCE))
}

/// These `users`, with the directory's settings.
pub fn with_directory(
    builder: StackBuilder,
    directory: &ScimDirectory,
    users: Value,
) -> StackBuilder {
    let mut scim = json!({
        "url": format!("http://{}", directory.address()),
        "cluster": "directory",
        "bearer_token_env": "SCIM_TOKEN",
    });
    let given = users["scim"].as_object().cloned().unwrap_or_default();
    scim.as_object_mut().expect("it is an object").extend(given);
    builder
        .cluster("directory", directory.address())
        .configure(move |configuration| configuration["users"] = with(&users, "scim", scim))
        .edit(|bootstrap| set_secret(bootstrap, ScimDirectory::BEARER_TOKEN))
}

/// Sets the secret that the plugin sends to the directory.
pub fn set_secret(bootstrap: &mut Bootstrap, secret: &str) {
    bootstrap.plugin()["vm_config"]["environment_variables"] =
        json!({"key_values": {"SCIM_TOKEN": secret}});
}

/// Makes Envoy close connections without waiting a second for the client: for tests with many raw
/// requests, which read to the end of the connection.
pub fn close_at_once(bootstrap: &mut Bootstrap) {
    bootstrap.connection_manager()["delayed_close_timeout"] = json!("0.010s");
}

/// Envoy without the option with which it delivers bodies while heads are held back.
pub fn without_held_heads(bootstrap: &mut Bootstrap) {
    let plugin = bootstrap.plugin().as_object_mut().expect("it is an object");
    assert_eq!(plugin.remove("allow_on_headers_stop_iteration"), Some(json!(true)));
}

/// Sends requests with this token until the response has `status`, and returns that response.
pub async fn call_until(stack: &Stack, token: &str, status: u16, deadline: Duration) -> Response {
    let asked = Instant::now();
    loop {
        let response = stack.call(token).await;
        if response.status == status {
            return response;
        }
        assert!(
            asked.elapsed() < deadline,
            "no {status} after {deadline:?} but {response:?}\n{}",
            stack.envoy.log_of_all()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until Envoy has this many active requests.
pub async fn await_active_requests(stack: &Stack, count: u64) {
    let asked = Instant::now();
    while stack.envoy.active_requests().await != Some(count) {
        assert!(asked.elapsed() < SOON, "there are not {count} active requests");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asserts that the plugin's VM never crashed.
pub async fn assert_vm_lives(stack: &Stack) {
    assert!(stack.envoy.is_running());
    let log = stack.envoy.log_of_all();
    for sign in ["panicked", "[critical]", "Function: proxy_", "VM failed", "vm failed"] {
        assert!(!log.contains(sign), "{sign:?} in Envoy's log:\n{log}");
    }
    for (name, value) in stack.envoy.stats_of_all().await {
        if name.contains("wasm") && (name.contains("reload") || name.contains("crash")) {
            assert_eq!(value, 0, "{name}");
        }
    }
}

/// Waits until a request with this method has reached the server.
pub async fn await_request(stack: &Stack, method: &str) {
    let asked = Instant::now();
    while !stack.server.requests().iter().any(|request| request.method == method) {
        assert!(asked.elapsed() < SOON, "no {method}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
