//! The configuration of a filter or of a route.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use log::Level;
use mcp_federated_auth::{Config, ConfigError, StatusConfig};

use crate::log_lines;

/// A configuration as bytes. Each thread reads it again, because the parsed form belongs to one
/// thread.
pub(crate) struct Setup {
    pub(crate) id: u64,
    is_status_page: bool,
    bytes: Vec<u8>,
    is_removed: AtomicBool,
}

/// A parsed configuration.
pub(crate) enum Read {
    Filter(Box<Config>),
    StatusPage(StatusConfig),
}

/// How many were removed so far. When it changes, each thread drops what it keeps for removed
/// setups.
static REMOVALS: AtomicU64 = AtomicU64::new(0);
/// Setups of routes that Envoy got from this copy of the module, by their addresses. A process may
/// have loaded other copies; the addresses of their setups are never here, because memory in use is
/// not allocated twice.
static ROUTE_SETUPS: RwLock<BTreeMap<usize, Arc<Setup>>> = RwLock::new(BTreeMap::new());

/// How many setups were removed so far.
pub(crate) fn removals() -> u64 {
    REMOVALS.load(Ordering::Acquire)
}

impl Setup {
    /// The `filter_name` of the status page.
    const STATUS_PAGE: &'static [u8] = b"mcp_auth_status";

    /// Reads a configuration. `None` if it is refused, with all faults in the log.
    pub(crate) fn new(filter_name: &[u8], bytes: &[u8]) -> Option<(Arc<Self>, Read)> {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        let setup = Self {
            id: LAST_ID.fetch_add(1, Ordering::Relaxed),
            is_status_page: filter_name == Self::STATUS_PAGE,
            bytes: bytes.to_vec(),
            is_removed: AtomicBool::new(false),
        };
        match setup.read() {
            Ok(read) => Some((Arc::new(setup), read)),
            Err(refused) => {
                for fault in refused.faults() {
                    log_lines::write(Level::Error, format_args!("configuration refused: {fault}"));
                }
                None
            }
        }
    }

    /// The same for a route, which [`Self::find_for_route`] finds by its address.
    pub(crate) fn for_route(filter_name: &[u8], bytes: &[u8]) -> Option<Arc<Self>> {
        let (setup, _) = Self::new(filter_name, bytes)?;
        let address = Arc::as_ptr(&setup).addr();
        let mut known = ROUTE_SETUPS.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(address, setup.clone());
        Some(setup)
    }

    /// The setup of a route at this address. `None` if this copy of the module has none there.
    pub(crate) fn find_for_route(address: usize) -> Option<Arc<Self>> {
        let known = ROUTE_SETUPS.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&address).cloned()
    }

    /// Removes the setup of a route.
    pub(crate) fn remove_for_route(address: usize) {
        let mut known = ROUTE_SETUPS.write().unwrap_or_else(PoisonError::into_inner);
        let setup = known.remove(&address);
        drop(known);
        if let Some(setup) = setup {
            setup.remove();
        }
    }

    /// Parses it.
    ///
    /// # Errors
    ///
    /// It is refused, which can only happen the first time.
    pub(crate) fn read(&self) -> Result<Read, ConfigError> {
        if self.is_status_page {
            StatusConfig::from_bytes(&self.bytes).map(Read::StatusPage)
        } else {
            Config::from_bytes(&self.bytes).map(|config| Read::Filter(Box::new(config)))
        }
    }

    /// From now on nothing may be kept for it.
    pub(crate) fn remove(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
        // A thread that sees the new number also sees `is_removed`.
        REMOVALS.fetch_add(1, Ordering::Release);
    }

    /// Whether it was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }
}
