//! Tokens and credentials that do not pass: the contract's table of responses. Each case fails
//! exactly one check; the same token without the fault passes.

mod claims;
mod keys;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use p256::ecdsa::Signature;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::{Algorithm, Document, IdentityProvider, Response, SigningKey, Stack, now, random_id};

use crate::support::{
    add_providers, assert_none, assert_tokens_accepted, assert_tokens_refused, base64url,
    claims_of, faults_of_refusal, issuer_of, named, signed, static_provider, with, without,
};

/// The default of `clock_skew`.
const SKEW: u64 = 300;

// Requirement: token-not-in-query
#[tokio::test(flavor = "multi_thread")]
async fn credentials_other_than_one_bearer_token_are_refused() {
    let stack = Stack::builder().start().await;
    let good = stack.token();
    let bearer = format!("Bearer {good}");
    let authorization = |lines: &[&str]| {
        lines.iter().fold(stack.request(), |request, line| request.header("authorization", *line))
    };
    let query = |query: &str| {
        let url = format!("{}?{query}", stack.url());
        Response::mcp_call(stack.client(), &url)
    };
    let cases = [
        ("none", authorization(&[]), "missing_token"),
        ("an empty value", authorization(&[""]), "missing_token"),
        ("only spaces", authorization(&["   "]), "missing_token"),
        ("two empty lines", authorization(&["", ""]), "missing_token"),
        ("Bearer alone", authorization(&["Bearer"]), "malformed_authorization"),
        ("Bearer and spaces", authorization(&["Bearer   "]), "malformed_authorization"),
        ("Basic", authorization(&["Basic YTpi"]), "malformed_authorization"),
        ("DPoP", authorization(&[&format!("DPoP {good}")]), "malformed_authorization"),
        ("no scheme", authorization(&[&good]), "malformed_authorization"),
        ("longer scheme", authorization(&[&format!("Bearers {good}")]), "malformed_authorization"),
        ("no space", authorization(&[&format!("Bearer{good}")]), "malformed_authorization"),
        ("a tab", authorization(&[&format!("Bearer\t{good}")]), "malformed_authorization"),
        (
            "two in a line",
            authorization(&[&format!("{bearer}, {bearer}")]),
            "malformed_authorization",
        ),
        ("two lines", authorization(&[&bearer, &bearer]), "malformed_authorization"),
        ("Basic before", authorization(&["Basic YTpi", &bearer]), "malformed_authorization"),
        ("Basic after it", authorization(&[&bearer, "Basic YTpi"]), "malformed_authorization"),
        ("something after it", authorization(&[&format!("{bearer} x")]), "malformed_authorization"),
        ("a comma after it", authorization(&[&format!("{bearer},")]), "malformed_authorization"),
        ("query alone", query(&format!("access_token={good}")), "malformed_authorization"),
        ("query too", query("access_token=x").bearer_auth(&good), "malformed_authorization"),
        (
            "query, escaped",
            query("a=1&%61ccess%5ftoken=x").bearer_auth(&good),
            "malformed_authorization",
        ),
        ("query, no value", query("a&access_token").bearer_auth(&good), "malformed_authorization"),
    ];
    let mut faults = Vec::new();
    for (name, request, reason) in cases {
        let response = stack.send_refused(request).await;
        faults.extend(named(name, faults_of_refusal(&response, reason)));
    }
    assert_none(&faults);

    for like in ["my_access_token=a", "a=access_token", "access_tokens=a", ""] {
        let response = stack.send(query(like).bearer_auth(&good)).await;
        assert_eq!(response.status, 200, "{like}: {response:?}");
    }
}

