//! A scripted host: the engine runs in it as one worker of a proxy, with a clock that only the test
//! moves and responses to callouts that only the test gives. Workers that share a [`SharedData`]
//! are workers of one process, each in a thread of its own.
//!
//! It is as strict as Envoy where that matters: a compare-and-swap version is ignored while its
//! value is absent, a forwarded head cannot be changed, and no request gets two responses.

mod scripted;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_federated_auth::host::{
    CalloutId, CalloutRequest, CalloutResponse, HashFunction, Host, HostCrypto, HostCryptoError,
    HostRefused, KeyDemand, Metric, MetricId, Part, RequestEdits, Response, SharedValue, StreamId,
};
use mcp_federated_auth::{
    BodyAction, Config, Engine, HeadAction, RequestHead, ResponseHead, StatusConfig,
    StatusPageFilter, UnixTime,
};

use crate::exchange::Stream;
pub use crate::exchange::{Call, Fields, LocalResponse, Outcome};
use crate::provider::NOW;

/// The shared data of one process.
#[derive(Clone, Default)]
pub struct SharedData(Arc<Mutex<SharedValues>>);

#[derive(Default)]
struct SharedValues {
    values: HashMap<String, (Vec<u8>, u32)>,
    last_version: u32,
    key_announcements: u64,
    reads: usize,
}

impl SharedData {
    /// Overwrites all values whose names end with `suffix`.
    pub fn overwrite(&self, name_end: &str, value: &[u8]) -> usize {
        let mut shared = self.0.lock().unwrap();
        let names: Vec<_> =
            shared.values.keys().filter(|name| name.ends_with(name_end)).cloned().collect();
        for name in &names {
            shared.set(name, value);
        }
        names.len()
    }

    pub fn value(&self, name: &str) -> Vec<u8> {
        self.0.lock().unwrap().values[name].0.clone()
    }

    /// How many values were read.
    pub fn reads(&self) -> usize {
        self.0.lock().unwrap().reads
    }

    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().values.keys().cloned().collect()
    }

    fn read(&self, name: &str) -> SharedValue {
        let mut shared = self.0.lock().unwrap();
        shared.reads += 1;
        let value = shared.values.get(name).cloned();
        drop(shared);
        // Lets other workers run between a read and the write that follows it.
        std::thread::yield_now();
        value.unzip()
    }

    fn replace(&self, name: &str, value: &[u8], version: Option<u32>) -> bool {
        let mut shared = self.0.lock().unwrap();
        if let Some((_, current)) = shared.values.get(name)
            && version != Some(*current)
        {
            return false;
        }
        shared.set(name, value);
        true
    }
}

impl SharedValues {
    fn set(&mut self, name: &str, value: &[u8]) {
        self.last_version += 1;
        self.values.insert(name.to_owned(), (value.to_vec(), self.last_version));
    }
}

/// A stream, and its upstream's response.
#[derive(Default)]
struct ServedStream {
    stream: Stream,
    /// The head of the response.
    response_head: Fields,
    /// Whether the head of the response cannot be changed.
    keeps_response_head: bool,
    /// Whether it was held back, and is not any more.
    is_response_resumed: bool,
    /// The part of the response's body that is held or has just arrived.
    arriving: Vec<u8>,
    /// The part of the response's body that was forwarded.
    responded: Vec<u8>,
}

impl Deref for ServedStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl DerefMut for ServedStream {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

struct Proxy {
    now: Duration,
    shared: SharedData,
    streams: BTreeMap<u32, ServedStream>,
    /// Streams whose trailers cannot be changed.
    fixed_trailers: BTreeSet<u32>,
    calls: Vec<Call>,
    refuse_calls: bool,
    /// Whether bodies are delivered while heads are stopped.
    hands_over_early: bool,
    /// Whether filter state cannot be replaced.
    keeps_filter_state: bool,
    /// How many bytes of each body a filter before the plugin holds.
    elsewhere: usize,
    /// Whether the proxy reports how much of a request it has received.
    reports_received: bool,
    /// The maximum of bytes of a request's body that the plugin can read.
    max_body_seen: usize,
    body_reads: usize,
    tick_period: Option<Duration>,
    part: Part,
    /// The keys that requests wait for and another engine is to fetch.
    demands: Vec<KeyDemand>,
    /// Names and values of the metrics; a metric's id is its index.
    metrics: Vec<(String, u64)>,
}

thread_local! {
    static LOG: RefCell<Vec<(log::Level, String)>> = const { RefCell::new(Vec::new()) };
    static LAST_NUMBER: Cell<u32> = const { Cell::new(0) };
}

fn new_number() -> u32 {
    LAST_NUMBER.set(LAST_NUMBER.get() + 1);
    LAST_NUMBER.get()
}

/// The cryptography of the proxy, which counts its calls.
struct Crypto(Rc<Cell<usize>>);

impl HostCrypto for Crypto {
    fn verify(
        &self,
        hash: HashFunction,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, HostCryptoError> {
        self.0.set(self.0.get() + 1);
        let hash = match hash {
            HashFunction::Sha256 => "sha256",
            HashFunction::Sha384 => "sha384",
            HashFunction::Sha512 => "sha512",
        };
        testkit::verify_signature(hash, key, signature, message).ok_or(HostCryptoError::Missing)
    }
}

struct ScriptedHost(Rc<RefCell<Proxy>>);

enum Filter {
    Engine(Box<Engine<ScriptedHost>>),
    StatusPage(StatusPageFilter<ScriptedHost>),
}

/// A worker.
pub struct Vm {
    proxy: Rc<RefCell<Proxy>>,
    filter: RefCell<Filter>,
    crypto_calls: Rc<Cell<usize>>,
}

impl Vm {
    /// Starts a worker; `None` if the configuration is refused. Clears what [`log`] returns.
    pub fn start(configuration: &[u8], shared: &SharedData) -> Option<Self> {
        Self::start_part(configuration, shared, Part::All)
    }

