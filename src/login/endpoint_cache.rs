//! The endpoints of one provider, fetched when a login needs them.

use std::rc::Rc;
use std::time::Duration;

use super::discovery::{DiscoveryFault, ProviderEndpoints};
use crate::time::UnixTime;

/// What is known about a provider's endpoints. At most one fetch is in progress; only the login that
/// begins it waits for it while older endpoints can be used.
#[derive(Debug, Default)]
pub(crate) struct EndpointCache {
    endpoints: Option<(Rc<ProviderEndpoints>, UnixTime)>,
    failure: Option<(DiscoveryFault, UnixTime)>,
    /// When the fetch in progress is given up.
    fetching: Option<UnixTime>,
}

/// The result of looking up a provider's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointLookup {
    Known(Rc<ProviderEndpoints>),
    /// They must be fetched; then [`EndpointCache::on_fetched`] must be called.
    Fetch,
    /// A fetch is in progress.
    Await,
    /// A fetch failed a moment ago.
    Failed(DiscoveryFault),
}

impl EndpointCache {
    /// How long they are used before the document is fetched again.
    const MAX_AGE: Duration = Duration::from_secs(600);
    /// How long they are used while the document cannot be fetched.
    const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
    /// Pause after a fetch that failed.
    const COOLDOWN: Duration = Duration::from_secs(10);

    /// Looks the endpoints up. After `patience`, a fetch counts as lost and another one may start.
    pub(crate) fn look_up(&mut self, now: UnixTime, patience: Duration) -> EndpointLookup {
        let known = self.endpoints.as_ref();
        let usable = |limit| known.filter(|(_, fetched)| now < *fetched + limit);
        if let Some((endpoints, _)) = usable(Self::MAX_AGE) {
            return EndpointLookup::Known(endpoints.clone());
        }
        let stale = usable(Self::MAX_STALE).map(|(endpoints, _)| endpoints.clone());
        if self.fetching.is_some_and(|deadline| now < deadline) {
            return stale.map_or(EndpointLookup::Await, EndpointLookup::Known);
        }
        match &self.failure {
            Some((fault, failed)) if now < *failed + Self::COOLDOWN => {
                stale.map_or_else(|| EndpointLookup::Failed(fault.clone()), EndpointLookup::Known)
            }
            _ => {
                self.fetching = Some(now + patience);
                EndpointLookup::Fetch
            }
        }
    }

    /// A fetch has ended.
    pub(crate) fn on_fetched(
        &mut self,
        result: Result<ProviderEndpoints, DiscoveryFault>,
        now: UnixTime,
    ) {
        self.fetching = None;
        match result {
            Ok(endpoints) => {
                self.endpoints = Some((Rc::new(endpoints), now));
                self.failure = None;
            }
            Err(fault) => self.failure = Some((fault, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::visit::tests::{NOW, endpoints};
    use super::*;
    use crate::callout::CalloutFault;

    const PATIENCE: Duration = Duration::from_secs(7);

    fn after(seconds: u64) -> UnixTime {
        NOW + Duration::from_secs(seconds)
    }

    fn fault() -> DiscoveryFault {
        DiscoveryFault::Callout(CalloutFault::NoResponse)
    }

    #[test]
    fn one_fetch_is_enough_for_all_logins_in_ten_minutes() {
        let mut cache = EndpointCache::default();
        assert_eq!(cache.look_up(NOW, PATIENCE), EndpointLookup::Fetch);
        assert_eq!(cache.look_up(NOW, PATIENCE), EndpointLookup::Await);
        cache.on_fetched(Ok(endpoints()), NOW);
        let known = EndpointLookup::Known(Rc::new(endpoints()));
        assert_eq!(cache.look_up(after(599), PATIENCE), known);
        assert_eq!(cache.look_up(after(600), PATIENCE), EndpointLookup::Fetch);
        assert_eq!(cache.look_up(after(600), PATIENCE), known, "other logins do not wait");
    }

    #[test]
    fn a_fetch_that_never_ends_stops_no_other() {
        let mut cache = EndpointCache::default();
        assert_eq!(cache.look_up(NOW, PATIENCE), EndpointLookup::Fetch);
        assert_eq!(cache.look_up(after(6), PATIENCE), EndpointLookup::Await);
        assert_eq!(cache.look_up(after(7), PATIENCE), EndpointLookup::Fetch);
    }

    #[test]
    fn after_a_failure_not_every_login_causes_a_fetch() {
        let mut cache = EndpointCache::default();
        assert_eq!(cache.look_up(NOW, PATIENCE), EndpointLookup::Fetch);
        cache.on_fetched(Err(fault()), NOW);
        assert_eq!(cache.look_up(after(9), PATIENCE), EndpointLookup::Failed(fault()));
        assert_eq!(cache.look_up(after(10), PATIENCE), EndpointLookup::Fetch);
    }

    #[test]
    fn known_endpoints_are_used_for_a_day_while_the_provider_is_down() {
        let mut cache = EndpointCache::default();
        cache.look_up(NOW, PATIENCE);
        cache.on_fetched(Ok(endpoints()), NOW);
        for (seconds, is_known) in [(3600, true), (24 * 3600, false)] {
            assert_eq!(cache.look_up(after(seconds), PATIENCE), EndpointLookup::Fetch);
            cache.on_fetched(Err(fault()), after(seconds));
            let found = cache.look_up(after(seconds), PATIENCE);
            assert_eq!(matches!(found, EndpointLookup::Known(_)), is_known, "{seconds}");
        }
    }
}
