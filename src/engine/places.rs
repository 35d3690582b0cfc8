//! Limits the number of waiting requests. A slow provider, directory or store must not take the
//! places of requests that wait for another.

use crate::provider::ProviderId;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    /// The keys of a provider.
    Keys(ProviderId),
    /// The record of its user in the directory.
    User,
    /// The store that spends its single-use token.
    SingleUse,
    /// Its turn to be verified: its token names no key, and others are ahead.
    Turn,
}

/// The limits on waiting requests.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Everything that requests can wait for, except turns.
    awaited: Vec<Awaited>,
    /// Places reserved for each of them.
    reserved: usize,
    /// Places shared by all.
    shared: usize,
    /// Places for requests that wait for their turn.
    turns: usize,
}

impl Places {
    /// `max` places, half of them reserved in equal shares for each element of `awaited`; and
    /// `turns` further places for turns. Each has at least one place.
    #[must_use]
    pub(super) fn new(
        max: usize,
        turns: usize,
        awaited: impl IntoIterator<Item = Awaited>,
    ) -> Self {
        let awaited: Vec<Awaited> = awaited.into_iter().collect();
        let count = awaited.len().max(1);
        let reserved = (max / 2 / count).max(1);
        let shared = max.saturating_sub(reserved * count);
        Self { awaited, reserved, shared, turns: turns.max(1) }
    }

    /// Whether another request may wait for `awaited`. `taken` gives the number of waiting
    /// requests.
    #[must_use]
    pub(super) fn has_room(&self, awaited: Awaited, taken: impl Fn(Awaited) -> usize) -> bool {
        if awaited == Awaited::Turn {
            return taken(awaited) < self.turns;
        }
        let borrowed = |other: &Awaited| taken(*other).saturating_sub(self.reserved);
        taken(awaited) < self.reserved
            || self.awaited.iter().map(borrowed).sum::<usize>() < self.shared
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Awaited; 4] = [keys(0), keys(7), Awaited::User, Awaited::SingleUse];

    const fn keys(provider: usize) -> Awaited {
        Awaited::Keys(ProviderId::from_index(provider))
    }

    /// The service that each request waits for.
    #[derive(Default)]
    struct Waiting(BTreeMap<u32, Awaited>);

    impl Waiting {
        fn taken(&self, awaited: Awaited) -> usize {
            self.0.values().filter(|candidate| **candidate == awaited).count()
        }
    }

    /// Adds requests that wait for `awaited` until there is no room. Returns their number.
    fn fill(waiting: &mut Waiting, places: &Places, awaited: Awaited) -> usize {
        let first = u32::try_from(waiting.0.len()).unwrap();
        let mut taken = waiting.taken(awaited);
        let others: BTreeMap<Awaited, usize> =
            ALL.into_iter().map(|other| (other, waiting.taken(other))).collect();
        (first..)
            .take_while(|id| {
                let has_room = places.has_room(awaited, |asked| match asked == awaited {
                    true => taken,
                    false => others.get(&asked).copied().unwrap_or_default(),
                });
                if has_room {
                    waiting.0.insert(*id, awaited);
                    taken += 1;
                }
                has_room
            })
            .count()
    }

    #[test]
    fn a_single_service_gets_all_places() {
        for awaited in ALL {
            let places = Places::new(4096, 512, [awaited]);
            let mut waiting = Waiting::default();
            assert_eq!(fill(&mut waiting, &places, awaited), 4096);
            assert_eq!(fill(&mut waiting, &places, Awaited::Turn), 512);
        }
    }

    #[test]
    fn a_service_that_fills_its_places_leaves_those_of_the_others() {
        for slow in ALL {
            let places = Places::new(32, 4, ALL);
            let mut waiting = Waiting::default();
            assert_eq!(fill(&mut waiting, &places, slow), 4 + 16);
            for other in ALL.into_iter().filter(|other| *other != slow) {
                assert_eq!(fill(&mut waiting, &places, other), 4, "{other:?}");
            }
            assert_eq!(fill(&mut waiting, &places, slow), 0);
        }
    }

    #[test]
    fn each_service_has_a_place_even_if_there_are_more_services_than_places() {
        let providers: Vec<Awaited> = (0..10).map(keys).collect();
        let places = Places::new(4, 0, providers.clone());
        let mut waiting = Waiting::default();
        for awaited in providers.into_iter().chain([Awaited::Turn]) {
            assert_eq!(fill(&mut waiting, &places, awaited), 1);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(1000)
        })]

        #[test]
        fn no_more_requests_wait_than_there_are_places_and_no_share_is_lost(
            max in 4..40_usize,
            steps in vec((0..60_u32, 0..5_usize), 0..300),
        ) {
            let places = Places::new(max, 3, ALL);
            let mut waiting = Waiting::default();
            for (id, kind) in steps {
                // The remaining step: a request leaves its place.
                let Some(awaited) = ALL.get(kind).copied() else {
                    waiting.0.remove(&id);
                    continue;
                };
                // A request that now waits for something else has left its place.
                waiting.0.remove(&id);
                let taken = waiting.taken(awaited);
                let has_room = places.has_room(awaited, |awaited| waiting.taken(awaited));
                prop_assert!(has_room || taken >= max / 2 / ALL.len());
                if has_room {
                    waiting.0.insert(id, awaited);
                }
                let all: usize = ALL.into_iter().map(|awaited| waiting.taken(awaited)).sum();
                prop_assert!(all <= max);
                prop_assert_eq!(all, waiting.0.len());
            }
        }
    }
}
