#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{fuzz_shared_keys, fuzz_spent_tokens};

fuzz_target!(|bytes: &[u8]| {
    fuzz_shared_keys(bytes);
    fuzz_spent_tokens(bytes);
});
