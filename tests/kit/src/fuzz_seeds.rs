//! The seeds of the fuzz targets, made from the documentation and the test kit.

use std::fs;

use crate::{
    Algorithm, SigningKey, claims, claims_at, code_blocks, form_of, plugin_configurations,
    repository_root, s256, yaml,
};
use serde_json::{Value, json};

/// The seeds of each fuzz target. A unit test checks them against the fuzzed code.
pub fn fuzz_seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let key = SigningKey::generate(Algorithm::Es256, "1");
    let claims = claims("https://id.example.com", "mcp");
    let token = key.token(&claims);
    let metadata = json!({
        "issuer": "https://id.example.com", "jwks_uri": "https://id.example.com/keys",
    });
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "a", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
    });
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "a"}]}});
    let lists = ["\0\u{9}", "\u{2}\u{28}"].map(|choice| {
        format!("{choice}id: 1\r\ndata:\r\n\r\nevent: message\ndata: {list}\n\n: end\r\r")
    });
    let outcomes = [
        format!("\0\0{list}"),
        format!("\u{1}\u{28}: hi\r\n\r\nid: 7\r\ndata: {list}\r\n\r\n"),
        "\u{2}\0{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602}}".to_owned(),
    ];
    let paths = ["/mcp", "/files/a%20b", "/a%2Fb", "/a/../b", "/a%252e", "/a;b", "/é/"];
    let request = |token: &str| {
        format!(
            ":method: POST\n:path: /mcp?a=b\ncontent-type: application/json\nmcp-method: tools/call\n\
             mcp-name: a\nauthorization: Bearer {token}\n\n{call}"
        )
    };
    // Valid except for its signature: the harness trusts another key of this name.
    let forged = key.token(&claims_of_2027());
    let (unsigned, _) = forged.rsplit_once('.').unwrap();
    let tokens = [&forged, &token, &format!("{unsigned}.")].map(|token| request(token));
    // Without a message, only the signature is wrong.
    let short = format!(":path: /\nauthorization: Bearer {unsigned}.AAAA");
    let key_sets = key_sets();
    vec![
        ("jws", bytes([token.clone()])),
        ("claims", bytes([claims_of_2027().to_string()])),
        ("certificates", {
            bytes([Algorithm::Rs256, Algorithm::Es384, Algorithm::EdDsa].map(certificate))
        }),
        ("discovery", bytes([metadata.to_string()])),
        ("configuration", bytes(configurations())),
        ("lists", bytes(lists)),
        ("outcomes", bytes(outcomes)),
        ("mcp_message", bytes([call.to_string()])),
        ("paths", bytes(paths)),
        ("header_values", bytes(["ada\nops, incident\n100 %\né\n"])),
        ("authenticator", bytes(tokens.into_iter().chain([short, ":path: /healthz".to_owned()]))),
        ("bearer_token", bytes([request("a.b.c"), request("a, Bearer b")])),
        ("shared_state", vec![state(), published(&key_sets[0]), spent_tokens()]),
        ("key_set", bytes(key_sets)),
        ("hooks", callbacks()),
        ("gateway", bytes(conversations(&forged))),
    ]
}

/// Conversations with a gateway: requests, and the responses to its callouts.
fn conversations(token: &str) -> [String; 4] {
    let client = "https://client.example/client.json";
    let redirect_uri = "http://localhost:7777/callback";
    let metadata = json!({"redirect_uris": [redirect_uri], "client_name": "Client"});
    let document = json!({
        "client_id": client, "client_name": "Client", "redirect_uris": [redirect_uri],
    });
    let authorization = |client: &str| {
        let query = form_of(&[
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect_uri),
            ("code_challenge", &s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")),
            ("code_challenge_method", "S256"),
            ("state", "s"),
            ("resource", "https://mcp.example.com/mcp"),
        ]);
        let cookies = "__Host-a=1; b=\"2\"";
        format!(
            ":method: GET\n:path: /oauth/authorize?{query}\n:authority: mcp.example.com\n\
             cookie: {cookies}\nsec-fetch-mode: navigate\nsec-fetch-dest: document"
        )
    };
    let post = |path: &str, media_type: &str, body: &str| {
        format!(
            ":method: POST\n:path: {path}\n:authority: mcp.example.com\n\
             content-type: {media_type}\n\n{body}"
        )
    };
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let user = json!({"totalResults": 1, "Resources": [{"userName": "ada", "active": true}]});
    [
        post("/oauth/register", json, &metadata.to_string()),
        [
            authorization("known"),
            authorization(client),
            format!(":status: 200\ncontent-type: {json}\n\n{document}"),
        ]
        .join("\0"),
        post(
            "/oauth/token",
            form,
            "grant_type=authorization_code&client_id=known&code=c&redirect_uri=http%3A%2F%2Flocalhost",
        ),
        [
            format!(
                ":method: POST\n:path: /mcp\n:authority: mcp.example.com\n\
                 authorization: Bearer {token}"
            ),
            format!(":status: 200\ncontent-type: application/scim+json\n\n{user}"),
        ]
        .join("\0"),
    ]
}

