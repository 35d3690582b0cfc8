//! The operations that the engine needs from its proxy.

use std::fmt;
use std::time::Duration;

use log::Level;

use crate::callout::CalloutRequest;
use crate::engine::authenticator::{Refused, RequestEdits};
use crate::keys::Demand;
use crate::provider::ProviderId;
use crate::response::Response;
pub use crate::shared_data::SharedValue;
use crate::time::UnixTime;

/// Identifies a stream: one request and its response. A later stream has a greater id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Identifies a callout whose response has not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalloutId(pub u64);

/// Identifies a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// A metric: its name, and the names and values of its labels.
///
/// Displayed as one name that ends in pairs of a label and its value, for hosts without labels.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// Its name.
    pub name: &'static str,
    /// Names and values of its labels.
    pub labels: &'a [(&'static str, &'a str)],
}

/// All metrics of one name.
#[derive(Clone, Copy, Debug)]
pub struct MetricFamily {
    /// Their name.
    pub name: &'static str,
    /// The names of their labels, in the order of [`Metric::labels`].
    pub labels: &'static [&'static str],
    /// Whether they are counters; otherwise gauges.
    pub is_counter: bool,
}

/// The part of a worker's work that an engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything: it decides on requests, and fetches keys whenever no other worker does. It is
    /// ticked all the time.
    All,
    /// It decides on requests. Another engine of the process, with the same configuration, fetches
    /// keys. It need not be ticked while no stream waits.
    Requests,
}

/// The keys of a provider that requests wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDemand {
    /// The provider, in engines with the same configuration.
    pub(crate) provider: ProviderId,
    /// Why they should be fetched.
    pub(crate) demand: Demand,
}

/// The proxy refused an operation. The engine forwards no request after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRefused;

/// The proxy, as one worker reaches it. No operation blocks.
///
/// An engine is called from one thread. Operations on a stream that has ended fail or do nothing.
/// Methods with a default body serve observability, or responses; a host without log, metrics or
/// filter state, or one that does not call the engine for responses, keeps the defaults.
pub trait Host {
    /// The current time; `None` if the proxy has no clock.
    fn now(&self) -> Option<UnixTime>;

    /// A number that differs between workers and that clients cannot guess.
    fn random(&self) -> u64;

    /// Fresh bytes of a cryptographic random number generator; `None` if the proxy has none, and then
    /// no login is possible.
    fn random_bytes(&self) -> Option<[u8; 32]> {
        None
    }

    /// Requests a call of `Engine::on_tick` once per period from now on. Returns false if the proxy
    /// refuses.
    fn tick_every(&mut self, period: Duration) -> bool;

