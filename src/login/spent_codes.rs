//! The logins whose code was exchanged.

use std::collections::BTreeMap;

use super::callback::ClientCode;
use super::visit::Nonce;
use crate::time::UnixTime;

/// The logins whose code the provider has redeemed or refused. A code serves once (RFC 6749 §4.1.2),
/// so the provider is not asked again while that code lives.
#[derive(Debug, Default)]
pub(crate) struct SpentCodes(BTreeMap<Nonce, UnixTime>);

impl SpentCodes {
    /// Maximum number of logins. Beyond, the provider itself has to refuse the oldest ones.
    const MAX_COUNT: usize = 4096;

    /// Whether the code of this login was exchanged.
    #[must_use]
    pub(crate) fn contains(&self, nonce: &Nonce, now: UnixTime) -> bool {
        self.0.get(nonce).is_some_and(|end| now < *end)
    }

    /// The code of this login was exchanged.
    pub(crate) fn insert(&mut self, nonce: Nonce, now: UnixTime) {
        if self.0.len() >= Self::MAX_COUNT {
            self.0.retain(|_, end| now < *end);
        }
        if self.0.len() >= Self::MAX_COUNT {
            let oldest = self.0.iter().min_by_key(|(_, end)| **end).map(|(nonce, _)| nonce.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(nonce, now + ClientCode::LIFE);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::visit::tests::NOW;
    use super::*;

    fn nonce(index: usize) -> Nonce {
        serde_json::from_value(serde_json::json!(index.to_string())).unwrap()
    }

    #[test]
    fn a_code_is_spent_for_as_long_as_it_lives() {
        let mut spent = SpentCodes::default();
        assert!(!spent.contains(&nonce(1), NOW));
        spent.insert(nonce(1), NOW);
        assert!(spent.contains(&nonce(1), NOW + Duration::from_secs(59)));
        assert!(!spent.contains(&nonce(1), NOW + Duration::from_secs(60)));
        assert!(!spent.contains(&nonce(2), NOW));
    }

    #[test]
    fn a_flood_of_codes_displaces_the_oldest() {
        let mut spent = SpentCodes::default();
        for index in 0..=SpentCodes::MAX_COUNT {
            let at = if index == 0 { NOW } else { NOW + Duration::from_secs(1) };
            spent.insert(nonce(index), at);
        }
        assert_eq!(spent.0.len(), SpentCodes::MAX_COUNT);
        assert!(!spent.contains(&nonce(0), NOW) && spent.contains(&nonce(1), NOW));
        spent.insert(nonce(0), NOW + Duration::from_secs(61));
        assert_eq!(spent.0.len(), 1, "those that expired are dropped first");
    }
}
