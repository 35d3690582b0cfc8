//! Keys, and the clocks of those who publish them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn keys_that_cannot_be_fetched_are_explained() {
    let mut stopped = IdentityProvider::start().await;
    let rotated = Sound::for_provider(&stopped);
    stopped.stop().await;
    let cluster = |name: &str| json!({"cluster": null, "clusters": {"127.0.0.1": name}});
    let providers: Vec<IdentityProvider> = {
        let mut providers = Vec::new();
        for _ in 0..8 {
            providers.push(IdentityProvider::start_on(Port::free()).await);
        }
        providers
    };
    let [other_issuer, other_host, gone, redirect, page, no_key, hangs, long] = &providers[..]
    else {
        panic!("eight providers")
    };
    other_issuer
        .edit(Document::Discovery, |document| document["issuer"] = "https://b.example".into());
    other_host.edit(Document::Discovery, |document| {
        document["jwks_uri"] = "https://www.googleapis.com/oauth2/v3/certs".into();
    });
    gone.fail(Document::Discovery, Fault::Status(404));
    redirect.fail(Document::Discovery, Fault::Redirect("http://127.0.0.1:1/".to_owned()));
    page.fail(Document::Discovery, Fault::Body(b"<html>Sign in</html>".to_vec()));
    no_key.edit(Document::KeySet, |document| document["keys"][0]["use"] = "enc".into());
    hangs.fail(Document::Discovery, Fault::Hang);
    long.fail(Document::KeySet, Fault::Oversize(300 * 1024));

    let (tls, _) = self_signed();
    let untrusted = serve(Some(tls), |_, _| response("200 OK", "", "{}"));
    let untrusted = Sound::fetched(&format!("https://localhost:{}", untrusted.port()));
    let nowhere = Sound::fetched("https://id.invalid");
    let entra = IdentityProvider::start().await;
    let mut of_entra = Sound::for_provider(&entra);
    let template = json!({"template": "entra_id", "tenant": TENANT});
    of_entra.claims["upn"] = "ada".into();
    let own_key = SigningKey::generate(Algorithm::Rs256, "own").token(&of_entra.claims);
    let none = || json!({});
    assert_explained([
        Broken {
            keys: None,
            ..of_entra.broken(
                "application of Entra ID with its own signing key",
                template,
                own_key,
                ["unknown_kid", "a signing key of its own", "`?appid=mcp` at its end"],
            )
        },
        rotated.unreachable(
            "rotated key with blocked endpoint",
            none(),
            ["cannot be reached (Connection refused", "Allow traffic from Envoy to that host"],
        ),
        untrusted.unreachable(
            "TLS failure at the provider",
            none(),
            ["the TLS handshake with https://localhost", "`trusted_ca` of Envoy's cluster \"own\""],
        ),
        nowhere.unreachable(
            "unknown host",
            none(),
            ["the host name of https://id.invalid", "(DNS)"],
        ),
        Sound::for_provider(other_issuer).unreachable(
            "metadata of another issuer",
            none(),
            ["says issuer \"https://b.example\"", "providers[0].issuer"],
        ),
        Sound::for_provider(other_host).unreachable(
            "key set on a host without cluster",
            cluster("own"),
            [
                "no cluster is configured for its host www.googleapis.com",
                "Add `www.googleapis.com: <cluster>` to `providers[0].clusters`",
            ],
        ),
        Sound::for_provider(gone).unreachable(
            "no document there",
            none(),
            ["status 404", "comes from `providers[0].metadata_url`"],
        ),
        Sound::for_provider(redirect).unreachable(
            "redirect",
            none(),
            ["a redirect to \"http://127.0.0.1:1/\"", "comes from `providers[0].metadata_url`"],
        ),
        Sound::for_provider(page).unreachable(
            "login page instead of metadata",
            none(),
            ["begins with \"<html>", "a login page or a proxy: open the URL in a browser"],
        ),
        Sound::for_provider(no_key).unreachable(
            "no key for signatures",
            none(),
            ["holds no key that could verify", "`mcp-auth keys`"],
        ),
        Sound::for_provider(hangs).unreachable(
            "endpoint that hangs",
            json!({"keys": {"timeout": "1s"}}),
            ["does not respond in time", "`keys.timeout`"],
        ),
        Sound::for_provider(long).unreachable(
            "key set that is too long",
            none(),
            ["longer than keys.max_body, 262144 bytes", "Raise `keys.max_body`"],
        ),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn documents_other_than_keys_are_explained() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let html = || Fault::Body(b"<html>Sign in</html>".to_vec());
    let body = |value: Value| Fault::Body(value.to_string().into());
    let metadata = json!({"issuer": "https://a.example", "jwks_uri": "https://a.example/keys"});
    let moved = "https://id.example.com/keys";
    let browser = "correct it. It comes from `providers[0].metadata_url`";
    let faults = [
        (
            "no signing key",
            Document::KeySet,
            body(json!({})),
            ["an empty object, without `keys`", "no signing key"],
        ),
        ("login page", Document::KeySet, html(), ["begins with \"<html>", browser]),
        (
            "compressed keys",
            Document::KeySet,
            Fault::Encoded("gzip", vec![0x1f, 0x8b]),
            ["(content-encoding \"gzip\")", "does not request compression"],
        ),
        (
            "compressed metadata",
            Document::Discovery,
            Fault::Encoded("zstd", vec![0x28, 0xb5]),
            ["(content-encoding \"zstd\")", "does not request compression"],
        ),
        ("list", Document::KeySet, body(json!([key.public_jwk()])), ["it is a list", browser]),
        (
            "bare key",
            Document::KeySet,
            body(key.public_jwk()),
            ["it is a single key", "copy the key to `providers[0].jwks`"],
        ),
        (
            "certificates",
            Document::KeySet,
            body(json!({"a": key.certificate_pem()})),
            [
                "an object of X.509 certificates",
                "copy the certificates to `providers[0].certificates`",
            ],
        ),
        (
            "metadata where keys should be",
            Document::KeySet,
            body(metadata),
            ["only [\"issuer\", \"jwks_uri\"]", "as `providers[0].metadata_url`"],
        ),
        (
            "keys where metadata should be",
            Document::Discovery,
            body(key_set(&[&key])),
            ["only [\"keys\"]", "as `providers[0].jwks_url`"],
        ),
        (
            "keys that have moved",
            Document::KeySet,
            Fault::Redirect(moved.to_owned()),
            ["a redirect to \"https://id.example.com/keys\"", "configure the address"],
        ),
    ];
    let mut broken = Vec::new();
    let mut providers = Vec::new();
    for (name, document, fault, cause) in faults {
        let provider = IdentityProvider::start().await;
        provider.fail(document, fault);
        broken.push(Sound::for_provider(&provider).unreachable(name, json!({}), cause));
        providers.push(provider);
    }
    assert_explained(broken);
}

#[test]
fn clocks_that_differ_are_explained() {
    let clock = |seconds_ahead: i64| {
        let address = serve(None, move |_, _| {
            let seconds = now().checked_add_signed(seconds_ahead).unwrap();
            let date = UNIX_EPOCH + Duration::from_secs(seconds);
            response("200 OK", &format!("date: {}\r\n", httpdate::fmt_http_date(date)), "{}")
        });
        Sound::fetched(&format!("http://{address}"))
    };
    let (slow, fast, right) = (clock(-900), clock(900), clock(0));
    let of_yesterday = json!({"iat": now() - 90_000, "exp": now() - 86_400});
    let cases = [
        slow.broken(
            "clock of this machine is fast",
            json!({}),
            slow.token(json!({"iat": now() - 4000, "exp": now() - 400})),
            ["expired", "The clock of this machine is 900 s ahead of the provider's", "follow NTP"],
        ),
        slow.broken(
            "clock is fast, but not fast enough",
            json!({}),
            slow.token(of_yesterday),
            ["expired", "It was issued for 3,600 s", "--at"],
        ),
        fast.broken(
            "clock of this machine is slow",
            json!({}),
            fast.token(json!({"iat": now() + 900})),
            ["not_yet_valid", "The clock of this machine is", "follow NTP"],
        ),
        fast.broken(
            "expired, though the clock is slow",
            json!({}),
            fast.token(json!({"iat": now() - 4000, "exp": now() - 400})),
            ["expired", "It was issued for 3,600 s", "get a new token"],
        ),
        right.broken(
            "clock of the issuer is fast",
            json!({}),
            right.token(json!({"iat": now() + 900})),
            ["not_yet_valid", "two clocks differ by that much", "providers[0].clock_skew"],
        ),
    ];
    assert_explained(cases.into_iter().map(|case| Broken { keys: None, ..case }));
}
