//! A token is verified once for all resources, and judged by each resource's own audiences,
//! providers and rules: on its first request, on a later one, and on one that waited or was held.

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey};

use crate::bodies::{ALLOWED, FORBIDDEN};
use crate::host::{Outcome, SharedData, Vm};
use crate::provider::{
    ISSUER, assert_forwarded, assert_paused, assert_refused, claims, configuration, fetch,
    respond_with_discovery, respond_with_key_set, start,
};

/// Two servers on one host. The provider's tokens are for one of them, by the audience.
pub fn two_servers() -> Value {
    let mut configuration = configuration();
    let members = configuration.as_object_mut().unwrap();
    members.remove("resource");
    members.insert(
        "resources".to_owned(),
        json!([
            {
                "id": "a",
                "url": "https://gateway.example.com/a/mcp",
                "audiences": ["for-a"],
            },
            {
                "id": "b",
                "url": "https://gateway.example.com/b/mcp",
                "audiences": ["for-b"],
            },
        ]),
    );
    configuration["providers"][0].as_object_mut().unwrap().remove("client_ids");
    configuration
}

/// Two servers and two providers of one issuer: a token for `shared` belongs to the first provider
/// at the first server, and to the second provider at the second.
fn two_providers(first: &SigningKey, second: &SigningKey) -> Value {
    let provider = |name: &str, key: &SigningKey| json!({"name": name, "issuer": ISSUER, "jwks": {"keys": [key.public_jwk()]}});
    let mut configuration = two_servers();
    configuration["providers"] = json!([provider("one", first), provider("two", second)]);
    configuration["resources"][0]["audiences"] = json!({"one": ["shared"], "two": ["other"]});
    configuration["resources"][1]["audiences"] = json!({"one": ["other"], "two": ["shared"]});
    configuration
}

/// A key whose signatures the host verifies, so that the verifications can be counted.
pub fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Rs256, "one")
}

pub fn token(key: &SigningKey, audience: impl Into<Value>) -> String {
    let mut claims = claims(ISSUER, "none");
    claims["aud"] = audience.into();
    key.token(&claims)
}

fn at(vm: &Vm, path: &str, token: &str) -> (u32, Outcome) {
    let authorization = format!("Bearer {token}");
    vm.request(&[
        (":method", b"POST"),
        (":path", path.as_bytes()),
        (":authority", b"gateway.example.com"),
        ("content-type", b"application/json"),
        ("authorization", authorization.as_bytes()),
        ("x-mcp-user", b"mallory"),
    ])
}

/// The same for a request whose body follows.
fn open_at(vm: &Vm, path: &str, token: &str) -> (u32, Outcome) {
    let authorization = format!("Bearer {token}");
    vm.open(&[
        (":method", b"POST"),
        (":path", path.as_bytes()),
        (":authority", b"gateway.example.com"),
        ("content-type", b"application/json"),
        ("authorization", authorization.as_bytes()),
    ])
}

/// The values of a header field that the server gets.
pub fn values(outcome: &Outcome, name: &str) -> Vec<String> {
    let Outcome::Forwarded(fields) = outcome else { panic!("not forwarded: {outcome:?}") };
    let values = fields.iter().filter(|(field, _)| field == name);
    values.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
}

