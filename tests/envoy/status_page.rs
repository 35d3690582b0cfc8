//! The page that shows operators the state of the keys and which requests were refused, and why.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, Document, Fault, IdentityProvider, Port, SigningKey, Stack, StackBuilder,
    look_at_page,
};

use crate::support::{SOON, add_listener, assert_refusal, with};

/// The example of the status page, running.
struct Example {
    stack: Stack,
    port: Port,
}

impl Example {
    async fn start(configure: impl FnOnce(StackBuilder) -> StackBuilder) -> Self {
        let port = Port::free();
        let number = port.number();
        let builder = configure(Stack::builder().alone().bootstrap(Bootstrap::status_example()));
        let builder = builder.edit(move |bootstrap| bootstrap.set_status_port(number));
        Self { stack: builder.start().await, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    async fn text(&self, path: &str) -> String {
        let response = self.stack.send(self.stack.client().get(self.url(path))).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.text
    }

    async fn status(&self) -> Value {
        serde_json::from_str(&self.text("/status.json").await).expect("it is JSON")
    }

    /// Returns the status as soon as this holds for it.
    async fn status_with(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let asked = Instant::now();
        loop {
            let status = self.status().await;
            if is_so(&status) {
                return status;
            }
            assert!(asked.elapsed() < SOON, "{what}: {status:#}\n{}", self.stack.envoy.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the last refusal for a reason, as soon as it is shown.
    async fn refusal(&self, reason: &str) -> Value {
        let status = self.status_with(reason, |status| !last(status, reason).is_null()).await;
        last(&status, reason)
    }

    /// The whole page, in both forms.
    async fn everything(&self) -> String {
        self.text("/").await + &self.text("/status.json").await
    }
}

fn demo(status: &Value) -> &Value {
    &status["configurations"][0]["providers"][0]
}

fn last(status: &Value, reason: &str) -> Value {
    let reasons = status["refusals"].as_array().expect("it is a list");
    let found = reasons.iter().find(|candidate| candidate["reason"] == reason);
    found.map(|value| value["last"][0].clone()).unwrap_or_default()
}

fn kids(provider: &Value) -> Vec<&str> {
    let keys = provider["keys"].as_array().expect("it is a list");
    keys.iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_shown_whichever_worker_serves_the_page() {
    const WORKERS: usize = 4;
    let example = Example::start(|builder| builder.workers(WORKERS)).await;
    let stack = &example.stack;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    let status = example.status_with("counted", |status| status["requests"] != json!([])).await;
    let expected = json!([
        {"provider": "demo", "outcome": "allowed", "reason": null, "count": 1},
    ]);
    assert_eq!(status["requests"], expected);
    let key = stack.provider.key();
    let address = example.port.address().to_string().replace(':', "_");
    let prefix = format!("listener.{address}.worker_");
    let asked = Instant::now();
    loop {
        let status = example.status().await;
        assert_eq!(status["configurations"].as_array().map(Vec::len), Some(1));
        let provider = demo(&status);
        assert_eq!((&provider["level"], &provider["state"]), (&json!("good"), &json!("fresh")));
        assert_eq!(kids(provider), [key.kid()]);
        assert_eq!(provider["keys"][0]["algorithms"], json!([key.algorithm().to_string()]));
        assert_eq!(provider["source"]["url"], stack.provider.metadata_url());
        assert_eq!(provider["source"]["discovered"]["jwks_uri"], stack.provider.jwks_url());
        assert_eq!(provider["issuers"], json!([stack.provider.issuer()]));
        assert!(provider["key_set"]["version"].as_u64().is_some_and(|version| version > 0));
        assert!(provider["key_set"]["age_seconds"].as_u64().is_some_and(|age| age < 60));
        let served = stack.envoy.stats().await.into_iter().filter(|(name, value)| {
            name.starts_with(&prefix) && name.ends_with("downstream_cx_total") && *value > 0
        });
        if served.count() == WORKERS {
            break;
        }
        assert!(asked.elapsed() < SOON, "some worker serves no page");
    }
    assert_eq!(counts(&stack.provider), 1);
}

fn counts(provider: &IdentityProvider) -> usize {
    provider.count(Document::KeySet)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_refused_calls_are_listed_with_their_tools() {
    let example = Example::start(|builder| {
        builder.configure(|configuration| {
            configuration["access"] = json!({"default": "allow", "rules": [{
                "name": "administration",
                "match": {"mcp_methods": ["tools/call"], "mcp_names": ["admin_*"]},
                "require": {"roles": ["admin"]},
            }]});
        })
    })
    .await;
    let stack = &example.stack;
    for tool in ["admin_reset", "admin_reset", "admin_<b>", "whoami"] {
        let params = json!({"name": tool, "arguments": {}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        stack.send(stack.request().bearer_auth(stack.token()).json(&body)).await;
    }
    let status = example
        .status_with("two refused calls", |status| {
            status["refused_calls"].as_array().is_some_and(|calls| calls.len() == 2)
        })
        .await;
    let calls: Vec<_> = status["refused_calls"].as_array().unwrap().iter().collect();
    let shown = calls.iter().map(|call| json!([call["name"], call["reason"], call["times"]]));
    let expected =
        [json!(["admin_<b>", "access_denied", 1]), json!(["admin_reset", "access_denied", 2])];
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by_key(Value::to_string);
    assert_eq!(shown, expected);
    let everything = example.everything().await;
    assert!(everything.contains("admin_reset") && everything.contains("admin_&lt;b&gt;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_listed_with_the_values_seen_and_the_values_configured() {
    let example = Example::start(|builder| builder.workers(4)).await;
    let stack = &example.stack;
    let key = stack.provider.key();
    let stranger = SigningKey::generate(Algorithm::Es256, "asked-for");
    let claims = with(&stack.claims(), "email", "somebody@secret.example");
    let claims = with(&claims, "sub", "secret-subject");
    let elsewhere = "https://elsewhere.example";
    let tokens = [
        ("unknown_kid", stranger.token(&claims)),
        ("unknown_issuer", key.token(&with(&claims, "iss", elsewhere))),
        ("audience_mismatch", key.token(&with(&claims, "aud", "another-service"))),
    ];
    for (reason, token) in &tokens {
        assert_refusal(&stack.call_refused(token).await, reason);
    }
    let unknown = example.refusal("unknown_kid").await;
    assert_eq!(unknown["details"], json!({"kid": "asked-for", "published": [key.kid()]}));
    assert_eq!((&unknown["keys_now"], &unknown["provider"]), (&json!([key.kid()]), &json!("demo")));
    let issuer = example.refusal("unknown_issuer").await;
    let configured = [stack.provider.issuer()];
    assert_eq!(issuer["details"], json!({"iss": elsewhere, "configured": configured}));
    let audience = example.refusal("audience_mismatch").await;
    let details = json!({"aud": ["another-service"], "configured": [Stack::AUDIENCE]});
    assert_eq!(audience["details"], details);
    let status = example
        .status_with("three counters", |status| {
            status["requests"].as_array().is_some_and(|value| value.len() == 3)
        })
        .await;
    let counted = status["refusals"].as_array().unwrap();
    assert!(counted.iter().all(|candidate| candidate["count"] == 1), "{status:#}");
    assert_eq!(audience["configuration"], status["configurations"][0]["digest"]);

    let everything = example.everything().await;
    assert!(everything.contains("docs/troubleshooting.md#unknown_kid"));
    assert!(everything.contains("<dt>Token’s kid</dt><dd><code>asked-for</code></dd>"));
    // Of a token, the page shows only what the log line has too.
    for (_, token) in &tokens {
        for part in token.split('.') {
            assert!(!everything.contains(part), "{part} is shown");
        }
    }
    for secret in ["somebody@secret.example", "secret-subject", claims["jti"].as_str().unwrap()] {
        assert!(!everything.contains(secret), "{secret} is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_key_endpoint_is_shown_with_its_cause_and_fix() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Status(500));
    let mut example = Example::start(|builder| builder.workers(4).provider(provider)).await;
    let failing = example.status_with("failing", |status| !demo(status)["failure"].is_null()).await;
    let provider = demo(&failing);
    assert_eq!((&provider["level"], &provider["state"]), (&json!("bad"), &json!("no keys")));
    let cause = provider["failure"]["cause"].as_str().unwrap();
    let url = example.stack.provider.metadata_url();
    assert!(
        cause.starts_with(&format!("fetching keys from {url} failed: the response has status 500")),
        "{cause}"
    );
    assert_eq!(provider["failure"]["code"], "server_error");
    assert!(provider["failure"]["next_attempt"].as_str() >= provider["failure"]["since"].as_str());
    assert!(
        provider["summary"].as_str().unwrap().starts_with("Fetching keys has failed "),
        "{provider:#}"
    );
    assert!(provider["advice"].as_str().unwrap().contains("provider fails"), "{provider:#}");
    assert_refusal(&example.stack.call_refused(&example.stack.token()).await, "keys_unavailable");
    let refusal = example.refusal("keys_unavailable").await;
    assert!(refusal["details"]["cause"].as_str().unwrap().contains("status 500"), "{refusal:#}");

    example.stack.provider.stop().await;
    let refused = example
        .status_with("no process listens", |status| {
            demo(status)["advice"].as_str().is_some_and(|advice| advice.contains("cannot connect"))
        })
        .await;
    let cause = demo(&refused)["failure"]["cause"].as_str().unwrap();
    assert!(cause.contains("remote connection failure"), "{cause}");
    let (before, after) = (&provider["failure"], &demo(&refused)["failure"]);
    assert_eq!(before["since"], after["since"]);
    assert!(before["attempts"].as_u64() < after["attempts"].as_u64());
    let page = example.text("/").await;
    assert!(page.contains("<title>Failing"), "{page}");

    example.stack.provider.heal(Document::Discovery);
    example.stack.provider.start_again();
    let well = example.status_with("well", |status| status["level"] == "good").await;
    assert_eq!(demo(&well)["failure"], Value::Null);
    assert_eq!(demo(&well)["advice"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_other_than_keys_is_shown_with_its_fix() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::KeySet, Fault::Body(b"{}".to_vec()));
    let example = Example::start(|builder| builder.provider(provider)).await;
    let provider = &example.stack.provider;
    let gzip = Fault::Encoded("gzip", vec![0x1f, 0x8b, 8]);
    let unusable = json!({"keys": [{"kty": "RSA", "kid": "k1", "e": "AQAB", "n": "a+b c"}]});
    let moved = "https://id.example.com/keys";
    for (fault, cause, advice) in [
        (None, "it is an empty object, without `keys`", "has no signing key"),
        (
            Some(gzip),
            "it is compressed (content-encoding \"gzip\")",
            "does not request compression",
        ),
        (Some(Fault::Redirect(moved.to_owned())), moved, "configure the address that it leads to"),
        (
            Some(Fault::Body(unusable.to_string().into())),
            "\"k1\": its n is not valid plain base64: character 4 is ' '",
            "must publish a key",
        ),
    ] {
        if let Some(fault) = fault {
            provider.fail(Document::KeySet, fault);
        }
        let has_cause = |status: &Value| {
            demo(status)["failure"]["cause"].as_str().is_some_and(|value| value.contains(cause))
        };
        let status = example.status_with(cause, has_cause).await;
        let provider = demo(&status);
        assert!(provider["advice"].as_str().unwrap().contains(advice), "{provider:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_shown_next_to_its_successor() {
    let example = Example::start(|builder| {
        builder.workers(4).configure(|configuration| {
            configuration["keys"] = json!({"refresh_cooldown": "1s"});
        })
    })
    .await;
    let stack = &example.stack;
    let old = stack.provider.key();
    let token = stack.token();
    assert_eq!(stack.call(&token).await.status, 200);
    let new = stack.provider.rotate(Algorithm::Es256);
    stack.provider.remove_key(old.kid());
    assert_eq!(stack.call(&new.token(&stack.claims())).await.status, 200);
    assert_refusal(&stack.call_refused(&token).await, "unknown_kid");
    let refusal = example.refusal("unknown_kid").await;
    assert_eq!(refusal["details"], json!({"kid": old.kid(), "published": [new.kid()]}));
    assert_eq!(refusal["keys_now"], json!([new.kid()]));
    assert_eq!(refusal["hint"], Value::Null);
    assert_eq!(kids(demo(&example.status().await)), [new.kid()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_contents_are_escaped_on_the_page() {
    let hostile =
        "</code><script>alert(1)</script><img src=x onerror=alert(2)>\0\u{1b}[2J\u{202e}'\"&";
    let example = Example::start(|builder| builder).await;
    let stack = &example.stack;
    let key = stack.provider.key();
    let stranger = SigningKey::generate(Algorithm::Es256, hostile);
    assert_refusal(&stack.call_refused(&stranger.token(&stack.claims())).await, "unknown_kid");
    for (claim, reason) in [("iss", "unknown_issuer"), ("aud", "audience_mismatch")] {
        let token = key.token(&with(&stack.claims(), claim, hostile));
        assert_refusal(&stack.call_refused(&token).await, reason);
    }
    for reason in ["unknown_issuer", "audience_mismatch", "unknown_kid"] {
        let details = &example.refusal(reason).await["details"];
        let shown = [&details["kid"], &details["iss"], &details["aud"][0]];
        assert!(shown.contains(&&json!(hostile)), "{details}");
    }
    let everything = example.text("/").await;
    assert!(!everything.contains("<script") && !everything.contains("<img"), "{everything}");
    assert!(everything.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{everything}");
    let is_plain = |character: char| character == '\n' || !character.is_control();
    assert!(everything.chars().all(is_plain));
    assert!(example.text("/status.json").await.chars().all(is_plain));
    for width in [1000, 360] {
        let seen = look_at_page(&example.url("/"), "light", width).await;
        assert!(seen.text.contains("<script>alert(1)</script>"), "{}", seen.text);
        assert_eq!((seen.complaints, seen.is_wider_than_window), (vec![], false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_shown_separately() {
    let second = Port::free();
    let number = second.number();
    let example = Example::start(|builder| {
        builder.workers(2).edit(move |bootstrap| {
            add_listener(bootstrap, number, |configuration| {
                configuration["mode"] = json!("report");
                configuration["resource"]["name"] = json!("Another");
            });
        })
    })
    .await;
    let status = example
        .status_with("two configurations", |status| {
            status["configurations"].as_array().map(Vec::len) == Some(2)
        })
        .await;
    let [one, other] = [0, 1].map(|index| &status["configurations"][index]);
    let digests = [one, other].map(|value| value["digest"].as_str().unwrap());
    assert_ne!(digests[0], digests[1]);
    assert!(digests.iter().all(|digest| digest.len() == 64));
    let mut reported = [one, other].map(|value| (value["name"].as_str(), value["mode"].as_str()));
    reported.sort_unstable();
    assert_eq!(
        reported,
        [(Some("Another"), Some("report")), (Some("Demo tools"), Some("enforce"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_are_listed_and_their_requests_counted() {
    let example = Example::start(|builder| {
        builder.configure(|configuration| {
            configuration.as_object_mut().unwrap().remove("resource");
            configuration["resources"] = json!([
                {
                    "id": "incidents", "url": "https://gateway.example/incidents/mcp",
                    "name": "Incident tools", "mode": "report",
                },
                {"id": "reports", "url": "https://gateway.example/reports/mcp", "providers": ["demo"]},
            ]);
        })
    })
    .await;
    for path in ["/incidents/mcp", "/reports/mcp", "/elsewhere"] {
        let request = example.stack.client().get(example.stack.envoy.url(path));
        example.stack.send(request.header("host", "gateway.example")).await;
    }
    let is_counted = |status: &Value| status["requests"].as_array().map(Vec::len) == Some(3);
    let status = example.status_with("three requests", is_counted).await;
    let configuration = &status["configurations"][0];
    assert_eq!(
        configuration["resources"],
        json!([
            {
                "id": "incidents", "url": "https://gateway.example/incidents/mcp",
                "name": "Incident tools", "mode": "report", "providers": ["demo"],
            },
            {
                "id": "reports", "url": "https://gateway.example/reports/mcp", "name": null,
                "mode": "enforce", "providers": ["demo"],
            },
        ])
    );
    // The configurations differ, and neither is the only one.
    assert_eq!((&configuration["mode"], &configuration["resource"]), (&Value::Null, &Value::Null));
    let requests = status["requests"].as_array().unwrap().iter();
    let mut counted: Vec<_> = requests
        .map(|row| (row["resource"].as_str().unwrap(), row["reason"].as_str().unwrap()))
        .collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            ("incidents", "missing_token"),
            ("none", "unknown_resource"),
            ("reports", "missing_token"),
        ]
    );
    let seen = look_at_page(&example.url("/"), "light", 1000).await;
    for text in ["incidents", "https://gateway.example/reports/mcp", "Incident tools"] {
        assert!(seen.text.contains(text), "{text}: {}", seen.text);
    }
    assert_eq!((seen.complaints, seen.is_wider_than_window), (vec![], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_of_the_status_page_forwards_nothing() {
    let example = Example::start(|builder| {
        builder.edit(|bootstrap| {
            // An operator's mistake: the listener of the status page also routes to the server.
            let routes = bootstrap.connection_manager()["route_config"].clone();
            let filters = &mut bootstrap.status_listener()["filter_chains"][0]["filters"];
            let manager = &mut filters[0]["typed_config"];
            manager["route_config"] = routes;
        })
    })
    .await;
    let stack = &example.stack;
    let good = stack.token();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::HEAD, "/status.json", 200),
        (Method::POST, "/", 405),
        (Method::PUT, "/status.json", 405),
        (Method::POST, "/mcp", 404),
        (Method::GET, "/mcp", 404),
        (Method::GET, "/.well-known/oauth-protected-resource", 404),
    ] {
        for body in ["", &body, &"x".repeat(1_000_000)] {
            let request = stack.client().request(method.clone(), example.url(path));
            let request = request.bearer_auth(&good).body(body.to_owned());
            let response = stack.send_refused(request).await;
            assert_eq!(response.status, status, "{method} {path}: {response:?}");
            assert_eq!(response.header("cache-control"), "no-store");
        }
    }
    let named = stack.client().get(example.url("/")).header("host", "attacker.example");
    assert_eq!(stack.send_refused(named).await.status, 403);
    assert_eq!(stack.server.count(), 0);
    assert_eq!(stack.call(&good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_status_page_does_not_know_is_refused() {
    let port = Port::free();
    let number = port.number();
    let log = Stack::builder()
        .bootstrap(Bootstrap::status_example())
        .edit(move |bootstrap| {
            bootstrap.set_status_port(number);
            bootstrap.status_plugin()["configuration"] = json!({
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": {"host": "status.internal"},
            });
        })
        .expect_refusal()
        .await;
    assert!(log.contains("configuration refused: host: unknown field"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_else_and_supports_light_and_dark() {
    let example = Example::start(|builder| builder).await;
    let stack = &example.stack;
    let claims = stack.claims();
    let stranger = SigningKey::generate(Algorithm::Es256, "asked-for");
    assert_refusal(&stack.call_refused(&stranger.token(&claims)).await, "unknown_kid");
    example.refusal("unknown_kid").await;
    let url = example.url("/");
    let [light, dark] =
        [look_at_page(&url, "light", 1000).await, look_at_page(&url, "dark", 360).await];
    for seen in [&light, &dark] {
        assert_eq!(seen.requests, [url.as_str()]);
        assert_eq!(seen.complaints, [""; 0]);
        assert!(!seen.is_wider_than_window);
        assert!(seen.title.starts_with("Good"), "{}", seen.title);
        for word in ["fresh", "unknown_kid", "asked-for", stack.provider.key().kid(), "Demo tools"]
        {
            assert!(seen.text.contains(word), "{word} is not in {}", seen.text);
        }
    }
    assert_ne!(light.body.ground, dark.body.ground);
    assert_ne!(light.body.text, dark.body.text);
}
