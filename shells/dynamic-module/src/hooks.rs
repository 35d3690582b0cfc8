//! The callbacks of Envoy, and the handling of their panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::abi::{ConfigHandle, LentResponse, Stream};
use crate::configuration::Configuration;
use crate::fetcher::{self, Fetcher};
use crate::log_lines::{self, RareError};
use crate::setup::{Read, Setup};
pub(crate) use crate::worker::fail;
use crate::worker::{self, CONTINUE, DROP, Phase, STOP, Worker};
use crate::{injected, timer};

static FOREIGN: RareError = RareError::new();

pub(crate) fn program_init() {
    injected::panic_once("program_init");
    log_lines::install();
}

/// A filter is configured, on the main thread. `None` if its configuration is refused.
pub(crate) fn config_new(
    handle: ConfigHandle<'_>,
    filter_name: &[u8],
    bytes: &[u8],
) -> Option<Arc<Configuration>> {
    injected::panic_once("config_new");
    let (setup, read) = Setup::new(filter_name, bytes)?;
    let configuration = Configuration::new(setup, handle)?;
    let running = Running::begin(&configuration);
    injected::panic_once("config_start");
    let config = match read {
        Read::Filter(config) => Some(*config),
        Read::StatusPage(_) => None,
    };
    fetcher::start(&configuration, config);
    running.keep();
    Some(configuration)
}

/// Closes a configuration that panics before Envoy has it.
struct Running<'a>(Option<&'a Configuration>);

impl<'a> Running<'a> {
    fn begin(configuration: &'a Configuration) -> Self {
        timer::begin();
        Self(Some(configuration))
    }

    /// Envoy now owns it, and removes it later.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(configuration) = self.0 {
            configuration.close();
            timer::end();
        }
    }
}

/// Envoy has removed a configuration: its streams and callouts have ended.
pub(crate) fn config_destroy(configuration: &Configuration) {
    configuration.close();
    timer::end();
    injected::panic_once("config_destroy");
    fetcher::sweep();
    worker::sweep();
}

/// A configuration was woken, on the main thread.
pub(crate) fn config_scheduled(handle: ConfigHandle<'_>, configuration: &Arc<Configuration>) {
    on_main(configuration, |fetcher| {
        injected::panic_once("config_scheduled");
        fetcher.on_scheduled(handle);
    });
}

/// A callout has ended, on the main thread; without a response if it failed.
pub(crate) fn config_callout_done(
    handle: ConfigHandle<'_>,
    configuration: &Arc<Configuration>,
    callout: u64,
    response: Option<LentResponse<'_>>,
) {
    on_main(configuration, |fetcher| {
        injected::panic_once("config_callout_done");
        fetcher.on_callout_done(handle, callout, response.as_ref());
    });
}

/// A route is configured, on the main thread. `None` if its configuration is refused.
pub(crate) fn route_config_new(filter_name: &[u8], bytes: &[u8]) -> Option<Arc<Setup>> {
    injected::panic_once("route_config_new");
    Setup::for_route(filter_name, bytes)
}

/// Envoy has removed the configuration of a route.
pub(crate) fn route_config_destroy(address: usize) {
    Setup::remove_for_route(address);
    injected::panic_once("route_config_destroy");
    fetcher::sweep();
    worker::sweep();
}

/// A request is about to arrive. After a panic its head gets 500.
pub(crate) fn stream_new(configuration: &Arc<Configuration>, stream: &Stream) {
    let worker = counting(configuration, stream, || {
        injected::panic_once("stream_new");
        worker::find(configuration, &configuration.setup)
    });
    stream.worker.replace(worker);
}

/// The head of a request arrived.
pub(crate) fn request_headers(stream: &Rc<Stream>, is_end: bool) -> u32 {
    in_callback(stream, || {
        if !on_worker(stream, "route", false, |worker| take_route_worker(stream, worker)) {
            return STOP;
        }
        on_worker(stream, "request_headers", STOP, |worker| worker.on_request_head(stream, is_end))
    })
}

/// Assigns a stream to the worker of its route, if the route has its own configuration. Returns
/// false if the stream got a response.
fn take_route_worker(stream: &Stream, worker: &Worker) -> bool {
    match stream.route_setup() {
        Ok(None) => true,
        Ok(Some(own)) => {
            stream.worker.replace(Some(worker::find(worker.configuration(), &own)));
            true
        }
        Err(_) => {
            FOREIGN.write(format_args!(
                "a route's configuration belongs to another module file than that of its filter, \
                 so its requests get 500: use the same file for both"
            ));
            fail(stream);
            false
        }
    }
}

