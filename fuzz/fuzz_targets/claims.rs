#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Gate, Passage};
use mcp_federated_auth_fuzz::{CONFIGURATION, bearer_request};

static GATE: LazyLock<Gate> = LazyLock::new(|| Gate::new(CONFIGURATION, true).unwrap());

// As if their signature were good: what is told of them is fit for header fields.
fuzz_target!(|claims: &[u8]| {
    if let Passage::As(fields) = GATE.judge(&bearer_request(claims), b"") {
        for (name, value) in fields {
            assert!(!value.is_empty() && value.trim() == value, "{name}: {value:?}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
        }
    }
});