    /// Writes a log line.
    fn log(&self, _level: Level, _line: fmt::Arguments<'_>) {}

    /// Reads a value that all workers of the process share.
    fn shared_value(&self, name: &str) -> SharedValue;

    /// Replaces a shared value if its CAS value is still this one, or with `None` if there is no
    /// value. Returns whether it was replaced.
    fn replace_shared_value(&self, name: &str, value: &[u8], version: Option<u32>) -> bool;

    /// Starts a callout that outlives the stream it is made for. Its response, with at most
    /// `request.max_body` bytes of its body, goes to `Engine::on_callout_response`. `None` if the
    /// proxy refuses; no response will arrive then.
    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId>;

    /// The part of a worker's work that the engine does.
    fn part(&self) -> Part {
        Part::All
    }

    /// Passes what requests wait for from an engine of [`Part::Requests`] to `Engine::fetch_keys`
    /// of the engine that fetches.
    fn demand_keys(&mut self, _demand: KeyDemand) {}

    /// What the workers share about keys has changed: `Engine::on_tick` should be called in those
    /// whose streams wait.
    fn announce_keys(&self) {}

    /// How many times [`Self::announce_keys`] was called in the process. `None` if the host does
    /// not count: then shared data is read for each request, and again every few milliseconds while
    /// one waits.
    fn key_announcements(&self) -> Option<u64> {
        None
    }

    /// Whether the proxy certainly delivers a body while its head is held back.
    fn hands_over_held_bodies(&self) -> bool {
        false
    }

    /// This counter.
    fn counter(&self, _metric: Metric<'_>) -> MetricId {
        MetricId(0)
    }

    /// This gauge.
    fn gauge(&self, _metric: Metric<'_>) -> MetricId {
        MetricId(0)
    }

    /// Adds one to a counter.
    fn increment(&self, _counter: MetricId) {}

    /// Sets a gauge.
    fn set_gauge(&self, _gauge: MetricId, _value: u64) {}

    /// The value of a metric across all workers.
    fn metric_value(&self, _metric: MetricId) -> Option<u64> {
        None
    }

    /// Whether a stream still exists.
    fn is_open(&mut self, stream: StreamId) -> bool;

    /// Edits the head of a request that has not been forwarded yet.
    ///
    /// # Errors
    ///
    /// Not all edits were made.
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

    /// The first `size` bytes of the held-back part of the request's body, and one byte more if
    /// there are more. `size` is not zero: Envoy may have no buffer for an empty body.
    ///
    /// # Errors
    ///
    /// The proxy does not return them.
    fn request_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused>;

    /// How many bytes of the request the proxy has received, including the head, counted like
    /// `RequestHead::size`. `None` if the proxy does not report it.
    fn received_bytes(&mut self, stream: StreamId) -> Option<u64>;

    /// Sets filter state for access logs. If the proxy refuses, logs lack it.
    fn set_filter_state(&mut self, _stream: StreamId, _name: &str, _value: &str) {}

    /// Whether a second value of the same filter state replaces the first. Otherwise only one is
    /// set, and `Engine::on_stream_end` must be called before the stream is logged.
    fn replaces_filter_state(&self) -> bool {
        true
    }

    /// The first `size` bytes of what is held back of the response's body, or of the part of it that
    /// has just arrived.
    ///
    /// # Errors
    ///
    /// The proxy does not return them.
    fn response_body(&mut self, _stream: StreamId, _size: usize) -> Result<Vec<u8>, HostRefused> {
        Err(HostRefused)
    }

    /// Replaces what is held back of the response's body, or the part of it that has just arrived.
    ///
    /// # Errors
    ///
    /// It was not replaced.
    fn replace_response_body(
        &mut self,
        _stream: StreamId,
        _body: &[u8],
    ) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    /// Removes a field of the response's head, which has not been forwarded yet.
    ///
    /// # Errors
    ///
    /// It was not removed.
    fn remove_response_field(&mut self, _stream: StreamId, _name: &str) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    /// Adds a field to the response's head, which has not been forwarded yet.
    ///
    /// # Errors
    ///
    /// It was not added.
    fn add_response_field(
        &mut self,
        _stream: StreamId,
        _name: &str,
        _value: &str,
    ) -> Result<(), HostRefused> {
        Err(HostRefused)
    }

    /// Responds to the request in place of the upstream. The upstream's response may have arrived,
    /// but its head must not have been forwarded.
    ///
    /// # Errors
    ///
    /// No response was sent.
    fn respond(&mut self, stream: StreamId, response: Response) -> Result<(), HostRefused>;

    /// Forwards a request that a callback has stopped.
    fn resume(&mut self, stream: StreamId);

    /// Forwards the head of a response that a callback has stopped. Not called on a host that
    /// [certainly](Self::hands_over_held_bodies) delivers the body.
    fn resume_response(&mut self, _: StreamId) {}

    /// Reports a refusal with its data, for hosts that explain it. Called before [`Self::respond`]
    /// or, in report mode, before the request is forwarded.
    fn note_refusal(&mut self, _stream: StreamId, _refused: &Refused) {}

    /// How an operator makes the proxy deliver bodies while their heads are held back: the end of a
    /// log line.
    fn withheld_bodies_fix(&self) -> &'static str {
        "see docs/access.md#withheld-bodies"
    }
}

impl fmt::Display for Metric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.labels.iter().try_for_each(|(label, value)| write!(f, ".{label}.{value}"))
    }
}
