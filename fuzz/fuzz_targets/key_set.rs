#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_key_set;

fuzz_target!(|document: &[u8]| {
    fuzz_key_set(document);
});
