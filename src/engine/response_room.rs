//! How much of the responses that are read a worker keeps.

/// The bytes that a worker keeps of all responses together.
#[derive(Debug, Default)]
pub(super) struct ResponseRoom {
    held: usize,
}

impl ResponseRoom {
    /// What all responses together may hold, in bytes, before they are limited.
    const MAX_HELD: usize = 64 << 20;
    /// What each of them may hold even then.
    const MIN_ROOM: usize = 16 << 10;

    /// How much one may keep that keeps this much now, if `max` is its own limit.
    pub(super) fn of_one(&self, held: usize, max: usize) -> usize {
        let others = self.held.saturating_sub(held);
        max.min(Self::MAX_HELD.saturating_sub(others).max(Self::MIN_ROOM))
    }

    /// One that kept `before` keeps `after`.
    pub(super) fn change(&mut self, before: usize, after: usize) {
        self.held = self.held.saturating_sub(before).saturating_add(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_response_has_the_room_that_the_others_leave() {
        const MAX: usize = 1 << 20;
        let mut room = ResponseRoom::default();
        assert_eq!(room.of_one(0, MAX), MAX);
        for _ in 0..64 {
            room.change(0, MAX);
        }
        assert_eq!(room.of_one(0, MAX), ResponseRoom::MIN_ROOM);
        // A response's own share is not taken from it.
        assert_eq!(room.of_one(MAX, MAX), MAX);
        room.change(MAX, 0);
        assert_eq!(room.of_one(0, MAX), MAX);
        room.change(0, MAX - 20_000);
        assert_eq!(room.of_one(0, MAX), 20_000);
        assert_eq!(room.of_one(0, 5), 5);
    }
}
