//! A scripted Envoy.

mod callbacks;
mod hooks;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use mcp_federated_auth_dynamic_module::{Buffer, RawField};

use self::hooks::*;

pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A local response.
#[derive(Clone, Debug)]
pub struct LocalResponse {
    pub status: u32,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub details: String,
}

impl LocalResponse {
    pub fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Envoy's state of a stream. Its handle is a number, so that the use of an ended stream is
/// detected.
#[derive(Default)]
struct EnvoyStream {
    pointer: usize,
    request: Fields,
    trailers: Fields,
    buffered: Vec<u8>,
    received: Vec<u8>,
    /// The buffers that were lent to the module.
    lent: Vec<Box<[u8]>>,
    response: Option<LocalResponse>,
    filter_state: BTreeMap<String, String>,
    /// The result of the callback for the head.
    status: u32,
    /// Whether a callback for its head, body or trailers has not returned yet.
    is_in_callback: bool,
    resumed: usize,
    route: usize,
    /// Whether Envoy destroys the filter as soon as the module sends a response.
    ends_with_response: bool,
}

/// A callout without a response yet.
#[derive(Clone, Debug)]
pub struct Callout {
    pub id: u64,
    config: usize,
    pub cluster: String,
    pub fields: Vec<(String, String)>,
    pub milliseconds: u64,
}

impl Callout {
    pub fn path(&self) -> &str {
        &self.fields.iter().find(|(name, _)| name == ":path").unwrap().1
    }
}

/// The state of Envoy that only one thread uses.
#[derive(Default)]
struct Proxy {
    streams: BTreeMap<usize, EnvoyStream>,
    /// The module's pointer for a configuration, by Envoy's handle.
    configs: BTreeMap<usize, usize>,
    callouts: Vec<Callout>,
    refuses_callouts: bool,
    values: BTreeMap<String, u64>,
    log: Vec<(u32, String)>,
    is_freezing: bool,
    ends_next_with_response: bool,
    /// How many times a stream's callback for its scheduler was called.
    scheduled: usize,
    /// Actions that run before the next stream gets a scheduler, and while the next one is resumed.
    before_scheduler: Option<Happening>,
    at_resumption: Option<Happening>,
}

/// An action elsewhere in Envoy during a callback.
type Happening = Box<dyn FnOnce(&Envoy)>;

thread_local! {
    static PROXY: RefCell<Proxy> = RefCell::default();
}

type Events = HashMap<ThreadId, VecDeque<(bool, usize)>>;

/// The committed events by the thread that delivers them: whether for a configuration, and the
/// handle.
static EVENTS: LazyLock<Mutex<Events>> = LazyLock::new(Mutex::default);
/// The metrics that were defined, with their labels.
static METRICS: Mutex<Vec<(String, Vec<String>)>> = Mutex::new(Vec::new());
/// The last handle of a configuration or stream.
static LAST_HANDLE: AtomicUsize = AtomicUsize::new(0);
/// The number of schedulers that were not deleted.
static SCHEDULERS: AtomicUsize = AtomicUsize::new(0);

/// The next event of this thread; with `of_configs`, the next one of a configuration or of a
/// stream.
fn take_event(of_configs: Option<bool>) -> Option<(bool, usize)> {
    let mut all = EVENTS.lock().unwrap();
    let events = all.get_mut(&thread::current().id())?;
    let at = events.iter().position(|(is_config, _)| of_configs.is_none_or(|of| of == *is_config));
    events.remove(at?)
}

fn with<T>(action: impl FnOnce(&mut Proxy) -> T) -> T {
    PROXY.with_borrow_mut(action)
}

fn new_handle() -> usize {
    LAST_HANDLE.fetch_add(1, Ordering::SeqCst) + 1
}

fn handle(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

impl Proxy {
    fn stream(&mut self, stream: *mut c_void) -> &mut EnvoyStream {
        self.streams.get_mut(&stream.addr()).expect("the stream has ended")
    }
}

impl EnvoyStream {
    fn map(&mut self, map: u32) -> &mut Fields {
        match map {
            0 => &mut self.request,
            1 => &mut self.trailers,
            other => panic!("no map {other}"),
        }
    }

    fn lend(&mut self, bytes: &[u8]) -> Buffer {
        self.lent.push(bytes.into());
        let lent = self.lent.last().unwrap();
        let data = if lent.is_empty() { std::ptr::null() } else { lent.as_ptr() };
        Buffer { data, length: lent.len() }
    }

    /// Overwrites what was lent, so that a later read is detected.
    fn spoil(&mut self) {
        self.lent.iter_mut().for_each(|lent| lent.fill(b'\xdd'));
    }
}

fn bytes<'a>(buffer: Buffer) -> &'a [u8] {
    match buffer.data.is_null() {
        true => &[],
        // SAFETY: the module guarantees that its bytes exist until the callback returns; every use
        // ends before that.
        false => unsafe { std::slice::from_raw_parts(buffer.data, buffer.length) },
    }
}

fn text(buffer: Buffer) -> String {
    String::from_utf8(bytes(buffer).to_vec()).expect("the module gives text")
}

fn buffer(bytes: &[u8]) -> Buffer {
    Buffer { data: bytes.as_ptr(), length: bytes.len() }
}

fn fields(fields: *const RawField, count: usize) -> Vec<(String, String)> {
    // SAFETY: the module guarantees that there are `count` fields until the callback returns.
    let fields = unsafe { std::slice::from_raw_parts(fields, count) };
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

/// One Envoy for each test: tests of one program would share the module's threads and statics.
pub struct Envoy {
    /// `None` in a callback, and in a worker thread.
    alone: Option<MutexGuard<'static, ()>>,
}

impl Envoy {
    pub fn start() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        PROXY.set(Proxy::default());
        EVENTS.lock().unwrap().clear();
        METRICS.lock().unwrap().clear();
        // SAFETY: it has no arguments, and may be called more than once.
        let version = unsafe { envoy_dynamic_module_on_program_init() };
        assert!(!version.is_null());
        // The module's panic hook would write a failed test's message into this Envoy's log.
        drop(std::panic::take_hook());
        assert_eq!(SCHEDULERS.load(Ordering::SeqCst), 0, "an earlier test left schedulers");
        Self { alone: Some(alone) }
    }

    /// Makes another thread a worker of this Envoy, with its configurations.
    pub fn worker(&self) -> impl FnOnce() -> Self + Send + 'static {
        let configs = with(|proxy| proxy.configs.clone());
        move || {
            PROXY.set(Proxy { configs, ..Proxy::default() });
            Self { alone: None }
        }
    }

    /// Configures a filter; `None` if the module refuses.
    pub fn configure(&self, filter_name: &str, configuration: &str) -> Option<usize> {
        let config = new_handle();
        with(|proxy| proxy.is_freezing = false);
        // SAFETY: both buffers exist during the call, and the handle is new.
        let pointer = unsafe {
            envoy_dynamic_module_on_http_filter_config_new(
                handle(config),
                buffer(filter_name.as_bytes()),
                buffer(configuration.as_bytes()),
            )
        };
        with(|proxy| proxy.is_freezing = true);
        if pointer.is_null() {
            return None;
        }
        with(|proxy| proxy.configs.insert(config, pointer.expose_provenance()));
        Some(config)
    }

    /// Removes a configuration, with its callouts.
    pub fn remove(&self, config: usize) {
        let pointer = with(|proxy| {
            proxy.callouts.retain(|callout| callout.config != config);
            proxy.configs.remove(&config).expect("the configuration exists")
        });
        // SAFETY: the module made this pointer, and it was removed above: it is destroyed once.
        unsafe {
            envoy_dynamic_module_on_http_filter_config_destroy(std::ptr::with_exposed_provenance(
                pointer,
            ));
        }
    }

    /// Configures a route; `None` if the module refuses.
    pub fn configure_route(&self, configuration: &str) -> Option<usize> {
        // SAFETY: both buffers exist during the call.
        let pointer = unsafe {
            envoy_dynamic_module_on_http_filter_per_route_config_new(
                buffer(b"mcp-federated-auth"),
                buffer(configuration.as_bytes()),
            )
        };
        (!pointer.is_null()).then(|| pointer.expose_provenance())
    }

    pub fn remove_route(&self, route: usize) {
        // SAFETY: the pointer is from `configure_route`, and a test removes a route once.
        unsafe {
            envoy_dynamic_module_on_http_filter_per_route_config_destroy(
                std::ptr::with_exposed_provenance(route),
            );
        }
    }

    /// Sends the head of a request on a route; route 0 has no configuration of its own.
    pub fn open(
        &self,
        config: usize,
        fields: &[(&str, &[u8])],
        is_end: bool,
        route: usize,
    ) -> usize {
        let stream = with(|proxy| {
            let stream = new_handle();
            let request =
                fields.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into()));
            let request = request.collect();
            let ends_with_response = std::mem::take(&mut proxy.ends_next_with_response);
            let known =
                EnvoyStream { request, route, ends_with_response, ..EnvoyStream::default() };
            proxy.streams.insert(stream, known);
            stream
        });
        let own_config = with(|proxy| proxy.configs[&config]);
        // SAFETY: the configuration is one that was not destroyed, and the handle is new.
        let pointer = unsafe {
            envoy_dynamic_module_on_http_filter_new(
                std::ptr::with_exposed_provenance(own_config),
                handle(stream),
            )
        };
        with(|proxy| proxy.stream(handle(stream)).pointer = pointer.expose_provenance());
        // SAFETY: the module made this pointer just now, or it is null.
        let status = in_callback(stream, || unsafe {
            envoy_dynamic_module_on_http_filter_request_headers(handle(stream), pointer, is_end)
        });
        with(|proxy| {
            if let Some(known) = proxy.streams.get_mut(&stream) {
                known.status = status;
                known.spoil();
            }
        });
        stream
    }

    /// Delivers a part of a body. Returns the module's status for it.
    pub fn send_body(&self, stream: usize, part: &[u8], is_end: bool) -> u32 {
        let pointer = self.pointer(stream);
        with(|proxy| proxy.stream(handle(stream)).received = part.to_vec());
        // SAFETY: the filter of a stream that exists was not destroyed.
        let status = in_callback(stream, || unsafe {
            envoy_dynamic_module_on_http_filter_request_body(handle(stream), pointer, is_end)
        });
        with(|proxy| {
            let Some(stream) = proxy.streams.get_mut(&stream) else { return };
            let received = std::mem::take(&mut stream.received);
            if status != 3 {
                stream.buffered.extend(received);
            }
            stream.spoil();
        });
        status
    }

    /// Delivers trailers. Returns the module's status for them.
    pub fn send_trailers(&self, stream: usize, trailers: &[(&str, &str)]) -> u32 {
        let pointer = self.pointer(stream);
        with(|proxy| {
            let trailers = trailers
                .iter()
                .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()));
            proxy.stream(handle(stream)).trailers = trailers.collect();
        });
        // SAFETY: the filter of a stream that exists was not destroyed.
        in_callback(stream, || unsafe {
            envoy_dynamic_module_on_http_filter_request_trailers(handle(stream), pointer)
        })
    }

    fn pointer(&self, stream: usize) -> *const c_void {
        std::ptr::with_exposed_provenance(with(|proxy| proxy.stream(handle(stream)).pointer))
    }

    /// The stream ends.
    pub fn close(&self, stream: usize) {
        destroy(stream);
    }

    /// From now on Envoy destroys the filter of this stream as soon as the module sends a response.
    pub fn end_with_response(&self, stream: usize) {
        with(|proxy| proxy.stream(handle(stream)).ends_with_response = true);
    }

    /// Runs this action when a stream next asks for a scheduler, before it gets one.
    pub fn before_next_scheduler(&self, happens: impl FnOnce(&Self) + 'static) {
        with(|proxy| proxy.before_scheduler = Some(Box::new(happens)));
    }

    /// Runs this action while the next stopped stream is resumed.
    pub fn at_next_resumption(&self, happens: impl FnOnce(&Self) + 'static) {
        with(|proxy| proxy.at_resumption = Some(Box::new(happens)));
    }

    /// How many times streams were woken by their schedulers.
    pub fn scheduled(&self) -> usize {
        with(|proxy| proxy.scheduled)
    }

    /// Runs events until there are none.
    pub fn run(&self) {
        while self.run_one() {}
    }

    /// From now on Envoy destroys the next stream's filter as soon as the module sends a response.
    pub fn end_next_with_response(&self) {
        with(|proxy| proxy.ends_next_with_response = true);
    }

    /// Whether a stream exists.
    pub fn is_there(&self, stream: usize) -> bool {
        with(|proxy| proxy.streams.contains_key(&stream))
    }

    /// Whether a configuration exists.
    pub fn has(&self, config: usize) -> bool {
        with(|proxy| proxy.configs.contains_key(&config))
    }

    /// Whether a head was forwarded, at once or later.
    pub fn has_passed(&self, stream: usize) -> bool {
        with(|proxy| {
            let known = proxy.stream(handle(stream));
            known.status == 0 || known.resumed > 0
        })
    }

    /// Calls all callbacks of a stream as Envoy 1.38 does after the module has refused to make a
    /// filter, and those of a configuration that it has refused.
    pub fn call_with_null(&self) {
        let stream = new_handle();
        with(|proxy| proxy.streams.insert(stream, EnvoyStream::default()));
        let (raw, null) = (handle(stream), std::ptr::null());
        // SAFETY: the module checks its pointers for null, and the stream exists.
        unsafe {
            assert!(envoy_dynamic_module_on_http_filter_new(null, raw).is_null());
            assert_eq!(envoy_dynamic_module_on_http_filter_request_headers(raw, null, false), 1);
            assert_eq!(self.response(stream).unwrap().status, 500);
            assert_eq!(envoy_dynamic_module_on_http_filter_request_body(raw, null, true), 3);
            assert_eq!(envoy_dynamic_module_on_http_filter_request_trailers(raw, null), 1);
            envoy_dynamic_module_on_http_filter_scheduled(raw, null, 0);
            envoy_dynamic_module_on_http_filter_stream_complete(raw, null);
            envoy_dynamic_module_on_http_filter_destroy(null);
            envoy_dynamic_module_on_http_filter_config_scheduled(raw, null, 0);
            envoy_dynamic_module_on_http_filter_config_destroy(null);
            envoy_dynamic_module_on_http_filter_per_route_config_destroy(null);
        }
        with(|proxy| proxy.streams.remove(&stream));
    }

    /// Runs the events of the main thread until there are none.
    pub fn run_main(&self) {
        while let Some(number) = take_event(Some(true)).map(|(_, number)| number) {
            self.deliver(true, number);
        }
    }

    fn run_one(&self) -> bool {
        let event = take_event(None);
        event.inspect(|(is_config, number)| self.deliver(*is_config, *number)).is_some()
    }

    fn deliver(&self, is_config: bool, number: usize) {
        if is_config {
            let Some(pointer) = with(|proxy| proxy.configs.get(&number).copied()) else { return };
            // SAFETY: a configuration that is known was not destroyed.
            unsafe {
                envoy_dynamic_module_on_http_filter_config_scheduled(
                    handle(number),
                    std::ptr::with_exposed_provenance(pointer),
                    0,
                );
            }
        } else if with(|proxy| proxy.streams.contains_key(&number)) {
            let pointer = self.pointer(number);
            with(|proxy| proxy.scheduled += 1);
            // SAFETY: the filter of a stream that exists was not destroyed.
            unsafe { envoy_dynamic_module_on_http_filter_scheduled(handle(number), pointer, 0) };
            with(|proxy| proxy.streams.get_mut(&number).map(EnvoyStream::spoil));
        }
    }

    /// Waits for an event until this time has passed, since those of the timer come from its own
    /// thread, and runs all events.
    pub fn run_soon(&self, patience: Duration) {
        let started = Instant::now();
        while !self.run_one() && started.elapsed() < patience {
            thread::yield_now();
        }
        self.run();
    }

    /// Runs events until this holds.
    pub fn run_until(&self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        loop {
            self.run();
            if is_done(self) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "not in 20 s: {what}\n{:?}",
                self.log()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn callouts(&self) -> Vec<Callout> {
        with(|proxy| proxy.callouts.clone())
    }

    /// The next callout to this path.
    pub fn await_callout(&self, path: &str) -> Callout {
        let find = |envoy: &Self| {
            envoy.callouts().into_iter().find(|callout| callout.path().starts_with(path))
        };
        self.run_until(path, |envoy| find(envoy).is_some());
        find(self).unwrap()
    }

    /// From now on no cluster has a healthy host.
    pub fn refuse_callouts(&self) {
        with(|proxy| proxy.refuses_callouts = true);
    }

    /// Responds to a callout, with the body in two parts. `None` makes it fail.
    pub fn respond(&self, callout: &Callout, response: Option<(&str, &[u8])>) {
        let pointer = with(|proxy| {
            proxy.callouts.retain(|known| known.id != callout.id);
            proxy.configs.get(&callout.config).copied()
        });
        let Some(pointer) = pointer else { return };
        let pointer = std::ptr::with_exposed_provenance(pointer);
        let config = handle(callout.config);
        match response {
            // SAFETY: a configuration that is known was not destroyed; both lists are empty.
            None => unsafe {
                envoy_dynamic_module_on_http_filter_config_http_callout_done(
                    config,
                    pointer,
                    callout.id,
                    1,
                    std::ptr::null(),
                    0,
                    std::ptr::null(),
                    0,
                );
            },
            Some((status, body)) => {
                let field = RawField { name: buffer(b":status"), value: buffer(status.as_bytes()) };
                let (first, second) = body.split_at(body.len() / 2);
                let chunks = [buffer(first), buffer(second)];
                // SAFETY: as above; the field and the two parts exist during the call.
                unsafe {
                    envoy_dynamic_module_on_http_filter_config_http_callout_done(
                        config,
                        pointer,
                        callout.id,
                        0,
                        &raw const field,
                        1,
                        chunks.as_ptr(),
                        chunks.len(),
                    );
                }
            }
        }
    }

    /// The result of the callback for the head: 0 continue, 1 stop, 4 stop with the body.
    pub fn status(&self, stream: usize) -> u32 {
        with(|proxy| proxy.stream(handle(stream)).status)
    }

    /// Whether a stopped stream was resumed later.
    pub fn is_resumed(&self, stream: usize) -> bool {
        with(|proxy| proxy.stream(handle(stream)).resumed) > 0
    }

    pub fn response(&self, stream: usize) -> Option<LocalResponse> {
        with(|proxy| proxy.stream(handle(stream)).response.clone())
    }

    pub fn request(&self, stream: usize) -> Fields {
        with(|proxy| proxy.stream(handle(stream)).request.clone())
    }

    pub fn trailers(&self, stream: usize) -> Fields {
        with(|proxy| proxy.stream(handle(stream)).trailers.clone())
    }

    pub fn filter_state(&self, stream: usize) -> BTreeMap<String, String> {
        with(|proxy| proxy.stream(handle(stream)).filter_state.clone())
    }

    /// Metrics by name and label values.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        with(|proxy| proxy.values.clone())
    }

    pub fn log(&self) -> Vec<String> {
        with(|proxy| proxy.log.iter().map(|(_, line)| line.clone()).collect())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let streams: Vec<usize> = with(|proxy| proxy.streams.keys().copied().collect());
        streams.into_iter().for_each(destroy);
        if self.alone.is_none() {
            return;
        }
        let configs: Vec<usize> = with(|proxy| proxy.configs.keys().copied().collect());
        configs.into_iter().for_each(|config| self.remove(config));
        if !thread::panicking() {
            assert_eq!(SCHEDULERS.load(Ordering::SeqCst), 0, "there are schedulers left");
        }
    }
}

