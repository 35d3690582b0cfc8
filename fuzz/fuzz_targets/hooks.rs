//! The native module's hooks, called by the scripted Envoy of its tests. A panic in one of them
//! ends the target, although the module would survive it.
#![no_main]
#![allow(dead_code, missing_docs, unreachable_pub)]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/dynamic_module/envoy/mod.rs"]
mod envoy;
#[path = "../../tests/dynamic_module/provider.rs"]
mod provider;
#[path = "../../tests/dynamic_module/sequences.rs"]
mod sequences;

thread_local! {
    static KEY: provider::Provider = provider::Provider::new();
}

// Each run has its own issuer, so that no run sees the keys of another.
fuzz_target!(|bytes: &[u8]| {
    let world = KEY.with(|provider| provider.with_new_issuer().world());
    let _ = sequences::run(&world, bytes);
});
