//! Some sequences of the fuzz target `hooks` in every run of the tests, and a few without
//! cryptography for Miri.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::json;
use testkit::fuzz_seeds;

use crate::provider::Provider;
use crate::sequences::{World, run};

/// Bytes that depend only on the number.
fn bytes(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..200).map(|_| next()).collect()
}

#[test]
fn no_sequence_of_callbacks_panics_leaks_or_lets_a_request_pass() {
    let provider = Provider::new();
    for number in 0..300 {
        let _ = run(&provider.with_new_issuer().world(), &bytes(number));
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_reach_their_cases() {
    let seeds = fuzz_seeds();
    let (_, seeds) = seeds.iter().find(|(target, _)| *target == "hooks").unwrap();
    let provider = Provider::new();
    let passed = |seed: &Vec<u8>| {
        let patience = Duration::from_secs(5);
        run(&World { patience, ..provider.with_new_issuer().world() }, seed).passed
    };
    assert_eq!(seeds.iter().map(passed).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

/// No token is verified here: Miri cannot run C.
#[test]
fn sequences_without_signatures_run_in_miri() {
    for number in 0..2 {
        let issuer =
            format!("https://id{:x}.example.com", RandomState::new().build_hasher().finish());
        let world = World {
            configuration: json!({
                "resource": {"url": "https://mcp.example.com/mcp"},
                "providers": [{
                    "name": "example",
                    "issuer": issuer,
                    "client_ids": ["mcp"],
                    "jwks_url": format!("{issuer}/jwks"),
                    "cluster": "provider",
                }],
            }),
            key_set: r#"{"keys":[]}"#.to_owned(),
            valid_tokens: Vec::new(),
            forged_tokens: vec!["a.b.c".to_owned(), String::new()],
            patience: Duration::ZERO,
        };
        run(&world, &bytes(number)[..60]);
    }
}