/// Marks the stream as one whose callback has not returned yet.
fn in_callback(stream: usize, callback: impl FnOnce() -> u32) -> u32 {
    let mark = |is_in_callback| {
        with(|proxy| {
            let known = proxy.streams.get_mut(&stream);
            known.map(|known| std::mem::replace(&mut known.is_in_callback, is_in_callback))
        })
    };
    let outer = mark(true).unwrap_or_default();
    let status = callback();
    mark(outer);
    status
}

fn let_happen(happening: Option<Happening>) {
    if let Some(happening) = happening {
        // An instance that ends nothing when it is dropped.
        happening(&ManuallyDrop::new(Envoy { alone: None }));
    }
}

/// The number of schedulers.
pub fn schedulers() -> usize {
    SCHEDULERS.load(Ordering::SeqCst)
}

fn destroy(stream: usize) {
    let pointer = with(|proxy| {
        proxy.streams.get_mut(&stream).map(|known| std::mem::take(&mut known.pointer))
    });
    let Some(pointer) = pointer else { return };
    if pointer != 0 {
        let pointer = std::ptr::with_exposed_provenance(pointer);
        // SAFETY: the module made this pointer, and it was taken above: it is destroyed once.
        unsafe {
            envoy_dynamic_module_on_http_filter_stream_complete(handle(stream), pointer);
            envoy_dynamic_module_on_http_filter_destroy(pointer);
        }
    }
    with(|proxy| proxy.streams.remove(&stream));
}
