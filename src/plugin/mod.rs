//! The shell: translates between Envoy and the core, and decides nothing. The only place that
//! imports `proxy_wasm`.
//!
//! A root context per configuration and worker thread owns a [`worker::Worker`]; the HTTP contexts
//! of its requests share it. Calls are made in the name of the root context, since the answer to a
//! call of a request is lost with the request.

mod abi;
#[cfg(any(target_family = "wasm", test))]
mod allocator;
mod fleet_spender;
mod head_status;
mod host;
mod host_crypto;
mod http_filter;
mod key_fetcher;
mod log_lines;
mod metrics;
mod overage_log;
mod paused_bodies;
mod rate_limit;
mod refusal_log;
mod replay_store;
mod root;
mod scim_caller;
mod status_board;
mod status_filter;
mod worker;

#[doc(hidden)]
pub use head_status::head_status;

/// Registers the filter with the SDK. The host calls this once in each VM, before anything else.
pub fn install() {
    log_lines::install();
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}

// The macro exports a symbol, which counts as unsafe code.
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, missing_docs)]
mod entry {
    proxy_wasm::main! {{
        super::install();
    }}
}
