#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing;

fuzz_target!(|text: &str| {
    let items: Vec<String> = text.split('\n').map(str::to_owned).collect();
    fuzzing::header_values(&items);
});
