#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_message;

fuzz_target!(|body: &[u8]| {
    fuzz_message(body);
});
