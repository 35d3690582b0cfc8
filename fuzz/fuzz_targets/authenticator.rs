#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Harness, Outcome};
use mcp_federated_auth_fuzz::{CONFIGURATION, request};

thread_local! {
    static GATE: Harness = Harness::new(CONFIGURATION, false).unwrap();
}

// Nobody has the private keys of the configuration, so no token is good.
fuzz_target!(|text: &[u8]| {
    let (fields, body) = request(text);
    let passage = GATE.with(|harness| harness.judge(&fields, body));
    assert!(!matches!(passage, Outcome::As(_)), "{passage:?}");
});
