//! Whether the proxy delivers the body of a response while its head is held back.
//!
//! As with requests, Envoy does so with the plugin option `allow_on_headers_stop_iteration`, which
//! cannot be read. A body that arrives while its head is held back proves it. Without the option,
//! bodies arrive only once their heads are forwarded; a slow server looks the same. So a few heads
//! are held back for a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::host::{Host, StreamId};
use super::request_body::BodyDelivery;
use crate::time::UnixTime;

/// What is known so far, and the heads that are held back to find out.
#[derive(Debug, Default)]
pub(super) struct ResponseTrials {
    /// How many heads were forwarded because their bodies did not arrive.
    given_up: u32,
    /// When heads arrived whose bodies are awaited.
    since: BTreeMap<StreamId, UnixTime>,
}

impl ResponseTrials {
    /// Longest time that a head is held back for its body, plus a tick.
    const MAX_WAIT: Duration = Duration::from_millis(100);
    /// After so many heads whose bodies did not arrive, none is held back.
    const MAX_GIVEN_UP: u32 = 3;

    /// A part of a body arrived. Returns whether its head was held back to find out.
    #[must_use]
    fn end(&mut self, stream: StreamId) -> bool {
        self.since.remove(&stream).is_some()
    }

    pub(super) fn remove(&mut self, stream: StreamId) {
        self.since.remove(&stream);
    }

    /// Whether heads are held back for their bodies.
    pub(super) fn are_open(&self) -> bool {
        !self.since.is_empty()
    }

    /// Forgets those whose bodies have not arrived in time.
    fn give_up(&mut self, now: UnixTime) -> Vec<StreamId> {
        let is_over = |since: UnixTime| now >= since + Self::MAX_WAIT;
        let overdue: Vec<StreamId> =
            self.since.iter().filter(|(_, since)| is_over(**since)).map(|(id, _)| *id).collect();
        for stream in &overdue {
            self.since.remove(stream);
            self.given_up = self.given_up.saturating_add(1);
        }
        overdue
    }
}

impl<H: Host> Engine<H> {
    /// Whether the head of a response is held back until its body is judged. `is_list`: the
    /// request was for a list.
    pub(super) fn holds_response_head(&mut self, stream: StreamId, is_list: bool) -> bool {
        let trials = &mut self.responses.trials;
        match self.delivery {
            BodyDelivery::WithHeldHead => true,
            BodyDelivery::AfterHead => false,
            BodyDelivery::Unknown | BodyDelivery::OnTrial(_) => {
                let is_tried = is_list && trials.given_up < ResponseTrials::MAX_GIVEN_UP;
                let Some(now) = self.host.now().filter(|_| is_tried) else { return false };
                trials.since.insert(stream, now);
                self.set_pace(now);
                true
            }
        }
    }

    /// Learns from a part of a body whether bodies arrive while their heads are held back. A proxy
    /// treats requests and responses alike.
    pub(super) fn learn_response_delivery(&mut self, stream: StreamId) {
        if self.responses.trials.end(stream) {
            self.delivery = BodyDelivery::WithHeldHead;
        }
    }

    /// Forwards the heads of responses whose bodies have not arrived in time.
    pub(super) fn look_after_response_heads(&mut self, now: UnixTime) {
        for stream in self.responses.trials.give_up(now) {
            if self.release_response_head(stream) {
                self.host.resume_response(stream);
            }
        }
    }
}