    /// Starts a worker that does this part of the work.
    pub fn start_part(configuration: &[u8], shared: &SharedData, part: Part) -> Option<Self> {
        let config = Config::with_environment(configuration, &environment).ok()?;
        let (proxy, crypto_calls) = (proxy(shared, part), Rc::new(Cell::new(0)));
        let crypto = Crypto(crypto_calls.clone());
        let engine = Engine::new(config, ScriptedHost(proxy.clone()), crypto);
        let filter = RefCell::new(Filter::Engine(Box::new(engine)));
        Some(Self { proxy, filter, crypto_calls })
    }

    /// Starts a worker that serves the status page.
    pub fn start_status_page(configuration: &[u8], shared: &SharedData) -> Option<Self> {
        let config = StatusConfig::from_bytes(configuration).ok()?;
        let proxy = proxy(shared, Part::All);
        let page = StatusPageFilter::new(config, ScriptedHost(proxy.clone()));
        let filter = RefCell::new(Filter::StatusPage(page));
        Some(Self { proxy, filter, crypto_calls: Rc::default() })
    }

    fn with_engine<T>(&self, action: impl FnOnce(&mut Engine<ScriptedHost>) -> T) -> T {
        match &mut *self.filter.borrow_mut() {
            Filter::Engine(engine) => action(engine),
            Filter::StatusPage(_) => panic!("the status page has no engine"),
        }
    }

    fn with_proxy<T>(&self, action: impl FnOnce(&mut Proxy) -> T) -> T {
        action(&mut self.proxy.borrow_mut())
    }

    fn with_stream<T>(&self, id: u32, action: impl FnOnce(&mut ServedStream) -> T) -> T {
        self.with_proxy(|proxy| action(proxy.streams.get_mut(&id).unwrap()))
    }

    /// Advances the clock, without a tick.
    pub fn advance(&self, time: Duration) {
        self.with_proxy(|proxy| proxy.now += time);
    }

    pub fn tick(&self) {
        self.with_engine(Engine::on_tick);
        self.hand_over_unseen();
    }

    /// From now on, filter state cannot be replaced.
    pub fn keep_filter_state(&self) {
        self.with_proxy(|proxy| proxy.keeps_filter_state = true);
    }

    /// From now on bodies are delivered only after their heads, as in Envoy without
    /// `allow_on_headers_stop_iteration`.
    pub fn hand_over_late(&self) {
        self.with_proxy(|proxy| proxy.hands_over_early = false);
    }

    /// From now on a filter before the plugin holds this many bytes of each body.
    pub fn receive_elsewhere(&self, bytes: usize) {
        self.with_proxy(|proxy| proxy.elsewhere = bytes);
    }

    /// From now on the proxy does not report how much of a request it has received.
    pub fn hide_received(&self) {
        self.with_proxy(|proxy| proxy.reports_received = false);
    }

    /// Delivers held bodies, as Envoy does as soon as a stopped head is forwarded.
    fn hand_over_unseen(&self) {
        let late: Vec<_> = self.with_proxy(|proxy| {
            let streams = proxy.streams.iter_mut();
            streams.filter_map(|(id, stream)| Some((*id, stream.take_unseen()?))).collect()
        });
        for (id, (part, is_last)) in late {
            self.send_body(id, &part, is_last);
        }
    }

    /// All metrics that were ever used, with their values.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.with_proxy(|proxy| proxy.metrics.iter().cloned().collect())
    }

    /// The keys that requests have demanded from another engine since the last call.
    pub fn take_demands(&self) -> Vec<KeyDemand> {
        self.with_proxy(|proxy| std::mem::take(&mut proxy.demands))
    }

