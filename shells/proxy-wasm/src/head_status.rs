//! The two ways to stop a head, of which the SDK's `Action` has one.
//!
//! If Envoy delivers the body of a request whose head is stopped
//! (`allow_on_headers_stop_iteration`), a body that is not read would fill Envoy's buffer and end
//! the request with 413. So flow control holds it back at the client until the head is forwarded.

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

/// The return value of the SDK's callback for a head. Call [`head_status`] afterwards.
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

/// The value that the callback for a head returns to the host instead of the SDK's.
#[must_use]
pub fn head_status(sdk_action: u32) -> u32 {
    match STOPS_WITH_BODY.take() && sdk_action == PAUSE {
        true => STOP_WITH_BODY,
        false => sdk_action,
    }
}
