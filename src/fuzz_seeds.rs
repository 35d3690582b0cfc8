//! What the fuzz targets start from is what they are about: a seed that is refused at once shows them
//! no way in.

#[path = "../xtask/src/fuzz_seeds.rs"]
#[allow(dead_code)]
mod seeds;
#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod targets;

use std::collections::BTreeMap;
use std::fs;

use testkit::repository_root;

use crate::config::Config;
use crate::fuzzing::{self, Harness, Outcome};
use crate::jose::{CompactJws, KnownHeaders, certificate_key};
use crate::keys::KeySet;
use crate::request::RequestHead;

fn all() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    seeds::all().into_iter().collect()
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
fn each_seed_of_a_reader_is_read() {
    let config = Config::from_bytes(targets::CONFIGURATION).unwrap();
    let reads = |target: &str, seed: &[u8]| {
        let text = String::from_utf8_lossy(seed);
        match target {
            "jws" => CompactJws::parse(seed, &KnownHeaders::default()).is_ok(),
            "key_set" => KeySet::from_json(seed).is_ok_and(|set| set.kids().count() == 1),
            "certificates" => certificate_key(&text).is_ok(),
            "discovery" => crate::keys::reads_metadata(seed),
            "mcp_message" => crate::access::reads_message(seed),
            "shared_state" => {
                crate::keys::reads_shared_keys(seed, fuzzing::key_settings(&config))
                    || crate::token::reads_shared_tokens(seed[5], seed)
            }
            _ => true,
        }
    };
    for (target, seeds) in all() {
        for (index, seed) in seeds.iter().enumerate() {
            assert!(reads(target, seed), "{target}: seed {index}");
        }
    }
}

#[test]
fn some_configurations_among_the_seeds_are_whole() {
    let is_whole = |seed: &&Vec<u8>| Config::without_secrets(seed).is_ok();
    assert!(all()["configuration"].iter().filter(is_whole).count() > 2);
}

#[test]
fn the_seeds_keep_what_the_targets_promise_and_reach_the_end() {
    let all = all();
    for path in &all["paths"] {
        fuzzing::path(path);
    }
    for values in &all["header_values"] {
        let items: Vec<String> =
            String::from_utf8_lossy(values).split('\n').map(str::to_owned).collect();
        fuzzing::header_values(&items);
    }
    for seed in &all["bearer_token"] {
        let (fields, _) = targets::request(seed);
        fuzzing::bearer_token(&fields);
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        assert!(crate::token::bearer_token(RequestHead::new(&fields, true)).is_ok());
    }
    let [strict, gullible] =
        [false, true].map(|trusts_all| Harness::new(targets::CONFIGURATION, trusts_all).unwrap());
    for claims in &all["claims"] {
        let passage = gullible.judge(&targets::bearer_request(claims), b"");
        assert!(matches!(passage, Outcome::As(_)), "{passage:?}");
    }
    let judged = |harness: &Harness, index: usize| {
        let (fields, body) = targets::request(&all["authenticator"][index]);
        harness.judge(&fields, body)
    };
    // Nothing is wrong with the first but its signature, and the last needs no token.
    assert!(matches!(judged(&gullible, 0), Outcome::As(_)));
    assert_eq!(judged(&strict, 0), Outcome::None);
    assert!(matches!(judged(&gullible, 3), Outcome::As(_)));
    assert_eq!(judged(&strict, 3), Outcome::None);
    assert_eq!(judged(&strict, 4), Outcome::WithoutToken);
}
