//! Envoy as the host of an engine on the main thread, which has no streams.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::Level;
use mcp_federated_auth::UnixTime;
use mcp_federated_auth::host::{
    CalloutId, CalloutRequest, Host, HostRefused, Metric, MetricId, RequestEdits, Response,
    SharedValue, StreamId,
};

use super::{Caller, Context};
use crate::{host, store};

/// When an engine is to be ticked.
#[derive(Default)]
pub(super) struct Clock {
    period: Cell<Option<Duration>>,
    next: Cell<Option<Instant>>,
}

impl Clock {
    /// When the next tick is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next.get()
    }

    /// Whether a tick is due. If so, the next one is after a period.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_due = self.next.get().is_some_and(|next| next <= now);
        if is_due {
            self.next.set(self.period.get().and_then(|period| now.checked_add(period)));
        }
        is_due
    }

    fn set(&self, period: Duration) {
        self.period.set(Some(period));
        self.next.set(Instant::now().checked_add(period));
    }
}

/// Envoy, as an engine on the main thread reaches it.
pub(super) struct FetcherHost {
    context: Rc<Context>,
    clock: Rc<Clock>,
    setup: u64,
}

impl FetcherHost {
    pub(super) fn new(context: Rc<Context>, clock: Rc<Clock>, setup: u64) -> Self {
        Self { context, clock, setup }
    }
}

impl Host for FetcherHost {
    fn now(&self) -> Option<UnixTime> {
        host::now()
    }

    fn random(&self) -> u64 {
        host::random()
    }

    fn tick_every(&mut self, period: Duration) -> bool {
        self.clock.set(period);
        true
    }

    fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        host::log(level, line);
    }

    fn shared_value(&self, name: &str) -> SharedValue {
        store::value(name)
    }

    fn replace_shared_value(&self, name: &str, value: &[u8], version: Option<u32>) -> bool {
        store::replace(name, value, version)
    }

    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId> {
        let number = self.context.call(request, timeout)?;
        self.context.callouts.borrow_mut().insert(number, Caller::Engine(self.setup));
        Some(CalloutId(number))
    }

    fn announce_keys(&self) {
        store::announce_keys();
    }

    fn counter(&self, metric: Metric<'_>) -> MetricId {
        self.context.metrics.metric(&self.context.configuration.families, metric, true)
    }

    fn gauge(&self, metric: Metric<'_>) -> MetricId {
        self.context.metrics.metric(&self.context.configuration.families, metric, false)
    }

    fn increment(&self, counter: MetricId) {
        self.context.metrics.record_on_main(&self.context.configuration.families, counter, 1);
    }

    fn set_gauge(&self, gauge: MetricId, value: u64) {
        self.context.metrics.record_on_main(&self.context.configuration.families, gauge, value);
    }

    fn metric_value(&self, metric: MetricId) -> Option<u64> {
        self.context.metrics.value(metric)
    }

    fn is_open(&mut self, _: StreamId) -> bool {
        false
    }

    fn edit_request(&mut self, _: StreamId, _: &RequestEdits) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    fn remove_trailers(
        &mut self,
        _: StreamId,
        _: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    fn request_body(&mut self, _: StreamId, _: usize) -> Result<Vec<u8>, HostRefused> {
        Err(HostRefused)
    }

    fn received_bytes(&mut self, _: StreamId) -> Option<u64> {
        None
    }

    fn respond(&mut self, _: StreamId, _: Response) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    fn resume(&mut self, _: StreamId) {}
}