pub fn code(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Forwarded(_) => None,
        Outcome::Refused(response) => Some(response.json()["reason"].as_str().unwrap().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cached_token_is_judged_by_the_audiences_of_each_resource_in_any_order() {
    let key = key();
    for paths in [["/a/mcp", "/b/mcp"], ["/b/mcp", "/a/mcp"]] {
        let vm = start(&two_servers(), &SharedData::default());
        fetch(&vm, &[&key]);
        let for_a = token(&key, "for-a");
        for _ in 0..3 {
            for path in paths {
                let (_, outcome) = at(&vm, path, &for_a);
                let expected = (path == "/b/mcp").then_some("audience_mismatch");
                assert_eq!(code(&outcome).as_deref(), expected, "{path}");
            }
        }
        let for_both = token(&key, json!(["for-a", "for-b"]));
        let before = vm.crypto_calls();
        for path in paths.into_iter().chain(paths) {
            let (_, outcome) = at(&vm, path, &for_both);
            assert_forwarded(&outcome);
            assert_eq!(values(&outcome, "x-mcp-resource"), [path.get(1..2).unwrap()]);
        }
        // The signature is verified once for all resources.
        assert_eq!(vm.crypto_calls() - before, 1);
    }
}

#[test]
fn the_resources_share_the_keys_of_a_provider() {
    let key = key();
    let vm = start(&two_servers(), &SharedData::default());
    let waiting = ["for-a", "for-b"].map(|audience| token(&key, audience));
    let [at_a, at_b] = [("/a/mcp", 0), ("/b/mcp", 1)].map(|(path, index)| {
        let (id, outcome) = at(&vm, path, &waiting[index]);
        assert_paused(&outcome);
        id
    });
    // A waiting request is judged by its own resource.
    let (foreign, outcome) = at(&vm, "/b/mcp", &waiting[0]);
    assert_refused(&outcome, 401, "audience_mismatch");
    fetch(&vm, &[&key]);
    assert!(vm.calls().is_empty());
    for id in [at_a, at_b] {
        assert_forwarded(&vm.outcome(id));
    }
    assert_refused(&vm.outcome(foreign), 401, "audience_mismatch");
}

#[test]
fn a_provider_that_a_resource_does_not_accept_is_unknown_there() {
    let key = key();
    let mut configuration = two_servers();
    configuration["providers"].as_array_mut().unwrap().push(json!({
        "name": "other",
        "issuer": "https://other.example.com",
        "client_ids": ["for-other"],
        "jwks": {"keys": [key.public_jwk()]},
    }));
    configuration["resources"][0]["providers"] = json!(["example"]);
    configuration["resources"][1]["providers"] = json!(["example", "other"]);
    configuration["resources"][1]["audiences"] = json!({"example": ["for-b"]});
    let vm = start(&configuration, &SharedData::default());
    let token = key.token(&claims("https://other.example.com", "for-other"));
    for _ in 0..2 {
        let (_, outcome) = at(&vm, "/a/mcp", &token);
        assert_refused(&outcome, 401, "unknown_issuer");
        let (_, outcome) = at(&vm, "/b/mcp", &token);
        assert_forwarded(&outcome);
    }
}

#[test]
fn the_audience_at_the_resource_selects_one_of_the_providers_of_an_issuer() {
    let [first, second] =
        ["first", "second"].map(|kid| SigningKey::generate(Algorithm::Es256, kid));
    let vm = start(&two_providers(&first, &second), &SharedData::default());
    let tokens = [&first, &second].map(|key| token(key, "shared"));
    for _ in 0..2 {
        for (path, passing, provider) in [("/a/mcp", 0, "one"), ("/b/mcp", 1, "two")] {
            let (_, outcome) = at(&vm, path, &tokens[passing]);
            assert_eq!(values(&outcome, "x-mcp-provider"), [provider]);
            let (_, outcome) = at(&vm, path, &tokens[1 - passing]);
            assert_refused(&outcome, 401, "unknown_kid");
        }
    }
}

#[test]
fn a_verified_signature_does_not_count_after_its_key_was_withdrawn() {
    let [old, new] = ["old", "new"].map(|kid| SigningKey::generate(Algorithm::Rs256, kid));
    let vm = start(&two_servers(), &SharedData::default());
    fetch(&vm, &[&old]);
    let for_both = token(&old, json!(["for-a", "for-b"]));
    assert_forwarded(&at(&vm, "/a/mcp", &for_both).1);
    // An unknown `kid` causes the fetch that withdraws the old key.
    let (_, outcome) = at(&vm, "/a/mcp", &token(&new, "for-a"));
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new]);
    for path in ["/b/mcp", "/a/mcp"] {
        let (_, outcome) = at(&vm, path, &for_both);
        assert_refused(&outcome, 401, "unknown_kid");
    }
}

