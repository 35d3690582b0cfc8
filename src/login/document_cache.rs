//! The cache of client ID metadata documents.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::client::{Client, DocumentUrl};
use super::client_document::DocumentFault;
use crate::time::UnixTime;

/// Documents that were fetched in the last minutes. A sender of ever new URLs causes a bounded
/// number of fetches, and evicts a bounded number of documents.
#[derive(Debug, Default)]
pub(crate) struct DocumentCache {
    documents: BTreeMap<DocumentUrl, Document>,
    /// Fetches of the last minute, the oldest first.
    recent: VecDeque<UnixTime>,
}

#[derive(Debug)]
enum Document {
    Fetching,
    Fetched(Result<Rc<Client>, DocumentFault>, UnixTime),
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
    /// Maximum number of documents.
    const MAX_COUNT: usize = 64;
    /// Maximum number of fetches per minute.
    const MAX_FETCHES: usize = 60;
    const MINUTE: Duration = Duration::from_secs(60);
    /// How long a document is used.
    const MAX_AGE: Duration = Duration::from_secs(300);
    /// Pause after a fetch that failed.
    const COOLDOWN: Duration = Duration::from_secs(30);

    /// Looks a document up.
    pub(crate) fn look_up(&mut self, url: &DocumentUrl, now: UnixTime) -> DocumentLookup {
        match self.documents.get(url) {
            Some(Document::Fetching) => return DocumentLookup::Await,
            Some(Document::Fetched(Ok(client), at)) if now < *at + Self::MAX_AGE => {
                return DocumentLookup::Known(client.clone());
            }
            Some(Document::Fetched(Err(fault), at)) if now < *at + Self::COOLDOWN => {
                return DocumentLookup::Failed(fault.clone());
            }
            Some(Document::Fetched(..)) | None => {}
        }
        while self.recent.front().is_some_and(|at| now >= *at + Self::MINUTE) {
            self.recent.pop_front();
        }
        if self.recent.len() >= Self::MAX_FETCHES || !self.make_room() {
            return DocumentLookup::Busy;
        }
        self.recent.push_back(now);
        self.documents.insert(url.clone(), Document::Fetching);
        DocumentLookup::Fetch
    }

    /// A fetch has ended.
    pub(crate) fn on_fetched(
        &mut self,
        url: DocumentUrl,
        result: Result<Client, DocumentFault>,
        now: UnixTime,
    ) {
        self.documents.insert(url, Document::Fetched(result.map(Rc::new), now));
    }

    /// Forgets the oldest document if there are too many. Returns false if all are being fetched.
    fn make_room(&mut self) -> bool {
        if self.documents.len() < Self::MAX_COUNT {
            return true;
        }
        let fetched = self.documents.iter().filter_map(|(url, document)| match document {
            Document::Fetched(_, at) => Some((*at, url.clone())),
            Document::Fetching => None,
        });
        let oldest = fetched.min();
        oldest.is_some_and(|(_, url)| self.documents.remove(&url).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::ClientIdentity;
    use super::super::visit::tests::NOW;
    use super::*;

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
    fn a_document_serves_for_five_minutes_and_a_failure_for_half_a_minute() {
        let mut cache = DocumentCache::default();
        assert_eq!(cache.look_up(&url(1), NOW), DocumentLookup::Fetch);
        assert_eq!(cache.look_up(&url(1), NOW), DocumentLookup::Await);
        cache.on_fetched(url(1), Ok(client()), NOW);
        let known = DocumentLookup::Known(Rc::new(client()));
        assert_eq!(cache.look_up(&url(1), after(299)), known);
        assert_eq!(cache.look_up(&url(1), after(300)), DocumentLookup::Fetch);
        let fault = DocumentFault::OtherClient;
        cache.on_fetched(url(1), Err(fault.clone()), after(300));
        assert_eq!(cache.look_up(&url(1), after(329)), DocumentLookup::Failed(fault));
        assert_eq!(cache.look_up(&url(1), after(330)), DocumentLookup::Fetch);
    }

    #[test]
    fn strangers_cause_a_bounded_number_of_fetches_and_documents() {
        let mut cache = DocumentCache::default();
        let mut fetches = 0;
        for index in 0..1000 {
            match cache.look_up(&url(index), NOW) {
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
                assert_eq!(cache.look_up(&url, after(60 * minute)), DocumentLookup::Fetch);
                cache.on_fetched(url, Ok(client()), after(60 * minute));
            }
        }
        assert!(cache.documents.len() <= DocumentCache::MAX_COUNT);
    }

    #[test]
    fn documents_that_never_come_leave_room_for_no_more_than_there_is() {
        let mut cache = DocumentCache::default();
        let mut fetches = 0;
        for minute in 0..3_u64 {
            for index in 0..60 {
                let url = url(1000 * usize::try_from(minute).unwrap() + index);
                let found = cache.look_up(&url, after(60 * minute));
                fetches += usize::from(found == DocumentLookup::Fetch);
            }
        }
        assert_eq!(fetches, DocumentCache::MAX_COUNT);
    }
}
