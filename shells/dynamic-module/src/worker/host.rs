//! Envoy as the host of an engine on a worker thread.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use log::Level;
use mcp_federated_auth::UnixTime;
use mcp_federated_auth::host::{
    CalloutId, CalloutRequest, Host, HostRefused, KeyDemand, Metric, MetricId, Part, RequestEdits,
    Response, SharedValue, StreamId,
};

use super::context::{Action, Context};
use crate::abi::{Body, Map, Refused, is_envoy_1_38};
use crate::configuration::{Callout, Wish};
use crate::{host, store};

/// Envoy, as the engine of one worker reaches it.
pub(super) struct WorkerHost {
    context: Rc<Context>,
}

impl WorkerHost {
    pub(super) fn new(context: Rc<Context>) -> Self {
        Self { context }
    }
}

impl From<Refused> for HostRefused {
    fn from(_: Refused) -> Self {
        Self
    }
}

impl Host for WorkerHost {
    fn now(&self) -> Option<UnixTime> {
        let now = host::now()?;
        self.context.now.set(now);
        Some(now)
    }

    fn random(&self) -> u64 {
        host::random()
    }

    fn random_bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).ok().map(|()| bytes)
    }

    fn tick_every(&mut self, period: Duration) -> bool {
        self.context.period.set(period);
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

    /// The main thread makes the callout, and reports it if Envoy refuses.
    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId> {
        let id = self.context.next_callout();
        let (request, mailbox) = (request.clone(), self.context.mailbox.clone());
        let callout = Callout { id, request, timeout, mailbox };
        self.context.configuration.wish(Wish::Call(Box::new(callout)));
        Some(id)
    }

    fn part(&self) -> Part {
        Part::Requests
    }

    fn demand_keys(&mut self, demand: KeyDemand) {
        let setup = self.context.setup.clone();
        self.context.configuration.wish(Wish::Keys(setup, demand));
    }

    fn key_announcements(&self) -> Option<u64> {
        Some(store::key_announcements())
    }

    fn hands_over_held_bodies(&self) -> bool {
        true
    }

    fn counter(&self, metric: Metric<'_>) -> MetricId {
        self.context.metrics.metric(&self.context.configuration.families, metric, true)
    }

    fn gauge(&self, metric: Metric<'_>) -> MetricId {
        self.context.metrics.metric(&self.context.configuration.families, metric, false)
    }

    fn increment(&self, counter: MetricId) {
        let Context { configuration, metrics, now, .. } = &*self.context;
        let must_tell = self.context.with_current(|stream| {
            metrics.count(&configuration.families, counter, stream, now.get())
        });
        if must_tell {
            configuration.hand_over_counts();
        }
    }

    fn set_gauge(&self, gauge: MetricId, value: u64) {
        self.context.with_current(|stream| self.context.metrics.record(gauge, value, stream));
    }

    fn metric_value(&self, metric: MetricId) -> Option<u64> {
        self.context.metrics.value(metric)
    }

    fn is_open(&mut self, stream: StreamId) -> bool {
        self.context.stream(stream).is_ok()
    }

    fn edit_request(&mut self, stream: StreamId, edits: &RequestEdits) -> Result<(), HostRefused> {
        let stream = self.context.stream(stream)?;
        for name in &edits.remove {
            stream.remove_field(Map::Request, name.as_bytes())?;
        }
        if let Some(connection) = edits.connection {
            stream.remove_field(Map::Request, b"connection")?;
            stream.add_field(Map::Request, "connection", connection)?;
        }
        for (name, value) in edits.added() {
            stream.add_field(Map::Request, name, value)?;
        }
        // Envoy has chosen the route by the fields that the client sent. For a Wasm plugin, Envoy
        // clears the choice by itself.
        stream.clear_route_cache();
        self.context.check_route(&stream)
    }

    fn remove_trailers(
        &mut self,
        stream: StreamId,
        is_removed: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HostRefused> {
        let stream = self.context.stream(stream)?;
        let removed: Vec<Vec<u8>> = stream.with_fields(Map::Trailers, |trailers| {
            let names = trailers.iter().map(|(name, _)| *name);
            names.filter(|name| is_removed(name)).map(<[u8]>::to_vec).collect()
        })?;
        for name in removed {
            stream.remove_field(Map::Trailers, &name)?;
        }
        Ok(())
    }

    fn request_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused> {
        Ok(self.context.stream(stream)?.body(Body::Request, size.saturating_add(1))?)
    }

    fn received_bytes(&mut self, _: StreamId) -> Option<u64> {
        None
    }

    fn response_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused> {
        Ok(self.context.stream(stream)?.body(Body::Response, size)?)
    }

    fn replace_response_body(&mut self, stream: StreamId, body: &[u8]) -> Result<(), HostRefused> {
        Ok(self.context.stream(stream)?.replace_body(Body::Response, body)?)
    }

    fn remove_response_field(&mut self, stream: StreamId, name: &str) -> Result<(), HostRefused> {
        Ok(self.context.stream(stream)?.remove_field(Map::Response, name.as_bytes())?)
    }

    fn add_response_field(
        &mut self,
        stream: StreamId,
        name: &str,
        value: &str,
    ) -> Result<(), HostRefused> {
        Ok(self.context.stream(stream)?.add_field(Map::Response, name, value)?)
    }

    fn replaces_filter_state(&self) -> bool {
        !is_envoy_1_38()
    }

    fn set_filter_state(&mut self, stream: StreamId, name: &str, value: &str) {
        if name == "mcp_auth.reason" {
            let details = ["mcp_auth_", value].concat();
            self.context.reason.replace(Some((stream, details)));
        }
        if let Ok(stream) = self.context.stream(stream) {
            stream.set_filter_state(name, value);
        }
    }

    fn respond(&mut self, stream: StreamId, response: Response) -> Result<(), HostRefused> {
        let reason = self.context.reason.take().filter(|(of, _)| *of == stream);
        let details = match reason {
            Some((_, details)) => details.into(),
            None => "mcp_auth".into(),
        };
        let stream = self.context.stream(stream)?;
        self.context.actions.borrow_mut().push_back((stream, Action::Respond(response, details)));
        Ok(())
    }

    fn resume(&mut self, stream: StreamId) {
        if let Ok(stream) = self.context.stream(stream) {
            self.context.actions.borrow_mut().push_back((stream, Action::Resume));
        }
    }
}