#[test]
fn a_verified_signature_does_not_count_for_another_key_of_the_same_kid() {
    let [old, successor] = ["one", "one"].map(|kid| SigningKey::generate(Algorithm::Rs256, kid));
    let vm = start(&two_servers(), &SharedData::default());
    fetch(&vm, &[&old]);
    let for_both = token(&old, json!(["for-a", "for-b"]));
    assert_forwarded(&at(&vm, "/a/mcp", &for_both).1);
    // The same holds for a signature found to be forged.
    let by_successor = token(&successor, json!(["for-a", "for-b"]));
    assert_refused(&at(&vm, "/a/mcp", &by_successor).1, 401, "bad_signature");
    let new = SigningKey::generate(Algorithm::Rs256, "new");
    assert_paused(&at(&vm, "/a/mcp", &token(&new, "for-a")).1);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new, &successor]);
    for path in ["/b/mcp", "/a/mcp"] {
        assert_refused(&at(&vm, path, &for_both).1, 401, "bad_signature");
        assert_forwarded(&at(&vm, path, &by_successor).1);
    }
}

#[test]
fn a_verified_signature_does_not_count_for_another_provider() {
    let [first, second] = ["one", "one"].map(|kid| SigningKey::generate(Algorithm::Rs256, kid));
    let vm = start(&two_providers(&first, &second), &SharedData::default());
    let token = token(&first, "shared");
    for _ in 0..2 {
        assert_forwarded(&at(&vm, "/a/mcp", &token).1);
        assert_refused(&at(&vm, "/b/mcp", &token).1, 401, "bad_signature");
    }
}

#[test]
fn an_ambiguous_path_is_refused_in_report_mode_too() {
    let mut configuration = two_servers();
    configuration["mode"] = json!("report");
    let vm = start(&configuration, &SharedData::default());
    for path in ["/a/mcp;x", "/a/mcp/../../b/mcp", "/a%2fmcp"] {
        let (_, outcome) = at(&vm, path, "a.b");
        assert_eq!(code(&outcome).as_deref(), Some("unknown_resource"), "{path}");
    }
    assert_eq!(code(&at(&vm, "/c", "a.b").1), None);
    // A request that belongs to no resource could reach the one that enforces.
    configuration["resources"][1]["mode"] = json!("enforce");
    let vm = start(&configuration, &SharedData::default());
    assert_eq!(code(&at(&vm, "/c", "a.b").1).as_deref(), Some("unknown_resource"));
    assert_eq!(code(&at(&vm, "/a/mcp", "a.b").1), None);
}

#[test]
fn the_identity_headers_of_every_server_are_removed_from_requests() {
    let mut configuration = two_servers();
    configuration["resources"][1]["identity"] = json!({"header_prefix": "x-b-"});
    configuration["exempt"] = json!([{"path": "/a/mcp"}]);
    let vm = start(&configuration, &SharedData::default());
    let (_, outcome) = vm.request(&[
        (":method", b"GET"),
        (":path", b"/a/mcp"),
        (":authority", b"gateway.example.com"),
        ("x-b-user", b"root"),
        ("x-b-resource", b"b"),
        ("x_b.roles", b"admin"),
    ]);
    for name in ["x-b-user", "x-b-resource", "x_b.roles"] {
        assert!(values(&outcome, name).is_empty(), "{name}");
    }
    assert_eq!(values(&outcome, "x-mcp-resource"), ["a"]);
}

#[test]
fn a_forged_token_is_refused_at_each_resource_and_verified_once() {
    let key = key();
    let vm = start(&two_servers(), &SharedData::default());
    fetch(&vm, &[&key]);
    let forger = SigningKey::generate(Algorithm::Rs256, key.kid());
    let forged = token(&forger, json!(["for-a", "for-b"]));
    let before = vm.crypto_calls();
    for path in ["/a/mcp", "/b/mcp", "/a/mcp", "/b/mcp"] {
        let (_, outcome) = at(&vm, path, &forged);
        assert_refused(&outcome, 401, "bad_signature");
    }
    assert_eq!(vm.crypto_calls() - before, 1);
}