// Requirement: all-connections
// Requirement: token-in-every-request
// Requirement: challenge-without-token
// Requirement: verify-all-requests
#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_method_needs_a_token() {
    let stack = Stack::builder().start().await;
    let mut faults = Vec::new();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
        for path in [
            "/mcp",
            "/",
            "/healthz",
            "/favicon.ico",
            "/.well-known/oauth-protected-resource/other",
            "/.well-known/oauth-protected-resource/mcp/more",
            "/.well-known/oauth-protected-resources",
            "/.well-known/oauth-protected-resource;x",
            "/.WELL-KNOWN/oauth-protected-resource",
            "/x/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/../../mcp",
            "/.well-known/oauth-protected-resource/%2e%2e/%2e%2e/mcp",
            "/mcp?/.well-known/oauth-protected-resource",
            "/mcp;/.well-known/oauth-protected-resource",
        ] {
            let url = stack.envoy.url(path);
            let request = stack.client().request(method.parse().unwrap(), url);
            let mut response = stack.send_refused(request).await;
            if method == "HEAD" {
                // This response must not have a body.
                assert_eq!(response.text, "");
                response.body = json!({
                    "error": "missing_token", "reason": "missing_token", "error_description": "-",
                });
            }
            let fault = faults_of_refusal(&response, "missing_token");
            faults.extend(named(&format!("{method} {path}"), fault));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_but_a_compact_jws_is_refused() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let good = stack.token();
    let [header, payload, signature] =
        <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let jwe = base64url(json!({"alg": "RSA-OAEP-256", "enc": "A256GCM"}).to_string());
    let plus = BASE64_STANDARD_NO_PAD.encode(with(&key.header(), "x", "???>>>").to_string());
    assert!(plus.contains(['+', '/']), "{plus}");
    let padded = with(&key.header(), "x", "y").to_string();
    let padded = (0..3).map(|spaces| BASE64_URL_SAFE.encode(format!("{padded}{:spaces$}", "")));
    let padded = padded.into_iter().find(|text| text.ends_with('=')).unwrap();
    let unpadded = (0..3).map(|spaces| base64url(format!("{}{:spaces$}", stack.claims(), "")));
    let stray = unpadded.map(|text| stray_bits(&text)).find(Option::is_some).flatten().unwrap();
    let cases = [
        ("one segment", "abc".to_owned()),
        ("two segments", format!("{header}.{payload}")),
        ("four segments", format!("{good}.{signature}")),
        ("a dot at the end", format!("{good}.")),
        ("a dot in front", format!(".{good}")),
        ("a JWE of five", format!("{jwe}.YQ.YQ.YQ.YQ")),
        ("a JWE of three", format!("{jwe}.YQ.YQ")),
        ("dots alone", "..".to_owned()),
        ("one dot", ".".to_owned()),
        ("many dots", ".".repeat(5000)),
        ("empty header", format!(".{payload}.{signature}")),
        ("empty payload", signed(&key, header, "")),
        ("empty signature", format!("{header}.{payload}.")),
        ("base64 instead of base64url", signed(&key, &plus, payload)),
        ("padding", signed(&key, &padded, payload)),
        ("padding of the signature", format!("{good}==")),
        ("an invalid character", signed(&key, header, &format!("{payload}~"))),
        ("a segment of impossible length", signed(&key, &base64url("{}")[..1], payload)),
        ("stray bits in the payload", signed(&key, header, &stray)),
        (
            "stray bits in the signature",
            format!("{header}.{payload}.{}", stray_bits(signature).unwrap()),
        ),
        ("percent-encoding", good.replace('.', "%2E")),
        ("quotes", format!("\"{good}\"")),
    ]
    .map(|(name, token)| (name, token, "malformed_token"));
    assert_tokens_refused(&stack, cases).await;
    assert_tokens_accepted(&stack, [("the same without faults", good)]).await;
}

