//! The cache of client ID metadata documents.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::client::{Client, DocumentUrl};
use super::client_document::DocumentFault;
use crate::time::UnixTime;

/// The documents that logins need. A sender of ever new URLs causes a bounded number of fetches, and
/// neither evicts nor delays documents that were read before.
#[derive(Debug, Default)]
pub(crate) struct DocumentCache {
    /// Those that were read.
    known: BTreeMap<DocumentUrl, KnownDocument>,
    /// Those that could not be read the last time, and when that was.
    failures: BTreeMap<DocumentUrl, (DocumentFault, UnixTime)>,
    /// Those that are being fetched, and when each fetch is given up.
    fetching: BTreeMap<DocumentUrl, UnixTime>,
    /// Fetches of unknown documents in the last minute by host, the oldest first. There are as many
    /// hosts as the configuration names.
    recent: BTreeMap<String, VecDeque<UnixTime>>,
}

#[derive(Debug)]
struct KnownDocument {
    client: Rc<Client>,
    fetched: UnixTime,
    used: UnixTime,
}

/// The result of looking up a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocumentLookup {
    Known(Rc<Client>),
    /// It must be fetched; then [`DocumentCache::on_fetched`] must be called.
    Fetch,
    /// A fetch is in progress.
    Await,
    /// A fetch failed a moment ago.
    Failed(DocumentFault),
    /// Too many documents were asked for.
    Busy,
}

impl DocumentCache {
    /// Maximum number of documents that were read, of failures, and of simultaneous fetches of
    /// unknown documents of a host.
    const MAX_COUNT: usize = 64;
    /// Maximum number of fetches of unknown documents of a host per minute: ten times what
    /// `envoy/login.yaml` allows one address.
    const MAX_FETCHES: usize = 600;
    const MINUTE: Duration = Duration::from_secs(60);
    /// How long a document is used without a look at its host.
    const MAX_AGE: Duration = Duration::from_secs(300);
    /// How long it is used while its host is out of order.
    const MAX_STALE: Duration = Duration::from_secs(1800);
    /// Pause after a fetch that failed.
    const COOLDOWN: Duration = Duration::from_secs(30);

    /// Looks a document up. After `patience`, a fetch counts as lost and another one may start.
    pub(crate) fn look_up(
        &mut self,
        url: &DocumentUrl,
        now: UnixTime,
        patience: Duration,
    ) -> DocumentLookup {
        let mut known = self.known.get_mut(url);
        let is_recent = known.as_ref().is_some_and(|known| now < known.fetched + Self::MAX_AGE);
        if let (Some(known), true) = (&mut known, is_recent) {
            return Self::serve(known, now);
        }
        if self.fetching.get(url).is_some_and(|deadline| now < *deadline) {
            return DocumentLookup::Await;
        }
        let failure = self.failures.get(url);
        let is_known = known.is_some();
        match (failure.filter(|(_, at)| now < *at + Self::COOLDOWN), known) {
            (Some(_), Some(known)) if now < known.fetched + Self::MAX_STALE => {
                return Self::serve(known, now);
            }
            (Some((fault, _)), _) => return DocumentLookup::Failed(fault.clone()),
            (None, _) => {}
        }
        if !is_known {
            if !self.may_fetch_unknown(url.host(), now) {
                return DocumentLookup::Busy;
            }
            self.recent.entry(url.host().to_owned()).or_default().push_back(now);
        }
        self.fetching.insert(url.clone(), now + patience);
        DocumentLookup::Fetch
    }

    /// A fetch has ended.
    pub(crate) fn on_fetched(
        &mut self,
        url: DocumentUrl,
        result: Result<Client, DocumentFault>,
        now: UnixTime,
    ) {
        self.fetching.remove(&url);
        match result {
            Ok(client) => {
                self.failures.remove(&url);
                let document = KnownDocument { client: Rc::new(client), fetched: now, used: now };
                insert_bounded(&mut self.known, url, document, |known| known.used);
            }
            Err(fault) => {
                if !fault.is_passing() {
                    self.known.remove(&url);
                }
                insert_bounded(&mut self.failures, url, (fault, now), |(_, at)| *at);
            }
        }
    }

    fn serve(known: &mut KnownDocument, now: UnixTime) -> DocumentLookup {
        known.used = now;
        DocumentLookup::Known(known.client.clone())
    }

