//! Envoy's metrics, each with a copy of its value, which cannot be read from Envoy.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use mcp_federated_auth::UnixTime;
use mcp_federated_auth::host::{METRIC_FAMILIES, Metric, MetricFamily, MetricId};

use crate::abi::{ConfigHandle, Stream, is_envoy_1_38};
use crate::lock::lock;
use crate::tally::{Pace, Tallies, Tally};

/// Values by name and labels, of the whole process: as in Envoy, configurations add up.
static VALUES: LazyLock<Mutex<HashMap<String, Arc<AtomicU64>>>> = LazyLock::new(Mutex::default);

/// Maximum number of metrics that have a value. Their labels come from configurations.
const MAX_VALUES: usize = 16 * 1024;

/// The metrics that a configuration has defined. Envoy accepts no later definitions.
pub(crate) struct Families {
    /// Two families have the same name and different labels.
    ids: Vec<(MetricFamily, Option<usize>)>,
    panics: Option<usize>,
    /// What the workers have counted. `None` in Envoy 1.38, which records nothing without a stream.
    tallies: Option<Tallies>,
    /// What was counted without a stream, by the number and labels of the metric. Used only in
    /// Envoy 1.38, which records nothing without a stream.
    left: Mutex<BTreeMap<(usize, Vec<String>), Left>>,
    has_left: AtomicBool,
}

struct Left {
    is_counter: bool,
    amount: u64,
}

impl Families {
    /// Defines all of them.
    pub(crate) fn define(handle: ConfigHandle<'_>) -> Self {
        let define = |family: &MetricFamily| {
            (*family, handle.define(family.is_counter, family.name, family.labels))
        };
        Self {
            ids: METRIC_FAMILIES.iter().map(define).collect(),
            panics: handle.define(true, "mcp_auth_panics", &[]),
            tallies: (!is_envoy_1_38()).then(Tallies::default),
            left: Mutex::default(),
            has_left: AtomicBool::new(false),
        }
    }

    /// Counts a panic.
    pub(crate) fn count_panic(&self, stream: Option<&Stream>) {
        match (self.panics, stream.filter(|stream| stream.is_open())) {
            (Some(id), Some(stream)) => stream.record(true, id, &[], 1),
            (Some(id), None) => self.leave(id, &[], true, 1),
            (None, _) => {}
        }
    }

    /// Records what was counted without a stream, now that there is one.
    pub(crate) fn record_left(&self, stream: &Stream) {
        if !self.has_left.load(Ordering::Relaxed) || !self.has_left.swap(false, Ordering::Acquire) {
            return;
        }
        for ((id, labels), left) in std::mem::take(&mut *lock(&self.left)) {
            stream.record(left.is_counter, id, &labels, left.amount);
        }
    }

    /// The same in a callback on the main thread, if this Envoy can; and what the workers have
    /// counted.
    pub(crate) fn record_left_on_main(&self, handle: ConfigHandle<'_>) {
        if let Some(tallies) = &self.tallies {
            tallies.take(|(family, labels), amount| {
                if let Some((_, Some(id))) = self.ids.get(*family) {
                    handle.record(true, *id, labels, amount);
                }
            });
        }
        if !self.has_left.load(Ordering::Relaxed) {
            return;
        }
        lock(&self.left)
            .retain(|(id, labels), left| !handle.record(left.is_counter, *id, labels, left.amount));
    }

    /// The configuration is removed.
    pub(crate) fn close(&self) {
        if let Some(tallies) = &self.tallies {
            tallies.close();
        }
    }

    fn leave(&self, id: usize, labels: &[String], is_counter: bool, amount: u64) {
        let mut all = lock(&self.left);
        let left = all.entry((id, labels.to_vec())).or_insert(Left { is_counter, amount: 0 });
        left.amount = if is_counter { left.amount.saturating_add(amount) } else { amount };
        self.has_left.store(true, Ordering::Release);
    }

    /// The number of a metric's family, with Envoy's id.
    fn family(&self, metric: &Metric<'_>) -> Option<(usize, usize)> {
        let is_its = |family: &MetricFamily| {
            let labels = metric.labels.iter().map(|(label, _)| label);
            family.name == metric.name && labels.eq(family.labels)
        };
        let number = self.ids.iter().position(|(family, _)| is_its(family))?;
        self.ids.get(number).and_then(|(_, id)| Some((number, (*id)?)))
    }
}

