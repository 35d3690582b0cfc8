//! Carries out the life of one provider's keys: shared data and calls.

use log::{info, warn};
use proxy_wasm::hostcalls;

use super::host;
use crate::keys::{
    Demand, Fetch, FetchFault, KeyState, Progress, ProviderKeys, Published, RemoteSource,
    SharedNames, decode_key_set, decode_state, encode_key_set, encode_state,
};
use crate::time::UnixTime;

/// Fetches the keys of one provider when this worker is the one to do it, and reads what the
/// others fetched.
pub(super) struct KeyFetcher {
    provider: String,
    source: RemoteSource,
    names: SharedNames,
    /// Tells this worker's leases from those of others.
    holder: u64,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    fetch: Fetch,
    call: u32,
    url: String,
}

impl KeyFetcher {
    pub(super) fn new(provider: &str, source: &RemoteSource) -> Self {
        Self {
            provider: provider.to_owned(),
            source: source.clone(),
            names: SharedNames::of(source),
            holder: host::random(),
            under_way: None,
        }
    }

    /// The longest that a request waits for keys.
    pub(super) fn longest_wait(&self) -> std::time::Duration {
        self.source.longest_wait()
    }

    /// True when `call` is a call of this fetcher that is not answered yet.
    pub(super) fn awaits(&self, call: u32) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.call == call)
    }

    /// Takes over what the workers know together.
    pub(super) fn synchronise(&self, keys: &mut ProviderKeys) {
        let (bytes, _) = hostcalls::get_shared_data(&self.names.state).unwrap_or_default();
        let state = bytes.as_deref().and_then(decode_state).unwrap_or_default();
        let Some(published) = keys.observe(state) else { return };
        let (bytes, _) = hostcalls::get_shared_data(&self.names.key_set).unwrap_or_default();
        let set = bytes.and_then(|bytes| decode_key_set(published, &bytes, &self.source));
        if let Some(set) = set {
            keys.hold(published, set);
        }
    }

    /// Starts a fetch, if there should be one and no other worker is faster.
    pub(super) fn fetch(&mut self, demand: Demand, keys: &mut ProviderKeys, now: UnixTime) {
        if !keys.state().may_fetch(demand, &self.source.settings, now) {
            return;
        }
        let claimed = self.replace_state(|state| {
            let next = state.claimed(demand, self.holder, &self.source.settings, now)?;
            Some((next.clone(), next))
        });
        let Some(state) = claimed else { return };
        let (fetch, progress) = Fetch::start(&self.source, &state, now);
        keys.observe(state);
        self.proceed(fetch, progress, String::new(), keys, now);
    }

    /// Takes the answer to a call.
    pub(super) fn on_call_answer(
        &mut self,
        header_count: usize,
        body_length: usize,
        keys: &mut ProviderKeys,
        now: UnixTime,
    ) {
        let Some(UnderWay { mut fetch, url, .. }) = self.under_way.take() else { return };
        let limit = self.source.settings.max_body;
        let answer = host::call_answer(header_count, body_length, limit);
        let progress = fetch.answered(answer, &self.source, now);
        self.proceed(fetch, progress, url, keys, now);
    }

    /// `url` is what was called last.
    fn proceed(
        &mut self,
        fetch: Fetch,
        progress: Progress,
        url: String,
        keys: &mut ProviderKeys,
        now: UnixTime,
    ) {
        match progress {
            Progress::Call(endpoint, timeout) => {
                let called = hostcalls::dispatch_http_call(
                    endpoint.cluster(),
                    endpoint.get_request(),
                    None,
                    vec![],
                    timeout,
                );
                let url = endpoint.to_string();
                match called {
                    Ok(call) => self.under_way = Some(UnderWay { fetch, call, url }),
                    // No answer will be reported for this call.
                    Err(_) => {
                        let cluster = endpoint.cluster().to_owned();
                        self.fail(&FetchFault::Dispatch { cluster }, &url, keys, now);
                    }
                }
            }
            Progress::Done(fetched) => {
                let names: Vec<&str> = fetched.key_set.kids().take(20).collect();
                info!(
                    "provider {}: fetched keys {names:?} from {url}, valid for {} s ({} dropped)",
                    self.provider,
                    fetched.lifetime.as_secs(),
                    fetched.key_set.dropped(),
                );
                let published = self.replace_state(|state| {
                    let (next, published) = state.succeeded(
                        self.holder,
                        fetched.discovered.clone(),
                        fetched.lifetime,
                        &self.source.settings,
                        host::random(),
                        now,
                    )?;
                    self.write_key_set(published, &fetched.document)?;
                    Some((next.clone(), (next, published)))
                });
                if let Some((state, published)) = published {
                    keys.observe(state);
                    keys.hold(published, fetched.key_set);
                }
            }
            Progress::Failed(fault) => self.fail(&fault, &url, keys, now),
        }
    }

    fn fail(&self, fault: &FetchFault, url: &str, keys: &mut ProviderKeys, now: UnixTime) {
        let failed = self.replace_state(|state| {
            let next = state.failed(self.holder, &self.source.settings, host::random(), now)?;
            Some((next.clone(), next))
        });
        if let Some(state) = failed {
            warn!(
                "provider {}: no keys from {url}: {fault}; next try in {} s",
                self.provider,
                state.retry_after(now).as_secs(),
            );
            keys.observe(state);
        }
    }

    /// Replaces the shared state by what `transition` makes of it, and returns what it returned
    /// beside; none when it wants no change, or others keep changing it.
    fn replace_state<T>(
        &self,
        transition: impl Fn(&KeyState) -> Option<(KeyState, T)>,
    ) -> Option<T> {
        /// More than the workers that could get in between.
        const ATTEMPTS: usize = 64;
        /// Matches no value's number. The host ignores it while there is no value, and so the first
        /// to come creates one.
        const ONLY_IF_ABSENT: u32 = u32::MAX;
        for _ in 0..ATTEMPTS {
            let (bytes, cas) = hostcalls::get_shared_data(&self.names.state).ok()?;
            if cas.is_none() {
                let empty = encode_state(&KeyState::default());
                let _ = hostcalls::set_shared_data(
                    &self.names.state,
                    Some(&empty),
                    Some(ONLY_IF_ABSENT),
                );
                continue;
            }
            let state = bytes.as_deref().and_then(decode_state).unwrap_or_default();
            let (next, result) = transition(&state)?;
            if hostcalls::set_shared_data(&self.names.state, Some(&encode_state(&next)), cas)
                .is_ok()
            {
                return Some(result);
            }
        }
        None
    }

    fn write_key_set(&self, published: Published, document: &[u8]) -> Option<()> {
        let bytes = encode_key_set(published, document);
        hostcalls::set_shared_data(&self.names.key_set, Some(&bytes), None).ok()
    }
}
