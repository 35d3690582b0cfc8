//! Limits the time that a worker spends on verifying signatures.

use std::cell::Cell;

use crate::time::UnixTime;

/// A token bucket for verifications, in the unit of
/// [`SignatureVerifier::cost`](crate::jose::SignatureVerifier::cost): about 0.1 ms of thread time.
///
/// A token without key id may fit eight keys. The first is always tried. Trying the others, if
/// expensive, draws on a budget that all such tokens share. When it is used up they take turns,
/// longest waiting first.
#[derive(Debug)]
pub(crate) struct VerificationBudget {
    /// Total cost so far.
    spent: Cell<u64>,
    capacity: u64,
    left: Cell<u64>,
    refilled: Cell<UnixTime>,
    /// Whether all further payments must wait.
    is_closed: Cell<bool>,
}

impl VerificationBudget {
    /// Largest budget: 64 verifications with RSA keys of 2048 bits, more than any single one costs.
    const CAPACITY: u64 = 512;
    /// Income per millisecond: a fifth of the thread's time.
    const PER_MILLI: u64 = 2;

    /// A full budget.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// A budget without limit, for judging single tokens offline.
    #[must_use]
    pub(crate) fn unlimited() -> Self {
        Self::with_capacity(u64::MAX)
    }

    fn with_capacity(capacity: u64) -> Self {
        Self {
            spent: Cell::new(0),
            capacity,
            left: Cell::new(capacity),
            refilled: Cell::new(UnixTime::default()),
            is_closed: Cell::new(false),
        }
    }

    /// True when a verification of this cost is free: RS* and ES256 by the host.
    #[must_use]
    pub(crate) fn is_cheap(cost: u32) -> bool {
        cost <= 1
    }

    /// Counts a verification that is free.
    pub(crate) fn charge(&self, cost: u32) {
        self.spent.set(self.spent.get().saturating_add(cost.into()));
    }

    /// Pays for a verification. False if it must wait; then all later payments wait too.
    #[must_use]
    pub(crate) fn pay(&self, cost: u32, now: UnixTime) -> bool {
        if self.is_closed.get() {
            return false;
        }
        self.refill(now);
        match self.left.get().checked_sub(cost.into()) {
            Some(left) => {
                self.left.set(left);
                self.charge(cost);
                true
            }
            None => {
                self.is_closed.set(true);
                false
            }
        }
    }

    /// Total cost so far.
    #[must_use]
    pub(crate) fn spent(&self) -> u64 {
        self.spent.get()
    }

    /// True while all payments must wait.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Allows or stops further payments.
    pub(crate) fn set_closed(&self, is_closed: bool) {
        self.is_closed.set(is_closed);
    }

    /// Adds the income since the last call; none if the clock was set back.
    fn refill(&self, now: UnixTime) {
        let passed = now.as_millis().saturating_sub(self.refilled.get().as_millis());
        let left = self.left.get().saturating_add(passed.saturating_mul(Self::PER_MILLI));
        self.left.set(left.min(self.capacity));
        self.refilled.set(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn start() -> UnixTime {
        UnixTime::from_secs(1_800_000_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(2000)
        })]

        #[test]
        fn no_more_is_spent_than_was_saved_and_refilled(
            steps in vec((0..20_u64, 1..100_u32), 0..200),
        ) {
            let budget = VerificationBudget::new();
            let (mut now, mut paid) = (start(), 0);
            for (passed, cost) in steps {
                now = now + Duration::from_millis(passed);
                budget.set_closed(false);
                if budget.pay(cost, now) {
                    paid += u64::from(cost);
                }
                let came_in = u64::try_from(now.since(start()).as_millis()).unwrap() * 2;
                prop_assert!(paid <= VerificationBudget::CAPACITY + came_in);
                prop_assert_eq!(budget.spent(), paid);
            }
        }
    }

    #[test]
    fn a_token_that_cannot_pay_makes_later_ones_wait() {
        let budget = VerificationBudget::new();
        assert!(budget.pay(500, start()));
        assert!(!budget.pay(32, start()));
        // The budget would have been enough for this one.
        assert!(!budget.pay(8, start()) && budget.is_closed());
        budget.set_closed(false);
        assert!(budget.pay(8, start()));
        assert!(!budget.pay(32, start() + Duration::from_millis(13)));
        budget.set_closed(false);
        assert!(budget.pay(32, start() + Duration::from_millis(14)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_budget() {
        let budget = VerificationBudget::new();
        assert!(budget.pay(512, start()));
        let earlier = start() - Duration::from_secs(3600);
        assert!(!budget.pay(8, earlier));
        budget.set_closed(false);
        assert!(budget.pay(8, earlier + Duration::from_millis(4)));
    }

    #[test]
    fn free_verifications_are_counted_and_cost_nothing() {
        let budget = VerificationBudget::new();
        budget.charge(1000);
        assert!(budget.pay(512, start()));
        assert_eq!(budget.spent(), 1512);
    }
}
