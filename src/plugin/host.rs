//! Host calls in the forms that cannot panic on what clients and providers send.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, Status};

use super::abi;
use crate::authenticator::RequestEdits;
use crate::callout::{CalloutRequest, CalloutResponse};
use crate::identity::IdentityFields;
use crate::request::decode_fields;
use crate::response::Response;
use crate::time::UnixTime;

/// The current time; none when the host has no clock.
pub(super) fn now() -> Option<UnixTime> {
    let since_epoch = hostcalls::get_current_time().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixTime::default() + since_epoch)
}

/// A number that nobody can guess.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// The `root_id` of the filter that is being configured.
pub(super) fn root_id() -> Option<Vec<u8>> {
    hostcalls::get_property(vec!["plugin_root_id"]).ok().flatten()
}

/// A shared value with its number; both are none when there is no such value.
pub(super) fn shared_value(name: &str) -> (Option<Vec<u8>>, Option<u32>) {
    hostcalls::get_shared_data(name).unwrap_or_default()
}

/// Replaces the shared value of this number; with no number, only if there is none.
pub(super) fn replace_shared_value(name: &str, bytes: &[u8], number: Option<u32>) -> bool {
    /// Matches no value's number. The host ignores it while there is no value, and so the first to
    /// come creates one.
    const ONLY_IF_ABSENT: u32 = u32::MAX;
    let number = number.unwrap_or(ONLY_IF_ABSENT);
    hostcalls::set_shared_data(name, Some(bytes), Some(number)).is_ok()
}

/// The header fields of the request in hand, for [`decode_fields`].
pub(super) fn request_fields() -> Option<Vec<u8>> {
    abi::request_header_pairs()
}

/// Removes trailers of the request in hand, with all their values.
pub(super) fn remove_trailers(is_removed: impl Fn(&[u8]) -> bool) -> Result<(), Status> {
    let bytes = abi::request_trailer_pairs().ok_or(Status::BadArgument)?;
    let trailers = decode_fields(&bytes).ok_or(Status::ParseFailure)?;
    for (name, _) in trailers.into_iter().filter(|(name, _)| is_removed(name)) {
        let name = std::str::from_utf8(name).map_err(|_| Status::ParseFailure)?;
        hostcalls::remove_map_value(MapType::HttpRequestTrailers, name)?;
    }
    Ok(())
}

/// The first `size` bytes of the body of the request in hand, and one more if there are more.
pub(super) fn request_body(size: usize) -> Result<Vec<u8>, Status> {
    // The host may have no buffer for a body without a byte.
    if size == 0 {
        return Ok(Vec::new());
    }
    let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size.saturating_add(1))?;
    Ok(body.unwrap_or_default())
}

/// How much of the current context's request the host has received, in bytes: its head by some
/// measure, and its body. None if the host does not say.
pub(super) fn received_bytes() -> Option<u64> {
    let bytes = hostcalls::get_property(vec!["request", "total_size"]).ok().flatten()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Changes the request in hand.
pub(super) fn edit_request(edits: &RequestEdits) -> Result<(), Status> {
    for name in &edits.remove {
        hostcalls::remove_map_value(MapType::HttpRequestHeaders, name)?;
    }
    if let Some(connection) = edits.connection {
        hostcalls::remove_map_value(MapType::HttpRequestHeaders, "connection")?;
        hostcalls::add_map_value(MapType::HttpRequestHeaders, "connection", connection)?;
    }
    let Some(identity) = edits.identity.as_deref() else { return Ok(()) };
    for (name, value) in identity.headers() {
        hostcalls::add_map_value(MapType::HttpRequestHeaders, name, value)?;
    }
    note_identity(identity);
    Ok(())
}

/// Tells access logs whom the request in hand comes from.
pub(super) fn note_identity(identity: &IdentityFields) {
    abi::set_filter_state("mcp_auth.user", identity.user());
    note_provider(identity.provider());
}

/// Tells access logs by whose token the request in hand is judged.
pub(super) fn note_provider(name: &str) {
    abi::set_filter_state("mcp_auth.provider", name);
}

/// Tells access logs why the request in hand is refused.
pub(super) fn note_reason(reason: &str) {
    abi::set_filter_state("mcp_auth.reason", reason);
}

/// Answers the request in hand.
pub(super) fn respond(response: &Response) -> Result<(), Status> {
    let headers = response.headers.iter().map(|(name, value)| (*name, &**value)).collect();
    let body = (!response.body.is_empty()).then_some(response.body.as_slice());
    hostcalls::send_http_response(u32::from(response.status), headers, body)
}

/// Makes a call. None when the host refuses; it will report no answer then.
pub(super) fn callout(request: &CalloutRequest, timeout: Duration) -> Option<u32> {
    // The host takes no time at all for all the time in the world.
    if timeout < Duration::from_millis(1) {
        return None;
    }
    let fields = request.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = request.body.as_deref();
    hostcalls::dispatch_http_call(&request.cluster, fields, body, vec![], timeout).ok()
}

/// Makes a call that outlives the request in hand: in the name of the root context, since the host
/// gives up the calls of a request with it, and the SDK would keep their numbers for ever.
pub(super) fn callout_as(
    root_id: u32,
    context_id: u32,
    request: &CalloutRequest,
    timeout: Duration,
) -> Option<u32> {
    hostcalls::set_effective_context(root_id).ok()?;
    let callout = callout(request, timeout);
    let _ = hostcalls::set_effective_context(context_id);
    callout
}

/// The answer to the call that the host reports just now, with at most `limit` bytes of its body;
/// none when the call failed. Its header fields must not be touched then: the host has none, and
/// the SDK panics.
pub(super) fn callout_response(
    header_count: usize,
    body_length: usize,
    limit: usize,
) -> Option<CalloutResponse> {
    if header_count == 0 {
        return None;
    }
    let field = |name| {
        let value = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, name);
        value.ok().flatten().and_then(|value| String::from_utf8(value).ok())
    };
    let wanted = body_length.min(limit);
    let body = if wanted == 0 {
        None
    } else {
        hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, wanted).ok().flatten()
    };
    let body = body.unwrap_or_default();
    let status = field(":status").and_then(|status| status.parse().ok());
    // Read only to report faults.
    let is_redirect = matches!(status, Some(300..=399));
    let begins_like_json = body.first() == Some(&b'{');
    Some(CalloutResponse {
        status,
        cache_control: field("cache-control"),
        content_encoding: (!begins_like_json).then(|| field("content-encoding")).flatten(),
        location: is_redirect.then(|| field("location")).flatten(),
        body_length,
        body,
    })
}
