//! Times, audience and other claims.

use super::*;

/// A time half a second later.
fn fraction(seconds: u64) -> Value {
    format!("{seconds}.5").parse().expect("it is a number")
}

// Requirement: token-401
#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_are_refused() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let claims = stack.claims();
    let exp = |value: Value| key.token(&with(&claims, "exp", value));
    let cases = [
        ("missing", key.token(&without(&claims, "exp"))),
        ("null", exp(Value::Null)),
        ("text", exp(json!((now() + 1000).to_string()))),
        ("an array", exp(json!([now() + 1000]))),
        ("true", exp(json!(true))),
        ("past", exp(json!(now() - SKEW - 1))),
        ("long past", exp(json!(1))),
        ("0", exp(json!(0))),
        ("negative", exp(json!(-1))),
        ("a negative fraction", exp(json!(-1.5))),
        ("the least integer", exp(json!(i64::MIN))),
        ("a past fraction", exp(fraction(now() - SKEW - 2))),
    ]
    .map(|(name, token)| (name, token, "expired"));
    assert_tokens_refused(&stack, cases).await;
    let accepted = [
        ("within the skew", exp(json!(now() - SKEW + 30))),
        ("a fraction", exp(fraction(now()))),
        ("in a thousand years", exp(json!(now() + 1000 * 365 * 86_400))),
    ];
    assert_tokens_accepted(&stack, accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exp_out_of_range_does_not_stop_the_plugin() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let header = key.header().to_string();
    let claims = without(&stack.claims(), "exp").to_string();
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1e19",
            "1e300",
            "-1e300",
            "1e-300",
            "-0",
            "-0.0",
        ] {
            let claims = changed_end(&claims, &format!(r#","{name}":{value}}}"#));
            let response = stack.call(&key.sign_raw(&header, &claims)).await;
            assert!([200, 401].contains(&response.status), "{name} {value}: {response:?}");
        }
    }
    assert_tokens_accepted(&stack, [("good", stack.token())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_before_their_time_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let strict = static_provider("strict", &[&key], json!({"clock_skew": "0s"}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [strict]))
        .start()
        .await;
    let provider_key = stack.provider.key();
    let mut cases = Vec::new();
    let mut accepted = Vec::new();
    for name in ["nbf", "iat"] {
        let token = |value: Value| provider_key.token(&with(&stack.claims(), name, value));
        cases.push((format!("{name} in the future"), token(json!(now() + SKEW + 30))));
        cases.push((format!("{name} far in the future"), token(json!(u64::MAX / 2))));
        cases.push((format!("{name} a future fraction"), token(fraction(now() + 330))));
        cases.push((format!("{name} as text"), token(json!(now().to_string()))));
        cases.push((format!("{name} null"), token(Value::Null)));
        accepted.push((format!("{name} within the skew"), token(json!(now() + SKEW - 30))));
        accepted.push((format!("{name} past"), token(json!(now() - 1000))));
        accepted.push((format!("{name} a fraction"), token(fraction(now() - 1))));
        let token = |value: u64| key.token(&with(&claims_of("strict"), name, value));
        cases.push((format!("{name} in the future, no skew"), token(now() + 30)));
        accepted.push((format!("{name} now, no skew"), token(now())));
    }
    let cases = cases.into_iter().map(|(name, token)| (name, token, "not_yet_valid"));
    assert_tokens_refused(&stack, cases).await;
    assert_tokens_accepted(&stack, accepted).await;
    let late = key.token(&with(&claims_of("strict"), "exp", now() - 1));
    assert_tokens_refused(&stack, [("exp past, no skew", late, "expired")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_older_than_allowed_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let fields = json!({"max_token_age": "10m", "clock_skew": "60s"});
    let provider = static_provider("own", &[&key], fields);
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let claims = claims_of("own");
    let iat = |value: Value| key.token(&with(&claims, "iat", value));
    let cases = [
        ("too old", iat(json!(now() - 661))),
        ("far too old", iat(json!(0))),
        ("negative", iat(json!(-5))),
        ("no iat", key.token(&without(&claims, "iat"))),
    ]
    .map(|(name, token)| (name, token, "token_too_old"));
    assert_tokens_refused(&stack, cases).await;
    let accepted = [("new", iat(json!(now()))), ("old within the skew", iat(json!(now() - 640)))];
    assert_tokens_accepted(&stack, accepted).await;
}

// Requirement: token-audience
// Requirement: token-own-resources
// Requirement: token-intended-recipient
// Requirement: token-issued-for-server
#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_another_audience_is_refused() {
    let stack = Stack::builder().start().await;
    let audience = Stack::AUDIENCE;
    let claims = stack.claims();
    let aud = |value: Value| stack.provider.token(&with(&claims, "aud", value));
    let cases = [
        ("missing", stack.provider.token(&without(&claims, "aud"))),
        ("null", aud(Value::Null)),
        ("another", aud(json!("other"))),
        ("empty", aud(json!(""))),
        ("in upper case", aud(json!(audience.to_uppercase()))),
        ("with a slash at the end", aud(json!(format!("{audience}/")))),
        ("longer", aud(json!(format!("{audience}2")))),
        ("shorter", aud(json!(&audience[1..]))),
        ("two in one string", aud(json!(format!("{audience} other")))),
        ("others", aud(json!(["other", "another"]))),
        ("an empty array", aud(json!([]))),
        ("an array in an array", aud(json!([[audience]]))),
        ("a number", aud(json!(7))),
        ("numbers", aud(json!([7]))),
        ("an object", aud(json!({audience: audience}))),
        (
            "the client id in azp only",
            stack.provider.token(&with(&with(&claims, "aud", "other"), "azp", audience)),
        ),
    ]
    .map(|(name, token)| (name, token, "audience_mismatch"));
    assert_tokens_refused(&stack, cases).await;
    let accepted =
        [("alone", aud(json!([audience]))), ("among others", aud(json!(["other", 7, audience])))];
    assert_tokens_accepted(&stack, accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_without_the_required_claims_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let fields = json!({"required_claims": {"tid": "t1", "level": [3, 4], "flag": true, "roles": ["a", "b"]}});
    let provider = static_provider("own", &[&key], fields);
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let mut claims = claims_of("own");
    for (name, value) in [
        ("tid", json!("t1")),
        ("level", json!(4)),
        ("flag", json!(true)),
        ("roles", json!(["x", "b"])),
    ] {
        claims[name] = value;
    }
    let mut cases = Vec::new();
    for name in ["tid", "level", "flag", "roles"] {
        cases.push((format!("no {name}"), without(&claims, name), "missing_claim"));
    }
    for (name, value) in [
        ("tid", json!("t2")),
        ("tid", json!("T1")),
        ("tid", json!("")),
        ("tid", json!(["t2"])),
        ("tid", json!({"t1": "t1"})),
        ("level", json!(5)),
        ("level", json!("3")),
        ("level", json!([5, "4"])),
        ("flag", json!(false)),
        ("flag", json!("true")),
        ("flag", json!(1)),
        ("roles", json!(["x", "y"])),
        ("roles", json!([])),
        ("roles", json!("a b")),
    ] {
        let fault = format!("{name} {value}");
        cases.push((fault, with(&claims, name, value), "claim_mismatch"));
    }
    let cases = cases.into_iter().map(|(name, claims, reason)| (name, key.token(&claims), reason));
    assert_tokens_refused(&stack, cases).await;
    let accepted = [
        ("as given", claims.clone()),
        ("the other of a list", with(&claims, "level", 3)),
        ("one of a list, as a string", with(&claims, "roles", "a")),
        ("an array that holds it", with(&claims, "tid", json!(["t2", "t1"]))),
    ]
    .map(|(name, claims)| (name, key.token(&claims)));
    assert_tokens_accepted(&stack, accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_name_no_user_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let by_email = static_provider("flat", &[&key], json!({"user_claim": "email"}));
    let nested = static_provider("nested", &[&key], json!({"user_claim": ["account", "id"]}));
    let by_sub = static_provider("default", &[&key], json!({}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [by_email, nested, by_sub]))
        .start()
        .await;
    let email = |value: Value| key.token(&with(&claims_of("flat"), "email", value));
    let account = |value: Value| key.token(&with(&claims_of("nested"), "account", value));
    let cases = [
        ("missing", key.token(&without(&claims_of("flat"), "email"))),
        ("empty", email(json!(""))),
        ("null", email(Value::Null)),
        ("an object", email(json!({"a": 1}))),
        ("an array", email(json!(["ada"]))),
        ("true", email(json!(true))),
        ("a fraction", email(json!(1.5))),
        ("no sub", key.token(&without(&claims_of("default"), "sub"))),
        ("nested: missing", key.token(&claims_of("nested"))),
        ("nested: no object", account(json!("id"))),
        ("nested: another member", account(json!({"ID": "ada"}))),
        ("nested: flat", key.token(&with(&claims_of("nested"), "account.id", "ada"))),
        ("nested: an array", account(json!([{"id": "ada"}]))),
    ]
    .map(|(name, token)| (name, token, "missing_claim"));
    assert_tokens_refused(&stack, cases).await;

    for (token, user) in [
        (email(json!(42)), "42"),
        (email(json!(-7)), "-7"),
        (email(json!(u64::MAX)), "18446744073709551615"),
        (email(json!("ada")), "ada"),
        (account(json!({"id": 7})), "7"),
        (account(json!({"id": "ada"})), "ada"),
        (key.token(&claims_of("default")), "ada"),
    ] {
        assert_eq!(stack.call(&token).await.whoami()["x-mcp-user"], user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_bound_to_a_key_are_refused() {
    let stack = Stack::builder().start().await;
    let cases = [
        ("by DPoP", json!({"jkt": base64url([7; 32])})),
        ("by a certificate", json!({"x5t#S256": base64url([7; 32])})),
        ("by nothing known", json!({})),
        ("by text", json!("x")),
    ]
    .map(|(name, cnf)| {
        (name, stack.provider.token(&with(&stack.claims(), "cnf", cnf)), "bound_token")
    });
    assert_tokens_refused(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_without_jti_are_refused_where_one_is_required() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("own", &[&key], json!({"jti": "require"}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let claims = claims_of("own");
    let cases = [
        ("missing", without(&claims, "jti")),
        ("null", with(&claims, "jti", Value::Null)),
        ("a number", with(&claims, "jti", 1)),
        ("an array", with(&claims, "jti", json!(["x"]))),
    ]
    .map(|(name, claims)| (name, key.token(&claims), "jti_missing"));
    assert_tokens_refused(&stack, cases).await;
    // The claim is required, but the token may be used again.
    let good = key.token(&claims);
    assert_tokens_accepted(&stack, [("once", good.clone()), ("again", good)]).await;
    // Only this provider requires it.
    let other = stack.provider.token(&without(&stack.claims(), "jti"));
    assert_tokens_accepted(&stack, [("of another provider", other)]).await;
    assert_eq!(stack.provider.count(Document::KeySet), 1);
}
