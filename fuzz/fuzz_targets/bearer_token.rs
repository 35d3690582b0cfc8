#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::{Request, fuzz_bearer_token};

fuzz_target!(|text: &[u8]| {
    Request::new(text).with_head(fuzz_bearer_token);
});
