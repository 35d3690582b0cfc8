//! Requests that wait, and the places for them. What somebody else is slow to answer must not take
//! the places of those that wait for something else.

use std::collections::BTreeMap;

use crate::provider::ProviderId;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// The keys of a provider.
    Keys(ProviderId),
    /// What the directory knows of its user.
    User,
    /// The store in which its token is spent.
    Spending,
    /// To be verified: its token names no key, and others are before it.
    Turn,
}

/// How many requests may wait.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Everything that can be waited for, but turns.
    awaited: Vec<Awaited>,
    /// Places of each of them that nothing else can take.
    reserved: usize,
    /// Places that any of them can take.
    shared: usize,
    /// Places of those that wait for their turn, and for nothing else.
    turns: usize,
}

impl Places {
    /// `max_waiting` places for all that can be waited for together, of which each has its share of one
    /// half to itself; and `turns` besides. There is at least one place for each.
    #[must_use]
    pub(crate) fn new(
        max_waiting: usize,
        turns: usize,
        awaited: impl IntoIterator<Item = Awaited>,
    ) -> Self {
        let awaited: Vec<Awaited> = awaited.into_iter().collect();
        let count = awaited.len().max(1);
        let reserved = (max_waiting / 2 / count).max(1);
        let shared = max_waiting.saturating_sub(reserved * count);
        Self { awaited, reserved, shared, turns: turns.max(1) }
    }

    /// Whether one request more may wait for `awaited`. `taken` says how many wait for what.
    #[must_use]
    pub(crate) fn has_room(&self, awaited: Awaited, taken: impl Fn(Awaited) -> usize) -> bool {
        if awaited == Awaited::Turn {
            return taken(awaited) < self.turns;
        }
        let borrowed = |other: &Awaited| taken(*other).saturating_sub(self.reserved);
        taken(awaited) < self.reserved
            || self.awaited.iter().map(borrowed).sum::<usize>() < self.shared
    }
}

/// Requests that wait, by their context ids.
#[derive(Debug)]
pub(crate) struct WaitingRoom<R> {
    waiting: BTreeMap<u32, (Awaited, R)>,
    taken: BTreeMap<Awaited, usize>,
}

impl<R> Default for WaitingRoom<R> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), taken: BTreeMap::new() }
    }
}

impl<R> WaitingRoom<R> {
    /// Lets a request wait.
    pub(crate) fn insert(&mut self, context_id: u32, awaited: Awaited, request: R) {
        self.remove(&context_id);
        self.waiting.insert(context_id, (awaited, request));
        *self.taken.entry(awaited).or_default() += 1;
    }

    /// Takes a request out.
    pub(crate) fn remove(&mut self, context_id: &u32) -> Option<R> {
        let (awaited, request) = self.waiting.remove(context_id)?;
        if let Some(taken) = self.taken.get_mut(&awaited) {
            *taken = taken.saturating_sub(1);
        }
        Some(request)
    }

    /// A request that waits.
    #[must_use]
    pub(crate) fn get(&self, context_id: u32) -> Option<&R> {
        self.waiting.get(&context_id).map(|(_, request)| request)
    }

    /// True when this request waits.
    #[must_use]
    pub(crate) fn contains_key(&self, context_id: &u32) -> bool {
        self.waiting.contains_key(context_id)
    }

    /// True when nobody waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who waits; those first who came first.
    #[must_use]
    pub(crate) fn context_ids(&self) -> Vec<u32> {
        self.waiting.keys().copied().collect()
    }

    /// How many wait for this.
    #[must_use]
    pub(crate) fn taken(&self, awaited: Awaited) -> usize {
        self.taken.get(&awaited).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Awaited; 4] = [keys(0), keys(7), Awaited::User, Awaited::Spending];

    const fn keys(provider: usize) -> Awaited {
        Awaited::Keys(ProviderId::from_index(provider))
    }

    fn fill(room: &mut WaitingRoom<()>, places: &Places, awaited: Awaited) -> usize {
        let first = u32::try_from(room.context_ids().len()).unwrap();
        let has_room =
            |room: &WaitingRoom<()>| places.has_room(awaited, |awaited| room.taken(awaited));
        (first..)
            .take_while(|id| {
                let has_room = has_room(room);
                if has_room {
                    room.insert(*id, awaited, ());
                }
                has_room
            })
            .count()
    }

    #[test]
    fn what_alone_can_be_waited_for_has_all_places() {
        for awaited in ALL {
            let places = Places::new(4096, 512, [awaited]);
            let mut room = WaitingRoom::default();
            assert_eq!(fill(&mut room, &places, awaited), 4096);
            assert_eq!(fill(&mut room, &places, Awaited::Turn), 512);
        }
    }

    #[test]
    fn whatever_fills_its_places_leaves_the_others_theirs() {
        for slow in ALL {
            let places = Places::new(32, 4, ALL);
            let mut room = WaitingRoom::default();
            assert_eq!(fill(&mut room, &places, slow), 4 + 16);
            for other in ALL.into_iter().filter(|other| *other != slow) {
                assert_eq!(fill(&mut room, &places, other), 4, "{other:?}");
            }
            assert_eq!(fill(&mut room, &places, slow), 0);
        }
    }

    #[test]
    fn there_is_a_place_for_each_even_where_there_are_more_than_places() {
        let providers: Vec<Awaited> = (0..10).map(keys).collect();
        let places = Places::new(4, 0, providers.clone());
        let mut room = WaitingRoom::default();
        for awaited in providers.into_iter().chain([Awaited::Turn]) {
            assert_eq!(fill(&mut room, &places, awaited), 1);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(1000)
        })]

        #[test]
        fn never_do_more_wait_than_there_are_places_and_no_share_is_lost(
            max_waiting in 4..40_usize,
            steps in vec((0..60_u32, 0..5_usize), 0..300),
        ) {
            let places = Places::new(max_waiting, 3, ALL);
            let mut room = WaitingRoom::default();
            for (id, kind) in steps {
                // The last one is that somebody leaves.
                let Some(awaited) = ALL.get(kind).copied() else {
                    room.remove(&id);
                    continue;
                };
                // Whoever waits for something else by now has left its place.
                room.remove(&id);
                let taken = room.taken(awaited);
                let has_room = places.has_room(awaited, |awaited| room.taken(awaited));
                prop_assert!(has_room || taken >= max_waiting / 2 / ALL.len());
                if has_room {
                    room.insert(id, awaited, ());
                }
                let all: usize = ALL.into_iter().map(|awaited| room.taken(awaited)).sum();
                prop_assert!(all <= max_waiting);
                prop_assert_eq!(all, room.context_ids().len());
            }
        }
    }
}
