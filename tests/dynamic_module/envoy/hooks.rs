//! The hooks that the module exports.

use std::ffi::{c_char, c_void};

use super::{Buffer, RawField};

unsafe extern "C" {
    pub(super) fn envoy_dynamic_module_on_program_init() -> *const c_char;
    pub(super) fn envoy_dynamic_module_on_http_filter_config_new(
        config: *mut c_void,
        name: Buffer,
        bytes: Buffer,
    ) -> *const c_void;
    pub(super) fn envoy_dynamic_module_on_http_filter_config_destroy(pointer: *const c_void);
    pub(super) fn envoy_dynamic_module_on_http_filter_config_scheduled(
        config: *mut c_void,
        pointer: *const c_void,
        event: u64,
    );
    pub(super) fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
        config: *mut c_void,
        pointer: *const c_void,
        callout: u64,
        result: u32,
        fields: *const RawField,
        field_count: usize,
        chunks: *const Buffer,
        chunk_count: usize,
    );
    pub(super) fn envoy_dynamic_module_on_http_filter_per_route_config_new(
        name: Buffer,
        bytes: Buffer,
    ) -> *const c_void;
    pub(super) fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
        pointer: *const c_void,
    );
    pub(super) fn envoy_dynamic_module_on_http_filter_new(
        pointer: *const c_void,
        stream: *mut c_void,
    ) -> *const c_void;
    pub(super) fn envoy_dynamic_module_on_http_filter_stream_complete(
        stream: *mut c_void,
        pointer: *const c_void,
    );
    pub(super) fn envoy_dynamic_module_on_http_filter_destroy(pointer: *const c_void);
    pub(super) fn envoy_dynamic_module_on_http_filter_request_headers(
        stream: *mut c_void,
        pointer: *const c_void,
        is_end: bool,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_on_http_filter_request_body(
        stream: *mut c_void,
        pointer: *const c_void,
        is_end: bool,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_on_http_filter_request_trailers(
        stream: *mut c_void,
        pointer: *const c_void,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_on_http_filter_scheduled(
        stream: *mut c_void,
        pointer: *const c_void,
        event: u64,
    );
}
