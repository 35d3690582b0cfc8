#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::Config;

// JSON, and anything else as a protobuf Struct.
fuzz_target!(|bytes: &[u8]| {
    if let Err(refused) = Config::from_bytes(bytes) {
        assert!(refused.faults().count() > 0);
    }
});
