#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_header_values;

fuzz_target!(|text: &str| fuzz_header_values(text));
