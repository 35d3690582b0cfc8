//! What the root context and the requests of one worker thread share.

use std::collections::BTreeMap;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, Status};

use super::host;
use super::key_fetcher::KeyFetcher;
use super::refusal_log::RefusalLog;
use crate::authenticator::{Authenticator, Decision, Waiting};
use crate::config::Config;
use crate::jose::PureRust;
use crate::keys::{Demand, ProviderKeys};
use crate::request::RequestHead;
use crate::time::UnixTime;

/// The authenticator, the keys it judges by, and the requests that wait for keys.
pub(super) struct Worker {
    root_id: u32,
    authenticator: Authenticator,
    /// In the order of the providers.
    keys: Vec<ProviderKeys>,
    /// In the same order; none for providers whose keys stand in the configuration.
    fetchers: Vec<Option<KeyFetcher>>,
    /// By context id.
    waiting: BTreeMap<u32, WaitingRequest>,
    /// Most requests that wait at the same time.
    most_waiting: usize,
    tick_period: Option<Duration>,
    refusal_log: RefusalLog,
}

struct WaitingRequest {
    waiting: Waiting,
    deadline: UnixTime,
}

impl Worker {
    /// How often the shared state is looked at while nobody waits.
    const IDLE: Duration = Duration::from_secs(1);
    /// How often while somebody does.
    const BUSY: Duration = Duration::from_millis(20);
    /// When there is something to do that only the root context can do.
    const AT_ONCE: Duration = Duration::from_millis(1);
    /// Most requests that waited and are decided on in one go.
    const BATCH: usize = 64;
    /// Most bytes of tokens of requests that wait for keys at the same time.
    const MOST_WAITING_BYTES: usize = 32 * 1024 * 1024;

    pub(super) fn new(root_id: u32, config: Config) -> Self {
        let keys: Vec<ProviderKeys> = config
            .providers
            .iter()
            .map(|provider| ProviderKeys::new(provider.key_source.clone()))
            .collect();
        let fetchers = config
            .providers
            .iter()
            .zip(&keys)
            .map(|(provider, keys)| Some(KeyFetcher::new(&provider.name, keys.remote()?)))
            .collect();
        let mut worker = Self {
            root_id,
            most_waiting: Self::MOST_WAITING_BYTES / config.max_token_size,
            authenticator: Authenticator::new(config),
            keys,
            fetchers,
            waiting: BTreeMap::new(),
            tick_period: None,
            refusal_log: RefusalLog::default(),
        };
        if worker.fetchers.iter().any(Option::is_some) {
            // Clusters may not be ready while plugins are configured: the first fetch waits for a
            // tick.
            worker.tick_every(Self::AT_ONCE);
        }
        worker
    }

    /// The headers of a request arrived; it is the one in hand.
    pub(super) fn on_request(&mut self, context_id: u32) -> Action {
        let (Some(now), Ok(fields)) = (host::now(), host::request_fields()) else {
            return Self::break_off();
        };
        let head = RequestHead::new(&fields);
        let mut decision = self.authenticator.decide(head, &self.keys, &PureRust, now);
        if let Decision::AwaitKeys(waiting) = decision {
            // Another worker may have fetched them.
            self.synchronise(waiting.provider);
            decision = self.authenticator.decide_again(waiting, &self.keys, &PureRust, now);
        }
        if let Decision::AwaitKeys(waiting) = decision {
            if self.waiting.len() < self.most_waiting {
                self.let_wait(context_id, waiting, now);
                return Action::Pause;
            }
            decision = self.authenticator.give_up(&waiting, &self.keys, now);
        }
        match self.carry_out(decision, now) {
            Ok(action) => action,
            Err(_) => Self::break_off(),
        }
    }

    /// Time has passed; the root context is in hand.
    pub(super) fn on_tick(&mut self) {
        let Some(now) = host::now() else { return };
        for index in 0..self.keys.len() {
            self.synchronise(index);
            self.fetch_if_due(index, now);
        }
        self.serve_waiting(now);
    }

    /// A call of the root context was answered, or failed.
    pub(super) fn on_call_answer(&mut self, call: u32, header_count: usize, body_length: usize) {
        let Some(now) = host::now() else { return };
        for (fetcher, keys) in self.fetchers.iter_mut().zip(&mut self.keys) {
            if let Some(fetcher) = fetcher.as_mut().filter(|fetcher| fetcher.awaits(call)) {
                fetcher.on_call_answer(header_count, body_length, keys, now);
            }
        }
        self.serve_waiting(now);
    }

