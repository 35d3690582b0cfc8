//! The two ways to stop a head, of which the SDK's `Action` has one.
//!
//! Where Envoy hands over the body of a request whose head is stopped
//! (`allow_on_headers_stop_iteration`), a body that nobody reads would fill Envoy's buffer and end
//! the request with 413. So it is left with the client, by Envoy's flow control, until the head goes
//! on.

use std::cell::Cell;

use mcp_federated_auth::HeadAction;
use proxy_wasm::types::Action;

/// `StopAllIterationAndWatermark` in the ABI, which the SDK does not have.
const STOP_WITH_BODY: u32 = 4;
/// The SDK's `Pause`, `StopIteration` in the ABI.
const PAUSE: u32 = 1;

thread_local! {
    static STOPS_WITH_BODY: Cell<bool> = const { Cell::new(false) };
}

/// What the SDK's callback for a head returns. [`head_status`] is to be called after it.
pub(crate) fn to_sdk(action: HeadAction) -> Action {
    match action {
        HeadAction::Continue => Action::Continue,
        HeadAction::Stop => Action::Pause,
        HeadAction::StopWithBody => {
            STOPS_WITH_BODY.set(true);
            Action::Pause
        }
    }
}

/// What the callback for a head returns to the host, in place of what the SDK's returned.
#[must_use]
pub fn head_status(sdk_action: u32) -> u32 {
    match STOPS_WITH_BODY.take() && sdk_action == PAUSE {
        true => STOP_WITH_BODY,
        false => sdk_action,
    }
}
