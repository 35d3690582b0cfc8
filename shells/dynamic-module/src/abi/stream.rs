//! Operations on streams.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;

use mcp_federated_auth::Field;

use super::scheduler::{Scheduler, StreamScheduler};
use super::{Buffer, Handle, RawField, Refused, buffers, envoy};
use crate::setup::Setup;
use crate::worker::{Phase, Worker};

/// A set of header fields of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    Request,
    Trailers,
    Response,
}

impl Map {
    fn number(self) -> u32 {
        match self {
            Self::Request => 0,
            Self::Trailers => 1,
            Self::Response => 2,
        }
    }
}

/// The body of the request or of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Request,
    Response,
}

impl Body {
    /// The part that was just received.
    fn received(self) -> u32 {
        match self {
            Self::Request => 0,
            Self::Response => 2,
        }
    }

    /// The part that was held back before.
    fn buffered(self) -> u32 {
        match self {
            Self::Request => 1,
            Self::Response => 3,
        }
    }
}

/// Envoy's side of a stream.
pub(crate) struct Stream {
    /// `None` once Envoy has destroyed the filter. Not `Send`.
    handle: Cell<Option<Handle>>,
    /// Whether a part of it is lent.
    is_lent: Cell<bool>,
    /// Its number among the streams of its thread; 0 before its head.
    pub(crate) number: Cell<u64>,
    /// The worker that decides on it; `None` once it has ended.
    pub(crate) worker: RefCell<Option<Rc<Worker>>>,
    pub(crate) phase: Cell<Phase>,
    /// Whether a callback for its head, body or trailers has not returned yet. If so, its return
    /// value decides whether the stream continues.
    pub(crate) is_in_callback: Cell<bool>,
}

impl Stream {
    /// How many fields are read without allocating.
    const FEW: usize = 32;

    /// # Safety
    ///
    /// The stream must exist until [`Self::close`], and everything must happen in its thread.
    pub(super) unsafe fn new(handle: Handle) -> Self {
        Self {
            handle: Cell::new(Some(handle)),
            is_lent: Cell::new(false),
            number: Cell::new(0),
            worker: RefCell::new(None),
            phase: Cell::new(Phase::New),
            is_in_callback: Cell::new(false),
        }
    }

    /// Envoy is about to destroy it.
    pub(super) fn close(&self) {
        self.handle.set(None);
    }

    fn handle(&self) -> Result<Handle, Refused> {
        self.handle.get().ok_or(Refused)
    }

    /// The handle, for operations that may free what is lent.
    fn handle_to_change(&self) -> Result<Handle, Refused> {
        if self.is_lent.get() { Err(Refused) } else { self.handle() }
    }

    /// Whether it still exists.
    pub(crate) fn is_open(&self) -> bool {
        self.handle.get().is_some()
    }

