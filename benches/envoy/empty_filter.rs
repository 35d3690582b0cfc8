//! A dynamic module of Envoy whose filter does nothing: what a native filter costs by itself. The
//! benchmark compiles it.

use std::ffi::{c_char, c_void};

type Pointer = *const c_void;

#[repr(C)]
pub struct Buffer(*const u8, usize);

/// Envoy takes no null.
fn own() -> Pointer {
    std::ptr::NonNull::dangling().as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    c"v0.2.0".as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _: Pointer,
    _: Buffer,
    _: Buffer,
) -> Pointer {
    own()
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_new(_: Pointer, _: Pointer) -> Pointer {
    own()
}

macro_rules! export_empty {
    ($($name:ident($($argument:ty),*) $(-> $status:ty)?;)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($(_: $argument),*) $(-> $status)? {
            $(<$status>::default())?
        }
    )*};
}

export_empty! {
    envoy_dynamic_module_on_http_filter_config_destroy(Pointer);
    envoy_dynamic_module_on_http_filter_destroy(Pointer);
    envoy_dynamic_module_on_http_filter_request_headers(Pointer, Pointer, bool) -> u32;
    envoy_dynamic_module_on_http_filter_request_body(Pointer, Pointer, bool) -> u32;
    envoy_dynamic_module_on_http_filter_request_trailers(Pointer, Pointer) -> u32;
    envoy_dynamic_module_on_http_filter_response_headers(Pointer, Pointer, bool) -> u32;
    envoy_dynamic_module_on_http_filter_response_body(Pointer, Pointer, bool) -> u32;
    envoy_dynamic_module_on_http_filter_response_trailers(Pointer, Pointer) -> u32;
    envoy_dynamic_module_on_http_filter_stream_complete(Pointer, Pointer);
    envoy_dynamic_module_on_http_filter_scheduled(Pointer, Pointer, u64);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
        Pointer, Pointer
    );
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
        Pointer, Pointer
    );
    envoy_dynamic_module_on_http_filter_http_callout_done(
        Pointer, Pointer, u64, u32, Pointer, usize, Pointer, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_headers(
        Pointer, Pointer, u64, Pointer, usize, bool
    );
    envoy_dynamic_module_on_http_filter_http_stream_data(
        Pointer, Pointer, u64, Pointer, usize, bool
    );
    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        Pointer, Pointer, u64, Pointer, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_complete(Pointer, Pointer, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(Pointer, Pointer, u64, u32);
}
