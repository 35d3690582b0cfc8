//! The outcomes of allowed calls: read from their responses while these are forwarded, and reported
//! to access logs and metrics.

use std::collections::BTreeMap;

use super::Engine;
use super::host::{Host, HostRefused, StreamId};
use crate::engine::authenticator::FollowedCall;
use crate::outcome::{CallOutcome, OutcomeReader};
use crate::response_head::ResponseHead;

/// The calls that are followed.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    by_stream: BTreeMap<StreamId, Following>,
}

#[derive(Debug)]
struct Following {
    call: Box<FollowedCall>,
    /// `None` until the head of the response arrives.
    reader: Option<OutcomeReader>,
    /// The outcome for the filter state.
    reported: Option<CallOutcome>,
}

impl Outcomes {
    /// The response to this request will be read.
    pub(super) fn expect(&mut self, stream: StreamId, call: Box<FollowedCall>) {
        self.by_stream.insert(stream, Following { call, reader: None, reported: None });
    }

    pub(super) fn contains(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }
}

impl Following {
    /// How much of the response is kept, in bytes.
    fn held(&self) -> usize {
        self.reader.as_ref().map_or(0, OutcomeReader::held)
    }
}

impl<H: Host> Engine<H> {
    /// Stops following a refused call, whose error type is the reason. Returns its method in
    /// metrics.
    pub(super) fn stop_following(&mut self, stream: StreamId) -> Option<&'static str> {
        let Following { call, reported, .. } = self.stop(stream)?;
        if let Some(outcome) = reported.filter(|_| !self.host.replaces_filter_state()) {
            self.write_outcome(stream, outcome);
        }
        Some(call.method)
    }

    fn stop(&mut self, stream: StreamId) -> Option<Following> {
        let following = self.outcomes.by_stream.remove(&stream)?;
        self.responses.room.change(following.held(), 0);
        Some(following)
    }

    /// The reader of a response, from its head. Changes nothing.
    pub(super) fn outcome_reader(
        &self,
        stream: StreamId,
        head: ResponseHead<'_>,
        has_body: bool,
    ) -> Option<OutcomeReader> {
        let FollowedCall { sent, max_body, .. } = &*self.outcomes.by_stream.get(&stream)?.call;
        Some(OutcomeReader::new(sent.clone(), head, has_body, *max_body))
    }

    /// Begins to read a response. Nothing is reported yet: it may still be refused.
    pub(super) fn begin_outcome(&mut self, stream: StreamId, reader: Option<OutcomeReader>) {
        if let Some(following) = self.outcomes.by_stream.get_mut(&stream) {
            self.responses.room.change(following.held(), 0);
            following.reader = reader;
        }
    }

    /// A part of a response cannot be read, so the outcome is unknown.
    pub(super) fn lose_outcome(&mut self, stream: StreamId) {
        self.begin_outcome(stream, None);
        self.report_outcome(stream);
    }

    /// Whether the body of a response must still be read.
    pub(super) fn reads_outcome(&self, stream: StreamId) -> bool {
        let following = self.outcomes.by_stream.get(&stream);
        let reader = following.and_then(|following| following.reader.as_ref());
        reader.is_some_and(OutcomeReader::reads)
    }

    /// Reads a further part of a response, which may be its last.
    pub(super) fn read_outcome(&mut self, stream: StreamId, chunk: &[u8], is_last: bool) {
        let Some(following) = self.outcomes.by_stream.get_mut(&stream) else { return };
        let Some(reader) = following.reader.as_mut() else { return };
        let max_body = following.call.max_body;
        let before = reader.held();
        reader.limit(self.responses.room.of_one(before, max_body));
        reader.read(chunk);
        if is_last {
            reader.end();
        }
        self.responses.room.change(before, reader.held());
        self.report_outcome(stream);
    }

    /// A part of a response that is read only for its outcome has arrived.
    pub(super) fn watch_outcome(&mut self, stream: StreamId, size: usize, is_last: bool) {
        if !self.reads_outcome(stream) {
            return;
        }
        let chunk = match size {
            0 => Vec::new(),
            size => match self.host.response_body(stream, size) {
                Ok(chunk) => chunk,
                Err(HostRefused) => return self.lose_outcome(stream),
            },
        };
        self.read_outcome(stream, &chunk, is_last);
    }

    /// Counts the call of a stream that has ended. Sets its filter state if that can be set only
    /// once.
    pub(super) fn finish_outcome(&mut self, stream: StreamId) {
        let Some(Following { call, reported, .. }) = self.stop(stream) else { return };
        if let Some(outcome) = reported.filter(|_| !self.host.replaces_filter_state()) {
            self.write_outcome(stream, outcome);
            self.write_error_type(stream, outcome);
        }
        let outcome = reported.unwrap_or(CallOutcome::Unknown).as_str();
        self.metrics.count_call(Some(call.resource), call.method, outcome, &self.host);
    }

    /// Reports the outcome as known so far. A response that is cut off later keeps it.
    pub(super) fn report_outcome(&mut self, stream: StreamId) {
        let Some(following) = self.outcomes.by_stream.get_mut(&stream) else { return };
        let reader = following.reader.as_ref();
        let outcome = reader.map_or(CallOutcome::Unknown, OutcomeReader::outcome);
        let is_new = following.reported.replace(outcome) != Some(outcome);
        if is_new && self.host.replaces_filter_state() {
            self.write_outcome(stream, outcome);
            self.write_error_type(stream, outcome);
        }
    }

    fn write_outcome(&mut self, stream: StreamId, outcome: CallOutcome) {
        self.host.set_filter_state(stream, "mcp_auth.outcome", outcome.as_str());
        if let CallOutcome::RpcError(code) = outcome {
            self.host.set_filter_state(stream, "mcp_auth.rpc_code", &code.to_string());
        }
    }

    fn write_error_type(&mut self, stream: StreamId, outcome: CallOutcome) {
        if let Some(error_type) = outcome.error_type() {
            self.host.set_filter_state(stream, "mcp_auth.error_type", &error_type);
        }
    }
}
