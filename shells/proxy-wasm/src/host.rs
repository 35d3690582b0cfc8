//! Implements the engine's host for Envoy, with host calls that cannot panic on input from clients
//! and providers.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, UNIX_EPOCH};

use log::Level;
use mcp_federated_auth::UnixTime;
use mcp_federated_auth::host::{
    CalloutId, CalloutRequest, CalloutResponse, Host, HostRefused, Metric, MetricId, RequestEdits,
    Response, SharedValue, StreamId,
};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};

use crate::header_pairs::{decode_fields, encode_fields};
use crate::root::Engine;
use crate::{abi, log_lines};

/// Envoy, for the contexts of one configuration in one worker thread.
pub(crate) struct EnvoyHost {
    root_id: u32,
    /// The context that host calls apply to; `None` if that is uncertain.
    effective: Cell<Option<u32>>,
}

/// The stream id of a context.
pub(crate) fn stream_id(context_id: u32) -> StreamId {
    StreamId(context_id.into())
}

/// The header fields of the current context's request, for [`decode_fields`].
pub(crate) fn request_fields() -> Option<Vec<u8>> {
    abi::request_header_pairs()
}

/// The header fields of the current context's response, for [`decode_fields`].
pub(crate) fn response_fields() -> Option<Vec<u8>> {
    abi::response_header_pairs()
}

/// The `root_id` of the filter that is being configured.
pub(crate) fn root_id() -> Option<Vec<u8>> {
    hostcalls::get_property(vec!["plugin_root_id"]).ok().flatten()
}

/// Passes the response that the host reports now to the engine.
pub(crate) fn on_callout_response(
    engine: &mut Engine,
    token_id: u32,
    header_count: usize,
    body_length: usize,
) {
    let callout = CalloutId(token_id.into());
    let Some(max_body) = engine.max_response_body(callout) else { return };
    let host = engine.host();
    host.entered(host.root_id);
    let response = response(header_count, body_length, max_body);
    engine.on_callout_response(callout, response);
}

impl EnvoyHost {
    pub(crate) fn new(root_id: u32) -> Self {
        Self { root_id, effective: Cell::new(None) }
    }

    /// Records the context that the host has called back.
    pub(crate) fn entered(&self, context_id: u32) {
        self.effective.set(Some(context_id));
    }

    /// Makes host calls apply to this context.
    fn enter(&self, context_id: u32) -> Result<(), HostRefused> {
        if self.effective.get() != Some(context_id) {
            hostcalls::set_effective_context(context_id).map_err(|_| HostRefused)?;
            self.effective.set(Some(context_id));
        }
        Ok(())
    }

    fn enter_stream(&self, StreamId(id): StreamId) -> Result<(), HostRefused> {
        self.enter(u32::try_from(id).map_err(|_| HostRefused)?)
    }
}