/// More of the body of a request arrived.
pub(crate) fn request_body(stream: &Rc<Stream>, is_end: bool) -> u32 {
    in_callback(stream, || {
        on_worker(stream, "request_body", DROP, |worker| worker.on_request_body(stream, is_end))
    })
}

/// The trailers of a request arrived.
pub(crate) fn request_trailers(stream: &Rc<Stream>) -> u32 {
    in_callback(stream, || {
        on_worker(stream, "request_trailers", STOP, |worker| worker.on_request_trailers(stream))
    })
}

/// The head of a response arrived.
pub(crate) fn response_headers(stream: &Rc<Stream>, is_end: bool) -> u32 {
    on_response(stream, "response_headers", |worker| worker.on_response_head(stream, is_end))
}

/// More of the body of a response arrived.
pub(crate) fn response_body(stream: &Rc<Stream>, is_end: bool) -> u32 {
    on_response(stream, "response_body", |worker| worker.on_response_body(stream, is_end))
}

/// The trailers of a response arrived.
pub(crate) fn response_trailers(stream: &Rc<Stream>) -> u32 {
    on_response(stream, "response_trailers", |worker| worker.on_response_trailers(stream))
}

/// Passes a part of a response to its worker, if the response is filtered.
fn on_response(stream: &Rc<Stream>, name: &str, callback: impl FnOnce(&Worker) -> u32) -> u32 {
    let is_filtered = |worker: &Rc<Worker>| worker.reads_response(stream);
    if !stream.worker.borrow().as_ref().is_some_and(is_filtered) {
        return CONTINUE;
    }
    in_callback(stream, || on_worker(stream, name, STOP, callback))
}

/// The worker of a stream was woken.
pub(crate) fn scheduled(stream: &Rc<Stream>) {
    on_worker(stream, "scheduled", (), |worker| worker.on_scheduled(stream));
}

/// A stream of Envoy 1.38 has ended, and will be logged next.
pub(crate) fn stream_complete(stream: &Rc<Stream>) {
    let worker = stream.worker.borrow().clone();
    at_end(worker, |worker| {
        injected::panic_for("stream_complete", stream);
        worker.on_stream_complete(stream);
    });
}

/// A stream has ended.
pub(crate) fn stream_destroyed(stream: &Rc<Stream>) {
    at_end(stream.worker.take(), |worker| {
        worker.on_stream_end(stream);
        injected::panic_for("stream_destroyed", stream);
    });
}

/// A callback of a stream that can no longer get a response.
fn at_end(worker: Option<Rc<Worker>>, callback: impl FnOnce(&Worker)) {
    let Some(worker) = worker else { return };
    if catch_unwind(AssertUnwindSafe(|| callback(&worker))).is_err() {
        recover(&worker, None);
    }
}

/// Marks the stream as one whose callback is running.
fn in_callback(stream: &Stream, callback: impl FnOnce() -> u32) -> u32 {
    let outer = stream.is_in_callback.replace(true);
    let status = callback();
    stream.is_in_callback.set(outer);
    status
}

fn on_worker<T>(
    stream: &Rc<Stream>,
    name: &str,
    stop: T,
    callback: impl FnOnce(&Worker) -> T,
) -> T {
    let worker = stream.worker.borrow().clone();
    let Some(worker) = worker else {
        fail(stream);
        return stop;
    };
    let hand_over = || {
        injected::panic_for(name, stream);
        callback(&worker)
    };
    catch_unwind(AssertUnwindSafe(hand_over)).unwrap_or_else(|_| {
        recover(&worker, Some(stream));
        stop
    })
}

/// Counts a panic outside of any worker. `None` after a panic.
fn counting<T>(
    configuration: &Configuration,
    stream: &Stream,
    callback: impl FnOnce() -> T,
) -> Option<T> {
    let ended = catch_unwind(AssertUnwindSafe(callback));
    ended.inspect_err(|_| configuration.families.count_panic(Some(stream))).ok()
}

/// After a panic: the request of the callback and all that wait get 500.
fn recover(worker: &Worker, stream: Option<&Stream>) {
    worker.configuration().families.count_panic(stream);
    worker.break_down();
    if let Some(stream) = stream.filter(|stream| stream.phase.get() != Phase::Ended) {
        fail(stream);
    }
}

fn on_main(configuration: &Arc<Configuration>, callback: impl FnOnce(&Fetcher)) {
    let Some(fetcher) = fetcher::find(configuration) else { return };
    if catch_unwind(AssertUnwindSafe(|| callback(&fetcher))).is_err() {
        configuration.families.count_panic(None);
        fetcher.break_down();
    }
}
