//! Sends log lines to the host, escaped.

use std::panic;

use log::{Level, LevelFilter, Log, Metadata, Record};
use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use crate::printable::{Printable, is_plain};

struct LogLines;

/// Lets the lines of [`log`] go this way, and those of panics. Does nothing the second time.
pub(super) fn install() {
    if log::set_logger(&LogLines).is_ok() {
        log::set_max_level(LevelFilter::Info);
        panic::set_hook(Box::new(|panicked| write(LogLevel::Critical, panicked)));
    }
}

impl Log for LogLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                Level::Error => LogLevel::Error,
                Level::Warn => LogLevel::Warn,
                Level::Info => LogLevel::Info,
                Level::Debug => LogLevel::Debug,
                Level::Trace => LogLevel::Trace,
            };
            write(level, record.args());
        }
    }

    fn flush(&self) {}
}

fn write(level: LogLevel, text: impl std::fmt::Display) {
    let line = text.to_string();
    let escaped = (!is_plain(&line)).then(|| Printable::line(&line).to_string());
    // A host that takes no log line is no reason to stop a request.
    let _ = hostcalls::log(level, escaped.as_deref().unwrap_or(&line));
}
