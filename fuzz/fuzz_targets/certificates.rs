#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing;

fuzz_target!(|pem: &str| fuzzing::certificate(pem));
