//! Panics where a test asks for them: in the callback that the request's field `x-panic-in` names,
//! or once in each of those that the environment variable `MCP_AUTH_PANIC_IN` lists.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex};

use crate::abi::{Map, Stream};
use crate::lock::lock;

#[cfg(not(debug_assertions))]
compile_error!("a module that panics on request is for tests alone");

thread_local! {
    /// Streams whose end is to panic.
    static AT_END: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// Panics if a request wants it here.
pub(crate) fn panic_for(callback: &str, stream: &Stream) {
    let is_wanted = |wanted: &str| {
        stream.with_fields(Map::Request, |fields| {
            let mut fields = fields.iter();
            fields.any(|(name, value)| *name == b"x-panic-in" && *value == wanted.as_bytes())
        })
    };
    let number = stream.number.get();
    if is_wanted("stream_destroyed") == Ok(true) {
        AT_END.with_borrow_mut(|streams| streams.insert(number));
    }
    let is_end =
        callback == "stream_destroyed" && AT_END.with_borrow_mut(|streams| streams.remove(&number));
    assert!(!is_end && is_wanted(callback) != Ok(true), "injected in {callback}");
}

/// Panics the first time, if the environment wants it here.
pub(crate) fn panic_once(callback: &'static str) {
    static LEFT: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(|| {
        let wanted = std::env::var("MCP_AUTH_PANIC_IN").unwrap_or_default();
        Mutex::new(wanted.split(',').map(str::to_owned).collect())
    });
    let is_wanted = lock(&LEFT).remove(callback);
    assert!(!is_wanted, "injected in {callback}");
}