/// Sets a bit of the last character that encodes no data; `None` if there is no such bit.
fn stray_bits(base64url: &str) -> Option<String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = base64url.bytes().last()?;
    let value = ALPHABET.iter().position(|&letter| letter == last)?;
    let mut text = base64url.to_owned();
    text.pop();
    text.push(char::from(ALPHABET[value | 1]));
    (!base64url.len().is_multiple_of(4)).then_some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_not_json_objects_are_refused() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let header = key.header().to_string();
    let claims = stack.claims().to_string();
    let mut cases = Vec::new();
    for (name, of_header, of_payload) in [
        ("empty", vec![], vec![]),
        ("no JSON", b"abc".to_vec(), b"abc".to_vec()),
        ("an array", format!("[{header}]").into(), format!("[{claims}]").into()),
        ("a string", b"\"{}\"".to_vec(), b"\"{}\"".to_vec()),
        ("a number", b"1".to_vec(), b"1".to_vec()),
        ("null", b"null".to_vec(), b"null".to_vec()),
        ("half", header.as_bytes()[..20].into(), claims.as_bytes()[..20].into()),
        ("something after it", format!("{header}x").into(), format!("{claims}x").into()),
        ("two objects", format!("{header}{{}}").into(), format!("{claims}{{}}").into()),
        (
            "a byte-order mark",
            format!("\u{feff}{header}").into(),
            format!("\u{feff}{claims}").into(),
        ),
        ("a NUL after it", format!("{header}\0").into(), format!("{claims}\0").into()),
        ("not UTF-8", broken_text(&header), broken_text(&claims)),
        ("UTF-16", utf16(&header), utf16(&claims)),
        ("a trailing comma", changed_end(&header, ",}"), changed_end(&claims, ",}")),
        ("a comment", changed_end(&header, "/**/}"), changed_end(&claims, "/**/}")),
        ("NaN", changed_end(&header, ",\"x\":NaN}"), changed_end(&claims, ",\"x\":NaN}")),
        ("1e999", changed_end(&header, ",\"x\":1e999}"), changed_end(&claims, ",\"x\":1e999}")),
        (
            "half a pair",
            changed_end(&header, r#","x":"\ud800"}"#),
            changed_end(&claims, r#","x":"\ud800"}"#),
        ),
    ] {
        let of_header = signed(&key, &base64url(of_header), &base64url(&claims));
        cases.push((format!("{name} as header"), of_header, "malformed_token"));
        let of_payload = signed(&key, &base64url(&header), &base64url(of_payload));
        cases.push((format!("{name} as payload"), of_payload, "malformed_token"));
    }
    assert_tokens_refused(&stack, cases).await;
    assert_tokens_accepted(&stack, [("good", key.sign_raw(&header, claims.as_bytes()))]).await;
}

fn changed_end(object: &str, end: &str) -> Vec<u8> {
    let body = object.strip_suffix('}').expect("it is an object");
    format!("{body}{end}").into_bytes()
}

fn broken_text(object: &str) -> Vec<u8> {
    let body = object.strip_suffix('}').expect("it is an object");
    [body.as_bytes(), b",\"x\":\"\xff\"}"].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_named_twice_are_refused() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let header = key.header().to_string();
    let claims = stack.claims();
    let issuer = claims["iss"].to_string();
    let claims = claims.to_string();
    let mut cases = Vec::new();
    for more in
        [r#","alg":"RS256""#, r#","alg":"none""#, r#","\u0061lg":"RS256""#, r#","x":{"a":1,"a":1}"#]
    {
        let header = changed_end(&header, &format!("{more}}}"));
        cases.push((
            format!("header with {more}"),
            signed(&key, &base64url(header), &base64url(&claims)),
        ));
    }
    let same_issuer = format!(r#","iss":{issuer}"#);
    let escaped_issuer = format!(r#","\u0069ss":{issuer}"#);
    for more in [
        &same_issuer,
        &escaped_issuer,
        r#","sub":"eve""#,
        r#","exp":1"#,
        r#","x":{"a":1,"b":2,"a":1}"#,
        r#","x":[[{"a":1,"\u0061":null}]]"#,
        r#","x":{"":1,"":2}"#,
    ] {
        let claims = changed_end(&claims, &format!("{more}}}"));
        cases.push((
            format!("payload with {more}"),
            signed(&key, &base64url(&header), &base64url(claims)),
        ));
    }
    let cases = cases.into_iter().map(|(name, token)| (name, token, "malformed_token"));
    assert_tokens_refused(&stack, cases).await;
    let once = changed_end(&claims, r#","x":[{"a":1},{"a":1},{"A":1,"a":2}]}"#);
    let once = signed(&key, &base64url(&header), &base64url(once));
    assert_tokens_accepted(&stack, [("each once in its object", once)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_alg_or_with_members_of_wrong_types_is_refused() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let header = key.header();
    let cases = [
        ("no alg", without(&header, "alg")),
        ("alg null", with(&header, "alg", Value::Null)),
        ("alg a number", with(&header, "alg", 256)),
        ("alg an array", with(&header, "alg", json!(["RS256"]))),
        ("kid null", with(&header, "kid", Value::Null)),
        ("kid a number", with(&header, "kid", 1)),
        ("kid an array", with(&header, "kid", json!([key.kid()]))),
        ("kid an object", with(&header, "kid", json!({}))),
    ]
    .map(|(name, header)| (name, key.sign(&header, &stack.claims()), "malformed_token"));
    assert_tokens_refused(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_longer_than_allowed_is_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("own", &[&key], json!({}));
    let default = Stack::builder().configure({
        let provider = provider.clone();
        |value| add_providers(value, [provider])
    });
    let short = Stack::builder().configure(|configuration| {
        add_providers(configuration, [provider]);
        configuration["max_token_size"] = json!("1KiB");
    });
    for (builder, limit) in [(default, 8 * 1024), (short, 1024)] {
        let stack = builder.start().await;
        let longest = token_of_length(&key, limit);
        assert_tokens_accepted(&stack, [("as long as allowed", longest)]).await;
        let cases = [("one more", limit + 1), ("twice", limit * 2), ("much more", 40 * 1024)]
            .map(|(name, length)| (name, token_of_length(&key, length), "malformed_token"));
        assert_tokens_refused(&stack, cases).await;
    }
}

fn token_of_length(key: &SigningKey, length: usize) -> String {
    let claims = with(&claims_of("own"), "fill", "");
    for in_header in 0..4 {
        let header = with(&key.header(), "fill", "x".repeat(in_header));
        let empty = key.sign(&header, &claims).len();
        let about = (length.saturating_sub(empty) * 3 / 4).saturating_sub(2);
        for in_payload in about..about + 6 {
            let token = key.sign(&header, &with(&claims, "fill", "x".repeat(in_payload)));
            if token.len() == length {
                return token;
            }
        }
    }
    panic!("no token has {length} bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_algorithm_that_is_unknown_or_not_allowed_is_refused() {
    let rsa = SigningKey::generate(Algorithm::Rs256, "rsa");
    let elliptic = SigningKey::generate(Algorithm::Es256, "elliptic");
    let provider =
        static_provider("elliptic-only", &[&rsa, &elliptic], json!({"algorithms": ["ES256"]}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let key = stack.provider.key();
    let claims = stack.claims();
    let mut cases = Vec::new();
    for name in [
        "none", "None", "NONE", "nOnE", "", " none", "none ", "rs256", "RS256 ", "RS1", "ES256K",
        "RSA-OAEP", "Ed448", "dir",
    ] {
        let header = with(&key.header(), "alg", name);
        let signed = key.sign(&header, &claims);
        let (input, _) = signed.rsplit_once('.').unwrap();
        cases.push((format!("{name:?} without signature"), format!("{input}.")));
        cases.push((format!("{name:?} with one"), signed));
    }
    let jwk = key.public_jwk();
    let secrets = [
        ("its certificate", key.certificate_pem()),
        ("its JWK", jwk.to_string()),
        ("its modulus", jwk["n"].as_str().unwrap().to_owned()),
        ("nothing", String::new()),
    ];
    for (name, secret) in secrets {
        let header = with(&key.header(), "alg", "HS256");
        cases.push((format!("HS256 by {name}"), hs256(&header, &claims, secret.as_bytes())));
    }
    let not_allowed = rsa.token(&claims_of("elliptic-only"));
    cases.push(("RS256 where ES256 is allowed".to_owned(), not_allowed));
    let cases = cases.into_iter().map(|(name, token)| (name, token, "unsupported_algorithm"));
    assert_tokens_refused(&stack, cases).await;
    assert_tokens_accepted(&stack, [("ES256", elliptic.token(&claims_of("elliptic-only")))]).await;
}

fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let input = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    // RFC 2104 for a block of 64 bytes.
    let mut block = match secret.len() {
        0..=64 => secret.to_vec(),
        _ => Sha256::digest(secret).to_vec(),
    };
    block.resize(64, 0);
    let padded = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
    let inner = Sha256::digest([padded(0x36), input.clone().into_bytes()].concat());
    let outer = Sha256::digest([padded(0x5c), inner.to_vec()].concat());
    format!("{input}.{}", base64url(outer))
}

#[tokio::test(flavor = "multi_thread")]
async fn critical_extensions_are_refused() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let header = key.header();
    let crit = |value: Value| with(&header, "crit", value);
    let cases = [
        ("an unknown name", with(&crit(json!(["x"])), "x", 1)),
        ("a name that is not there", crit(json!(["x"]))),
        ("exp", with(&crit(json!(["exp"])), "exp", now() + 1000)),
        ("a registered name", crit(json!(["alg"]))),
        ("b64 true", with(&crit(json!(["b64"])), "b64", true)),
        ("b64 false", with(&crit(json!(["b64"])), "b64", false)),
        ("nothing", crit(json!([]))),
        ("no array", crit(json!("x"))),
        ("null", crit(Value::Null)),
        ("numbers", crit(json!([1]))),
        ("b64 false alone", with(&header, "b64", false)),
        ("b64 no boolean", with(&header, "b64", "true")),
    ]
    .map(|(name, header)| {
        (name, key.sign(&header, &stack.claims()), "unsupported_critical_header")
    });
    assert_tokens_refused(&stack, cases).await;
}

// Requirement: token-own-resources
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_other_types_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("access-only", &[&key], json!({"token_types": ["at+jwt"]}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let provider_key = stack.provider.key();
    let cases = [
        json!("oauth-id-jag+jwt"),
        json!("dpop+jwt"),
        json!("logout+jwt"),
        json!("application/logout+jwt"),
        json!("Logout+JWT"),
        json!("secevent+jwt"),
        json!("at+jwt2"),
        json!("application/application/at+jwt"),
        json!("text/at+jwt"),
        json!("JWE"),
        json!(" JWT"),
        json!(""),
        json!(1),
        json!(["JWT"]),
        Value::Null,
    ]
    .map(|typ| {
        let token =
            provider_key.sign(&with(&provider_key.header(), "typ", typ.clone()), &stack.claims());
        (typ.to_string(), token, "wrong_token_type")
    });
    assert_tokens_refused(&stack, cases).await;

    let claims = claims_of("access-only");
    let refused = [
        ("JWT is not listed", key.sign(&with(&key.header(), "typ", "JWT"), &claims)),
        ("none is not listed", key.sign(&without(&key.header(), "typ"), &claims)),
    ]
    .map(|(name, token)| (name, token, "wrong_token_type"));
    assert_tokens_refused(&stack, refused).await;
    let accepted = ["at+jwt", "application/at+jwt", "AT+JWT"]
        .map(|typ| (typ, key.sign(&with(&key.header(), "typ", typ), &claims)));
    assert_tokens_accepted(&stack, accepted).await;
}

// Requirement: token-issued-for-server
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_issuer_is_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let inactive = static_provider("inactive", &[&key], json!({"active": false}));
    let active = static_provider("active", &[&key], json!({}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [inactive, active]))
        .start()
        .await;
    let claims = claims_of("active");
    let issuer = issuer_of("active");
    let cases = [
        ("unknown", with(&claims, "iss", "https://else.example")),
        ("with a slash at the end", with(&claims, "iss", format!("{issuer}/"))),
        ("in upper case", with(&claims, "iss", issuer.to_uppercase())),
        ("with a port", with(&claims, "iss", format!("{issuer}:443"))),
        ("with http", with(&claims, "iss", issuer.replace("https", "http"))),
        ("with a space at the end", with(&claims, "iss", format!("{issuer} "))),
        ("a part", with(&claims, "iss", &issuer[..issuer.len() - 1])),
        ("of an inactive provider", with(&claims, "iss", issuer_of("inactive"))),
        ("the provider's name", with(&claims, "iss", "active")),
        ("missing", without(&claims, "iss")),
        ("empty", with(&claims, "iss", "")),
        ("null", with(&claims, "iss", Value::Null)),
        ("a number", with(&claims, "iss", 1)),
        ("an array", with(&claims, "iss", json!([issuer]))),
    ]
    .map(|(name, claims)| (name, key.token(&claims), "unknown_issuer"));
    assert_tokens_refused(&stack, cases).await;
    assert_tokens_accepted(&stack, [("good", key.token(&claims))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_for_microsoft_graph_are_refused_with_a_hint() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let claims = stack.claims();
    let header = with(&key.header(), "nonce", random_id());
    let stranger = SigningKey::generate(Algorithm::Rs256, key.kid());
    let graph = [
        "00000003-0000-0000-c000-000000000000",
        "https://graph.microsoft.com",
        "https://graph.microsoft.com/",
    ];
    let mut cases = graph
        .map(|audience| {
            (audience.to_owned(), key.sign(&header, &with(&claims, "aud", audience)), "graph_token")
        })
        .to_vec();
    let foreign = with(&with(&claims, "aud", graph[0]), "iss", "https://sts.windows.net/x/");
    cases.push(("of an unknown issuer".to_owned(), key.sign(&header, &foreign), "graph_token"));
    cases.push(("by its signature".to_owned(), stranger.sign(&header, &claims), "graph_token"));
    cases.push((
        "for Graph, without nonce".to_owned(),
        key.token(&with(&claims, "aud", graph[0])),
        "audience_mismatch",
    ));
    cases.push(("another's, without nonce".to_owned(), stranger.token(&claims), "bad_signature"));
    assert_tokens_refused(&stack, cases).await;
}