    fn may_fetch_unknown(&mut self, host: &str, now: UnixTime) -> bool {
        self.fetching.retain(|_, deadline| now < *deadline);
        let fetching = self.fetching.keys().filter(|url| url.host() == host);
        if fetching.count() >= Self::MAX_COUNT {
            return false;
        }
        let Some(recent) = self.recent.get_mut(host) else { return true };
        while recent.front().is_some_and(|at| now >= *at + Self::MINUTE) {
            recent.pop_front();
        }
        recent.len() < Self::MAX_FETCHES
    }
}

/// Inserts a value; the one with the earliest time makes room for it.
fn insert_bounded<T>(
    map: &mut BTreeMap<DocumentUrl, T>,
    url: DocumentUrl,
    value: T,
    time: impl Fn(&T) -> UnixTime,
) {
    map.remove(&url);
    if map.len() >= DocumentCache::MAX_COUNT {
        let oldest = map.iter().min_by_key(|(_, value)| time(value)).map(|(url, _)| url.clone());
        if let Some(oldest) = oldest {
            map.remove(&oldest);
        }
    }
    map.insert(url, value);
}

#[cfg(test)]
mod tests {
    use super::super::client::ClientIdentity;
    use super::super::visit::tests::NOW;
    use super::*;
    use crate::callout::CalloutFault;

    const PATIENCE: Duration = Duration::from_secs(7);

    fn url(index: usize) -> DocumentUrl {
        DocumentUrl::parse(&format!("https://claude.ai/{index}.json")).unwrap()
    }

    fn client() -> Client {
        Client { identity: ClientIdentity::Registered, name: None, redirect_uris: vec![] }
    }

    fn after(seconds: u64) -> UnixTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn a_document_is_cached_for_five_minutes_and_a_failure_for_half_a_minute() {
        let mut cache = DocumentCache::default();
        assert_eq!(cache.look_up(&url(1), NOW, PATIENCE), DocumentLookup::Fetch);
        assert_eq!(cache.look_up(&url(1), NOW, PATIENCE), DocumentLookup::Await);
        cache.on_fetched(url(1), Ok(client()), NOW);
        let known = DocumentLookup::Known(Rc::new(client()));
        assert_eq!(cache.look_up(&url(1), after(299), PATIENCE), known);
        assert_eq!(cache.look_up(&url(1), after(300), PATIENCE), DocumentLookup::Fetch);
        let fault = DocumentFault::OtherClient;
        cache.on_fetched(url(1), Err(fault.clone()), after(300));
        assert_eq!(cache.look_up(&url(1), after(329), PATIENCE), DocumentLookup::Failed(fault));
        assert_eq!(cache.look_up(&url(1), after(330), PATIENCE), DocumentLookup::Fetch);
    }

    #[test]
    fn a_fetch_that_never_ends_stops_no_other() {
        let mut cache = DocumentCache::default();
        assert_eq!(cache.look_up(&url(1), NOW, PATIENCE), DocumentLookup::Fetch);
        assert_eq!(cache.look_up(&url(1), after(6), PATIENCE), DocumentLookup::Await);
        assert_eq!(cache.look_up(&url(1), after(7), PATIENCE), DocumentLookup::Fetch);
        // Lost ones leave room for others.
        let urls = (0..DocumentCache::MAX_COUNT).map(|index| url(100 + index));
        let look_up = |cache: &mut DocumentCache, seconds| {
            urls.clone()
                .map(|url| cache.look_up(&url, after(seconds), PATIENCE))
                .collect::<Vec<_>>()
        };
        assert!(look_up(&mut cache, 10).contains(&DocumentLookup::Busy));
        let elsewhere = DocumentUrl::parse("https://chatgpt.com/1.json").unwrap();
        assert_eq!(cache.look_up(&elsewhere, after(10), PATIENCE), DocumentLookup::Fetch);
        assert!(!look_up(&mut cache, 20).contains(&DocumentLookup::Busy));
    }

    #[test]
    fn unknown_documents_cause_a_bounded_number_of_fetches_and_entries() {
        let mut cache = DocumentCache::default();
        let mut fetches = 0;
        for index in 0..1000 {
            match cache.look_up(&url(index), NOW, PATIENCE) {
                DocumentLookup::Fetch => {
                    fetches += 1;
                    cache.on_fetched(url(index), Ok(client()), NOW);
                }
                other => assert_eq!(other, DocumentLookup::Busy),
            }
        }
        assert_eq!(fetches, DocumentCache::MAX_FETCHES);
        for minute in 1..10_u64 {
            for index in 0..60 {
                let url = url(1000 * usize::try_from(minute).unwrap() + index);
                assert_eq!(
                    cache.look_up(&url, after(60 * minute), PATIENCE),
                    DocumentLookup::Fetch
                );
                cache.on_fetched(url, Ok(client()), after(60 * minute));
            }
        }
        assert!(cache.known.len() <= DocumentCache::MAX_COUNT);
        for index in 0..1000 {
            cache.on_fetched(url(index), Err(DocumentFault::OtherClient), NOW);
        }
        assert!(cache.failures.len() <= DocumentCache::MAX_COUNT);
    }

