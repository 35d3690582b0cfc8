//! A native stand-in for Envoy: defines the host functions that the SDK imports, and drives the
//! real contexts of the plugin through the callbacks that the SDK exports. Each test thread is a VM
//! of its own; threads that share a [`SharedData`] are workers of one process.
//!
//! It is as strict as Envoy where that matters: there is no map to read after a failed callout, and
//! a compare-and-swap number is ignored while its value is absent.

mod functions;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::exchange::Stream;
pub use crate::exchange::{Call, Fields, LocalResponse, Outcome};
use crate::provider::NOW;

const OK: u32 = 0;

pub const NOT_FOUND: u32 = 1;

pub const BAD_ARGUMENT: u32 = 2;

pub const SERIALIZATION_FAILURE: u32 = 3;

const CAS_MISMATCH: u32 = 8;

pub const INTERNAL_FAILURE: u32 = 10;

const UNIMPLEMENTED: u32 = 12;

const REQUEST_BODY: u32 = 0;

const REQUEST_HEADERS: u32 = 0;

const REQUEST_TRAILERS: u32 = 1;

const CALL_RESPONSE_HEADERS: u32 = 6;

const CALL_RESPONSE_BODY: u32 = 4;

const PLUGIN_CONFIGURATION: u32 = 7;

/// The shared data of one process.
#[derive(Clone, Default)]
pub struct SharedData(Arc<Mutex<SharedValues>>);

#[derive(Default)]
struct SharedValues {
    values: HashMap<String, (Vec<u8>, u32)>,
    last_cas: u32,
}

/// The host's function `verify_signature`.
#[derive(Clone, Copy, Debug)]
pub enum HostCrypto {
    /// It returns this, whatever its arguments.
    Returns(&'static [u8]),
    /// It ends with this status.
    Fails(u32),
    /// It behaves as in Envoy.
    Works,
}

impl HostCrypto {
    pub const ALWAYS_TRUE: Self = Self::Returns(&[8, 1]);
    pub const ALWAYS_FALSE: Self = Self::Returns(&[8, 0]);
}

struct Host {
    root: u32,
    root_id: &'static str,
    now: Duration,
    configuration: Vec<u8>,
    shared: SharedData,
    streams: HashMap<u32, Stream>,
    effective: u32,
    calls: Vec<Call>,
    /// The response to the callout that is being reported.
    call_response: Option<(Fields, Vec<u8>)>,
    refuse_calls: bool,
    /// Whether bodies are delivered while heads are paused.
    hands_over_early: bool,
    crypto: HostCrypto,
    /// The number of calls to `verify_signature`.
    crypto_calls: usize,
    tick_period: Option<u32>,
    /// Names and values; a metric's number is its index.
    metrics: Vec<(String, u64)>,
    /// Levels and messages.
    log: Vec<(u32, String)>,
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
    static LAST_NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// The SDK keeps the contexts and callouts of a thread, so no number is used twice.
fn new_number() -> u32 {
    LAST_NUMBER.set(LAST_NUMBER.get() + 1);
    LAST_NUMBER.get()
}

fn with_host<T>(action: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with(|host| action(host.borrow_mut().as_mut().expect("a VM was started in this thread")))
}

/// A VM with one root context. A thread that starts another replaces it.
pub struct Vm {
    root: u32,
}

impl Vm {
    /// Starts a VM and configures the plugin; `None` if the plugin refuses the configuration.
    pub fn start(configuration: &[u8], shared: &SharedData) -> Option<Self> {
        Self::start_with(HostCrypto::Works, configuration, shared)
    }

    /// The same on a host with another function `verify_signature`.
    pub fn start_with(
        crypto: HostCrypto,
        configuration: &[u8],
        shared: &SharedData,
    ) -> Option<Self> {
        Self::start_as("", crypto, configuration, shared)
    }