    /// Fetches keys that requests of another engine wait for.
    pub fn fetch_keys(&self, demand: KeyDemand) {
        self.with_engine(|engine| engine.fetch_keys(demand));
    }

    pub fn tick_period(&self) -> Option<Duration> {
        self.with_proxy(|proxy| proxy.tick_period)
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
        let is_early = self.with_proxy(|proxy| proxy.hands_over_early);
        let size = self.with_stream(id, |stream| stream.receive(part, is_last, is_early));
        let Some(size) = size else { return Vec::new() };
        let action =
            self.with_engine(|engine| engine.on_request_body(StreamId(id.into()), size, is_last));
        self.continue_body(id, action)
    }

    /// Sends the trailers of a request. Returns the part of the body forwarded so far.
    pub fn send_trailers(&self, id: u32) -> Vec<u8> {
        let action = self.with_engine(|engine| engine.on_request_trailers(StreamId(id.into())));
        self.continue_body(id, action)
    }

    /// Sets the trailers of a request.
    pub fn set_trailers(&self, id: u32, fields: &[(&str, &str)]) {
        self.with_stream(id, |stream| stream.set_trailers(fields));
    }

    /// The trailers that are left.
    pub fn trailers(&self, id: u32) -> Fields {
        self.with_stream(id, |stream| stream.trailers.clone())
    }

    /// From now on reading the trailers fails.
    pub fn hide_trailers(&self, id: u32) {
        self.with_proxy(|proxy| proxy.fixed_trailers.insert(id));
    }

    /// The part of a request's body forwarded so far.
    pub fn passed(&self, id: u32) -> Vec<u8> {
        self.with_stream(id, |stream| stream.passed.clone())
    }

    /// The head of the upstream's response arrives. Returns whether it is forwarded.
    pub fn send_response_head(&self, id: u32, fields: &[(&str, &str)], has_body: bool) -> bool {
        let fields: Vec<(&[u8], &[u8])> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let stream = StreamId(id.into());
        let action = self.with_engine(|engine| {
            if !engine.reads_response(stream) {
                return HeadAction::Continue;
            }
            engine.on_response_head(stream, ResponseHead::new(&fields), has_body)
        });
        action == HeadAction::Continue
    }

    /// Whether the head of the response was held back, and is not any more.
    pub fn is_response_resumed(&self, id: u32) -> bool {
        self.with_stream(id, |stream| stream.is_response_resumed)
    }

    /// A part of the upstream's response body arrives. Returns the part forwarded so far.
    pub fn send_response_body(&self, id: u32, part: &[u8], is_last: bool) -> Vec<u8> {
        let size = self.with_stream(id, |stream| {
            stream.arriving.extend_from_slice(part);
            stream.arriving.len()
        });
        let action =
            self.with_engine(|engine| engine.on_response_body(StreamId(id.into()), size, is_last));
        self.with_stream(id, |stream| {
            if action == BodyAction::Continue {
                stream.responded.append(&mut stream.arriving);
            }
            stream.responded.clone()
        })
    }

    /// The trailers of the upstream's response arrive.
    pub fn send_response_trailers(&self, id: u32) {
        self.with_engine(|engine| engine.on_response_trailers(StreamId(id.into())));
    }

    fn continue_body(&self, id: u32, action: BodyAction) -> Vec<u8> {
        self.with_stream(id, |stream| stream.continue_body(action == BodyAction::Continue))
    }

