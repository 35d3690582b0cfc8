//! What all threads of the process share across configurations: values that are replaced by
//! compare-and-swap, and announcements of keys.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use mcp_federated_auth::host::SharedValue;

use crate::lock::lock;
use crate::waker::Waker;

static VALUES: LazyLock<Mutex<Values>> = LazyLock::new(Mutex::default);
static ANNOUNCEMENTS: AtomicU64 = AtomicU64::new(0);
static WAKERS: Mutex<Vec<Weak<Waker>>> = Mutex::new(Vec::new());

#[derive(Default)]
struct Values {
    by_name: HashMap<String, Value>,
    /// Counts reads and writes.
    clock: u64,
}

struct Value {
    bytes: Vec<u8>,
    version: u32,
    /// When it was last read or written, by the clock.
    used: u64,
}

/// A value with its version.
pub(crate) fn value(name: &str) -> SharedValue {
    lock(&VALUES).read(name)
}

/// Replaces a value if its version is still this one; without a version, if there is no value.
/// Returns whether it was replaced.
pub(crate) fn replace(name: &str, bytes: &[u8], version: Option<u32>) -> bool {
    lock(&VALUES).replace(name, bytes, version)
}

/// Makes all workers whose streams wait check the keys.
pub(crate) fn announce_keys() {
    // A thread that sees the new number also sees the values written before: they have a lock.
    ANNOUNCEMENTS.fetch_add(1, Ordering::Release);
    lock(&WAKERS).retain(|waker| {
        waker.upgrade().is_some_and(|waker| {
            waker.wake();
            true
        })
    });
}

/// How many announcements of keys there were.
pub(crate) fn key_announcements() -> u64 {
    ANNOUNCEMENTS.load(Ordering::Acquire)
}

/// Lets announcements wake this waker as long as it lives.
pub(crate) fn register(waker: &Arc<Waker>) {
    let mut wakers = lock(&WAKERS);
    wakers.retain(|known| known.strong_count() > 0);
    wakers.push(Arc::downgrade(waker));
}

impl Values {
    /// Maximum number of key sources that are remembered, with two values for each.
    const MAX_KEY_VALUES: usize = 2048;
    /// The prefix of the names of key values. All other values have a fixed number of names.
    const KEYS: &'static str = "mcp-federated-auth/2/";

    fn tick(&mut self) -> u64 {
        self.clock = self.clock.wrapping_add(1);
        self.clock
    }

    fn read(&mut self, name: &str) -> SharedValue {
        let used = self.tick();
        let value = self.by_name.get_mut(name).map(|value| {
            value.used = used;
            (value.bytes.clone(), value.version)
        });
        value.unzip()
    }

    fn replace(&mut self, name: &str, bytes: &[u8], version: Option<u32>) -> bool {
        let used = self.tick();
        if let Some(value) = self.by_name.get_mut(name) {
            if version != Some(value.version) {
                return false;
            }
            value.version = value.version.wrapping_add(1);
            value.bytes = bytes.to_vec();
            value.used = used;
            return true;
        }
        if version.is_some() {
            return false;
        }
        self.make_room(name);
        self.by_name.insert(name.to_owned(), Value { bytes: bytes.to_vec(), version: 1, used });
        true
    }

    /// Forgets the keys that were not used for the longest time: their configurations are gone.
    fn make_room(&mut self, name: &str) {
        if !name.starts_with(Self::KEYS) || self.by_name.len() < Self::MAX_KEY_VALUES {
            return;
        }
        let keys = self.by_name.iter().filter(|(name, _)| name.starts_with(Self::KEYS));
        let oldest = keys.min_by_key(|(_, value)| value.used).map(|(name, _)| name.clone());
        if let Some(oldest) = oldest {
            self.by_name.remove(&oldest);
        }
    }
}