    /// Starts a VM whose plugin has this `root_id`.
    pub fn start_as(
        root_id: &'static str,
        crypto: HostCrypto,
        configuration: &[u8],
        shared: &SharedData,
    ) -> Option<Self> {
        let root = new_number();
        HOST.with(|host| {
            *host.borrow_mut() = Some(Host {
                root,
                root_id,
                now: Duration::from_secs(NOW),
                configuration: configuration.to_vec(),
                shared: shared.clone(),
                streams: HashMap::new(),
                effective: root,
                calls: Vec::new(),
                call_response: None,
                refuse_calls: false,
                hands_over_early: true,
                crypto,
                crypto_calls: 0,
                tick_period: None,
                metrics: Vec::new(),
                log: Vec::new(),
            });
        });
        // The SDK registers its logger once in a process, and does not expect threads.
        static INSTALLATION: Mutex<()> = Mutex::new(());
        {
            let _guard = INSTALLATION.lock().unwrap_or_else(PoisonError::into_inner);
            mcp_federated_auth_proxy_wasm::install();
        }
        // SAFETY: callbacks of the SDK in the order in which a host calls them.
        let accepted = unsafe {
            proxy_on_context_create(root, 0);
            proxy_on_vm_start(root, 0) && proxy_on_configure(root, configuration.len())
        };
        accepted.then_some(Self { root })
    }

    /// Advances the clock, without a tick.
    pub fn advance(&self, time: Duration) {
        with_host(|host| host.now += time);
    }

    pub fn tick(&self) {
        with_host(|host| host.effective = self.root);
        // SAFETY: as above.
        unsafe { proxy_on_tick(self.root) }
        self.hand_over_unseen();
    }

    /// From now on bodies are delivered only after their heads, as in Envoy without
    /// `allow_on_headers_stop_iteration`.
    pub fn hand_over_late(&self) {
        with_host(|host| host.hands_over_early = false);
    }

    /// Delivers held bodies, as Envoy does as soon as a paused head is forwarded.
    fn hand_over_unseen(&self) {
        let late: Vec<_> = with_host(|host| {
            let streams = host.streams.iter_mut();
            streams.filter_map(|(id, stream)| Some((*id, stream.take_unseen()?))).collect()
        });
        for (id, (part, is_last)) in late {
            self.send_body(id, &part, is_last);
        }
    }

    /// Sends a request without a body through the plugin.
    pub fn request(&self, fields: &[(&str, &[u8])]) -> (u32, Outcome) {
        self.begin(fields, true)
    }

    /// Sends the head of a request whose body follows.
    pub fn open(&self, fields: &[(&str, &[u8])]) -> (u32, Outcome) {
        self.begin(fields, false)
    }

    /// Sends a part of a request's body. Returns the part of the body forwarded so far.
    pub fn send_body(&self, id: u32, part: &[u8], is_last: bool) -> Vec<u8> {
        let size = with_host(|host| {
            host.effective = id;
            let is_early = host.hands_over_early;
            host.streams.get_mut(&id).unwrap().receive(part, is_last, is_early)
        });
        let Some(size) = size else { return Vec::new() };
        // SAFETY: as above.
        let action = unsafe { proxy_on_request_body(id, size, is_last) };
        self.continue_body(id, action)
    }

    /// Sends the trailers of a request. Returns the part of the body forwarded so far.
    pub fn send_trailers(&self, id: u32) -> Vec<u8> {
        with_host(|host| host.effective = id);
        // SAFETY: as above.
        let action = unsafe { proxy_on_request_trailers(id, 1) };
        self.continue_body(id, action)
    }

    /// Sets the trailers of a request.
    pub fn set_trailers(&self, id: u32, fields: &[(&str, &str)]) {
        with_host(|host| host.streams.get_mut(&id).unwrap().set_trailers(fields));
    }

    /// The trailers that are left.
    pub fn trailers(&self, id: u32) -> Fields {
        with_host(|host| host.streams[&id].trailers.clone())
    }

