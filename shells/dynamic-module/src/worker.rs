//! A worker: one thread's engine for one configuration, and its streams.

mod context;
mod host;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use mcp_federated_auth::host::{Response, StreamId};
use mcp_federated_auth::{
    BodyAction, Engine, HeadAction, RequestHead, ResponseHead, StatusPageFilter,
};

use self::context::{Action, Context};
use self::host::WorkerHost;
use crate::abi::{Body, Map, Stream};
use crate::configuration::{Configuration, Wish};
use crate::mailbox::Mail;
use crate::setup::{self, Read, Setup};
use crate::{injected, log_lines};

thread_local! {
    static WORKERS: RefCell<Vec<Rc<Worker>>> = const { RefCell::new(Vec::new()) };
    /// How many setups had been removed when this thread last dropped workers of removed ones.
    static REMOVALS: Cell<u64> = const { Cell::new(0) };
}

/// The progress of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its head has not arrived.
    New,
    /// It was forwarded at once: the engine does not know it.
    Passed,
    /// It is held back.
    Stopped,
    /// It was held back, and then forwarded.
    Resumed,
    /// It got a response.
    Ended,
}

/// Envoy's status that forwards a head, a body or trailers.
pub(crate) const CONTINUE: u32 = 0;
/// Envoy's status that holds them back; the body of a head is delivered meanwhile.
pub(crate) const STOP: u32 = 1;
/// Holds back a body that must be judged.
const BUFFER: u32 = 1;
/// Holds back a body and drops it.
pub(crate) const DROP: u32 = 3;
/// Holds back a head, and leaves its body with the client.
const STOP_WITH_BODY: u32 = 4;

/// One thread's engine for one configuration.
pub(crate) struct Worker {
    context: Rc<Context>,
    /// `None` before the first request, and after a panic.
    filter: RefCell<Option<Filter>>,
}

enum Filter {
    Engine(Box<Engine<WorkerHost>>),
    StatusPage(Box<StatusPageFilter<WorkerHost>>),
}

/// The worker of this thread for a configuration, or for a route with its own.
pub(crate) fn find(configuration: &Arc<Configuration>, setup: &Arc<Setup>) -> Rc<Worker> {
    sweep();
    WORKERS.with_borrow_mut(|workers| {
        let known = workers.iter().find(|worker| worker.is_for(configuration, setup));
        known.cloned().unwrap_or_else(|| {
            let worker = Rc::new(Worker::new(configuration, setup));
            workers.push(worker.clone());
            worker
        })
    })
}

/// Drops the workers of this thread whose configurations were removed.
pub(crate) fn sweep() {
    let removals = setup::removals();
    // The thread may be ending.
    let _ = REMOVALS.try_with(|known| {
        if known.replace(removals) != removals {
            let removed = WORKERS.try_with(|workers| {
                let mut workers = workers.try_borrow_mut().ok()?;
                Some(workers.extract_if(.., |worker| worker.is_removed()).collect::<Vec<_>>())
            });
            drop(removed);
        }
    });
}

impl Worker {
    fn new(configuration: &Arc<Configuration>, setup: &Arc<Setup>) -> Self {
        if setup.id != configuration.setup.id {
            configuration.wish(Wish::Adopt(setup.clone()));
        }
        Self { context: Context::new(configuration, setup), filter: RefCell::new(None) }
    }

    fn is_for(&self, configuration: &Configuration, setup: &Setup) -> bool {
        self.context.setup.id == setup.id
            && self.context.configuration.setup.id == configuration.setup.id
    }

    fn is_removed(&self) -> bool {
        self.context.setup.is_removed() || self.context.configuration.setup.is_removed()
    }

    /// The configuration of the filter.
    pub(crate) fn configuration(&self) -> &Arc<Configuration> {
        &self.context.configuration
    }

    /// The head of a request arrived.
    pub(crate) fn on_request_head(&self, stream: &Rc<Stream>, is_end: bool) -> u32 {
        let id = self.context.number(stream);
        let action = self.run(stream, |filter| match filter {
            Filter::Engine(engine) => {
                let judged = stream.with_fields(Map::Request, |fields| {
                    engine.judge_head(id, RequestHead::new(fields, !is_end))
                });
                engine.carry_out_head(id, judged.ok().flatten())
            }
            Filter::StatusPage(page) => {
                let read = stream.with_fields(Map::Request, |fields| {
                    page.on_request_head(id, Some(RequestHead::new(fields, false)));
                });
                if read.is_err() {
                    page.on_request_head(id, None);
                }
                HeadAction::Stop
            }
        });
        match action {
            None => {
                fail(stream);
                self.finish(stream);
                STOP
            }
            Some(HeadAction::Continue) => {
                stream.phase.set(Phase::Passed);
                self.finish(stream);
                CONTINUE
            }
            Some(stop) => {
                self.hold(stream);
                match (stream.phase.get(), stop) {
                    (Phase::Resumed, _) => CONTINUE,
                    (_, HeadAction::StopWithBody) => STOP_WITH_BODY,
                    _ => STOP,
                }
            }
        }
    }

