//! What the engine needs of the proxy that it runs in.

use std::fmt;
use std::time::Duration;

use log::Level;

use crate::callout::CalloutRequest;
use crate::engine::authenticator::{Refused, RequestEdits};
use crate::response::Response;
use crate::time::UnixTime;

/// Identifies a stream: one request and its response. A later stream has a greater id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Identifies a callout that was made and is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalloutId(pub u64);

/// Identifies a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// The proxy refused an operation. The engine lets no request go on after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRefused;

/// A value of shared data with its compare-and-swap version; both are none while there is no such
/// value.
pub type SharedValue = (Option<Vec<u8>>, Option<u32>);

/// The proxy, as one worker reaches it. No operation blocks.
///
/// An engine is called from one thread. Operations on a stream that is gone fail or do nothing.
/// Methods with a body are for people who watch a proxy; a host that has no log, metrics or filter
/// state leaves them as they are.
pub trait Host {
    /// The current time; none if the proxy has no clock.
    fn now(&self) -> Option<UnixTime>;

    /// A number that no client can guess, and that differs between workers.
    fn random(&self) -> u64;

    /// Calls `Engine::on_tick` once in each such period from now on. Returns false if the
    /// proxy refuses.
    fn tick_every(&mut self, period: Duration) -> bool;

    /// Writes a log line.
    fn log(&self, _level: Level, _line: fmt::Arguments<'_>) {}

    /// Reads a value that all workers of the process share.
    fn shared_value(&self, name: &str) -> SharedValue;

    /// Replaces a shared value if its version is still this one; without a version, if there is no
    /// value. Returns whether it was replaced.
    fn replace_shared_value(&self, name: &str, value: &[u8], version: Option<u32>) -> bool;

    /// Starts a callout that does not end with the stream it is made for. Its response goes to
    /// `Engine::on_callout_response`. None if the proxy refuses: no response will come.
    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId>;

    /// The counter of this name.
    fn counter(&self, _name: &str) -> MetricId {
        MetricId(0)
    }

    /// The gauge of this name.
    fn gauge(&self, _name: &str) -> MetricId {
        MetricId(0)
    }

    /// Adds one to a counter.
    fn increment(&self, _counter: MetricId) {}

    /// Sets a gauge.
    fn set_gauge(&self, _gauge: MetricId, _value: u64) {}

    /// The value of a metric, whichever worker changed it.
    fn metric_value(&self, _metric: MetricId) -> Option<u64> {
        None
    }

    /// Whether a stream is still there.
    fn is_open(&mut self, stream: StreamId) -> bool;

    /// Changes the head of a request that has not gone on yet.
    ///
    /// # Errors
    ///
    /// Not all changes were made.
    fn edit_request(&mut self, stream: StreamId, edits: &RequestEdits) -> Result<(), HostRefused>;

    /// Removes the request's trailers with these names.
    ///
    /// # Errors
    ///
    /// Not all of them were removed.
    fn remove_trailers(
        &mut self,
        stream: StreamId,
        is_removed: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HostRefused>;

    /// The first `size` bytes of the request's body as far as it is held back, and one byte more if
    /// there are more. `size` is not zero: Envoy may have no buffer for an empty body.
    ///
    /// # Errors
    ///
    /// The proxy does not hand them out.
    fn request_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused>;

    /// How many bytes of the request the proxy has received, head included, counted like
    /// `RequestHead::size`. None if the proxy does not report it.
    fn received_bytes(&mut self, stream: StreamId) -> Option<u64>;

    /// Sets filter state that access logs can print. Where the proxy refuses, logs lack it.
    fn set_filter_state(&mut self, _stream: StreamId, _name: &str, _value: &str) {}

    /// Responds to the request in place of the upstream.
    ///
    /// # Errors
    ///
    /// No response was sent.
    fn respond(&mut self, stream: StreamId, response: &Response) -> Result<(), HostRefused>;

    /// Lets the request go on after a callback has stopped it.
    fn resume(&mut self, stream: StreamId);

    /// Reports a refusal with its data, for hosts that explain it. Called before [`Self::respond`]
    /// or, in report mode, before the request goes on.
    fn note_refusal(&mut self, _stream: StreamId, _refused: &Refused) {}
}