    /// Whether the head of a request was stopped together with its body.
    pub fn stops_with_body(&self, id: u32) -> bool {
        with_host(|host| host.streams[&id].stops_with_body)
    }

    /// The part of a request's body forwarded so far.
    pub fn passed(&self, id: u32) -> Vec<u8> {
        with_host(|host| host.streams[&id].passed.clone())
    }

    fn continue_body(&self, id: u32, action: u32) -> Vec<u8> {
        with_host(|host| host.streams.get_mut(&id).unwrap().continue_body(action == 0))
    }

    fn begin(&self, fields: &[(&str, &[u8])], is_whole: bool) -> (u32, Outcome) {
        let id = new_number();
        with_host(|host| {
            host.streams.insert(id, Stream::new(fields));
            host.effective = id;
        });
        // SAFETY: as above.
        let action = unsafe {
            proxy_on_context_create(id, self.root);
            proxy_on_request_headers(id, fields.len(), is_whole)
        };
        let status = mcp_federated_auth_proxy_wasm::head_status(action);
        with_host(|host| {
            let stream = host.streams.get_mut(&id).unwrap();
            stream.is_released |= status == 0;
            stream.stops_with_body = status == 4;
        });
        (id, self.outcome(id))
    }

    pub fn outcome(&self, id: u32) -> Outcome {
        with_host(|host| host.streams[&id].outcome())
    }

    /// The filter state of a request that access logs can print, as `name=value`.
    pub fn filter_state(&self, id: u32) -> Vec<String> {
        with_host(|host| host.streams[&id].filter_state())
    }

    /// The client disconnects.
    pub fn close(&self, id: u32) {
        // SAFETY: as above.
        unsafe {
            proxy_on_done(id);
            proxy_on_log(id);
            proxy_on_delete(id);
        }
        with_host(|host| host.streams.remove(&id));
    }

    /// The callouts without a response yet.
    pub fn calls(&self) -> Vec<Call> {
        with_host(|host| host.calls.clone())
    }

    /// The only callout without a response yet.
    pub fn call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    pub fn respond(&self, call: &Call, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut fields: Fields = vec![(":status".to_owned(), status.as_bytes().to_vec())];
        fields.extend(
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
        );
        let count = fields.len();
        self.report(call, Some((fields, body.to_vec())), count, body.len());
    }

    /// The callout fails, by a time-out or a reset: Envoy reports it without header fields.
    pub fn fail(&self, call: &Call) {
        self.report(call, None, 0, 0);
    }

    fn report(
        &self,
        call: &Call,
        response: Option<(Fields, Vec<u8>)>,
        header_count: usize,
        body_length: usize,
    ) {
        with_host(|host| {
            host.calls.retain(|pending| pending.id != call.id);
            host.call_response = response;
            host.effective = self.root;
        });
        mcp_federated_auth_proxy_wasm::on_callout_response(
            self.root,
            call.id,
            header_count,
            body_length,
        );
        with_host(|host| host.call_response = None);
        self.hand_over_unseen();
    }

    /// From now on no cluster has a healthy host.
    pub fn refuse_calls(&self, refuse: bool) {
        with_host(|host| host.refuse_calls = refuse);
    }

    /// Changes the function `verify_signature` from now on.
    pub fn set_crypto(&self, crypto: HostCrypto) {
        with_host(|host| host.crypto = crypto);
    }