    /// More of the body of a request arrived.
    pub(crate) fn on_request_body(&self, stream: &Rc<Stream>, is_end: bool) -> u32 {
        let id = self.context.number(stream);
        let action = self.run(stream, |filter| match filter {
            Filter::Engine(engine) => {
                engine.on_request_body(id, stream.body_size(Body::Request), is_end)
            }
            Filter::StatusPage(_) => BodyAction::Stop,
        });
        match (stream.phase.get(), action) {
            (Phase::Ended, _) | (_, None) => {
                self.finish(stream);
                DROP
            }
            (_, Some(action)) => self.follow(stream, action, BUFFER, DROP),
        }
    }

    /// The trailers of a request arrived.
    pub(crate) fn on_request_trailers(&self, stream: &Rc<Stream>) -> u32 {
        let id = self.context.number(stream);
        let action = self.run(stream, |filter| match filter {
            Filter::Engine(engine) => engine.on_request_trailers(id),
            Filter::StatusPage(_) => BodyAction::Stop,
        });
        match (stream.phase.get(), action) {
            (Phase::Ended, _) | (_, None) => {
                self.finish(stream);
                STOP
            }
            (_, Some(action)) => self.follow(stream, action, STOP, STOP),
        }
    }

    /// Whether the response to a request is filtered.
    pub(crate) fn reads_response(&self, stream: &Rc<Stream>) -> bool {
        match self.filter.try_borrow().as_deref() {
            Ok(Some(Filter::Engine(engine))) => {
                engine.reads_response(StreamId(stream.number.get()))
            }
            Ok(_) => false,
            // If it is unknown, it is filtered.
            Err(_) => true,
        }
    }

    /// The head of a filtered response arrived.
    pub(crate) fn on_response_head(&self, stream: &Rc<Stream>, is_end: bool) -> u32 {
        self.on_response(stream, STOP, |engine, id| {
            let plan = stream.with_fields(Map::Response, |fields| {
                engine.plan_response(id, ResponseHead::new(fields), !is_end)
            });
            match engine.carry_out_response(id, plan.ok()) {
                HeadAction::Continue => BodyAction::Continue,
                HeadAction::Stop | HeadAction::StopWithBody => BodyAction::Stop,
            }
        })
    }

    /// More of the body of a filtered response arrived.
    pub(crate) fn on_response_body(&self, stream: &Rc<Stream>, is_end: bool) -> u32 {
        self.on_response(stream, BUFFER, |engine, id| {
            engine.on_response_body(id, stream.body_size(Body::Response), is_end)
        })
    }

    /// The trailers of a filtered response arrived.
    pub(crate) fn on_response_trailers(&self, stream: &Rc<Stream>) -> u32 {
        self.on_response(stream, STOP, |engine, id| engine.on_response_trailers(id))
    }

    fn on_response(
        &self,
        stream: &Rc<Stream>,
        held: u32,
        callback: impl FnOnce(&mut Engine<WorkerHost>, StreamId) -> BodyAction,
    ) -> u32 {
        let id = StreamId(stream.number.get());
        let action = self.run(stream, |filter| match filter {
            Filter::Engine(engine) => callback(engine, id),
            Filter::StatusPage(_) => BodyAction::Continue,
        });
        if action.is_none() {
            fail(stream);
        }
        self.finish(stream);
        match action {
            Some(BodyAction::Continue) => CONTINUE,
            _ if stream.phase.get() == Phase::Ended => STOP,
            _ => held,
        }
    }

    /// The worker was woken by this stream.
    pub(crate) fn on_scheduled(&self, stream: &Rc<Stream>) {
        self.context.waker.clear();
        self.run(stream, |filter| {
            if let Filter::Engine(engine) = filter {
                engine.on_tick();
            }
        });
        self.finish(stream);
    }

    /// A stream of Envoy 1.38 has ended. This is the last chance to set its filter state and to
    /// count.
    pub(crate) fn on_stream_complete(&self, stream: &Rc<Stream>) {
        if self.filter.try_borrow_mut().is_ok() {
            self.context.enter(stream);
            self.on_stream_end(stream);
            self.context.leave();
        }
    }

    /// A stream has ended.
    pub(crate) fn on_stream_end(&self, stream: &Rc<Stream>) {
        let is_known = !matches!(stream.phase.get(), Phase::New | Phase::Passed);
        if !is_known && !self.reads_response(stream) {
            return;
        }
        self.context.release(stream);
        self.context.ended.borrow_mut().push(self.context.number(stream));
        self.serve_ended();
    }

