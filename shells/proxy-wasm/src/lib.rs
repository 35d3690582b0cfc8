//! The plugin for proxies with the proxy-wasm interface: translates between Envoy and
//! [`mcp_federated_auth::Engine`], and makes no decisions.
//!
//! There is a root context for each configuration and worker thread, which owns an engine; the HTTP
//! contexts of its requests share it. Callouts are made on behalf of the root context, and the root
//! context's engine gets their responses, because the response to a callout of a request is lost with
//! the request.

mod abi;
#[cfg(any(target_family = "wasm", test))]
mod allocator;
mod crypto;
mod head_status;
mod header_pairs;
mod host;
mod http_filter;
mod log_lines;
mod root;
mod status_filter;

#[doc(hidden)]
pub use head_status::head_status;
#[doc(hidden)]
pub use root::on_callout_response;

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
