//! No panics are injected.

use crate::abi::Stream;

pub(crate) fn panic_for(_callback: &str, _stream: &Stream) {}

pub(crate) fn panic_once(_callback: &'static str) {}