#[test]
fn a_token_forged_by_the_keys_of_one_resource_may_be_valid_at_another() {
    let [first, second] = ["one", "one"].map(|kid| SigningKey::generate(Algorithm::Rs256, kid));
    let vm = start(&two_providers(&first, &second), &SharedData::default());
    let token = token(&second, "shared");
    for _ in 0..2 {
        assert_refused(&at(&vm, "/a/mcp", &token).1, 401, "bad_signature");
        assert_forwarded(&at(&vm, "/b/mcp", &token).1);
    }
}

#[test]
fn a_single_use_token_is_spent_for_all_resources() {
    let key = key();
    for paths in [["/a/mcp", "/b/mcp"], ["/b/mcp", "/a/mcp"]] {
        let mut configuration = two_servers();
        configuration["providers"][0]["jti"] = json!("single_use");
        let shared = SharedData::default();
        let vm = start(&configuration, &shared);
        fetch(&vm, &[&key]);
        let mut claims = claims(ISSUER, "none");
        claims["aud"] = json!(["for-a", "for-b"]);
        claims["jti"] = json!("once");
        let once = key.token(&claims);
        assert_forwarded(&at(&vm, paths[0], &once).1);
        for path in paths {
            assert_refused(&at(&vm, path, &once).1, 401, "jti_replayed");
        }
        // A refusal for another audience does not spend the token.
        claims["aud"] = json!("for-a");
        claims["jti"] = json!("later");
        let later = key.token(&claims);
        assert_refused(&at(&vm, "/b/mcp", &later).1, 401, "audience_mismatch");
        assert_forwarded(&at(&vm, "/a/mcp", &later).1);
    }
}

#[test]
fn a_held_request_is_judged_by_the_rules_of_its_resource() {
    let key = key();
    for (guarded, path, other) in [(0, "/a/mcp", "/b/mcp"), (1, "/b/mcp", "/a/mcp")] {
        let mut configuration = two_servers();
        let mut with_rules = crate::bodies::with_rules(json!({}));
        with_rules["access"]["rules"][0]["match"]["paths"] = json!([path]);
        configuration["resources"][guarded]["access"] = with_rules["access"].take();
        configuration["resources"][1 - guarded]["access"] = json!({"default": "allow"});
        let vm = start(&configuration, &SharedData::default());
        fetch(&vm, &[&key]);
        let for_both = token(&key, json!(["for-a", "for-b"]));
        for body in [ALLOWED, FORBIDDEN] {
            let (held, outcome) = open_at(&vm, path, &for_both);
            assert_paused(&outcome);
            let (_, outcome) = at(&vm, other, &for_both);
            assert_forwarded(&outcome);
            vm.send_body(held, body, true);
            let expected = (body == FORBIDDEN).then(|| "access_denied".to_owned());
            assert_eq!(code(&vm.outcome(held)), expected);
        }
    }
}

#[test]
fn a_cached_token_has_the_claims_that_any_resource_needs() {
    let key = key();
    let mut configuration = two_servers();
    let rule = json!({"require": {"claims": {"amr": ["mfa"]}}});
    configuration["resources"][1]["access"] = json!({"rules": [rule]});
    configuration["resources"][1]["identity"] = json!({
        "header_prefix": "x-b-",
        "claims_to_headers": [{"claim": "country", "header": "x-country"}],
    });
    let vm = start(&configuration, &SharedData::default());
    fetch(&vm, &[&key]);
    let mut claims = claims(ISSUER, "none");
    claims["aud"] = json!(["for-a", "for-b"]);
    claims["amr"] = json!(["mfa"]);
    claims["country"] = json!("NL");
    let token = key.token(&claims);
    for _ in 0..2 {
        let (_, at_a) = at(&vm, "/a/mcp", &token);
        assert_eq!(values(&at_a, "x-mcp-user"), ["ada"]);
        assert!(values(&at_a, "x-country").is_empty() && values(&at_a, "x-b-user").is_empty());
        let (_, at_b) = at(&vm, "/b/mcp", &token);
        assert_eq!(values(&at_b, "x-b-user"), ["ada"]);
        assert_eq!(values(&at_b, "x-b-resource"), ["b"]);
        assert_eq!(values(&at_b, "x-country"), ["NL"]);
        assert!(values(&at_b, "x-mcp-user").is_empty());
    }
}

