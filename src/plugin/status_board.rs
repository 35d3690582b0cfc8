//! What the workers of a process share for the status page: shared data, and counters of Envoy.

use super::host;
use super::metrics::Metrics;
use crate::status::{Board, Counter};

/// The board that Envoy keeps.
pub(super) struct HostBoard;

impl Board for HostBoard {
    fn read(&self, name: &str) -> (Option<Vec<u8>>, Option<u32>) {
        host::shared_value(name)
    }

    fn replace(&self, name: &str, bytes: &[u8], number: Option<u32>) -> bool {
        host::replace_shared_value(name, bytes, number)
    }

    fn count(&self, counter: &Counter) -> Option<u64> {
        Metrics::value(counter)
    }
}