    #[test]
    fn documents_that_never_arrive_use_a_bounded_number_of_places() {
        let mut cache = DocumentCache::default();
        let mut fetches = 0;
        for minute in 0..3_u64 {
            for index in 0..60 {
                let url = url(1000 * usize::try_from(minute).unwrap() + index);
                let found = cache.look_up(&url, after(60 * minute), Duration::from_secs(3600));
                fetches += usize::from(found == DocumentLookup::Fetch);
            }
        }
        assert_eq!(fetches, DocumentCache::MAX_COUNT);
    }

    /// Requests this many unknown documents, none of which exists.
    fn flood(cache: &mut DocumentCache, count: usize, now: UnixTime) {
        for index in 0..count {
            let url = url(100_000 + index);
            if cache.look_up(&url, now, PATIENCE) == DocumentLookup::Fetch {
                cache.on_fetched(url, Err(DocumentFault::NotAnObject), now);
            }
        }
    }

    #[test]
    fn a_flood_of_unknown_documents_does_not_affect_a_known_one() {
        let mut cache = DocumentCache::default();
        cache.look_up(&url(1), NOW, PATIENCE);
        cache.on_fetched(url(1), Ok(client()), NOW);
        let known = DocumentLookup::Known(Rc::new(client()));
        for minute in 0..4 {
            flood(&mut cache, 700, after(60 * minute));
            assert_eq!(cache.look_up(&url(1), after(60 * minute + 1), PATIENCE), known);
        }
        flood(&mut cache, 700, after(300));
        assert_eq!(cache.look_up(&url(2), after(300), PATIENCE), DocumentLookup::Busy);
        let elsewhere = DocumentUrl::parse("https://chatgpt.com/2.json").unwrap();
        assert_eq!(cache.look_up(&elsewhere, after(300), PATIENCE), DocumentLookup::Fetch);
        assert_eq!(
            cache.look_up(&url(1), after(300), PATIENCE),
            DocumentLookup::Fetch,
            "the document is due"
        );
        cache.on_fetched(url(1), Ok(client()), after(300));
        assert_eq!(cache.look_up(&url(1), after(599), PATIENCE), known);
    }

    #[test]
    fn unknown_documents_evict_the_least_recently_used_one() {
        let mut cache = DocumentCache::default();
        for index in 0..2 {
            cache.on_fetched(url(index), Ok(client()), NOW);
        }
        for index in 2..=DocumentCache::MAX_COUNT {
            assert!(matches!(cache.look_up(&url(0), after(1), PATIENCE), DocumentLookup::Known(_)));
            cache.on_fetched(url(index), Ok(client()), after(2));
        }
        assert!(matches!(cache.look_up(&url(0), after(3), PATIENCE), DocumentLookup::Known(_)));
        assert_eq!(cache.look_up(&url(1), after(3), PATIENCE), DocumentLookup::Fetch);
    }

    #[test]
    fn a_known_document_is_used_for_half_an_hour_while_its_host_fails() {
        let out_of_order = DocumentFault::Callout(CalloutFault::NoResponse);
        let is_served = |fault: &DocumentFault, seconds| {
            let mut cache = DocumentCache::default();
            cache.on_fetched(url(1), Ok(client()), NOW);
            assert_eq!(cache.look_up(&url(1), after(seconds), PATIENCE), DocumentLookup::Fetch);
            cache.on_fetched(url(1), Err(fault.clone()), after(seconds));
            match cache.look_up(&url(1), after(seconds + 1), PATIENCE) {
                DocumentLookup::Known(_) => true,
                other => {
                    assert_eq!(other, DocumentLookup::Failed(fault.clone()));
                    false
                }
            }
        };
        assert!(is_served(&out_of_order, 300) && is_served(&out_of_order, 1798));
        assert!(!is_served(&out_of_order, 1800));
        // Its host now says that it is another document, or that there is none.
        let gone = CalloutFault::Status { status: Some(404), body: String::new() };
        assert!(!is_served(&DocumentFault::Callout(gone), 300));
        assert!(!is_served(&DocumentFault::OtherClient, 300));
    }
}
