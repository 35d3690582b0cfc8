//! Tracks which keys a token was tried with, so that none is tried twice.

/// The progress of trying one token with the keys of one version. While `V` stays the same, so do the
/// candidate keys and their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyTrial<V> {
    version: Option<V>,
    stage: TrialStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrialStage {
    /// This number of candidates failed.
    Failed(usize),
    /// All candidates failed.
    Exhausted,
    /// A candidate verified the token.
    Verified,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialEnd {
    /// A candidate verified the token.
    Verified,
    /// All candidates failed.
    Exhausted,
    /// `verify` declined to try the next candidate now.
    Suspended,
}

impl<V> Default for KeyTrial<V> {
    fn default() -> Self {
        Self { version: None, stage: TrialStage::Failed(0) }
    }
}

impl<V: Copy + PartialEq> KeyTrial<V> {
    /// Continues with the `count` candidates of this version. `verify` gets the index of the next
    /// one; it returns `None` to suspend the trial.
    pub(super) fn run(
        &mut self,
        version: V,
        count: usize,
        mut verify: impl FnMut(usize) -> Option<bool>,
    ) -> TrialEnd {
        if self.version != Some(version) {
            *self = Self { version: Some(version), ..Self::default() };
        }
        loop {
            self.stage = match self.stage {
                TrialStage::Verified => return TrialEnd::Verified,
                TrialStage::Exhausted => return TrialEnd::Exhausted,
                TrialStage::Failed(failed) if failed >= count => TrialStage::Exhausted,
                TrialStage::Failed(failed) => match verify(failed) {
                    Some(true) => TrialStage::Verified,
                    Some(false) => TrialStage::Failed(failed + 1),
                    None => return TrialEnd::Suspended,
                },
            };
        }
    }

    /// Notes that this version has no key for the token.
    pub(super) fn exhaust(&mut self, version: V) {
        *self = Self { version: Some(version), stage: TrialStage::Exhausted };
    }

    /// True when it is known that no key of this version verifies the token.
    pub(super) fn is_exhausted(&self, version: V) -> bool {
        self.version == Some(version) && self.stage == TrialStage::Exhausted
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The maximum of keys in a version.
    const MAX_KEYS: usize = 8;

    /// The keys of each version, and which of them verifies the token.
    fn versions() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
        vec((0..=MAX_KEYS, prop_oneof![2 => Just(None), 1 => (0..MAX_KEYS).prop_map(Some)]), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(2000)
        })]

        #[test]
        fn each_key_of_a_version_is_tried_at_most_once_for_a_token(
            versions in versions(),
            allowances in vec(0..4_usize, 1..40),
        ) {
            let mut trial = KeyTrial::default();
            let mut allowances = allowances.into_iter().cycle();
            for (version, (count, good)) in versions.into_iter().enumerate() {
                let mut tries = [0; MAX_KEYS];
                // One attempt per tick while a fetch is slow.
                let mut ends = Vec::new();
                for _ in 0..50 {
                    let mut allowed = allowances.next().unwrap();
                    ends.push(trial.run(version, count, |place| {
                        allowed = allowed.checked_sub(1)?;
                        tries[place] += 1;
                        Some(good == Some(place))
                    }));
                }
                prop_assert!(tries.iter().all(|tries| *tries <= 1), "{tries:?}");
                prop_assert!(tries[count..].iter().all(|tries| *tries == 0), "{tries:?}");
                // The result of an uninterrupted trial, or `None` so far.
                let expected = match good {
                    Some(good) if good < count => TrialEnd::Verified,
                    _ => TrialEnd::Exhausted,
                };
                let is_right = |end: &TrialEnd| [expected, TrialEnd::Suspended].contains(end);
                prop_assert!(ends.iter().all(is_right), "{ends:?}, not {expected:?}");
                prop_assert!(!ends.windows(2).any(|pair| pair[1] == TrialEnd::Suspended
                    && pair[0] != TrialEnd::Suspended));
            }
        }

        #[test]
        fn verifications_are_no_more_than_tokens_times_key_versions(
            tokens in 1..20_usize,
            versions in 1..6_usize,
            order in vec(0..20_usize, 0..400),
        ) {
            let mut trials = vec![KeyTrial::default(); tokens];
            let mut verifications = 0;
            // Each version has one key; tokens are tried in any order, any number of times.
            for (step, token) in order.iter().enumerate() {
                let version = step * versions / order.len();
                let end = trials[token % tokens].run(version, 1, |_| {
                    verifications += 1;
                    Some(false)
                });
                prop_assert_eq!(end, TrialEnd::Exhausted);
            }
            prop_assert!(verifications <= tokens * versions);
        }
    }

    #[test]
    fn a_new_version_is_tried_from_the_start_whatever_the_result_of_the_previous_one() {
        for before in [Some(true), Some(false), None] {
            let mut trial = KeyTrial::default();
            trial.run(1, 3, |_| before);
            assert_eq!(trial.run(2, 2, |_| Some(false)), TrialEnd::Exhausted);
            assert!(trial.is_exhausted(2) && !trial.is_exhausted(1));
        }
    }

    #[test]
    fn a_version_without_a_matching_key_costs_nothing() {
        let mut trial = KeyTrial::default();
        assert!(!trial.is_exhausted(1));
        trial.exhaust(1);
        assert!(trial.is_exhausted(1));
        assert_eq!(trial.run(1, 1, |_| None), TrialEnd::Exhausted);
        assert_eq!(trial.run(2, 1, |_| Some(true)), TrialEnd::Verified);
        assert!(!trial.is_exhausted(1) && !trial.is_exhausted(2));
    }
}