    /// How often `verify_signature` was called.
    pub fn crypto_calls(&self) -> usize {
        with_host(|host| host.crypto_calls)
    }
}

/// What the plugin has logged in this thread.
pub fn log() -> Vec<String> {
    with_host(|host| host.log.iter().map(|(_, message)| message.clone()).collect())
}

/// The log lines of this level.
pub fn log_of(level: log::Level) -> Vec<String> {
    let levels = [
        (log::Level::Trace, 0),
        (log::Level::Debug, 1),
        (log::Level::Info, 2),
        (log::Level::Warn, 3),
        (log::Level::Error, 4),
    ];
    let wanted = levels.into_iter().find(|(entry, _)| *entry == level).map(|(_, number)| number);
    with_host(|host| {
        let lines = host.log.iter().filter(|(level, _)| Some(*level) == wanted);
        lines.map(|(_, message)| message.clone()).collect()
    })
}

unsafe extern "C" {
    fn proxy_on_context_create(context_id: u32, root_context_id: u32);
    fn proxy_on_vm_start(context_id: u32, size: usize) -> bool;
    fn proxy_on_configure(context_id: u32, size: usize) -> bool;
    fn proxy_on_tick(context_id: u32);
    fn proxy_on_request_headers(context_id: u32, num_headers: usize, end_of_stream: bool) -> u32;
    fn proxy_on_request_body(context_id: u32, body_size: usize, end_of_stream: bool) -> u32;
    fn proxy_on_request_trailers(context_id: u32, num_trailers: usize) -> u32;
    fn proxy_on_done(context_id: u32) -> bool;
    fn proxy_on_log(context_id: u32);
    fn proxy_on_delete(context_id: u32);
}

// The host functions. Pointers and sizes come from the SDK's own slices.

unsafe fn bytes(data: *const u8, size: usize) -> Vec<u8> {
    if data.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: see above.
    unsafe { std::slice::from_raw_parts(data, size) }.to_vec()
}

unsafe fn text(data: *const u8, size: usize) -> String {
    // SAFETY: see above.
    String::from_utf8(unsafe { bytes(data, size) }).unwrap()
}

/// Returns a value: the SDK frees it as a vector whose capacity is its length.
unsafe fn hand_over(value: &[u8], data: *mut *mut u8, size: *mut usize) {
    // SAFETY: see above.
    unsafe {
        *size = value.len();
        *data = if value.is_empty() {
            std::ptr::null_mut()
        } else {
            Box::into_raw(value.to_vec().into_boxed_slice()).cast()
        };
    }
}

fn serialize(fields: &Fields) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut serialized = length(fields.len()).to_vec();
    for (name, value) in fields {
        serialized.extend(length(name.len()));
        serialized.extend(length(value.len()));
    }
    for (name, value) in fields {
        serialized.extend_from_slice(name.as_bytes());
        serialized.push(0);
        serialized.extend_from_slice(value);
        serialized.push(0);
    }
    serialized
}

fn deserialize(serialized: &[u8]) -> Fields {
    let number = |at: usize| {
        usize::try_from(u32::from_le_bytes(serialized[at..at + 4].try_into().unwrap())).unwrap()
    };
    let count = number(0);
    let mut at = 4 + 8 * count;
    let mut take = |length: usize| {
        let part = serialized[at..at + length].to_vec();
        at += length + 1;
        part
    };
    (0..count)
        .map(|index| {
            let name = take(number(4 + 8 * index));
            (String::from_utf8(name).unwrap(), take(number(8 + 8 * index)))
        })
        .collect()
}

/// Host functions that the plugin does not use. The SDK panics on their status.
macro_rules! unused {
    ($($name:ident),* $(,)?) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> u32 {
                UNIMPLEMENTED
            }
        )*
    };
}

unused!(
    proxy_close_stream,
    proxy_dequeue_shared_queue,
    proxy_done,
    proxy_enqueue_shared_queue,
    proxy_get_log_level,
    proxy_get_status,
    proxy_grpc_call,
    proxy_grpc_cancel,
    proxy_grpc_close,
    proxy_grpc_send,
    proxy_grpc_stream,
    proxy_register_shared_queue,
    proxy_replace_header_map_value,
    proxy_resolve_shared_queue,
    proxy_set_buffer_bytes,
    proxy_set_header_map_pairs,
);
