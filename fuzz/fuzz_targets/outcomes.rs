#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_outcomes;

fuzz_target!(|input: &[u8]| {
    fuzz_outcomes(input);
});
