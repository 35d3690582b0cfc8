//! The exports of the module: the callbacks that Envoy calls. Each of them calls `hooks`.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use super::{Buffer, ConfigHandle, Handle, LentResponse, RawField, Stream, is_envoy_1_38, shared};
use crate::configuration::Configuration;
use crate::hooks;
use crate::setup::Setup;

/// Forwards the head, the body or the trailers.
const CONTINUE: u32 = 0;
/// Holds a head or trailers back.
const STOP: u32 = 1;
/// Holds a body back and drops it.
const STOP_WITHOUT_BUFFER: u32 = 3;

/// Catches a panic, and returns `fallback` to Envoy.
fn guard<T>(fallback: T, hook: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or(fallback)
}

/// Another reference to a stream of this module; `None` for null.
///
/// # Safety
///
/// The pointer is null, or `http_filter_new` returned it in this thread and it is not destroyed
/// yet.
unsafe fn stream(own: *const Stream) -> Option<Rc<Stream>> {
    if own.is_null() {
        return None;
    }
    // SAFETY: guaranteed by the caller.
    unsafe {
        Rc::increment_strong_count(own);
        Some(Rc::from_raw(own))
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    guard(ptr::null(), || {
        hooks::program_init();
        super::config::abi_version().as_ptr()
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    handle: Handle,
    name: Buffer,
    bytes: Buffer,
) -> *const Configuration {
    guard(ptr::null(), || {
        // SAFETY: Envoy calls this on the main thread, with arguments that are valid until it
        // returns.
        let (handle, name, bytes) =
            unsafe { (ConfigHandle::new(handle), name.lend(), bytes.lend()) };
        hooks::config_new(handle, name, bytes).map_or(ptr::null(), Arc::into_raw)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(own: *const Configuration) {
    if own.is_null() {
        return;
    }
    guard((), || {
        // SAFETY: Envoy returns once what it got from `config_new`.
        hooks::config_destroy(&*unsafe { Arc::from_raw(own) });
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    handle: Handle,
    own: *const Configuration,
    _event: u64,
) {
    guard((), || {
        // SAFETY: as for `config_new`, which returned `own`.
        let (handle, own) = unsafe { (ConfigHandle::new(handle), shared(own)) };
        if let Some(own) = own {
            hooks::config_scheduled(handle, &own);
        }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    handle: Handle,
    own: *const Configuration,
    callout: u64,
    result: u32,
    fields: *const RawField,
    field_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) {
    guard((), || {
        // SAFETY: as for `config_new`; this many fields and chunks are valid until this returns.
        let (handle, own, fields, chunks) = unsafe {
            (
                ConfigHandle::new(handle),
                shared(own),
                slice(fields, field_count),
                slice(chunks, chunk_count),
            )
        };
        // SAFETY: the same.
        let response = unsafe { LentResponse::new(fields, chunks) };
        if let Some(own) = own {
            hooks::config_callout_done(handle, &own, callout, (result == 0).then_some(response));
        }
    });
}

/// # Safety
///
/// The pointer is null, or points to this many values, which must not change for this lifetime.
unsafe fn slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
    match data.is_null() {
        true => &[],
        // SAFETY: guaranteed by the caller.
        false => unsafe { std::slice::from_raw_parts(data, count) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    name: Buffer,
    bytes: Buffer,
) -> *const Setup {
    guard(ptr::null(), || {
        // SAFETY: both are valid until this returns.
        let (name, bytes) = unsafe { (name.lend(), bytes.lend()) };
        hooks::route_config_new(name, bytes).map_or(ptr::null(), |setup| Arc::as_ptr(&setup))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
    own: *const Setup,
) {
    if own.is_null() {
        return;
    }
    guard((), || hooks::route_config_destroy(own.addr()));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    own: *const Configuration,
    handle: Handle,
) -> *const Stream {
    guard(ptr::null(), || {
        // SAFETY: `own` is null, or was returned by `config_new`.
        let Some(own) = (unsafe { shared(own) }) else { return ptr::null() };
        // SAFETY: Envoy destroys the stream in this thread, after it called the callback below.
        let stream = Rc::new(unsafe { Stream::new(handle) });
        hooks::stream_new(&own, &stream);
        Rc::into_raw(stream)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(own: *const Stream) {
    if own.is_null() {
        return;
    }
    guard((), || {
        // SAFETY: Envoy returns once, in the same thread, what it got from `http_filter_new`.
        let stream = unsafe { Rc::from_raw(own) };
        stream.close();
        hooks::stream_destroyed(&stream);
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    handle: Handle,
    own: *const Stream,
    is_end: bool,
) -> u32 {
    guard(STOP, || {
        // SAFETY: `own` is null, or was returned by `http_filter_new`.
        match unsafe { stream(own) } {
            Some(stream) => hooks::request_headers(&stream, is_end),
            // Envoy 1.38 and 1.39 call this although `http_filter_new` has refused.
            None => {
                // SAFETY: the stream exists until this returns, which is later than the object is
                // dropped.
                hooks::fail(&unsafe { Stream::new(handle) });
                STOP
            }
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _handle: Handle,
    own: *const Stream,
    is_end: bool,
) -> u32 {
    guard(STOP_WITHOUT_BUFFER, || {
        // SAFETY: as for `request_headers`.
        let stream = unsafe { stream(own) };
        stream.map_or(STOP_WITHOUT_BUFFER, |stream| hooks::request_body(&stream, is_end))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    _handle: Handle,
    own: *const Stream,
) -> u32 {
    guard(STOP, || {
        // SAFETY: as for `request_headers`.
        unsafe { stream(own) }.map_or(STOP, |stream| hooks::request_trailers(&stream))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _handle: Handle,
    own: *const Stream,
    is_end: bool,
) -> u32 {
    guard(STOP, || {
        // SAFETY: as for `request_headers`. Without a stream, the response is the one to its failure.
        let stream = unsafe { stream(own) };
        stream.map_or(CONTINUE, |stream| hooks::response_headers(&stream, is_end))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    _handle: Handle,
    own: *const Stream,
    is_end: bool,
) -> u32 {
    guard(STOP_WITHOUT_BUFFER, || {
        // SAFETY: as for `request_headers`.
        let stream = unsafe { stream(own) };
        stream.map_or(CONTINUE, |stream| hooks::response_body(&stream, is_end))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    _handle: Handle,
    own: *const Stream,
) -> u32 {
    guard(STOP, || {
        // SAFETY: as for `request_headers`.
        unsafe { stream(own) }.map_or(CONTINUE, |stream| hooks::response_trailers(&stream))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    _handle: Handle,
    own: *const Stream,
) {
    if !is_envoy_1_38() {
        return;
    }
    guard((), || {
        // SAFETY: as for `request_headers`.
        if let Some(stream) = unsafe { stream(own) } {
            hooks::stream_complete(&stream);
        }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    _handle: Handle,
    own: *const Stream,
    _event: u64,
) {
    guard((), || {
        // SAFETY: as for `request_headers`.
        if let Some(stream) = unsafe { stream(own) } {
            hooks::scheduled(&stream);
        }
    });
}

/// Exports callbacks that the module does not use, but that Envoy requires.
macro_rules! export_unused {
    ($($name:ident($($argument:ty),*) $(-> $status:ty)?;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) $(-> $status)? {
            $({
                const STATUS: $status = CONTINUE;
                STATUS
            })?
        }
    )*};
}

type Own = *const c_void;

export_unused! {
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(Handle, Own);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(Handle, Own);
    envoy_dynamic_module_on_http_filter_http_callout_done(
        Handle, Own, u64, u32, Own, usize, Own, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_headers(Handle, Own, u64, Own, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(Handle, Own, u64, Own, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(Handle, Own, u64, Own, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(Handle, Own, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(Handle, Own, u64, u32);
}
