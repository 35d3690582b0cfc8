#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::{Config, fuzzing};
use mcp_federated_auth_fuzz::CONFIGURATION;

thread_local! {
    static CONFIG: Config = Config::from_bytes(CONFIGURATION).unwrap();
}

fuzz_target!(|bytes: &[u8]| {
    CONFIG.with(|config| fuzzing::read_shared_keys(bytes, config));
    fuzzing::read_shared_tokens(bytes.get(5).copied().unwrap_or_default(), bytes);
});
