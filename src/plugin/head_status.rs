//! How a head stops that waits: alone, or with its body.
//!
//! Both are a pause for the SDK. Where Envoy hands over the body of a request whose head is paused
//! (`allow_on_headers_stop_iteration`), a body that nobody asked for would fill Envoy's buffer and end
//! the request with 413. So it is left with the client, by Envoy's flow control, until the head goes on.

use std::cell::Cell;

/// `StopAllIterationAndWatermark` in the ABI, which the SDK does not know.
const STOP_WITH_BODY: u32 = 4;
/// `Pause` of the SDK, `StopIteration` in the ABI.
const PAUSE: u32 = 1;

thread_local! {
    static STOPS_WITH_BODY: Cell<bool> = const { Cell::new(false) };
}

/// The head of the current callback stops with its body.
pub(super) fn stop_with_body() {
    STOPS_WITH_BODY.set(true);
}

/// What the callback for a request's head returns to the host, in place of what the SDK's returned.
#[must_use]
pub fn head_status(sdk_action: u32) -> u32 {
    match STOPS_WITH_BODY.take() && sdk_action == PAUSE {
        true => STOP_WITH_BODY,
        false => sdk_action,
    }
}
