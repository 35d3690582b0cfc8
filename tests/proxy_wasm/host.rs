//! A native stand-in for Envoy: defines the host functions that the SDK imports, and drives the
//! real contexts of the plugin through the callbacks that the SDK exports. Each test thread is a
//! VM of its own; threads that share a [`SharedData`] are workers of one process.
//!
//! It is as strict as Envoy where that matters: there is no map to read after a failed call, and a
//! compare-and-swap number means nothing while its value is absent.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

pub use crate::exchange::{Call, Fields, LocalResponse, Outcome};

/// Shared data of one process.
#[derive(Clone, Default)]
pub struct SharedData(Arc<Mutex<SharedValues>>);

#[derive(Default)]
struct SharedValues {
    values: HashMap<String, (Vec<u8>, u32)>,
    last_cas: u32,
}

/// What becomes of calls of the function `verify_signature`.
#[derive(Clone, Copy, Debug)]
pub enum HostCrypto {
    /// It returns this, whatever its arguments.
    Returns(&'static [u8]),
    /// It ends with this status.
    Fails(u32),
    /// It does what Envoy does.
    Works,
}

impl HostCrypto {
    pub const ALWAYS_TRUE: Self = Self::Returns(&[8, 1]);
    pub const ALWAYS_FALSE: Self = Self::Returns(&[8, 0]);
}

#[derive(Default)]
struct Stream {
    request: Fields,
    trailers: Fields,
    response: Option<LocalResponse>,
    /// What access logs can print.
    filter_state: BTreeMap<String, String>,
    is_released: bool,
    /// Of the body, what has come and is held.
    held: Vec<u8>,
    /// Of the body, what has gone on.
    passed: Vec<u8>,
    /// Of the body, what was received while the head was paused and is not handed over before; and
    /// whether that is its end.
    unseen: Vec<u8>,
    unseen_end: bool,
    /// Whether its head was stopped together with its body.
    stops_with_body: bool,
}

impl Stream {
    fn release(&mut self) {
        self.is_released = true;
        self.passed.append(&mut self.held);
    }
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
    /// What the call that is being reported brought.
    call_response: Option<(Fields, Vec<u8>)>,
    refuse_calls: bool,
    /// Whether bodies are handed over while heads are paused.
    hands_over_early: bool,
    crypto: HostCrypto,
    /// Calls of `verify_signature`.
    crypto_calls: usize,
    tick_period: Option<u32>,
    /// Names and values; the number of a metric is its place.
    metrics: Vec<(String, u64)>,
    /// Levels and messages.
    log: Vec<(u32, String)>,
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
    static LAST_NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// The SDK keeps the contexts and calls of a thread, so no number is used twice.
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
    /// Starts a VM and configures the plugin; none if it refuses the configuration.
    pub fn start(configuration: &[u8], shared: &SharedData) -> Option<Self> {
        Self::start_with(HostCrypto::Works, configuration, shared)
    }

    /// The same on a host whose function `verify_signature` is not what it should be.
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
                now: Duration::from_secs(testkit::now()),
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

    /// Lets time pass, without a tick.
    pub fn advance(&self, time: Duration) {
        with_host(|host| host.now += time);
    }

    pub fn tick(&self) {
        with_host(|host| host.effective = self.root);
        // SAFETY: as above.
        unsafe { proxy_on_tick(self.root) }
        self.hand_over_unseen();
    }

    /// From now on bodies are handed over only after their heads, as by Envoy without
    /// `allow_on_headers_stop_iteration`.
    pub fn hand_over_late(&self) {
        with_host(|host| host.hands_over_early = false);
    }

    /// As Envoy does as soon as a paused head is forwarded.
    fn hand_over_unseen(&self) {
        let late: Vec<(u32, Vec<u8>, bool)> = with_host(|host| {
            let open = host.streams.iter_mut().filter(|(_, stream)| stream.is_released);
            open.filter(|(_, stream)| stream.unseen_end || !stream.unseen.is_empty())
                .map(|(id, stream)| {
                    let end = std::mem::take(&mut stream.unseen_end);
                    (*id, std::mem::take(&mut stream.unseen), end)
                })
                .collect()
        });
        for (id, part, is_last) in late {
            self.send_body(id, &part, is_last);
        }
    }

