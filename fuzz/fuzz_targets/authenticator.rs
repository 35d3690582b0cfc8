#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Harness, Outcome, Request};

thread_local! {
    static HARNESS: Harness = Harness::new(false).unwrap();
}

// The configuration's private keys do not exist, so no token is valid.
fuzz_target!(|text: &[u8]| {
    let outcome = HARNESS.with(|harness| harness.judge(&Request::new(text)));
    assert!(!matches!(outcome, Outcome::As(_)), "{outcome:?}");
});
