//! The imports of the module: functions that Envoy exports since 1.38, and `dlsym` for later ones.
//!
//! An Envoy that lacks one of these does not load the module.

use std::ffi::{c_char, c_void};

use super::{Buffer, Handle, RawField};

unsafe extern "C" {
    pub(super) fn envoy_dynamic_module_callback_log(level: u32, line: Buffer);
    pub(super) fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: Handle,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: Handle,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_callback_http_filter_increment_counter(
        stream: Handle,
        id: usize,
        values: *const Buffer,
        value_count: usize,
        amount: u64,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_callback_http_filter_set_gauge(
        stream: Handle,
        id: usize,
        values: *const Buffer,
        value_count: usize,
        amount: u64,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        config: Handle,
        id: *mut u64,
        cluster: Buffer,
        fields: *const RawField,
        field_count: usize,
        body: Buffer,
        milliseconds: u64,
    ) -> u32;
    pub(super) fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(
        config: Handle,
    ) -> Option<Handle>;
    pub(super) fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(
        scheduler: Handle,
        event: u64,
    );
    pub(super) fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(
        scheduler: Handle,
    );
    pub(super) fn envoy_dynamic_module_callback_http_filter_scheduler_new(
        stream: Handle,
    ) -> Option<Handle>;
    pub(super) fn envoy_dynamic_module_callback_http_filter_scheduler_commit(
        scheduler: Handle,
        event: u64,
    );
    pub(super) fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: Handle);
    pub(super) fn envoy_dynamic_module_callback_http_get_headers_size(
        stream: Handle,
        map: u32,
    ) -> usize;
    pub(super) fn envoy_dynamic_module_callback_http_get_headers(
        stream: Handle,
        map: u32,
        fields: *mut RawField,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_set_header(
        stream: Handle,
        map: u32,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_add_header(
        stream: Handle,
        map: u32,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_clear_route_cache(stream: Handle);
    pub(super) fn envoy_dynamic_module_callback_http_send_response(
        stream: Handle,
        status: u32,
        fields: *const RawField,
        field_count: usize,
        body: Buffer,
        details: Buffer,
    );
    pub(super) fn envoy_dynamic_module_callback_http_get_body_size(
        stream: Handle,
        part: u32,
    ) -> usize;
    pub(super) fn envoy_dynamic_module_callback_http_get_body_chunks_size(
        stream: Handle,
        part: u32,
    ) -> usize;
    pub(super) fn envoy_dynamic_module_callback_http_get_body_chunks(
        stream: Handle,
        part: u32,
        chunks: *mut Buffer,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_received_buffered_request_body(
        stream: Handle,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_received_buffered_response_body(
        stream: Handle,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_drain_body(
        stream: Handle,
        part: u32,
        bytes: usize,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_append_body(
        stream: Handle,
        part: u32,
        bytes: Buffer,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        stream: Handle,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub(super) fn envoy_dynamic_module_callback_http_filter_continue_decoding(stream: Handle);
    pub(super) fn envoy_dynamic_module_callback_get_most_specific_route_config(
        stream: Handle,
    ) -> *const c_void;
    pub(super) fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}
