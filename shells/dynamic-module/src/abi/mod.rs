//! Envoy's C interface for HTTP filters, as of Envoy 1.38. All unsafe code of the module is in this
//! folder.
//!
//! - A [`Stream`] stays in one thread. Its handle is removed when Envoy destroys the filter, so
//!   operations on a stream that has ended fail.
//! - What is read is lent to a closure. Operations that change the stream, and so may free what was
//!   lent, are refused meanwhile.
//! - A [`ConfigHandle`] lives as long as a callback of its configuration on the main thread.
//! - No panic leaves a callback.
#![allow(unsafe_code)]

mod config;
mod entry;
mod envoy;
mod scheduler;
mod stream;

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

pub(crate) use config::{ConfigHandle, CurrentConfig, LentResponse, is_envoy_1_38};
pub(crate) use scheduler::{ConfigScheduler, StreamScheduler};
pub(crate) use stream::{Body, Map, Stream};

/// An object that Envoy owns.
type Handle = NonNull<c_void>;

/// Bytes that Envoy or the module owns. `data` is null if there are none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// The address of the first byte.
    pub data: *const u8,
    /// The number of bytes.
    pub length: usize,
}

/// Name and value of a header field.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawField {
    /// Its name.
    pub name: Buffer,
    /// Its value.
    pub value: Buffer,
}

/// Envoy refused, or the stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Buffer {
    const NONE: Self = Self { data: ptr::null(), length: 0 };

    /// Valid as long as the caller borrows the bytes.
    fn new(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// # Safety
    ///
    /// The bytes must be valid and must not change for this lifetime.
    unsafe fn lend<'a>(self) -> &'a [u8] {
        match self.data.is_null() {
            true => &[],
            // SAFETY: guaranteed by the caller; the pointer is not null.
            false => unsafe { std::slice::from_raw_parts(self.data, self.length) },
        }
    }
}

impl RawField {
    const NONE: Self = Self { name: Buffer::NONE, value: Buffer::NONE };

    fn new(name: &str, value: &str) -> Self {
        Self { name: Buffer::new(name.as_bytes()), value: Buffer::new(value.as_bytes()) }
    }
}

/// Whether Envoy writes lines of this level: 0 is trace, 5 critical.
pub(crate) fn is_logged(level: u32) -> bool {
    // SAFETY: takes a number only.
    unsafe { envoy::envoy_dynamic_module_callback_log_enabled(level) }
}

/// Writes a log line.
pub(crate) fn log(level: u32, line: &str) {
    // SAFETY: Envoy copies the line before it returns.
    unsafe { envoy::envoy_dynamic_module_callback_log(level, Buffer::new(line.as_bytes())) }
}

fn buffers(values: &[String]) -> Vec<Buffer> {
    values.iter().map(|value| Buffer::new(value.as_bytes())).collect()
}

/// Another reference to an object that this module gave to Envoy; `None` for null.
///
/// # Safety
///
/// The pointer is null, or comes from `Arc::into_raw`, and Envoy has not returned that reference
/// yet.
unsafe fn shared<T>(pointer: *const T) -> Option<Arc<T>> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: guaranteed by the caller.
    unsafe {
        Arc::increment_strong_count(pointer);
        Some(Arc::from_raw(pointer))
    }
}
