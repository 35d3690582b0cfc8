//! Configurations: metrics, callouts, schedulers.

use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use super::scheduler::{ConfigScheduler, Scheduler};
use super::{Buffer, Handle, RawField, buffers, envoy};

/// Envoy's side of a configuration, during one of its callbacks on the main thread.
#[derive(Clone, Copy)]
pub(crate) struct ConfigHandle<'a> {
    handle: Handle,
    /// Not `Send`: only the main thread may use it.
    callback: PhantomData<&'a *const ()>,
}

impl ConfigHandle<'_> {
    /// # Safety
    ///
    /// The configuration must exist for this lifetime, and this must be a callback on the main
    /// thread.
    pub(super) unsafe fn new(handle: Handle) -> Self {
        Self { handle, callback: PhantomData }
    }

    /// Defines a counter or gauge with these labels. Envoy allows it only during `config_new`.
    pub(crate) fn define(self, is_counter: bool, name: &str, labels: &[&str]) -> Option<usize> {
        let define = match is_counter {
            true => envoy::envoy_dynamic_module_callback_http_filter_config_define_counter,
            false => envoy::envoy_dynamic_module_callback_http_filter_config_define_gauge,
        };
        let labels: Vec<Buffer> =
            labels.iter().map(|label| Buffer::new(label.as_bytes())).collect();
        let (name, mut id) = (Buffer::new(name.as_bytes()), 0);
        // SAFETY: the configuration exists during the callback; Envoy copies its arguments.
        let status =
            unsafe { define(self.handle, name, labels.as_ptr(), labels.len(), &raw mut id) };
        (status == 0).then_some(id)
    }

    /// Adds to a counter, or sets a gauge. False if this Envoy cannot do so without a stream.
    pub(crate) fn record(
        self,
        is_counter: bool,
        id: usize,
        values: &[String],
        amount: u64,
    ) -> bool {
        let Some(record) = ConfigMetrics::find().map(|found| found.function(is_counter)) else {
            return false;
        };
        let values = buffers(values);
        // SAFETY: the function is Envoy's, and has this type since Envoy 1.39.
        unsafe { record(self.handle, id, values.as_ptr(), values.len(), amount) };
        true
    }

    /// Starts a callout. `None` if Envoy refuses.
    pub(crate) fn call(
        self,
        cluster: &str,
        fields: &[(&'static str, String)],
        body: &[u8],
        milliseconds: u64,
    ) -> Option<u64> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| RawField::new(name, value)).collect();
        let (cluster, mut id) = (Buffer::new(cluster.as_bytes()), 0);
        // SAFETY: as for `define`.
        let status = unsafe {
            envoy::envoy_dynamic_module_callback_http_filter_config_http_callout(
                self.handle,
                &raw mut id,
                cluster,
                fields.as_ptr(),
                fields.len(),
                Buffer::new(body),
                milliseconds,
            )
        };
        (status == 0).then_some(id)
    }

    /// A scheduler of the configuration.
    pub(crate) fn scheduler(self) -> Option<ConfigScheduler> {
        // SAFETY: the configuration exists during the callback.
        let handle = unsafe {
            envoy::envoy_dynamic_module_callback_http_filter_config_scheduler_new(self.handle)
        }?;
        Some(ConfigScheduler(Scheduler {
            handle,
            commit: envoy::envoy_dynamic_module_callback_http_filter_config_scheduler_commit,
            delete: envoy::envoy_dynamic_module_callback_http_filter_config_scheduler_delete,
        }))
    }
}

/// The configuration whose callback it is, if any.
#[derive(Default)]
pub(crate) struct CurrentConfig(Cell<Option<Handle>>);

impl CurrentConfig {
    /// Makes the handle available while `callback` runs.
    pub(crate) fn enter(&self, handle: ConfigHandle<'_>, callback: impl FnOnce()) {
        /// Restores the previous handle, also after a panic.
        struct Entered<'a>(&'a Cell<Option<Handle>>, Option<Handle>);

        impl Drop for Entered<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }

        let _entered = Entered(&self.0, self.0.replace(Some(handle.handle)));
        callback();
    }

    /// Lends the handle to `action`, if there is one.
    pub(crate) fn with<T>(&self, action: impl FnOnce(ConfigHandle<'_>) -> T) -> Option<T> {
        // SAFETY: `enter` borrows the handle meanwhile, in this thread: this type is not `Sync`.
        let handle = self.0.get().map(|handle| unsafe { ConfigHandle::new(handle) });
        handle.map(action)
    }
}

/// The version that this Envoy expects: Envoy warns about any other string. The functions that the
/// module uses are the same in all supported versions.
pub(super) fn abi_version() -> &'static CStr {
    match look_up(c"envoy_dynamic_module_callback_log_v2") {
        Some(_) => c"v0.2.0",
        None => c"v0.1.0",
    }
}

/// Whether this Envoy is older than 1.39. It records no metric without a stream, and treats a
/// second value of the same filter state as a bug.
pub(crate) fn is_envoy_1_38() -> bool {
    ConfigMetrics::find().is_none()
}

/// A function that only some versions of Envoy have.
fn look_up(name: &CStr) -> Option<Handle> {
    // SAFETY: a null library means the whole process; the name ends with a zero byte.
    NonNull::new(unsafe { envoy::dlsym(ptr::null_mut(), name.as_ptr()) })
}

type Record = unsafe extern "C" fn(Handle, usize, *const Buffer, usize, u64) -> u32;

/// Metrics without a stream, which Envoy has since 1.39.
struct ConfigMetrics {
    increment_counter: Record,
    set_gauge: Record,
}

impl ConfigMetrics {
    fn find() -> Option<&'static Self> {
        static FOUND: OnceLock<Option<ConfigMetrics>> = OnceLock::new();
        let find = || {
            Some(Self {
                increment_counter: Self::look_up(
                    c"envoy_dynamic_module_callback_http_filter_config_increment_counter",
                )?,
                set_gauge: Self::look_up(
                    c"envoy_dynamic_module_callback_http_filter_config_set_gauge",
                )?,
            })
        };
        FOUND.get_or_init(find).as_ref()
    }

    fn look_up(name: &CStr) -> Option<Record> {
        // SAFETY: Envoy's functions of these names have this type.
        look_up(name).map(|address| unsafe { std::mem::transmute::<Handle, Record>(address) })
    }

    fn function(&self, is_counter: bool) -> Record {
        match is_counter {
            true => self.increment_counter,
            false => self.set_gauge,
        }
    }
}

/// The response to a callout, borrowed from Envoy.
pub(crate) struct LentResponse<'a> {
    fields: &'a [RawField],
    chunks: &'a [Buffer],
}

impl<'a> LentResponse<'a> {
    /// # Safety
    ///
    /// What these point to must exist for this lifetime.
    pub(super) unsafe fn new(fields: &'a [RawField], chunks: &'a [Buffer]) -> Self {
        Self { fields, chunks }
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        // SAFETY: both are valid until the callback returns, which is later than this lifetime.
        let mut fields =
            self.fields.iter().map(|field| unsafe { (field.name.lend(), field.value.lend()) });
        fields.find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    /// The parts of its body.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: as for `field`.
        self.chunks.iter().map(|chunk| unsafe { chunk.lend() })
    }
}
