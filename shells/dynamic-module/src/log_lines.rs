//! Sends log lines to Envoy, escaped.

use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fmt, panic};

use log::Level;
use mcp_federated_auth::escaped_line;

use crate::abi;
use crate::lock::lock;

const CRITICAL: u32 = 5;

/// From now on panics of this module are logged, and not written to the standard error.
pub(crate) fn install() {
    panic::set_hook(Box::new(|panicked| abi::log(CRITICAL, &escaped_line(&panicked.to_string()))));
}

/// Writes a line, if its level is enabled.
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

/// An error that any client may cause: it is logged at most once per minute.
pub(crate) struct RareError(Mutex<Option<Instant>>);

impl RareError {
    const PERIOD: Duration = Duration::from_mins(1);

    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn write(&self, line: fmt::Arguments<'_>) {
        let mut last = lock(&self.0);
        if last.is_none_or(|last| last.elapsed() >= Self::PERIOD) {
            *last = Some(Instant::now());
            drop(last);
            write(Level::Error, line);
        }
    }
}
