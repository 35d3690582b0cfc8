#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_jws;

fuzz_target!(|token: &[u8]| {
    fuzz_jws(token);
});