    /// A callback has panicked: the engine may be broken, and with it everything that waits in it.
    pub(crate) fn break_down(&self) {
        let broken = self.filter.try_borrow_mut().ok().and_then(|mut filter| filter.take());
        // Dropping a broken engine may panic again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        self.context.leave();
        self.context.actions.borrow_mut().clear();
        self.context.ended.borrow_mut().clear();
        let stopped: Vec<_> = self.context.stopped.borrow().values().cloned().collect();
        for stream in stopped {
            self.context.release(&stream);
            fail(&stream);
        }
    }

    /// Passes a callback of a stream to the engine. `None` if there is no engine.
    fn run<T>(&self, stream: &Rc<Stream>, callback: impl FnOnce(&mut Filter) -> T) -> Option<T> {
        let mut filter = self.filter.try_borrow_mut().ok()?;
        if filter.is_none() {
            *filter = self.start();
        }
        let filter = filter.as_mut()?;
        self.context.enter(stream);
        self.context.configuration.families.record_left(stream);
        if let Filter::Engine(engine) = filter {
            for stream in self.context.ended.take() {
                engine.on_stream_end(stream);
            }
            for (callout, mail) in self.context.mailbox.take() {
                match mail {
                    Mail::Failed => engine.on_callout_response(callout, None),
                    Mail::Refused => engine.on_callout_refused(callout),
                    Mail::Response(response) => {
                        engine.on_callout_response(callout, Some(response));
                    }
                }
            }
        }
        injected::panic_for("engine", stream);
        let result = callback(filter);
        if let Filter::Engine(engine) = filter {
            self.context.needs_ticks.set(engine.needs_ticks());
        }
        self.context.leave();
        Some(result)
    }

    fn start(&self) -> Option<Filter> {
        let host = WorkerHost::new(self.context.clone());
        match self.context.setup.read() {
            Ok(Read::Filter(config)) => {
                Some(Filter::Engine(Box::new(Engine::with_native_signatures(*config, host))))
            }
            Ok(Read::StatusPage(config)) => {
                Some(Filter::StatusPage(Box::new(StatusPageFilter::new(config, host))))
            }
            Err(refused) => {
                log_lines::write(Level::Error, format_args!("creating a worker failed: {refused}"));
                None
            }
        }
    }

    /// A head is held back, or got a response.
    fn hold(&self, stream: &Rc<Stream>) {
        stream.phase.set(Phase::Stopped);
        self.context.keep(stream);
        self.finish(stream);
    }

    /// The status for a body or trailers: `held` if they are held back, `ended` if the request got
    /// a response.
    fn follow(&self, stream: &Rc<Stream>, action: BodyAction, held: u32, ended: u32) -> u32 {
        match action {
            BodyAction::Continue => {
                if stream.phase.get() == Phase::Stopped {
                    stream.phase.set(Phase::Resumed);
                    self.context.release(stream);
                }
                self.finish(stream);
                CONTINUE
            }
            BodyAction::Stop => {
                self.hold(stream);
                match stream.phase.get() {
                    Phase::Ended => ended,
                    Phase::Resumed => CONTINUE,
                    _ => held,
                }
            }
        }
    }

    /// After a callback: carries out what the engine requested from Envoy, which may call back, and
    /// makes sure that the engine is ticked.
    fn finish(&self, stream: &Rc<Stream>) {
        let mut next = self.context.next_action();
        while let Some((stream, action)) = next {
            self.context.release(&stream);
            match action {
                Action::Respond(response, details) => respond(&stream, &response, &details),
                Action::Resume if stream.phase.get() == Phase::Stopped => {
                    stream.phase.set(Phase::Resumed);
                    // Envoy would ignore it before the callback has returned its status.
                    if !stream.is_in_callback.get() {
                        stream.resume();
                    }
                }
                Action::Resume => {}
            }
            next = self.context.next_action();
        }
        self.serve_ended();
        if self.context.needs_ticks.get() {
            self.context.await_tick(stream);
        }
    }

    fn serve_ended(&self) {
        if let Ok(mut filter) = self.filter.try_borrow_mut() {
            for stream in self.context.ended.take() {
                if let Some(Filter::Engine(engine)) = filter.as_mut() {
                    engine.on_stream_end(stream);
                }
            }
        }
    }
}

/// Responds with a bare 500.
pub(crate) fn fail(stream: &Stream) {
    stream.phase.set(Phase::Ended);
    // Stopped for good if even that fails.
    let _ = stream.respond(500, &[], &[], "mcp_auth_failed");
}

fn respond(stream: &Stream, response: &Response, details: &str) {
    stream.phase.set(Phase::Ended);
    let _ = stream.respond(response.status, &response.headers, &response.body, details);
}

/// Shortest time between two ticks that do not follow a callback of a request.
const SHORTEST: Duration = Duration::from_millis(1);

/// When the next tick is due.
fn after(period: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(period.max(SHORTEST)).unwrap_or(now)
}

/// The number of a stream.
fn stream_id(number: u64) -> StreamId {
    StreamId(number)
}
