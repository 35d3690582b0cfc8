#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Harness, Outcome, Request};

thread_local! {
    static HARNESS: Harness = Harness::new(false).unwrap();
}

// Nobody has the private keys of the configuration, so no token is good.
fuzz_target!(|text: &[u8]| {
    let outcome = HARNESS.with(|harness| harness.judge(&Request::new(text)));
    assert!(!matches!(outcome, Outcome::As(_)), "{outcome:?}");
});
