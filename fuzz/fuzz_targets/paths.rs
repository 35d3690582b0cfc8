#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::fuzz_path;

fuzz_target!(|path: &[u8]| {
    fuzz_path(path);
});
