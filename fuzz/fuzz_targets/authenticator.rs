#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Gate, Passage};
use mcp_federated_auth_fuzz::{CONFIGURATION, request};

thread_local! {
    static GATE: Gate = Gate::new(CONFIGURATION, false).unwrap();
}

// Nobody has the private keys of the configuration, so no token is good.
fuzz_target!(|text: &[u8]| {
    let (fields, body) = request(text);
    let passage = GATE.with(|gate| gate.judge(&fields, body));
    assert!(!matches!(passage, Passage::As(_)), "{passage:?}");
});