    /// Sends a request without a body through the plugin.
    pub fn request(&self, fields: &[(&str, &[u8])]) -> (u32, Outcome) {
        self.begin(fields, true)
    }

    /// Sends the head of a request through the plugin, which a body follows.
    pub fn open(&self, fields: &[(&str, &[u8])]) -> (u32, Outcome) {
        self.begin(fields, false)
    }

    /// Sends a part of the body of a request. Returns what of the body has gone on by now.
    pub fn send_body(&self, id: u32, part: &[u8], is_last: bool) -> Vec<u8> {
        let size = with_host(|host| {
            host.effective = id;
            let is_early = host.hands_over_early;
            let stream = host.streams.get_mut(&id).unwrap();
            if (!is_early || stream.stops_with_body) && !stream.is_released {
                stream.unseen.extend_from_slice(part);
                stream.unseen_end |= is_last;
                return None;
            }
            stream.held.extend_from_slice(part);
            Some(stream.held.len())
        });
        let Some(size) = size else { return Vec::new() };
        // SAFETY: as above.
        let action = unsafe { proxy_on_request_body(id, size, is_last) };
        self.continue_body(id, action)
    }

    /// Sends the trailers of a request. Returns what of the body has gone on by now.
    pub fn send_trailers(&self, id: u32) -> Vec<u8> {
        with_host(|host| host.effective = id);
        // SAFETY: as above.
        let action = unsafe { proxy_on_request_trailers(id, 1) };
        self.continue_body(id, action)
    }

    /// Lets these be the trailers of a request.
    pub fn set_trailers(&self, id: u32, fields: &[(&str, &str)]) {
        let fields =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().into()));
        with_host(|host| host.streams.get_mut(&id).unwrap().trailers = fields.collect());
    }

    /// What is left of them.
    pub fn trailers(&self, id: u32) -> Fields {
        with_host(|host| host.streams[&id].trailers.clone())
    }

    /// Whether the head of a request was stopped together with its body.
    pub fn stops_with_body(&self, id: u32) -> bool {
        with_host(|host| host.streams[&id].stops_with_body)
    }

    /// What of the body of a request has gone on by now.
    pub fn passed(&self, id: u32) -> Vec<u8> {
        with_host(|host| host.streams[&id].passed.clone())
    }

    fn continue_body(&self, id: u32, action: u32) -> Vec<u8> {
        with_host(|host| {
            let stream = host.streams.get_mut(&id).unwrap();
            // Envoy lets headers that are held back go on with the body.
            if action == 0 {
                stream.release();
            }
            stream.passed.clone()
        })
    }

    fn begin(&self, fields: &[(&str, &[u8])], is_whole: bool) -> (u32, Outcome) {
        let id = new_number();
        let request: Fields =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        let count = request.len();
        with_host(|host| {
            host.streams.insert(id, Stream { request, ..Stream::default() });
            host.effective = id;
        });
        // SAFETY: as above.
        let action = unsafe {
            proxy_on_context_create(id, self.root);
            proxy_on_request_headers(id, count, is_whole)
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
        with_host(|host| {
            let stream = &host.streams[&id];
            match &stream.response {
                Some(response) => {
                    assert_eq!(stream.passed, b"", "a request was answered and forwarded");
                    Outcome::Refused(response.clone())
                }
                None if stream.is_released => Outcome::Forwarded(stream.request.clone()),
                None => Outcome::Paused,
            }
        })
    }

    /// What access logs can print of a request: `name=value`.
    pub fn filter_state(&self, id: u32) -> Vec<String> {
        with_host(|host| {
            let state = &host.streams[&id].filter_state;
            state.iter().map(|(name, value)| format!("{name}={value}")).collect()
        })
    }

    /// The client hangs up.
    pub fn close(&self, id: u32) {
        // SAFETY: as above.
        unsafe {
            proxy_on_done(id);
            proxy_on_log(id);
            proxy_on_delete(id);
        }
        with_host(|host| host.streams.remove(&id));
    }

    /// Calls that are not answered yet.
    pub fn calls(&self) -> Vec<Call> {
        with_host(|host| host.calls.clone())
    }

    /// The only call that is not answered yet.
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

    /// Time-out, reset: Envoy reports a call without headers.
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
        // SAFETY: as above.
        unsafe { proxy_on_http_call_response(self.root, call.id, header_count, body_length, 0) };
        with_host(|host| host.call_response = None);
        self.hand_over_unseen();
    }

    /// From now on no host of any cluster is healthy.
    pub fn refuse_calls(&self, refuse: bool) {
        with_host(|host| host.refuse_calls = refuse);
    }

    /// What becomes of calls of `verify_signature` from now on.
    pub fn set_crypto(&self, crypto: HostCrypto) {
        with_host(|host| host.crypto = crypto);
    }

    /// How often `verify_signature` was called.
    pub fn crypto_calls(&self) -> usize {
        with_host(|host| host.crypto_calls)
    }
}

