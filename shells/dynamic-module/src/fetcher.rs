//! The main thread's part: an engine for each configuration that fetches keys, and all callouts.

mod host;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_federated_auth::host::{CalloutId, CalloutResponse};
use mcp_federated_auth::{Config, Engine};

use self::host::{Clock, FetcherHost};
use crate::abi::{ConfigHandle, CurrentConfig, LentResponse};
use crate::configuration::{Callout, Configuration, Wish};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::Table;
use crate::setup::{self, Read, Setup};

thread_local! {
    static FETCHERS: RefCell<Vec<Rc<Fetcher>>> = const { RefCell::new(Vec::new()) };
    static REMOVALS: Cell<u64> = const { Cell::new(0) };
}

/// The main thread's part of a configuration.
pub(crate) struct Fetcher {
    context: Rc<Context>,
    /// The engines of the filter, and of the routes that have their own configurations.
    engines: RefCell<Vec<KeyEngine>>,
}

/// What a fetcher and the hosts of its engines share.
struct Context {
    configuration: Arc<Configuration>,
    current: CurrentConfig,
    metrics: Table,
    /// The callers of the callouts in progress, by Envoy's numbers.
    callouts: RefCell<HashMap<u64, Caller>>,
}

struct KeyEngine {
    setup: Arc<Setup>,
    clock: Rc<Clock>,
    engine: Engine<FetcherHost>,
}

enum Caller {
    /// The engine of the setup with this id.
    Engine(u64),
    Worker {
        id: CalloutId,
        max_body: usize,
        mailbox: Arc<Mailbox>,
    },
}

/// Begins to fetch the keys of a configuration. `config`: the result of reading it.
pub(crate) fn start(configuration: &Arc<Configuration>, config: Option<Config>) {
    let fetcher = Rc::new(Fetcher::new(configuration));
    if let Some(config) = config {
        fetcher.adopt(&configuration.setup, config);
    }
    fetcher.await_tick();
    FETCHERS.with_borrow_mut(|fetchers| fetchers.push(fetcher));
}

/// The fetcher of a configuration, in the main thread.
pub(crate) fn find(configuration: &Configuration) -> Option<Rc<Fetcher>> {
    sweep();
    FETCHERS.with_borrow(|fetchers| {
        fetchers.iter().find(|fetcher| fetcher.is_of(configuration)).cloned()
    })
}

/// Drops the fetchers of this thread whose configurations were removed.
pub(crate) fn sweep() {
    let removals = setup::removals();
    // The thread may be ending.
    let _ = REMOVALS.try_with(|known| {
        if known.replace(removals) != removals {
            let removed = FETCHERS.try_with(|fetchers| {
                let mut fetchers = fetchers.try_borrow_mut().ok()?;
                for fetcher in &*fetchers {
                    fetcher.forget_routes();
                }
                Some(fetchers.extract_if(.., |fetcher| fetcher.is_removed()).collect::<Vec<_>>())
            });
            drop(removed);
        }
    });
}

impl Fetcher {
    /// Time after a panic until new engines are made, unless a request needs one before.
    const PAUSE: Duration = Duration::from_secs(1);

    fn new(configuration: &Arc<Configuration>) -> Self {
        let context = Rc::new(Context {
            configuration: configuration.clone(),
            current: CurrentConfig::default(),
            metrics: Table::default(),
            callouts: RefCell::default(),
        });
        Self { context, engines: RefCell::default() }
    }

    fn is_of(&self, configuration: &Configuration) -> bool {
        self.context.configuration.setup.id == configuration.setup.id
    }

    fn is_removed(&self) -> bool {
        self.context.configuration.setup.is_removed()
    }

    fn forget_routes(&self) {
        if let Ok(mut engines) = self.engines.try_borrow_mut() {
            engines.retain(|known| !known.setup.is_removed());
        }
    }

    /// The configuration was woken: by a worker, or because it is time.
    pub(crate) fn on_scheduled(&self, handle: ConfigHandle<'_>) {
        self.context.current.enter(handle, || {
            for wish in self.context.configuration.take_wishes() {
                self.fulfil(wish);
            }
            let now = Instant::now();
            for known in &mut *self.engines.borrow_mut() {
                if known.clock.is_due(now) {
                    known.engine.on_tick();
                }
            }
        });
        self.finish(handle);
    }

