#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing;
use mcp_federated_auth_fuzz::request;

fuzz_target!(|text: &[u8]| fuzzing::bearer_token(&request(text).0));
