//! Three host calls and two callbacks of the proxy-wasm ABI without the SDK, which copies each header
//! field separately, panics when the host refuses filter state, and drops the response to a callout
//! if the request during whose callback it was made is gone. Apart from this, only the allocator and
//! the SDK's macro have unsafe code.
#![allow(unsafe_code)]

use std::ptr;

use crate::header_pairs::encode_fields;

/// `HttpRequestHeaders` in the ABI.
const REQUEST_HEADERS: u32 = 0;
/// `HttpRequestTrailers` in the ABI.
const REQUEST_TRAILERS: u32 = 1;
/// `HttpResponseHeaders` in the ABI.
const RESPONSE_HEADERS: u32 = 2;
/// `Ok` in the ABI.
const OK: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        fields: *const u8,
        fields_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        milliseconds: u32,
        id: *mut u32,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
}

/// The header fields of the current request, for
/// [`decode_fields`](crate::header_pairs::decode_fields). `None` if the host has none.
pub(super) fn request_header_pairs() -> Option<Vec<u8>> {
    pairs(REQUEST_HEADERS)
}

/// The trailers of the current request, in the same form.
pub(super) fn request_trailer_pairs() -> Option<Vec<u8>> {
    pairs(REQUEST_TRAILERS)
}

/// The header fields of the current request's response, in the same form.
pub(super) fn response_header_pairs() -> Option<Vec<u8>> {
    pairs(RESPONSE_HEADERS)
}

fn pairs(map: u32) -> Option<Vec<u8>> {
    let mut data = ptr::null_mut();
    let mut size = 0;
    // SAFETY: the host may write to both places, and keeps neither.
    let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
    if status != OK || data.is_null() {
        return None;
    }
    // SAFETY: the host got this memory from `proxy_on_memory_allocate` for this many bytes, has
    // filled it and keeps no reference. The SDK leaks a boxed slice of that size there, so this is
    // its owner.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Sends a request to a cluster on behalf of the current context. [`encode_fields`] makes the fields,
/// and `timeout` is in milliseconds. Returns the id of the callout; `None` if the host refuses, for
/// example because the cluster does not exist or has no healthy host.
pub(super) fn http_call(cluster: &str, fields: &[u8], body: &[u8], timeout: u32) -> Option<u32> {
    let trailers = encode_fields::<&str>(&[])?;
    let mut id = 0;
    // SAFETY: the host reads this many bytes of each before the call returns, and may write to the
    // place of the id, which it does not keep.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            fields.as_ptr(),
            fields.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout,
            &raw mut id,
        )
    };
    (status == OK).then_some(id)
}

/// Sets filter state of the current request; Envoy prefixes the name with `wasm.`. A host refuses
/// if the plugin's capabilities exclude this call. Access logs lack the state then, which is no
/// reason to stop a request.
pub(super) fn set_filter_state(name: &str, value: &str) {
    // SAFETY: the host reads this many bytes of both before the call returns.
    unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// The callback for a request's head, in place of the SDK's, whose return type has only one way to
/// stop. `xtask trim-exports` exports it under that name.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
extern "C" fn mcp_auth_on_request_headers(
    context_id: u32,
    num_headers: usize,
    end_of_stream: bool,
) -> u32 {
    unsafe extern "C" {
        fn proxy_on_request_headers(
            context_id: u32,
            num_headers: usize,
            end_of_stream: bool,
        ) -> u32;
    }
    // SAFETY: the SDK's callback, called once for each call of the host, with the same arguments.
    let action = unsafe { proxy_on_request_headers(context_id, num_headers, end_of_stream) };
    crate::head_status(action)
}

/// The callback for the response to a callout, in place of the SDK's, which knows only callouts that
/// were made through it. `xtask trim-exports` exports it under that name.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
extern "C" fn mcp_auth_on_http_call_response(
    root_id: u32,
    callout: u32,
    header_count: usize,
    body_length: usize,
    _trailer_count: usize,
) {
    crate::on_callout_response(root_id, callout, header_count, body_length);
}
