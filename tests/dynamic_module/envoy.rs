//! A scripted Envoy.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

// The module's callbacks have no other reference.
extern crate mcp_federated_auth_dynamic_module as _;

pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    data: *const u8,
    length: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawField {
    name: Buffer,
    value: Buffer,
}

unsafe extern "C" {
    fn envoy_dynamic_module_on_program_init() -> *const c_char;
    fn envoy_dynamic_module_on_http_filter_config_new(
        config: *mut c_void,
        name: Buffer,
        bytes: Buffer,
    ) -> *const c_void;
    fn envoy_dynamic_module_on_http_filter_config_destroy(own: *const c_void);
    fn envoy_dynamic_module_on_http_filter_config_scheduled(
        config: *mut c_void,
        own: *const c_void,
        event: u64,
    );
    fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
        config: *mut c_void,
        own: *const c_void,
        callout: u64,
        result: u32,
        fields: *const RawField,
        field_count: usize,
        chunks: *const Buffer,
        chunk_count: usize,
    );
    fn envoy_dynamic_module_on_http_filter_per_route_config_new(
        name: Buffer,
        bytes: Buffer,
    ) -> *const c_void;
    fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(own: *const c_void);
    fn envoy_dynamic_module_on_http_filter_new(
        own: *const c_void,
        stream: *mut c_void,
    ) -> *const c_void;
    fn envoy_dynamic_module_on_http_filter_destroy(own: *const c_void);
    fn envoy_dynamic_module_on_http_filter_request_headers(
        stream: *mut c_void,
        own: *const c_void,
        is_end: bool,
    ) -> u32;
    fn envoy_dynamic_module_on_http_filter_request_body(
        stream: *mut c_void,
        own: *const c_void,
        is_end: bool,
    ) -> u32;
    fn envoy_dynamic_module_on_http_filter_request_trailers(
        stream: *mut c_void,
        own: *const c_void,
    ) -> u32;
    fn envoy_dynamic_module_on_http_filter_scheduled(
        stream: *mut c_void,
        own: *const c_void,
        event: u64,
    );
}

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

/// What Envoy has of a stream. Its handle is a number, so that one that is gone is noticed.
#[derive(Default)]
struct EnvoyStream {
    own: usize,
    request: Fields,
    trailers: Fields,
    buffered: Vec<u8>,
    received: Vec<u8>,
    /// What was lent, by the boxes that hold it.
    lent: Vec<Box<[u8]>>,
    response: Option<LocalResponse>,
    filter_state: BTreeMap<String, String>,
    /// What the callback for the head returned.
    status: u32,
    resumed: usize,
    route: usize,
    /// Whether Envoy destroys the filter as soon as it is responded to.
    ends_with_response: bool,
}

/// A callout that was not answered yet.
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

/// All of Envoy but what any thread may reach.
#[derive(Default)]
struct Proxy {
    streams: BTreeMap<usize, EnvoyStream>,
    /// What the module gave for a configuration, by Envoy's handle.
    configs: BTreeMap<usize, usize>,
    callouts: Vec<Callout>,
    refuses_callouts: bool,
    last_handle: usize,
    metrics: Vec<(String, Vec<String>)>,
    values: BTreeMap<String, u64>,
    log: Vec<(u32, String)>,
    is_freezing: bool,
}

thread_local! {
    static PROXY: RefCell<Proxy> = RefCell::default();
}

/// What was committed: whether to a configuration, and its handle.
static EVENTS: Mutex<VecDeque<(bool, usize)>> = Mutex::new(VecDeque::new());
/// Schedulers that were not deleted.
static SCHEDULERS: AtomicUsize = AtomicUsize::new(0);

fn with<T>(action: impl FnOnce(&mut Proxy) -> T) -> T {
    PROXY.with_borrow_mut(action)
}