/// What the plugin logged in this thread.
pub fn log() -> Vec<String> {
    with_host(|host| host.log.iter().map(|(_, message)| message.clone()).collect())
}

/// The part of it that is of this level.
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
    fn proxy_on_http_call_response(
        context_id: u32,
        token_id: u32,
        num_headers: usize,
        body_size: usize,
        num_trailers: usize,
    );
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

/// Hands a value over: the SDK frees it as a vector whose capacity is its length.
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

impl Host {
    fn map(&mut self, map: u32) -> Option<&mut Fields> {
        match map {
            REQUEST_HEADERS => {
                let stream = self.streams.get_mut(&self.effective)?;
                (!stream.is_released).then_some(&mut stream.request)
            }
            REQUEST_TRAILERS => {
                let stream = self.streams.get_mut(&self.effective)?;
                Some(&mut stream.trailers)
            }
            CALL_RESPONSE_HEADERS if self.effective == self.root => {
                self.call_response.as_mut().map(|(fields, _)| fields)
            }
            _ => None,
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    // SAFETY: see above.
    let message = unsafe { text(data, size) };
    if level == 5 {
        eprintln!("{message}");
    }
    HOST.with(|host| {
        if let Ok(mut host) = host.try_borrow_mut()
            && let Some(host) = host.as_mut()
        {
            host.log.push((level, message));
        }
    });
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    let now = with_host(|host| host.now);
    // SAFETY: see above.
    unsafe { *time = u64::try_from(now.as_nanos()).unwrap() };
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    with_host(|host| host.tick_period = Some(period));
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    most: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    with_host(|host| {
        let whole = match buffer {
            REQUEST_BODY => match host.streams.get(&host.effective) {
                Some(stream) => &stream.held,
                None => return NOT_FOUND,
            },
            PLUGIN_CONFIGURATION => &host.configuration,
            CALL_RESPONSE_BODY => match &host.call_response {
                Some((_, body)) if host.effective == host.root => body,
                _ => return NOT_FOUND,
            },
            _ => return NOT_FOUND,
        };
        let end = whole.len().min(start.saturating_add(most));
        // SAFETY: see above.
        unsafe { hand_over(whole.get(start..end).unwrap_or_default(), data, size) };
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(
    map: u32,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    with_host(|host| match host.map(map) {
        // SAFETY: see above.
        Some(fields) => unsafe {
            hand_over(&serialize(fields), data, size);
            OK
        },
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    with_host(|host| match host.map(map) {
        Some(fields) => match fields.iter().find(|(candidate, _)| *candidate == name) {
            // SAFETY: see above.
            Some((_, value)) => unsafe {
                hand_over(value, data, size);
                OK
            },
            None => NOT_FOUND,
        },
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    with_host(|host| match host.map(map) {
        Some(fields) => {
            fields.retain(|(field, _)| *field != name);
            OK
        }
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_add_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: see above.
    let field = unsafe { (text(name, name_size), bytes(value, value_size)) };
    with_host(|host| match host.map(map) {
        Some(fields) => {
            fields.push(field);
            OK
        }
        None => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: see above.
    let (name, value) = unsafe { (text(path, path_size), text(value, value_size)) };
    with_host(|host| match host.streams.get_mut(&host.effective) {
        Some(stream) => {
            stream.filter_state.insert(name, value);
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    name: *const u8,
    name_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    let shared = with_host(|host| host.shared.clone());
    let value = shared.0.lock().unwrap().values.get(&name).cloned();
    // Lets other workers come in between a reading and what is written after it.
    std::thread::yield_now();
    match &value {
        // SAFETY: see above.
        Some((value, own_cas)) => unsafe {
            hand_over(value, data, size);
            *cas = *own_cas;
            OK
        },
        None => NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_shared_data(
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    // SAFETY: see above.
    let (name, value) = unsafe { (text(name, name_size), bytes(value, value_size)) };
    let shared = with_host(|host| host.shared.clone());
    let mut shared = shared.0.lock().unwrap();
    if let Some((_, own_cas)) = shared.values.get(&name)
        && cas != 0
        && cas != *own_cas
    {
        return CAS_MISMATCH;
    }
    shared.last_cas += 1;
    let next = shared.last_cas;
    shared.values.insert(name, (value, next));
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(_stream: u32) -> u32 {
    with_host(|host| {
        let effective = host.effective;
        match host.streams.get_mut(&effective) {
            Some(stream) => {
                stream.release();
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    status: u32,
    _details: *const u8,
    _details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    _grpc_status: i32,
) -> u32 {
    // SAFETY: see above.
    let (body, headers) = unsafe { (bytes(body, body_size), bytes(headers, headers_size)) };
    let response = LocalResponse { status, headers: deserialize(&headers), body };
    with_host(|host| {
        let effective = host.effective;
        match host.streams.get_mut(&effective) {
            Some(stream) => {
                assert!(stream.response.is_none(), "a request was answered twice");
                stream.response = Some(response);
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(
    _kind: u32,
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    // SAFETY: see above.
    let name = unsafe { text(name, name_size) };
    with_host(|host| {
        assert!(host.metrics.iter().all(|(metric, _)| *metric != name), "{name} is defined twice");
        // SAFETY: see above.
        unsafe { *id = host.metrics.len().try_into().unwrap() };
        host.metrics.push((name, 0));
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    with_metric(id, |value| *value = value.checked_add_signed(offset).unwrap())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, new: u64) -> u32 {
    with_metric(id, |value| *value = new)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_metric(id: u32, value: *mut u64) -> u32 {
    with_metric(id, |item| {
        // SAFETY: see above.
        unsafe { *value = *item }
    })
}

fn with_metric(id: u32, action: impl FnOnce(&mut u64)) -> u32 {
    with_host(|host| match host.metrics.get_mut(usize::try_from(id).unwrap()) {
        Some((_, value)) => {
            action(value);
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let path = unsafe { text(path, path_size) };
    let value = with_host(|host| match path.as_str() {
        "plugin_root_id" => Some(host.root_id.as_bytes().to_vec()),
        "request\0total_size" => {
            let stream = host.streams.get(&host.effective)?;
            let fields = stream.request.iter();
            let head: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
            let body = stream.held.len() + stream.passed.len() + stream.unseen.len();
            Some(u64::try_from(head + body).unwrap().to_le_bytes().to_vec())
        }
        _ => None,
    });
    let Some(value) = value else { return NOT_FOUND };
    // SAFETY: see above.
    unsafe { hand_over(&value, data, size) };
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    // SAFETY: see above.
    let (cluster, headers) = unsafe { (text(cluster, cluster_size), bytes(headers, headers_size)) };
    // SAFETY: see above.
    let body = unsafe { bytes(body, body_size) };
    with_host(|host| {
        assert_eq!(host.effective, host.root, "calls are made by the root context");
        if host.refuse_calls {
            return INTERNAL_FAILURE;
        }
        let call = new_number();
        host.calls.push(Call {
            id: call,
            cluster,
            headers: deserialize(&headers),
            body,
            timeout: Duration::from_millis(timeout.into()),
        });
        // SAFETY: see above.
        unsafe { *token = call };
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context_id: u32) -> u32 {
    with_host(|host| {
        if context_id != host.root && !host.streams.contains_key(&context_id) {
            return BAD_ARGUMENT;
        }
        host.effective = context_id;
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let (name, arguments) = unsafe { (text(name, name_size), bytes(arguments, arguments_size)) };
    if name != "verify_signature" {
        return NOT_FOUND;
    }
    let crypto = with_host(|host| {
        host.crypto_calls += 1;
        host.crypto
    });
    let result = match crypto {
        HostCrypto::Returns(result) => Ok(result.to_vec()),
        HostCrypto::Fails(status) => Err(status),
        HostCrypto::Works => testkit::verify_signature_result(&arguments).ok_or(BAD_ARGUMENT),
    };
    match result {
        // SAFETY: see above.
        Ok(result) => unsafe {
            hand_over(&result, data, size);
            OK
        },
        Err(status) => status,
    }
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
