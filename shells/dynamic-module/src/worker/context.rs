//! What a worker and the host of its engine share.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mcp_federated_auth::UnixTime;
use mcp_federated_auth::host::{CalloutId, HostRefused, Response, StreamId};

use super::{Phase, after, stream_id};
use crate::abi::Stream;
use crate::configuration::Configuration;
use crate::log_lines::RareError;
use crate::mailbox::Mailbox;
use crate::metrics::Table;
use crate::setup::Setup;
use crate::store;
use crate::waker::Waker;

/// What a worker and the host of its engine share.
pub(super) struct Context {
    pub(super) configuration: Arc<Configuration>,
    pub(super) setup: Arc<Setup>,
    pub(super) metrics: Table,
    pub(super) waker: Arc<Waker>,
    pub(super) mailbox: Arc<Mailbox>,
    /// The stream whose callback is running.
    current: RefCell<Option<Rc<Stream>>>,
    /// Streams that are held back.
    pub(super) stopped: RefCell<BTreeMap<StreamId, Rc<Stream>>>,
    /// What to do once the engine has returned: Envoy may call back meanwhile.
    pub(super) actions: RefCell<VecDeque<(Rc<Stream>, Action)>>,
    /// Streams that have ended, which were not reported to the engine yet.
    pub(super) ended: RefCell<Vec<StreamId>>,
    pub(super) needs_ticks: Cell<bool>,
    pub(super) period: Cell<Duration>,
    last_callout: Cell<u64>,
    /// When the engine last asked for the time.
    pub(super) now: Cell<UnixTime>,
    /// The details of the next refusal, for access logs.
    pub(super) reason: RefCell<Option<(StreamId, String)>>,
}

/// What is done to a stream after the engine has returned.
pub(super) enum Action {
    /// With details for access logs.
    Respond(Response, Cow<'static, str>),
    Resume,
}

static MOVED: RareError = RareError::new();

thread_local! {
    static LAST_STREAM: Cell<u64> = const { Cell::new(0) };
}

impl Context {
    pub(super) fn new(configuration: &Arc<Configuration>, setup: &Arc<Setup>) -> Rc<Self> {
        let waker = Waker::new();
        store::register(&waker);
        Rc::new(Self {
            configuration: configuration.clone(),
            setup: setup.clone(),
            metrics: Table::default(),
            mailbox: Mailbox::new(waker.clone()),
            waker,
            current: RefCell::new(None),
            stopped: RefCell::default(),
            actions: RefCell::default(),
            ended: RefCell::default(),
            needs_ticks: Cell::new(false),
            period: Cell::new(Duration::from_secs(1)),
            last_callout: Cell::new(0),
            now: Cell::default(),
            reason: RefCell::new(None),
        })
    }

    /// The number of a stream, which is assigned at the first call.
    pub(super) fn number(&self, stream: &Stream) -> StreamId {
        if stream.number.get() == 0 {
            LAST_STREAM.set(LAST_STREAM.get().wrapping_add(1));
            stream.number.set(LAST_STREAM.get());
        }
        stream_id(stream.number.get())
    }

    pub(super) fn enter(&self, stream: &Rc<Stream>) {
        self.current.replace(Some(stream.clone()));
    }

    pub(super) fn leave(&self) {
        self.current.replace(None);
    }

    /// Gives the current stream to `read`.
    pub(super) fn with_current<T>(&self, read: impl FnOnce(Option<&Stream>) -> T) -> T {
        read(self.current.borrow().as_deref())
    }

    /// The stream with this id, if it still exists.
    pub(super) fn stream(&self, id: StreamId) -> Result<Rc<Stream>, HostRefused> {
        let current = self.current.borrow();
        let is_current = |stream: &&Rc<Stream>| StreamId(stream.number.get()) == id;
        let stream = match current.as_ref().filter(is_current) {
            Some(stream) => Some(stream.clone()),
            None => self.stopped.borrow().get(&id).cloned(),
        };
        stream.filter(|stream| stream.is_open()).ok_or(HostRefused)
    }

    /// Checks that the configuration by which a stream was judged is that of its route.
    pub(super) fn check_route(&self, stream: &Stream) -> Result<(), HostRefused> {
        let own = stream.route_setup()?;
        let setup = own.as_ref().unwrap_or(&self.configuration.setup);
        if setup.id == self.setup.id {
            return Ok(());
        }
        MOVED.write(format_args!(
            "the identity headers of a request select a route with another configuration than the \
             one that judged it, so it gets 500: do not match such a route by identity headers"
        ));
        Err(HostRefused)
    }

    /// Keeps a stream that is held back.
    pub(super) fn keep(&self, stream: &Rc<Stream>) {
        self.stopped.borrow_mut().insert(self.number(stream), stream.clone());
    }

    /// Stops keeping it.
    pub(super) fn release(&self, stream: &Stream) {
        let id = self.number(stream);
        if self.stopped.borrow_mut().remove(&id).is_some() {
            self.waker.remove(id.0);
        }
    }

    /// What to do next.
    pub(super) fn next_action(&self) -> Option<(Rc<Stream>, Action)> {
        self.actions.borrow_mut().pop_front()
    }

    pub(super) fn next_callout(&self) -> CalloutId {
        self.last_callout.set(self.last_callout.get().wrapping_add(1));
        CalloutId(self.last_callout.get())
    }

    /// Lets the engine be ticked after its period, by this stream if it is held back.
    pub(super) fn await_tick(&self, stream: &Rc<Stream>) {
        let number = self.number(stream).0;
        if stream.phase.get() == Phase::Stopped && !self.waker.has(number) {
            match stream.scheduler() {
                Some(scheduler) => self.waker.add(number, scheduler),
                None => return,
            }
        }
        self.waker.wake_at(after(self.period.get()));
    }
}