    /// A request is gone.
    pub(super) fn forget(&mut self, context_id: u32) {
        self.waiting.remove(&context_id);
    }

    fn let_wait(&mut self, context_id: u32, waiting: Waiting, now: UnixTime) {
        let keys = self.keys.get(waiting.provider);
        let is_fetching = keys.is_some_and(|keys| keys.state().is_fetching(now));
        let fetcher = self.fetchers.get(waiting.provider).and_then(Option::as_ref);
        let deadline = now + fetcher.map(KeyFetcher::longest_wait).unwrap_or_default();
        self.waiting.insert(context_id, WaitingRequest { waiting, deadline });
        self.tick_every(if is_fetching { Self::BUSY } else { Self::AT_ONCE });
    }

    fn synchronise(&mut self, index: usize) {
        let fetcher = self.fetchers.get(index).and_then(Option::as_ref);
        if let (Some(fetcher), Some(keys)) = (fetcher, self.keys.get_mut(index)) {
            fetcher.synchronise(keys);
        }
    }

    /// Fetches the keys of a provider if it is time to, or if a waiting request demands it.
    fn fetch_if_due(&mut self, index: usize, now: UnixTime) {
        let fetcher = self.fetchers.get_mut(index).and_then(Option::as_mut);
        let (Some(fetcher), Some(keys)) = (fetcher, self.keys.get_mut(index)) else { return };
        fetcher.fetch(Demand::Due, keys, now);
        for request in self.waiting.values().filter(|request| request.waiting.provider == index) {
            fetcher.fetch(request.waiting.demand, keys, now);
        }
    }

    /// Decides again on the requests that wait, and sets the pace by what is left. Not on all at
    /// once, lest verifying all their signatures keep other requests waiting.
    fn serve_waiting(&mut self, now: UnixTime) {
        let mut decided = 0;
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        for (context_id, request) in waiting.by_ref() {
            let deadline = request.deadline;
            let mut decision =
                self.authenticator.decide_again(request.waiting, &self.keys, &PureRust, now);
            if let Decision::AwaitKeys(waiting) = decision {
                if now < deadline {
                    self.waiting.insert(context_id, WaitingRequest { waiting, deadline });
                    continue;
                }
                decision = self.authenticator.give_up(&waiting, &self.keys, now);
            }
            decided += 1;
            if hostcalls::set_effective_context(context_id).is_err() {
                continue;
            }
            match self.carry_out(decision, now) {
                Ok(Action::Continue) => {
                    let _ = hostcalls::resume_http_request();
                }
                Ok(_) => {}
                Err(_) => {
                    Self::break_off();
                }
            }
            if decided == Self::BATCH {
                break;
            }
        }
        let _ = hostcalls::set_effective_context(self.root_id);
        let is_cut_short = waiting.len() > 0;
        self.waiting.extend(waiting);
        self.tick_every(match self.waiting.is_empty() {
            true => Self::IDLE,
            false if is_cut_short => Self::AT_ONCE,
            false => Self::BUSY,
        });
    }

    /// Does to the request in hand what was decided. A request whose headers could not be changed
    /// must not go on.
    fn carry_out(&mut self, decision: Decision, now: UnixTime) -> Result<Action, Status> {
        match decision {
            Decision::Forward(edits) => {
                host::edit_request(&edits)?;
                Ok(Action::Continue)
            }
            Decision::Respond(answer) => {
                host::respond(&answer)?;
                Ok(Action::Pause)
            }
            Decision::Refuse(refused) => {
                self.refusal_log.write(&refused, now);
                host::respond(&refused.answer)?;
                Ok(Action::Pause)
            }
            Decision::AwaitKeys(_) => Ok(Action::Pause),
        }
    }

    /// The host did not do what it was asked to: the request ends here.
    fn break_off() -> Action {
        let _ = hostcalls::send_http_response(500, vec![], None);
        Action::Pause
    }

    fn tick_every(&mut self, period: Duration) {
        if self.tick_period != Some(period) && hostcalls::set_tick_period(period).is_ok() {
            self.tick_period = Some(period);
        }
    }
}