    fn begin(&self, fields: &[(&str, &[u8])], is_whole: bool) -> (u32, Outcome) {
        let id = new_number();
        let stream = ServedStream { stream: Stream::new(fields), ..ServedStream::default() };
        self.with_proxy(|proxy| proxy.streams.insert(id, stream));
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), *value)).collect();
        let head = RequestHead::new(&fields, !is_whole);
        let action = match &mut *self.filter.borrow_mut() {
            Filter::Engine(engine) => engine.on_request_head(StreamId(id.into()), head),
            Filter::StatusPage(page) => {
                page.on_request_head(StreamId(id.into()), Some(head));
                HeadAction::Stop
            }
        };
        self.with_stream(id, |stream| {
            stream.is_released |= action == HeadAction::Continue;
            stream.stops_with_body = action == HeadAction::StopWithBody;
        });
        (id, self.outcome(id))
    }

    pub fn outcome(&self, id: u32) -> Outcome {
        self.with_stream(id, |stream| stream.outcome())
    }

    /// The upstream responds with these header fields. Returns those that the client gets.
    pub fn respond_from_upstream(&self, id: u32, fields: &[(&str, &[u8])]) -> Outcome {
        let head = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        self.with_stream(id, |stream| stream.response_head = head.collect());
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), *value)).collect();
        let id_of_stream = StreamId(id.into());
        if self.with_engine(|engine| engine.reads_response(id_of_stream)) {
            let head = ResponseHead::new(&fields);
            self.with_engine(|engine| engine.on_response_head(id_of_stream, head, false));
        }
        self.with_stream(id, |stream| match &stream.response {
            Some(response) => Outcome::Refused(response.clone()),
            None => Outcome::Forwarded(stream.response_head.clone()),
        })
    }

    /// Whether the engine reads the response to a request.
    pub fn reads_response(&self, id: u32) -> bool {
        self.with_engine(|engine| engine.reads_response(StreamId(id.into())))
    }

    /// From now on the head of the response cannot be changed.
    pub fn keep_response_head(&self, id: u32) {
        self.with_stream(id, |stream| stream.keeps_response_head = true);
    }

    /// The filter state of a request that access logs can print, as `name=value`.
    pub fn filter_state(&self, id: u32) -> Vec<String> {
        self.with_stream(id, |stream| stream.filter_state())
    }

    /// The client disconnects.
    pub fn close(&self, id: u32) {
        self.complete(id);
        self.with_proxy(|proxy| proxy.streams.remove(&id));
    }

    /// A request and its response have ended, and will be logged next.
    pub fn complete(&self, id: u32) {
        self.with_engine(|engine| engine.on_stream_end(StreamId(id.into())));
    }

    /// Callouts that have no response yet.
    pub fn calls(&self) -> Vec<Call> {
        self.with_proxy(|proxy| proxy.calls.clone())
    }

    /// Whether the engine still waits for the response to a callout.
    pub fn awaits(&self, call: &Call) -> bool {
        let id = CalloutId(call.id.into());
        self.with_engine(|engine| engine.max_response_body(id).is_some())
    }

    /// The only callout that has no response yet.
    pub fn call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    pub fn respond(&self, call: &Call, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let field = |name: &str| match name {
            ":status" => Some(status.to_owned()),
            _ => headers
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned()),
        };
        self.report(call, |max_body| {
            let read = body.get(..max_body).unwrap_or(body).to_vec();
            Some(CalloutResponse::new(field, body.len(), read))
        });
    }

    /// The callout fails: a time-out or a reset.
    pub fn fail(&self, call: &Call) {
        self.report(call, |_| None);
    }

    fn report(&self, call: &Call, response: impl FnOnce(usize) -> Option<CalloutResponse>) {
        self.with_proxy(|proxy| proxy.calls.retain(|open| open.id != call.id));
        let id = CalloutId(call.id.into());
        self.with_engine(|engine| {
            if let Some(max_body) = engine.max_response_body(id) {
                engine.on_callout_response(id, response(max_body));
            }
        });
        self.hand_over_unseen();
    }

    /// From now on no cluster has a healthy host.
    pub fn refuse_calls(&self, refuse: bool) {
        self.with_proxy(|proxy| proxy.refuse_calls = refuse);
    }

    /// From now on the plugin can read at most this much of the bodies of requests.
    pub fn show_body(&self, max: usize) {
        self.with_proxy(|proxy| proxy.max_body_seen = max);
    }

    /// How often the plugin has read bodies of requests.
    pub fn body_reads(&self) -> usize {
        self.with_proxy(|proxy| proxy.body_reads)
    }

    /// How often a signature was verified by the proxy.
    pub fn crypto_calls(&self) -> usize {
        self.crypto_calls.get()
    }
}

/// The environment variables of the proxy. `SECRET`, `OTHER_SECRET` and so on are secrets.
fn environment(name: &str) -> Option<String> {
    name.ends_with("SECRET").then(|| format!("{name}-").repeat(44))
}

fn proxy(shared: &SharedData, part: Part) -> Rc<RefCell<Proxy>> {
    LOG.with_borrow_mut(Vec::clear);
    Rc::new(RefCell::new(Proxy {
        now: Duration::from_secs(NOW),
        shared: shared.clone(),
        streams: BTreeMap::new(),
        fixed_trailers: BTreeSet::new(),
        calls: Vec::new(),
        refuse_calls: false,
        hands_over_early: true,
        keeps_filter_state: false,
        elsewhere: 0,
        reports_received: true,
        max_body_seen: usize::MAX,
        body_reads: 0,
        tick_period: None,
        part,
        demands: Vec::new(),
        metrics: Vec::new(),
    }))
}

/// What the engine has logged in this thread.
pub fn log() -> Vec<String> {
    LOG.with_borrow(|log| log.iter().map(|(_, line)| line.clone()).collect())
}

/// The log lines of this level.
pub fn log_of(level: log::Level) -> Vec<String> {
    LOG.with_borrow(|log| {
        log.iter().filter(|(known, _)| *known == level).map(|(_, line)| line.clone()).collect()
    })
}

fn number(StreamId(id): StreamId) -> u32 {
    u32::try_from(id).unwrap()
}