/// The metrics that one engine has used.
#[derive(Default)]
pub(crate) struct Table {
    used: RefCell<Vec<Series>>,
    by_name: RefCell<HashMap<String, MetricId>>,
    pace: Pace,
}

struct Series {
    /// `None` if Envoy refused the definition.
    id: Option<usize>,
    is_counter: bool,
    labels: Vec<String>,
    value: Arc<AtomicU64>,
    /// What was not passed to Envoy yet; `None` if it is passed on at once.
    tally: Option<Arc<Tally>>,
}

impl Table {
    /// The id of a metric.
    pub(crate) fn metric(
        &self,
        families: &Families,
        metric: Metric<'_>,
        is_counter: bool,
    ) -> MetricId {
        let name = metric.to_string();
        if let Some(id) = self.by_name.borrow().get(&name) {
            return *id;
        }
        let mut used = self.used.borrow_mut();
        let id = MetricId(u32::try_from(used.len()).unwrap_or(u32::MAX));
        if used.len() < MAX_VALUES {
            let family = families.family(&metric);
            let labels: Vec<_> =
                metric.labels.iter().map(|(_, value)| (*value).to_owned()).collect();
            let tallies = families.tallies.as_ref().filter(|_| is_counter);
            let tally = family.zip(tallies);
            used.push(Series {
                id: family.map(|(_, id)| id),
                is_counter,
                value: value(&name),
                tally: tally.map(|((number, _), tallies)| tallies.tally((number, labels.clone()))),
                labels,
            });
            self.by_name.borrow_mut().insert(name, id);
        }
        id
    }

    /// Adds one to a counter: by a stream, or in a tally. Returns whether the main thread must be
    /// notified.
    pub(crate) fn count(
        &self,
        families: &Families,
        counter: MetricId,
        stream: Option<&Stream>,
        now: UnixTime,
    ) -> bool {
        let count = |series: &Series| {
            series.note(1);
            let tally = series.tally.as_deref().zip(families.tallies.as_ref());
            match (stream.filter(|_| tally.is_none() || self.pace.admits(now)), tally) {
                (Some(stream), _) => series.record(1, Some(stream)),
                (None, Some((tally, tallies))) => return tallies.add(tally),
                (None, None) => series.leave(families, 1),
            }
            false
        };
        self.with(counter, count).unwrap_or_default()
    }

    /// Sets a gauge, by a stream.
    pub(crate) fn record(&self, metric: MetricId, amount: u64, stream: Option<&Stream>) {
        self.with(metric, |series| {
            series.note(amount);
            series.record(amount, stream);
        });
    }

    /// Adds to a counter or sets a gauge, on the main thread.
    pub(crate) fn record_on_main(&self, families: &Families, metric: MetricId, amount: u64) {
        self.with(metric, |series| {
            series.note(amount);
            series.leave(families, amount);
        });
    }

    /// The value of a metric.
    pub(crate) fn value(&self, metric: MetricId) -> Option<u64> {
        self.with(metric, |series| series.value.load(Ordering::Relaxed))
    }

    fn with<T>(&self, MetricId(id): MetricId, read: impl FnOnce(&Series) -> T) -> Option<T> {
        usize::try_from(id).ok().and_then(|id| self.used.borrow().get(id).map(read))
    }
}

impl Series {
    fn note(&self, amount: u64) {
        if self.is_counter {
            self.value.fetch_add(amount, Ordering::Relaxed);
        } else {
            self.value.store(amount, Ordering::Relaxed);
        }
    }

    fn record(&self, amount: u64, stream: Option<&Stream>) {
        if let (Some(id), Some(stream)) = (self.id, stream) {
            stream.record(self.is_counter, id, &self.labels, amount);
        }
    }

    fn leave(&self, families: &Families, amount: u64) {
        if let Some(id) = self.id {
            families.leave(id, &self.labels, self.is_counter, amount);
        }
    }
}

fn value(name: &str) -> Arc<AtomicU64> {
    let mut values = lock(&VALUES);
    match values.get(name) {
        Some(value) => value.clone(),
        None => {
            let value = Arc::<AtomicU64>::default();
            if values.len() < MAX_VALUES {
                values.insert(name.to_owned(), value.clone());
            }
            value
        }
    }
}
