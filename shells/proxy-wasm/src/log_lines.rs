//! Sends log lines to the host, escaped.

use std::{fmt, panic};

use log::{Level, LevelFilter, Log, Metadata, Record};
use mcp_federated_auth::escaped_line;
use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

struct LogLines;

/// Sends the lines of [`log`] and of panics to the host. Does nothing the second time.
pub(crate) fn install() {
    if log::set_logger(&LogLines).is_ok() {
        log::set_max_level(LevelFilter::Info);
        panic::set_hook(Box::new(|panicked| send(LogLevel::Critical, &panicked.to_string())));
    }
}

impl Log for LogLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        write(record.level(), *record.args());
    }

    fn flush(&self) {}
}

/// Writes a line, if its level is enabled.
pub(crate) fn write(level: Level, line: fmt::Arguments<'_>) {
    if level <= log::max_level() {
        let level = match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        };
        send(level, &line.to_string());
    }
}

fn send(level: LogLevel, line: &str) {
    // A host that rejects a log line is no reason to stop a request.
    let _ = hostcalls::log(level, &escaped_line(line));
}