#[test]
fn roles_that_keycloak_grants_for_another_server_do_not_count() {
    let key = key();
    let mut configuration = two_servers();
    configuration["providers"] = json!([{
        "name": "keycloak", "template": "keycloak", "host": "id.example.com", "realm": "r",
        "jwks": {"keys": [key.public_jwk()]},
    }]);
    let vm = start(&configuration, &SharedData::default());
    let mut claims = claims("https://id.example.com/realms/r", "none");
    claims["aud"] = json!(["for-a", "for-b"]);
    claims["typ"] = json!("Bearer");
    claims["preferred_username"] = json!("ada");
    claims["resource_access"] =
        json!({"for-a": {"roles": ["admin"]}, "for-b": {"roles": ["viewer"]}});
    let token = key.token(&claims);
    for _ in 0..2 {
        assert_eq!(values(&at(&vm, "/a/mcp", &token).1, "x-mcp-roles"), ["admin"]);
        assert_eq!(values(&at(&vm, "/b/mcp", &token).1, "x-mcp-roles"), ["viewer"]);
    }
}

/// This many servers on one host, each with one of four audiences.
fn many_servers(count: usize) -> Value {
    let mut configuration = two_servers();
    configuration["resources"] = (0..count)
        .map(|index| {
            json!({
                "id": format!("r{index}"),
                "url": format!("https://gateway.example.com/r{index}"),
                "audiences": [format!("for-r{}", index % 4)],
            })
        })
        .collect();
    configuration
}

#[test]
fn a_token_at_more_resources_than_are_cached_is_judged_correctly_at_each() {
    let key = key();
    let vm = start(&many_servers(40), &SharedData::default());
    fetch(&vm, &[&key]);
    let token = token(&key, json!(["for-r0", "for-r1"]));
    let before = vm.crypto_calls();
    for _ in 0..3 {
        for index in 0..40 {
            let (_, outcome) = at(&vm, &format!("/r{index}"), &token);
            let expected = (index % 4 > 1).then_some("audience_mismatch");
            assert_eq!(code(&outcome).as_deref(), expected, "{index}");
        }
    }
    assert_eq!(vm.crypto_calls() - before, 1);
}

#[test]
fn a_small_cache_keeps_its_tokens_at_many_resources() {
    let key = key();
    let audiences = json!(["for-r0", "for-r1", "for-r2", "for-r3"]);
    for entries in [1, 2, 5] {
        let mut configuration = many_servers(16);
        configuration["token_cache"] = json!({"entries": entries});
        let vm = start(&configuration, &SharedData::default());
        fetch(&vm, &[&key]);
        let tokens: Vec<_> = (0..entries).map(|_| token(&key, audiences.clone())).collect();
        let before = vm.crypto_calls();
        for _ in 0..3 {
            for path in (0..16).map(|index| format!("/r{index}")) {
                for token in &tokens {
                    assert_forwarded(&at(&vm, &path, token).1);
                }
            }
        }
        assert_eq!(vm.crypto_calls() - before, entries, "{entries}");
    }
}

#[test]
fn the_metadata_is_fetched_once_whatever_the_number_of_resources() {
    let vm = start(&two_servers(), &SharedData::default());
    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key()]);
    vm.tick();
    assert!(vm.calls().is_empty());
}