impl Host for EnvoyHost {
    fn now(&self) -> Option<UnixTime> {
        let since_epoch = hostcalls::get_current_time().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::default() + since_epoch)
    }

    fn random(&self) -> u64 {
        RandomState::new().hash_one(())
    }

    fn random_bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).ok().map(|()| bytes)
    }

    fn tick_every(&mut self, period: Duration) -> bool {
        hostcalls::set_tick_period(period).is_ok()
    }

    fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        log_lines::write(level, line);
    }

    fn shared_value(&self, name: &str) -> SharedValue {
        hostcalls::get_shared_data(name).unwrap_or_default()
    }

    fn replace_shared_value(&self, name: &str, value: &[u8], version: Option<u32>) -> bool {
        /// A CAS value that no entry ever has. Envoy ignores it while the key is absent, so the
        /// first writer wins.
        const ONLY_IF_ABSENT: u32 = u32::MAX;
        let version = version.unwrap_or(ONLY_IF_ABSENT);
        hostcalls::set_shared_data(name, Some(value), Some(version)).is_ok()
    }

    /// On behalf of the root context: Envoy drops the callouts of a request that ends.
    fn call(&mut self, request: &CalloutRequest, timeout: Duration) -> Option<CalloutId> {
        let fields: Vec<_> =
            request.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let fields = encode_fields(&fields)?;
        let body = request.body.as_deref().unwrap_or_default();
        // Envoy treats a zero timeout as no timeout.
        let timeout = u32::try_from(timeout.as_millis()).ok().filter(|timeout| *timeout > 0)?;
        let stream = self.effective.get();
        self.enter(self.root_id).ok()?;
        let callout = abi::http_call(&request.cluster, &fields, body, timeout);
        if let Some(stream) = stream {
            // If this fails, the next operation selects its context again.
            let _ = self.enter(stream);
        }
        Some(CalloutId(callout?.into()))
    }

    /// The SDK panics when Envoy refuses, which happens only if the plugin's capabilities exclude
    /// this host call. That shows as soon as the plugin is configured.
    fn counter(&self, metric: Metric<'_>) -> MetricId {
        define(MetricType::Counter, metric)
    }

    fn gauge(&self, metric: Metric<'_>) -> MetricId {
        define(MetricType::Gauge, metric)
    }

    // A host without metrics is no reason to refuse requests.
    fn increment(&self, MetricId(counter): MetricId) {
        let _ = hostcalls::increment_metric(counter, 1);
    }

    fn set_gauge(&self, MetricId(gauge): MetricId, value: u64) {
        let _ = hostcalls::record_metric(gauge, value);
    }

    fn metric_value(&self, MetricId(metric): MetricId) -> Option<u64> {
        hostcalls::get_metric(metric).ok()
    }

    fn is_open(&mut self, stream: StreamId) -> bool {
        self.effective.set(None);
        self.enter_stream(stream).is_ok()
    }

    fn edit_request(&mut self, stream: StreamId, edits: &RequestEdits) -> Result<(), HostRefused> {
        self.enter_stream(stream)?;
        let remove = |name: &str| {
            hostcalls::remove_map_value(MapType::HttpRequestHeaders, name).map_err(|_| HostRefused)
        };
        let add = |name: &str, value: &str| {
            let added = hostcalls::add_map_value(MapType::HttpRequestHeaders, name, value);
            added.map_err(|_| HostRefused)
        };
        for name in &edits.remove {
            remove(name)?;
        }
        if let Some(connection) = edits.connection {
            remove("connection")?;
            add("connection", connection)?;
        }
        for (name, value) in edits.added() {
            add(name, value)?;
        }
        Ok(())
    }

    fn remove_trailers(
        &mut self,
        stream: StreamId,
        is_removed: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HostRefused> {
        self.enter_stream(stream)?;
        let bytes = abi::request_trailer_pairs().ok_or(HostRefused)?;
        let trailers = decode_fields(&bytes).ok_or(HostRefused)?;
        for (name, _) in trailers.into_iter().filter(|(name, _)| is_removed(name)) {
            let name = std::str::from_utf8(name).map_err(|_| HostRefused)?;
            let removed = hostcalls::remove_map_value(MapType::HttpRequestTrailers, name);
            removed.map_err(|_| HostRefused)?;
        }
        Ok(())
    }

    fn request_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused> {
        self.enter_stream(stream)?;
        let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size.saturating_add(1));
        Ok(body.map_err(|_| HostRefused)?.unwrap_or_default())
    }

    fn received_bytes(&mut self, stream: StreamId) -> Option<u64> {
        self.enter_stream(stream).ok()?;
        let bytes = hostcalls::get_property(vec!["request", "total_size"]).ok().flatten()?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn response_body(&mut self, stream: StreamId, size: usize) -> Result<Vec<u8>, HostRefused> {
        self.enter_stream(stream)?;
        let body = hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size);
        Ok(body.map_err(|_| HostRefused)?.unwrap_or_default())
    }

    fn replace_response_body(&mut self, stream: StreamId, body: &[u8]) -> Result<(), HostRefused> {
        self.enter_stream(stream)?;
        // The whole buffer, whatever its length.
        hostcalls::set_buffer(BufferType::HttpResponseBody, 0, usize::MAX, body)
            .map_err(|_| HostRefused)
    }

    fn remove_response_field(&mut self, stream: StreamId, name: &str) -> Result<(), HostRefused> {
        self.enter_stream(stream)?;
        hostcalls::remove_map_value(MapType::HttpResponseHeaders, name).map_err(|_| HostRefused)
    }

    fn add_response_field(
        &mut self,
        stream: StreamId,
        name: &str,
        value: &str,
    ) -> Result<(), HostRefused> {
        self.enter_stream(stream)?;
        hostcalls::add_map_value(MapType::HttpResponseHeaders, name, value).map_err(|_| HostRefused)
    }

    fn set_filter_state(&mut self, stream: StreamId, name: &str, value: &str) {
        if self.enter_stream(stream).is_ok() {
            abi::set_filter_state(name, value);
        }
    }

    fn respond(&mut self, stream: StreamId, response: Response) -> Result<(), HostRefused> {
        self.enter_stream(stream)?;
        let headers = response.headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let body = (!response.body.is_empty()).then_some(response.body.as_slice());
        hostcalls::send_http_response(u32::from(response.status), headers, body)
            .map_err(|_| HostRefused)
    }

    fn resume(&mut self, stream: StreamId) {
        if self.enter_stream(stream).is_ok() {
            let _ = hostcalls::resume_http_request();
        }
    }

    fn resume_response(&mut self, stream: StreamId) {
        if self.enter_stream(stream).is_ok() {
            let _ = hostcalls::resume_http_response();
        }
    }

    fn withheld_bodies_fix(&self) -> &'static str {
        "set allow_on_headers_stop_iteration, or see docs/access.md#withheld-bodies"
    }
}

/// The metric of this name, which `stats_tags` of Envoy's configuration turn into a name and labels.
fn define(kind: MetricType, metric: Metric<'_>) -> MetricId {
    MetricId(hostcalls::define_metric(kind, &metric.to_string()).unwrap_or_default())
}

/// The response that the host reports now, with at most `max_body` bytes of its body; `None` if the
/// callout failed. Its header fields must not be read then: the host has none, and the SDK panics.
fn response(header_count: usize, body_length: usize, max_body: usize) -> Option<CalloutResponse> {
    if header_count == 0 {
        return None;
    }
    let field = |name| {
        let value = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, name);
        value.ok().flatten().and_then(|value| String::from_utf8(value).ok())
    };
    let body = match body_length.min(max_body) {
        0 => None,
        size => hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten(),
    };
    let body = body.unwrap_or_default();
    Some(CalloutResponse::new(field, body_length, body))
}
