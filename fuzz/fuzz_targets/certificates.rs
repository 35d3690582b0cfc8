#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_certificate;

fuzz_target!(|pem: &str| {
    fuzz_certificate(pem);
});
