//! Sends log lines to Envoy, escaped.

use std::{fmt, panic};

use log::Level;
use mcp_federated_auth::escaped_line;

use crate::abi;

const CRITICAL: u32 = 5;

/// From now on panics of this module are logged, and not written to the standard error.
pub(crate) fn install() {
    panic::set_hook(Box::new(|panicked| abi::log(CRITICAL, &escaped_line(&panicked.to_string()))));
}

/// Writes a line, if its level is one that is written.
pub(crate) fn write(level: Level, line: fmt::Arguments<'_>) {
    let number = match level {
        Level::Error => 4,
        Level::Warn => 3,
        Level::Info => 2,
        Level::Debug => 1,
        Level::Trace => 0,
    };
    if abi::is_logged(number) {
        abi::log(number, &escaped_line(&line.to_string()));
    }
}
