//! A configuration of a filter: what its threads share.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use mcp_federated_auth::host::{CalloutId, CalloutRequest, KeyDemand};

use crate::abi::{ConfigHandle, ConfigScheduler};
use crate::lock::lock;
use crate::mailbox::Mailbox;
use crate::metrics::Families;
use crate::setup::Setup;
use crate::tally::Pace;
use crate::timer::{self, Alarm, AlarmId};

/// A configuration of a filter. Envoy has a reference to it until it calls `config_destroy`.
pub(crate) struct Configuration {
    pub(crate) setup: Arc<Setup>,
    pub(crate) families: Families,
    /// What the workers request from the main thread.
    wishes: Mutex<Vec<Wish>>,
    /// `None` once Envoy has removed the configuration.
    scheduler: Mutex<Option<ConfigScheduler>>,
    alarm: AlarmId,
    own: Weak<Self>,
}

/// What a worker requests from the main thread.
pub(crate) enum Wish {
    /// A route with a configuration of its own is in use: fetch its keys.
    Adopt(Arc<Setup>),
    /// Make this callout.
    Call(Box<Callout>),
    /// Requests wait for keys of this configuration of the filter, or of one of its routes.
    Keys(Arc<Setup>, KeyDemand),
}

/// A callout of a worker.
pub(crate) struct Callout {
    pub(crate) id: CalloutId,
    pub(crate) request: CalloutRequest,
    pub(crate) timeout: Duration,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Configuration {
    pub(crate) fn new(setup: Arc<Setup>, handle: ConfigHandle<'_>) -> Option<Arc<Self>> {
        let (families, scheduler) = (Families::define(handle), handle.scheduler()?);
        Some(Arc::new_cyclic(|own| Self {
            setup,
            families,
            wishes: Mutex::default(),
            scheduler: Mutex::new(Some(scheduler)),
            alarm: AlarmId::new(),
            own: own.clone(),
        }))
    }

    /// Envoy removes the configuration.
    pub(crate) fn close(&self) {
        self.setup.remove();
        self.families.close();
        lock(&self.scheduler).take();
        lock(&self.wishes).clear();
    }

    /// Notifies the main thread. The number of wishes is bounded by the callouts in progress.
    pub(crate) fn wish(&self, wish: Wish) {
        if !self.setup.is_removed() {
            lock(&self.wishes).push(wish);
            self.wake();
        }
    }

    /// Notifies the main thread after this time, or when it is woken earlier.
    pub(crate) fn wish_later(&self, wish: Wish, time: Duration) {
        lock(&self.wishes).push(wish);
        let now = Instant::now();
        self.wake_at(now.checked_add(time).unwrap_or(now));
    }

    /// Makes the main thread pass the counts to Envoy.
    pub(crate) fn hand_over_counts(&self) {
        let now = Instant::now();
        self.wake_at(now.checked_add(Pace::PERIOD).unwrap_or(now));
    }

    /// Takes all wishes.
    pub(crate) fn take_wishes(&self) -> Vec<Wish> {
        std::mem::take(&mut *lock(&self.wishes))
    }

    /// Calls `hooks::config_scheduled` soon.
    pub(crate) fn wake(&self) {
        if let Some(scheduler) = &*lock(&self.scheduler) {
            scheduler.commit();
        }
    }

    /// Calls it at this time.
    pub(crate) fn wake_at(&self, at: Instant) {
        timer::set(self.alarm, at, self.own.clone());
    }
}

impl Alarm for Configuration {
    fn ring(&self) {
        self.wake();
    }
}
