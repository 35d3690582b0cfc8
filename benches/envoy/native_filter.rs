//! A dynamic module of Envoy whose filter does nothing: the cost of a native filter by itself. With
//! `--cfg minimal` it makes only the calls that every native filter needs for the module's work on
//! a cached token, with constants. With `--cfg same_calls` as well, it makes all calls that the
//! module makes for such a token, except for counters. The benchmark compiles all three.

use std::ffi::{c_char, c_void};

type Pointer = *const c_void;

#[repr(C)]
pub struct Buffer(*const u8, usize);

/// Envoy does not accept null.
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

#[cfg(not(minimal))]
export_empty! {
    envoy_dynamic_module_on_http_filter_request_headers(Pointer, Pointer, bool) -> u32;
}

#[cfg(minimal)]
mod minimal {
    use std::ptr::null;

    use super::{Buffer, Pointer};

    const REQUEST: u32 = 0;
    const MAX_FIELDS: usize = 64;

    include!("identity_fields.rs");
    const FILTER_STATE: &[(&str, &str)] = &[
        ("mcp_auth.user", "ada@example.com"),
        ("mcp_auth.provider", "demo"),
        #[cfg(same_calls)]
        ("mcp_auth.client", "demo-agent"),
    ];

    unsafe extern "C" {
        fn envoy_dynamic_module_callback_http_get_headers_size(stream: Pointer, map: u32) -> usize;
        fn envoy_dynamic_module_callback_http_get_headers(
            stream: Pointer,
            map: u32,
            fields: *mut [Buffer; 2],
        ) -> bool;
        fn envoy_dynamic_module_callback_http_set_header(
            stream: Pointer,
            map: u32,
            name: Buffer,
            value: Buffer,
        ) -> bool;
        fn envoy_dynamic_module_callback_http_add_header(
            stream: Pointer,
            map: u32,
            name: Buffer,
            value: Buffer,
        ) -> bool;
        fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
            stream: Pointer,
            key: Buffer,
            value: Buffer,
        ) -> bool;
        #[cfg(same_calls)]
        fn envoy_dynamic_module_callback_get_most_specific_route_config(stream: Pointer)
        -> Pointer;
        #[cfg(same_calls)]
        fn envoy_dynamic_module_callback_http_clear_route_cache(stream: Pointer);
    }

    fn text(text: &str) -> Buffer {
        Buffer(text.as_ptr(), text.len())
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
        stream: Pointer,
        _: Pointer,
        _: bool,
    ) -> u32 {
        // SAFETY: the stream exists during the callback, the fields have room, and Envoy copies its
        // input.
        unsafe {
            #[cfg(same_calls)]
            {
                let own = envoy_dynamic_module_callback_get_most_specific_route_config(stream);
                assert!(own.is_null());
                std::hint::black_box(std::time::SystemTime::now());
            }
            let count = envoy_dynamic_module_callback_http_get_headers_size(stream, REQUEST);
            assert!(count <= MAX_FIELDS);
            let mut fields = [const { [const { Buffer(null(), 0) }; 2] }; MAX_FIELDS];
            let mut is_done = envoy_dynamic_module_callback_http_get_headers(
                stream,
                REQUEST,
                fields.as_mut_ptr(),
            );
            std::hint::black_box(&fields);
            let (name, none) = (text("authorization"), Buffer(null(), 0));
            is_done &= envoy_dynamic_module_callback_http_set_header(stream, REQUEST, name, none);
            for (name, value) in FIELDS {
                let (name, value) = (text(name), text(value));
                is_done &=
                    envoy_dynamic_module_callback_http_add_header(stream, REQUEST, name, value);
            }
            #[cfg(same_calls)]
            {
                envoy_dynamic_module_callback_http_clear_route_cache(stream);
                let own = envoy_dynamic_module_callback_get_most_specific_route_config(stream);
                assert!(own.is_null());
            }
            for (key, value) in FILTER_STATE {
                let (key, value) = (text(key), text(value));
                is_done &=
                    envoy_dynamic_module_callback_http_set_filter_state_bytes(stream, key, value);
            }
            assert!(is_done);
        }
        0
    }
}
