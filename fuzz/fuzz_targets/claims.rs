#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Harness, Outcome, Request};

thread_local! {
    static HARNESS: Harness = Harness::new(true).unwrap();
}

// Treated as if their signature were valid: the derived values must be safe in header fields.
fuzz_target!(|claims: &[u8]| {
    let outcome = HARNESS.with(|harness| harness.judge(&Request::with_claims(claims)));
    if let Outcome::As(fields) = outcome {
        for (name, value) in fields {
            assert!(!value.is_empty() && value.trim() == value, "{name}: {value:?}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
        }
    }
});
