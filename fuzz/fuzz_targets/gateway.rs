#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_federated_auth::fuzzing::Gateway;

thread_local! {
    static GATEWAY: Gateway = Gateway::new().unwrap();
}

// Registrations, authorization and token requests, cookies, documents of clients, and the directory's
// responses.
fuzz_target!(|conversation: &[u8]| {
    let _responses = GATEWAY.with(|gateway| gateway.converse(conversation));
});
