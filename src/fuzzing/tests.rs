//! The seeds of the fuzz targets reach the code under test: a seed that is refused at once would
//! not help the fuzzer.

use std::collections::BTreeMap;
use std::fs;

use testkit::{fuzz_seeds, repository_root};

use super::*;

fn all() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    fuzz_seeds().into_iter().collect()
}

#[test]
fn each_target_has_seeds_and_each_seed_a_target() {
    let folder = fs::read_dir(repository_root().join("fuzz/fuzz_targets")).unwrap();
    let files = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut targets: Vec<String> =
        files.map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    targets.sort();
    assert_eq!(all().into_keys().collect::<Vec<_>>(), targets);
}

#[test]
fn the_seeds_are_accepted_and_satisfy_the_properties_of_the_parsers() {
    let reads = |target: &str, seed: &[u8]| {
        let text = String::from_utf8_lossy(seed);
        match target {
            // The scripted Envoy of the native module reads the last ones.
            "authenticator" | "claims" | "configuration" | "gateway" | "hooks" => true,
            "bearer_token" => Request::new(seed).with_head(fuzz_bearer_token),
            "certificates" => fuzz_certificate(&text),
            "discovery" => fuzz_metadata(seed),
            "header_values" => {
                fuzz_header_values(&text);
                true
            }
            "jws" => fuzz_jws(seed),
            "key_set" => fuzz_key_set(seed),
            "lists" => fuzz_lists(seed),
            "mcp_message" => fuzz_message(seed),
            "outcomes" => fuzz_outcomes(seed),
            // Some paths are meant to be refused.
            "paths" => fuzz_path(seed) == matches!(&*text, "/mcp" | "/files/a%20b" | "/é/"),
            "shared_state" => fuzz_shared_keys(seed) || fuzz_spent_tokens(seed),
            other => panic!("{other}"),
        }
    };
    for (target, seeds) in all() {
        for (index, seed) in seeds.iter().enumerate() {
            assert!(reads(target, seed), "{target}: seed {index}");
        }
    }
}

#[test]
fn some_seed_configurations_are_complete() {
    let is_whole = |seed: &&Vec<u8>| Config::without_secrets(seed).is_ok();
    assert!(all()["configuration"].iter().filter(is_whole).count() > 2);
}

#[test]
fn some_seed_requests_pass_every_check() {
    let all = all();
    let [strict, gullible] = [false, true].map(|accepts_all| Harness::new(accepts_all).unwrap());
    for claims in &all["claims"] {
        let outcome = gullible.judge(&Request::with_claims(claims));
        assert!(matches!(outcome, Outcome::As(_)), "{outcome:?}");
    }
    let judged = |harness: &Harness, index: usize| {
        harness.judge(&Request::new(&all["authenticator"][index]))
    };
    // Only the signature of the first is wrong, and the last needs no token.
    assert!(matches!(judged(&gullible, 0), Outcome::As(_)));
    assert_eq!(judged(&strict, 0), Outcome::None);
    assert!(matches!(judged(&gullible, 3), Outcome::As(_)));
    assert_eq!(judged(&strict, 3), Outcome::None);
    assert_eq!(judged(&strict, 4), Outcome::WithoutToken);
}

#[test]
fn the_seed_conversations_reach_the_login_and_the_directory() {
    let gateway = Gateway::new().unwrap();
    let conversations = &all()["gateway"];
    let statuses = |seed: &Vec<u8>| -> Vec<u16> {
        gateway.converse(seed).iter().map(|response| response.status).collect()
    };
    let statuses: Vec<_> = conversations.iter().map(statuses).collect();
    // A registration; the pages of two clients; a code that the gateway never issued; a user whom
    // the directory knows.
    assert_eq!(statuses, [vec![201], vec![200, 200], vec![400], vec![]]);
}