    /// A callout has ended.
    pub(crate) fn on_callout_done(
        &self,
        handle: ConfigHandle<'_>,
        callout: u64,
        response: Option<&LentResponse<'_>>,
    ) {
        let caller = self.context.callouts.borrow_mut().remove(&callout);
        match caller {
            None => {}
            Some(Caller::Worker { id, max_body, mailbox }) => {
                let response = response.map(|response| read(response, max_body));
                mailbox.deliver(id, response.map_or(Mail::Failed, Mail::Response));
            }
            Some(Caller::Engine(setup)) => self.context.current.enter(handle, || {
                let id = CalloutId(callout);
                self.with_engine(setup, |engine| {
                    if let Some(max_body) = engine.max_response_body(id) {
                        let response = response.map(|response| read(response, max_body));
                        engine.on_callout_response(id, response);
                    }
                });
            }),
        }
        self.finish(handle);
    }

    /// A callback has panicked: the engines may be broken. New ones are made after a while.
    pub(crate) fn break_down(&self) {
        let broken =
            self.engines.try_borrow_mut().ok().map(|mut engines| std::mem::take(&mut *engines));
        let setups: Vec<_> = broken.iter().flatten().map(|known| known.setup.clone()).collect();
        // Dropping a broken engine may panic again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        self.context
            .callouts
            .borrow_mut()
            .retain(|_, caller| matches!(caller, Caller::Worker { .. }));
        for setup in setups {
            self.context.configuration.wish_later(Wish::Adopt(setup), Self::PAUSE);
        }
    }

    fn fulfil(&self, wish: Wish) {
        match wish {
            Wish::Adopt(setup) => self.adopt_anew(&setup),
            Wish::Keys(setup, demand) => {
                self.adopt_anew(&setup);
                self.with_engine(setup.id, |engine| engine.fetch_keys(demand));
            }
            Wish::Call(callout) => self.call(*callout),
        }
    }

    fn call(&self, Callout { id, request, timeout, mailbox }: Callout) {
        match self.context.call(&request, timeout) {
            Some(number) => {
                let caller = Caller::Worker { id, max_body: request.max_body, mailbox };
                self.context.callouts.borrow_mut().insert(number, caller);
            }
            None => mailbox.deliver(id, Mail::Refused),
        }
    }

    fn adopt_anew(&self, setup: &Arc<Setup>) {
        let is_known = self.engines.borrow().iter().any(|known| known.setup.id == setup.id);
        if !is_known
            && !setup.is_removed()
            && let Ok(Read::Filter(config)) = setup.read()
        {
            self.adopt(setup, *config);
        }
    }

    fn adopt(&self, setup: &Arc<Setup>, config: Config) {
        let clock = Rc::new(Clock::default());
        let host = FetcherHost::new(self.context.clone(), clock.clone(), setup.id);
        let engine = Engine::with_native_signatures(config, host);
        self.engines.borrow_mut().push(KeyEngine { setup: setup.clone(), clock, engine });
    }

    fn with_engine(&self, setup: u64, action: impl FnOnce(&mut Engine<FetcherHost>)) {
        if let Some(known) =
            self.engines.borrow_mut().iter_mut().find(|known| known.setup.id == setup)
        {
            action(&mut known.engine);
        }
    }

    fn finish(&self, handle: ConfigHandle<'_>) {
        self.context.configuration.families.record_left_on_main(handle);
        self.await_tick();
    }

    fn await_tick(&self) {
        let engines = self.engines.borrow();
        if let Some(next) = engines.iter().filter_map(|known| known.clock.next()).min() {
            self.context.configuration.wake_at(next);
        }
    }
}

impl Context {
    /// Makes a callout. `None` if Envoy refuses.
    fn call(
        &self,
        request: &mcp_federated_auth::host::CalloutRequest,
        timeout: Duration,
    ) -> Option<u64> {
        // Envoy treats a zero timeout as no timeout.
        let milliseconds = u64::try_from(timeout.as_millis()).ok().filter(|time| *time > 0)?;
        let body = request.body.as_deref().unwrap_or_default();
        let call = |handle: ConfigHandle<'_>| {
            handle.call(&request.cluster, &request.fields, body, milliseconds)
        };
        self.current.with(call).flatten()
    }
}

/// The response, with at most `max_body` bytes of its body.
fn read(response: &LentResponse<'_>, max_body: usize) -> CalloutResponse {
    let field = |name| {
        let value = response.field(name)?;
        std::str::from_utf8(value).ok().map(str::to_owned)
    };
    let (mut body, mut length) = (Vec::new(), 0_usize);
    for chunk in response.chunks() {
        let room = max_body.saturating_sub(body.len());
        body.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
        length = length.saturating_add(chunk.len());
    }
    CalloutResponse::new(field, length, body)
}
