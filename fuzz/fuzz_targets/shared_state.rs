#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::{Config, fuzzing};
use mcp_federated_auth_fuzz::CONFIGURATION;

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::from_bytes(CONFIGURATION).unwrap());

fuzz_target!(|bytes: &[u8]| {
    fuzzing::read_shared_keys(bytes, &CONFIG);
    fuzzing::read_shared_tokens(bytes.get(5).copied().unwrap_or_default(), bytes);
});