/// Sequences of callbacks of the native module, as `tests/dynamic_module/sequences.rs` reads them: a
/// configuration first.
fn callbacks() -> Vec<Vec<u8>> {
    const RUN: u8 = 9;
    const MAIN: u8 = 10;
    const OPEN: u8 = 2;
    const ANSWER: u8 = 11;
    // Sequences: a response with the key set, and the heads of requests with a valid or a forged
    // token.
    const KEYS: [u8; 4] = [ANSWER, 0, 4, 1];
    const VALID: [u8; 7] = [OPEN, 0, 0, 0, 0, 1, 0];
    const FORGED: [u8; 7] = [OPEN, 0, 2, 0, 0, 1, 0];
    [
        // Keys come first; then a valid token and a forged one.
        [&[0, 0, RUN][..], &KEYS, &VALID, &FORGED].concat(),
        // A request waits for its keys.
        [&[0, 0][..], &VALID, &[MAIN], &KEYS, &[RUN]].concat(),
        // One waits for the directory.
        [&[3, 0, RUN][..], &KEYS, &VALID, &[RUN, ANSWER, 0, 3, 1, RUN]].concat(),
        // One waits for the store, and a message for its body.
        [&[4, 1, RUN][..], &KEYS, &VALID, &[RUN, ANSWER, 0, 2, 1, RUN, 6, 0, 0, 0]].concat(),
    ]
    .to_vec()
}

fn bytes<T: AsRef<[u8]>>(seeds: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect()
}

/// Claims that are valid at the harness's time.
fn claims_of_2027() -> Value {
    let mut claims = claims_at(1_800_000_000, "https://id.example.com", "mcp");
    claims["account"] = json!({"name": "ada"});
    claims["address"] = json!({"country": "DE"});
    claims
}

fn key_sets() -> Vec<String> {
    let algorithms =
        [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::EdDsa];
    let keys = algorithms.map(|algorithm| SigningKey::generate(algorithm, "a").public_jwk());
    keys.iter().map(|key| json!({"keys": [key]}).to_string()).collect()
}

fn certificate(algorithm: Algorithm) -> String {
    SigningKey::generate(algorithm, "a").certificate_pem()
}

/// The configurations of the pages, and that of the example.
fn configurations() -> Vec<String> {
    let pages = ["README.md", "docs/configuration.md", "docs/users.md", "docs/replay.md"];
    let texts = pages.map(|page| fs::read_to_string(repository_root().join(page)).unwrap());
    let blocks = texts.iter().flat_map(|text| code_blocks(text, "yaml"));
    let shown = blocks.map(|block| yaml(&block).to_string());
    let example = fs::read_to_string(repository_root().join("envoy/envoy.yaml")).unwrap();
    let example = plugin_configurations(&yaml(&example));
    shown.chain(example.iter().map(Value::to_string)).collect()
}

fn state() -> Vec<u8> {
    let state = json!({
        "lease": {"holder": 1, "taken": 1_800_000_000_000_u64, "timeout": 5000},
        "failure": {"count": 1, "since": 1, "at": 1, "retry_at": 2,
            "why": {"code": "no_response", "cause": "no response"}},
        "unknown_key_fetch": 1,
        "discovered": {"key_set_url": "https://id.example.com/keys", "at": 1, "is_doubtful": true},
        "published": {"version": 1, "at": 1, "stated_lifetime": 3600, "jitter": 7},
    });
    state.to_string().into_bytes()
}

fn published(key_set: &str) -> Vec<u8> {
    [&1_u64.to_be_bytes()[..], key_set.as_bytes()].concat()
}

fn spent_tokens() -> Vec<u8> {
    [&[1, 0, 0, 0, 0][..], &[7; 20], &[7; 20]].concat()
}
