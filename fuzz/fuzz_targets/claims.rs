#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Harness, Outcome};
use mcp_federated_auth_fuzz::{CONFIGURATION, bearer_request};

thread_local! {
    static GATE: Harness = Harness::new(CONFIGURATION, true).unwrap();
}

// As if their signature were good: what is told of them is fit for header fields.
fuzz_target!(|claims: &[u8]| {
    let passage = GATE.with(|harness| harness.judge(&bearer_request(claims), b""));
    if let Outcome::As(fields) = passage {
        for (name, value) in fields {
            assert!(!value.is_empty() && value.trim() == value, "{name}: {value:?}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
        }
    }
});