fn handle(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

impl Proxy {
    fn new_handle(&mut self) -> usize {
        self.last_handle += 1;
        self.last_handle
    }

    fn stream(&mut self, stream: *mut c_void) -> &mut EnvoyStream {
        self.streams.get_mut(&stream.addr()).expect("the stream is gone")
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

    /// What was lent is gone: whoever still reads it reads nonsense.
    fn spoil(&mut self) {
        self.lent.iter_mut().for_each(|lent| lent.fill(b'\xdd'));
    }
}

fn bytes<'a>(buffer: Buffer) -> &'a [u8] {
    match buffer.data.is_null() {
        true => &[],
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
    let fields = unsafe { std::slice::from_raw_parts(fields, count) };
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

/// One Envoy for each test: the tests of one program would share the module's threads and statics.
pub struct Envoy {
    _alone: MutexGuard<'static, ()>,
}

impl Envoy {
    pub fn start() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        PROXY.set(Proxy::default());
        EVENTS.lock().unwrap().clear();
        let version = unsafe { envoy_dynamic_module_on_program_init() };
        assert!(!version.is_null());
        // The module's hook would put a failed test's message into this Envoy's log.
        drop(std::panic::take_hook());
        assert_eq!(SCHEDULERS.load(Ordering::SeqCst), 0, "an earlier test left schedulers");
        Self { _alone: alone }
    }

    /// Configures a filter; none if the module refuses.
    pub fn configure(&self, filter_name: &str, configuration: &str) -> Option<usize> {
        let config = with(Proxy::new_handle);
        with(|proxy| proxy.is_freezing = false);
        let own = unsafe {
            envoy_dynamic_module_on_http_filter_config_new(
                handle(config),
                buffer(filter_name.as_bytes()),
                buffer(configuration.as_bytes()),
            )
        };
        with(|proxy| proxy.is_freezing = true);
        if own.is_null() {
            return None;
        }
        with(|proxy| proxy.configs.insert(config, own.expose_provenance()));
        Some(config)
    }

    /// Removes a configuration, with its callouts.
    pub fn remove(&self, config: usize) {
        let own = with(|proxy| {
            proxy.callouts.retain(|callout| callout.config != config);
            proxy.configs.remove(&config).expect("it is there")
        });
        unsafe {
            envoy_dynamic_module_on_http_filter_config_destroy(std::ptr::with_exposed_provenance(
                own,
            ));
        }
    }

    /// Configures a route; none if the module refuses.
    pub fn configure_route(&self, configuration: &str) -> Option<usize> {
        let own = unsafe {
            envoy_dynamic_module_on_http_filter_per_route_config_new(
                buffer(b"mcp-federated-auth"),
                buffer(configuration.as_bytes()),
            )
        };
        (!own.is_null()).then(|| own.expose_provenance())
    }

    pub fn remove_route(&self, route: usize) {
        unsafe {
            envoy_dynamic_module_on_http_filter_per_route_config_destroy(
                std::ptr::with_exposed_provenance(route),
            );
        }
    }

    /// Sends the head of a request on a route; 0 is one without a configuration of its own.
    pub fn open(
        &self,
        config: usize,
        fields: &[(&str, &[u8])],
        is_end: bool,
        route: usize,
    ) -> usize {
        let stream = with(|proxy| {
            let stream = proxy.new_handle();
            let request =
                fields.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into()));
            let request = request.collect();
            proxy.streams.insert(stream, EnvoyStream { request, route, ..EnvoyStream::default() });
            stream
        });
        let own_config = with(|proxy| proxy.configs[&config]);
        let own = unsafe {
            envoy_dynamic_module_on_http_filter_new(
                std::ptr::with_exposed_provenance(own_config),
                handle(stream),
            )
        };
        with(|proxy| proxy.stream(handle(stream)).own = own.expose_provenance());
        let status = unsafe {
            envoy_dynamic_module_on_http_filter_request_headers(handle(stream), own, is_end)
        };
        with(|proxy| {
            if let Some(known) = proxy.streams.get_mut(&stream) {
                known.status = status;
                known.spoil();
            }
        });
        stream
    }

    /// Hands over a part of a body. Returns what the module wants to become of it.
    pub fn send_body(&self, stream: usize, part: &[u8], is_end: bool) -> u32 {
        let own = self.own(stream);
        with(|proxy| proxy.stream(handle(stream)).received = part.to_vec());
        let status = unsafe {
            envoy_dynamic_module_on_http_filter_request_body(handle(stream), own, is_end)
        };
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

    /// Hands over trailers. Returns what the module wants to become of them.
    pub fn send_trailers(&self, stream: usize, trailers: &[(&str, &str)]) -> u32 {
        let own = self.own(stream);
        with(|proxy| {
            let trailers = trailers
                .iter()
                .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()));
            proxy.stream(handle(stream)).trailers = trailers.collect();
        });
        unsafe { envoy_dynamic_module_on_http_filter_request_trailers(handle(stream), own) }
    }

    fn own(&self, stream: usize) -> *const c_void {
        std::ptr::with_exposed_provenance(with(|proxy| proxy.stream(handle(stream)).own))
    }

    /// The stream ends.
    pub fn close(&self, stream: usize) {
        destroy(stream);
    }

    /// From now on Envoy destroys the filter of this stream as soon as it responds.
    pub fn end_with_response(&self, stream: usize) {
        with(|proxy| proxy.stream(handle(stream)).ends_with_response = true);
    }

    /// Runs events until there are none.
    pub fn run(&self) {
        while self.run_one() {}
    }

    fn run_one(&self) -> bool {
        let Some((is_config, number)) = EVENTS.lock().unwrap().pop_front() else { return false };
        if is_config {
            let Some(own) = with(|proxy| proxy.configs.get(&number).copied()) else { return true };
            unsafe {
                envoy_dynamic_module_on_http_filter_config_scheduled(
                    handle(number),
                    std::ptr::with_exposed_provenance(own),
                    0,
                );
            }
        } else if with(|proxy| proxy.streams.contains_key(&number)) {
            let own = self.own(number);
            unsafe { envoy_dynamic_module_on_http_filter_scheduled(handle(number), own, 0) };
            with(|proxy| proxy.streams.get_mut(&number).map(EnvoyStream::spoil));
        }
        true
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

    /// The next callout of this path.
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

    /// Answers a callout; its body comes in two parts. None: it fails.
    pub fn answer(&self, callout: &Callout, response: Option<(&str, &[u8])>) {
        let own = with(|proxy| {
            proxy.callouts.retain(|known| known.id != callout.id);
            proxy.configs.get(&callout.config).copied()
        });
        let Some(own) = own else { return };
        let own = std::ptr::with_exposed_provenance(own);
        let config = handle(callout.config);
        match response {
            None => unsafe {
                envoy_dynamic_module_on_http_filter_config_http_callout_done(
                    config,
                    own,
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
                unsafe {
                    envoy_dynamic_module_on_http_filter_config_http_callout_done(
                        config,
                        own,
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

    /// What the callback for the head returned: 0 continue, 1 stop, 4 stop with the body.
    pub fn status(&self, stream: usize) -> u32 {
        with(|proxy| proxy.stream(handle(stream)).status)
    }

    /// Whether a stream that was stopped went on later.
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
        let configs: Vec<usize> = with(|proxy| proxy.configs.keys().copied().collect());
        configs.into_iter().for_each(|config| self.remove(config));
        if !thread::panicking() {
            assert_eq!(SCHEDULERS.load(Ordering::SeqCst), 0, "schedulers are left");
        }
    }
}

/// How many schedulers there are.
pub fn schedulers() -> usize {
    SCHEDULERS.load(Ordering::SeqCst)
}

fn destroy(stream: usize) {
    let own =
        with(|proxy| proxy.streams.get_mut(&stream).map(|known| std::mem::take(&mut known.own)));
    let Some(own) = own else { return };
    if own != 0 {
        unsafe {
            envoy_dynamic_module_on_http_filter_destroy(std::ptr::with_exposed_provenance(own));
        }
    }
    with(|proxy| proxy.streams.remove(&stream));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(level: u32, line: Buffer) {
    let line = text(line);
    with(|proxy| proxy.log.push((level, line)));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool {
    level >= 2
}

fn define(name: Buffer, labels: *const Buffer, count: usize, id: *mut usize) -> u32 {
    let labels = unsafe { std::slice::from_raw_parts(labels, count) };
    let labels = labels.iter().map(|label| text(*label)).collect();
    with(|proxy| {
        if proxy.is_freezing {
            return 3;
        }
        proxy.metrics.push((text(name), labels));
        unsafe { *id = proxy.metrics.len() - 1 };
        0
    })
}

fn record(id: usize, values: *const Buffer, count: usize, change: impl Fn(u64) -> u64) -> u32 {
    let values = unsafe { std::slice::from_raw_parts(values, count) };
    with(|proxy| {
        let (name, labels) = &proxy.metrics[id];
        assert_eq!(labels.len(), values.len(), "{name}");
        let labels = labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(label, value)| format!("{label}={}", text(*value))).collect();
        let value = proxy.values.entry(format!("{name}{{{}}}", labels.join(","))).or_default();
        *value = change(*value);
    });
    0
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    _config: *mut c_void,
    name: Buffer,
    labels: *const Buffer,
    count: usize,
    id: *mut usize,
) -> u32 {
    define(name, labels, count, id)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
    _config: *mut c_void,
    name: Buffer,
    labels: *const Buffer,
    count: usize,
    id: *mut usize,
) -> u32 {
    define(name, labels, count, id)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_increment_counter(
    stream: *mut c_void,
    id: usize,
    values: *const Buffer,
    count: usize,
    amount: u64,
) -> u32 {
    with(|proxy| proxy.stream(stream).status);
    record(id, values, count, |value| value + amount)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_set_gauge(
    stream: *mut c_void,
    id: usize,
    values: *const Buffer,
    count: usize,
    amount: u64,
) -> u32 {
    with(|proxy| proxy.stream(stream).status);
    record(id, values, count, |_| amount)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_http_callout(
    config: *mut c_void,
    id: *mut u64,
    cluster: Buffer,
    raw: *const RawField,
    count: usize,
    _body: Buffer,
    milliseconds: u64,
) -> u32 {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let callout = Callout {
        id: LAST.fetch_add(1, Ordering::SeqCst) as u64,
        config: config.addr(),
        cluster: text(cluster),
        fields: fields(raw, count),
        milliseconds,
    };
    unsafe { *id = callout.id };
    with(|proxy| {
        if proxy.refuses_callouts {
            return 4;
        }
        proxy.callouts.push(callout);
        0
    })
}

fn new_scheduler(number: usize) -> *mut c_void {
    SCHEDULERS.fetch_add(1, Ordering::SeqCst);
    Box::into_raw(Box::new(number)).cast()
}

fn commit(scheduler: *mut c_void, is_config: bool) {
    let number = unsafe { *scheduler.cast::<usize>() };
    EVENTS.lock().unwrap().push_back((is_config, number));
}

fn delete(scheduler: *mut c_void) {
    SCHEDULERS.fetch_sub(1, Ordering::SeqCst);
    drop(unsafe { Box::from_raw(scheduler.cast::<usize>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(
    config: *mut c_void,
) -> *mut c_void {
    new_scheduler(config.addr())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(
    scheduler: *mut c_void,
    _event: u64,
) {
    commit(scheduler, true);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(
    scheduler: *mut c_void,
) {
    delete(scheduler);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_scheduler_new(
    stream: *mut c_void,
) -> *mut c_void {
    with(|proxy| proxy.stream(stream).status);
    new_scheduler(stream.addr())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_scheduler_commit(
    scheduler: *mut c_void,
    _event: u64,
) {
    commit(scheduler, false);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void) {
    delete(scheduler);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(
    stream: *mut c_void,
    map: u32,
) -> usize {
    with(|proxy| proxy.stream(stream).map(map).len())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers(
    stream: *mut c_void,
    map: u32,
    out: *mut RawField,
) -> bool {
    with(|proxy| {
        let stream = proxy.stream(stream);
        for (index, (name, value)) in stream.map(map).clone().iter().enumerate() {
            let field = RawField { name: stream.lend(name), value: stream.lend(value) };
            unsafe { out.add(index).write(field) };
        }
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    stream: *mut c_void,
    map: u32,
    name: Buffer,
    value: Buffer,
) -> bool {
    let name = bytes(name).to_vec();
    with(|proxy| {
        let stream = proxy.stream(stream);
        stream.map(map).retain(|(known, _)| *known != name);
        if !value.data.is_null() {
            stream.map(map).push((name, bytes(value).to_vec()));
        }
        stream.spoil();
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_add_header(
    stream: *mut c_void,
    map: u32,
    name: Buffer,
    value: Buffer,
) -> bool {
    let field = (bytes(name).to_vec(), bytes(value).to_vec());
    with(|proxy| {
        let stream = proxy.stream(stream);
        stream.map(map).push(field);
        stream.spoil();
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_send_response(
    stream: *mut c_void,
    status: u32,
    raw: *const RawField,
    count: usize,
    body: Buffer,
    details: Buffer,
) {
    let fields = if count == 0 { vec![] } else { fields(raw, count) };
    let response =
        LocalResponse { status, fields, body: bytes(body).to_vec(), details: text(details) };
    let ends = with(|proxy| {
        let stream = proxy.stream(stream);
        stream.spoil();
        assert!(stream.response.is_none(), "responded twice");
        stream.response = Some(response);
        stream.ends_with_response
    });
    if ends {
        destroy(stream.addr());
    }
}

fn part(stream: &EnvoyStream, part: u32) -> Vec<u8> {
    match part {
        0 => stream.received.clone(),
        1 => stream.buffered.clone(),
        other => panic!("no part {other}"),
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_size(
    stream: *mut c_void,
    number: u32,
) -> usize {
    with(|proxy| part(proxy.stream(stream), number).len())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks_size(
    stream: *mut c_void,
    number: u32,
) -> usize {
    with(|proxy| if part(proxy.stream(stream), number).is_empty() { 0 } else { 2 })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks(
    stream: *mut c_void,
    number: u32,
    out: *mut Buffer,
) -> bool {
    with(|proxy| {
        let stream = proxy.stream(stream);
        let body = part(stream, number);
        if body.is_empty() {
            return false;
        }
        let (first, second) = body.split_at(body.len() / 2);
        for (index, half) in [first, second].into_iter().enumerate() {
            let lent = stream.lend(half);
            unsafe { out.add(index).write(lent) };
        }
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_received_buffered_request_body(
    _stream: *mut c_void,
) -> bool {
    false
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
    stream: *mut c_void,
    key: Buffer,
    value: Buffer,
) -> bool {
    let (key, value) = (text(key), text(value));
    with(|proxy| proxy.stream(stream).filter_state.insert(key, value));
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_continue_decoding(stream: *mut c_void) {
    with(|proxy| {
        let stream = proxy.stream(stream);
        assert!(stream.response.is_none(), "responded to and resumed");
        stream.resumed += 1;
        stream.spoil();
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_get_most_specific_route_config(
    stream: *mut c_void,
) -> *const c_void {
    let route = with(|proxy| proxy.stream(stream).route);
    if route == 0 { std::ptr::null() } else { std::ptr::with_exposed_provenance(route) }
}
