#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing;

fuzz_target!(|body: &[u8]| fuzzing::read_message(body));
