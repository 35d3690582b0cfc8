#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_metadata;

fuzz_target!(|document: &[u8]| {
    fuzz_metadata(document);
});