    /// Lends its header fields to `read`.
    pub(crate) fn with_fields<T>(
        &self,
        map: Map,
        read: impl FnOnce(&[Field<'_>]) -> T,
    ) -> Result<T, Refused> {
        let handle = self.handle()?;
        let map = map.number();
        // SAFETY: the handle is that of an existing stream.
        let count =
            unsafe { envoy::envoy_dynamic_module_callback_http_get_headers_size(handle, map) };
        // On the stack, unless there are more fields than most requests have.
        let mut few = [RawField::NONE; Self::FEW];
        let mut many = Vec::new();
        let raw = match few.get_mut(..count) {
            Some(few) => few,
            None => {
                many.resize(count, RawField::NONE);
                many.as_mut_slice()
            }
        };
        // SAFETY: there is room for this many fields, because nothing has changed their number.
        let is_read = unsafe {
            envoy::envoy_dynamic_module_callback_http_get_headers(handle, map, raw.as_mut_ptr())
        };
        if !is_read && count > 0 {
            return Err(Refused);
        }
        // SAFETY: valid until the stream is changed, which is refused until `read` has returned.
        let lend = |field: &RawField| unsafe { (field.name.lend(), field.value.lend()) };
        // Not initialised in advance: that would take more instructions than the rest of this
        // function.
        let mut few = [const { MaybeUninit::<Field<'_>>::uninit() }; Self::FEW];
        if let Some(few) = few.get_mut(..count) {
            for (field, raw) in few.iter_mut().zip(&*raw) {
                field.write(lend(raw));
            }
            // SAFETY: both have `count` elements, so each was written.
            let few = unsafe { few.assume_init_ref() };
            return Ok(self.lending(|| read(few)));
        }
        let fields: Vec<Field<'_>> = raw.iter().map(lend).collect();
        Ok(self.lending(|| read(&fields)))
    }

    /// Adds a header field.
    pub(crate) fn add_field(&self, map: Map, name: &str, value: &str) -> Result<(), Refused> {
        let handle = self.handle_to_change()?;
        let (name, value) = (Buffer::new(name.as_bytes()), Buffer::new(value.as_bytes()));
        // SAFETY: the stream exists, and Envoy copies name and value.
        let is_added = unsafe {
            envoy::envoy_dynamic_module_callback_http_add_header(handle, map.number(), name, value)
        };
        if is_added { Ok(()) } else { Err(Refused) }
    }

    /// Removes all header fields of this name.
    pub(crate) fn remove_field(&self, map: Map, name: &[u8]) -> Result<(), Refused> {
        let handle = self.handle_to_change()?;
        let (map, name) = (map.number(), Buffer::new(name));
        // SAFETY: as for `add_field`; a null value removes.
        let is_removed = unsafe {
            envoy::envoy_dynamic_module_callback_http_set_header(handle, map, name, Buffer::NONE)
        };
        if is_removed { Ok(()) } else { Err(Refused) }
    }

    /// Makes Envoy choose the route again: it may depend on header fields that were changed.
    pub(crate) fn clear_route_cache(&self) {
        if let Ok(handle) = self.handle_to_change() {
            // SAFETY: the stream exists, and no part of it is lent.
            unsafe { envoy::envoy_dynamic_module_callback_http_clear_route_cache(handle) }
        }
    }

    /// How many bytes of a body are held back or were just received.
    pub(crate) fn body_size(&self, of: Body) -> usize {
        let Ok(handle) = self.handle() else { return 0 };
        let sizes = Self::body_parts(handle, of).map(|part| Self::part_size(handle, part));
        sizes.fold(0, usize::saturating_add)
    }

    /// The first bytes of that, at most `max`.
    pub(crate) fn body(&self, of: Body, max: usize) -> Result<Vec<u8>, Refused> {
        let handle = self.handle()?;
        let mut body = Vec::new();
        for part in Self::body_parts(handle, of) {
            // SAFETY: the stream is there.
            let count = unsafe {
                envoy::envoy_dynamic_module_callback_http_get_body_chunks_size(handle, part)
            };
            let mut chunks = vec![Buffer::NONE; count];
            // SAFETY: there is room for this many chunks.
            let is_read = unsafe {
                envoy::envoy_dynamic_module_callback_http_get_body_chunks(
                    handle,
                    part,
                    chunks.as_mut_ptr(),
                )
            };
            for chunk in chunks.iter().filter(|_| is_read) {
                // SAFETY: valid until the stream is changed, and copied before.
                let bytes = unsafe { chunk.lend() };
                let room = max.saturating_sub(body.len());
                body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            }
        }
        Ok(body)
    }

    /// Replaces these bytes with others.
    pub(crate) fn replace_body(&self, of: Body, bytes: &[u8]) -> Result<(), Refused> {
        let handle = self.handle_to_change()?;
        let mut last = of.buffered();
        for part in Self::body_parts(handle, of) {
            let size = Self::part_size(handle, part);
            // SAFETY: the stream exists, and no part of its body is lent.
            let is_empty = size == 0
                || unsafe {
                    envoy::envoy_dynamic_module_callback_http_drain_body(handle, part, size)
                };
            if !is_empty {
                return Err(Refused);
            }
            last = part;
        }
        let bytes = Buffer::new(bytes);
        // SAFETY: the same; Envoy copies the bytes. It has no part that was just received while it
        // delivers trailers.
        let is_added = unsafe {
            envoy::envoy_dynamic_module_callback_http_append_body(handle, last, bytes)
                || envoy::envoy_dynamic_module_callback_http_append_body(
                    handle,
                    of.buffered(),
                    bytes,
                )
        };
        if is_added { Ok(()) } else { Err(Refused) }
    }

    fn part_size(handle: Handle, part: u32) -> usize {
        // SAFETY: the caller has the handle of an existing stream.
        unsafe { envoy::envoy_dynamic_module_callback_http_get_body_size(handle, part) }
    }

    /// The parts that make up a body, without duplicates.
    fn body_parts(handle: Handle, of: Body) -> impl Iterator<Item = u32> {
        // SAFETY: the stream is there.
        let is_same = unsafe {
            match of {
                Body::Request => {
                    envoy::envoy_dynamic_module_callback_http_received_buffered_request_body(handle)
                }
                Body::Response => {
                    envoy::envoy_dynamic_module_callback_http_received_buffered_response_body(
                        handle,
                    )
                }
            }
        };
        [of.buffered()].into_iter().chain((!is_same).then(|| of.received()))
    }

    /// Sets filter state.
    pub(crate) fn set_filter_state(&self, key: &str, value: &str) {
        if let Ok(handle) = self.handle_to_change() {
            let (key, value) = (Buffer::new(key.as_bytes()), Buffer::new(value.as_bytes()));
            // SAFETY: as for `add_field`. If Envoy refuses, access logs lack it.
            unsafe {
                envoy::envoy_dynamic_module_callback_http_set_filter_state_bytes(handle, key, value)
            };
        }
    }

    /// Responds in place of the upstream. Envoy may call this stream's hooks before it returns.
    pub(crate) fn respond(
        &self,
        status: u16,
        fields: &[(&str, Cow<'_, str>)],
        body: &[u8],
        details: &str,
    ) -> Result<(), Refused> {
        let handle = self.handle_to_change()?;
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| RawField::new(name, value)).collect();
        let (body, details) = (Buffer::new(body), Buffer::new(details.as_bytes()));
        // SAFETY: as for `add_field`.
        unsafe {
            envoy::envoy_dynamic_module_callback_http_send_response(
                handle,
                status.into(),
                fields.as_ptr(),
                fields.len(),
                body,
                details,
            );
        }
        Ok(())
    }

    /// Forwards the request. Envoy may call hooks before it returns.
    pub(crate) fn resume(&self) {
        if let Ok(handle) = self.handle_to_change() {
            // SAFETY: the stream is there.
            unsafe { envoy::envoy_dynamic_module_callback_http_filter_continue_decoding(handle) }
        }
    }

    /// Adds to a counter, or sets a gauge.
    pub(crate) fn record(&self, is_counter: bool, id: usize, values: &[String], amount: u64) {
        let Ok(handle) = self.handle() else { return };
        let record = match is_counter {
            true => envoy::envoy_dynamic_module_callback_http_filter_increment_counter,
            false => envoy::envoy_dynamic_module_callback_http_filter_set_gauge,
        };
        let values = buffers(values);
        // SAFETY: as for `add_field`. A metric is no reason to refuse a request.
        unsafe { record(handle, id, values.as_ptr(), values.len(), amount) };
    }

    /// A scheduler of the stream.
    pub(crate) fn scheduler(&self) -> Option<StreamScheduler> {
        let handle = self.handle().ok()?;
        // SAFETY: the stream is there.
        let handle =
            unsafe { envoy::envoy_dynamic_module_callback_http_filter_scheduler_new(handle) }?;
        Some(StreamScheduler(Scheduler {
            handle,
            commit: envoy::envoy_dynamic_module_callback_http_filter_scheduler_commit,
            delete: envoy::envoy_dynamic_module_callback_http_filter_scheduler_delete,
        }))
    }

    /// The configuration of its route, if the route has its own.
    ///
    /// # Errors
    ///
    /// It has one, but from another copy of the module, so its content is unknown.
    pub(crate) fn route_setup(&self) -> Result<Option<Arc<Setup>>, Refused> {
        let handle = self.handle()?;
        // SAFETY: the stream is there.
        let setup =
            unsafe { envoy::envoy_dynamic_module_callback_get_most_specific_route_config(handle) };
        if setup.is_null() {
            return Ok(None);
        }
        Setup::find_for_route(setup.addr()).map(Some).ok_or(Refused)
    }

    fn lending<T>(&self, read: impl FnOnce() -> T) -> T {
        /// Ends the loan, also after a panic.
        struct Loan<'a>(&'a Cell<bool>, bool);

        impl Drop for Loan<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }

        let _loan = Loan(&self.is_lent, self.is_lent.replace(true));
        read()
    }
}
