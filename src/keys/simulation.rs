//! Several workers, the data that they share, and their source, with a clock that only the tests
//! advance. The invariants of fetched keys must hold for every interleaving of the workers' steps.

mod properties;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use super::*;
use crate::callout::{CalloutResponse, Clusters};
use crate::jose::{Algorithm, CompactJws};
use crate::time::UnixTime;

const SETTINGS: KeySettings = KeySettings {
    max_age: Duration::from_secs(60),
    max_age_cap: Duration::from_secs(24 * 60 * 60),
    refresh_ahead: Duration::from_secs(30),
    refresh_cooldown: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    max_stale: Duration::from_secs(120),
    max_body: 64 * 1024,
};

const METADATA: &str = "https://id.example.com/metadata";

/// A step of the simulation.
#[derive(Clone, Debug)]
enum Op {
    /// Time passes.
    Advance(Duration),
    /// A worker's timer fires.
    Tick(usize),
    /// A worker carries out one effect.
    Step(usize),
    /// A request with one of the source's last kids reaches a worker.
    Ask(usize, usize),
    /// A request with an unknown kid reaches a worker.
    AskForUnknown(usize),
    /// The source responds to a worker's callout; the response is on its way.
    Serve(usize),
    /// The response arrives, or the callout times out.
    Deliver(usize),
    /// The end of the callout is never reported.
    Lose(usize),
    /// The worker dies, and another takes its place.
    Crash(usize),
    /// The source publishes a new key in addition to the last.
    Rotate,
    /// The source publishes only its newest key.
    Withdraw,
    /// The key set moves.
    Move,
    /// The source goes down, or comes back.
    Fail(bool),
    /// The metadata endpoint goes down, or comes back.
    FailMetadata(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let worker = || 0..4_usize;
    prop_oneof![
        3 => (0..500_u64).prop_map(|millis| Op::Advance(Duration::from_millis(millis))),
        2 => (0..40_u64).prop_map(|seconds| Op::Advance(Duration::from_secs(seconds))),
        1 => (0..200_u64).prop_map(|seconds| Op::Advance(Duration::from_secs(seconds))),
        8 => worker().prop_map(Op::Tick),
        24 => worker().prop_map(Op::Step),
        6 => (worker(), 0..3_usize).prop_map(|(worker, back)| Op::Ask(worker, back)),
        3 => worker().prop_map(Op::AskForUnknown),
        6 => worker().prop_map(Op::Serve),
        6 => worker().prop_map(Op::Deliver),
        1 => worker().prop_map(Op::Lose),
        1 => worker().prop_map(Op::Crash),
        2 => Just(Op::Rotate),
        1 => Just(Op::Withdraw),
        1 => Just(Op::Move),
        1 => any::<bool>().prop_map(Op::Fail),
        1 => any::<bool>().prop_map(Op::FailMetadata),
    ]
}

/// A state in our format with arbitrary numbers.
fn foreign_state() -> impl Strategy<Value = String> {
    let number = || prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    let numbers = (number(), number(), number(), number(), any::<u32>());
    (numbers, prop_oneof![Just(METADATA), Just("x"), Just("")]).prop_map(|(numbers, url)| {
        let (a, b, c, d, e) = numbers;
        json!({
            "lease": {"holder": a, "taken": b, "timeout": c},
            "failure": {"count": e, "since": d, "at": d, "retry_at": a,
                "why": {"code": "no_response", "cause": "x"}},
            "unknown_key_fetch": b,
            "discovered": {"key_set_url": url, "at": c, "is_doubtful": false},
            "published": {"version": d, "at": a, "stated_lifetime": e, "jitter": b},
        })
        .to_string()
    })
}

#[derive(Debug)]
struct World {
    now: UnixTime,
    settings: KeySettings,
    shared: Shared,
    source: Source,
    workers: Vec<Worker>,
    /// How many workers there have been.
    seeds: u64,
    /// When leases were taken.
    fetches: Vec<UnixTime>,
    /// Until when responses to callouts can arrive, by worker.
    in_flight: Vec<(u64, UnixTime)>,
    last_fetch_for_unknown: Option<UnixTime>,
}

#[derive(Debug)]
struct Worker {
    keys: RemoteKeys,
    seed: u64,
    call: Option<PendingCallout>,
    ticked: UnixTime,
}

#[derive(Debug)]
struct PendingCallout {
    url: String,
    deadline: UnixTime,
    /// The response on its way.
    response: Option<CalloutResponse>,
}

/// Shared data with Envoy's rule that a CAS value is ignored while there is no value.
#[derive(Debug, Default)]
struct Shared {
    state: Option<(Vec<u8>, u32)>,
    key_set: Option<(Vec<u8>, u32)>,
    last_number: u32,
}

#[derive(Debug)]
struct Source {
    is_up: bool,
    serves_metadata: bool,
    /// The published keys, the newest last.
    keys: Vec<u32>,
    location: u32,
    max_age: Option<u32>,
    metadata_served: usize,
    key_sets_served: usize,
}

/// The result of a request's lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Availability {
    Found,
    ToWait(Demand),
    Unavailable,
    Unknown,
}

impl World {
    fn new(workers: usize, settings: KeySettings) -> Self {
        let mut world = Self {
            now: UnixTime::from_secs(1_800_000_000),
            settings,
            shared: Shared::default(),
            source: Source {
                is_up: true,
                serves_metadata: true,
                keys: vec![1],
                location: 0,
                max_age: None,
                metadata_served: 0,
                key_sets_served: 0,
            },
            workers: Vec::new(),
            seeds: 0,
            fetches: Vec::new(),
            in_flight: Vec::new(),
            last_fetch_for_unknown: None,
        };
        for _ in 0..workers {
            let worker = world.new_worker();
            world.workers.push(worker);
        }
        world
    }

    fn new_worker(&mut self) -> Worker {
        self.seeds += 1;
        let clusters = Clusters::Any("provider".to_owned());
        let source = RemoteSource {
            issuer: "https://id.example.com".to_owned(),
            start: Start::Metadata(clusters.endpoint(METADATA).unwrap()),
            clusters,
            settings: self.settings.clone(),
        };
        let keys = RemoteKeys::new(source, self.seeds);
        Worker { keys, seed: self.seeds, call: None, ticked: UnixTime::default() }
    }

    fn perform(&mut self, op: Op) -> TestCaseResult {
        let count = self.workers.len();
        match op {
            Op::Advance(duration) => self.now = self.now + duration,
            Op::Tick(worker) => self.tick(worker % count)?,
            Op::Step(worker) => drop(self.step(worker % count)?),
            Op::Ask(worker, back) => {
                let kid = self.source.newest().saturating_sub(u32::try_from(back).unwrap());
                self.ask(worker % count, kid)?;
            }
            Op::AskForUnknown(worker) => drop(self.ask(worker % count, u32::MAX)?),
            Op::Serve(worker) => self.serve(worker % count),
            Op::Deliver(worker) => self.deliver(worker % count)?,
            Op::Lose(worker) => self.workers[worker % count].call = None,
            Op::Crash(worker) => self.workers[worker % count] = self.new_worker(),
            Op::Rotate => drop(self.source.rotate()),
            Op::Withdraw => drop(self.source.keys.drain(..self.source.keys.len() - 1)),
            Op::Move => self.source.location += 1,
            Op::Fail(is_down) => self.source.is_up = !is_down,
            Op::FailMetadata(is_down) => self.source.serves_metadata = !is_down,
        }
        Ok(())
    }

    /// Once everything works again, every worker has the newest key within the sum of the longest
    /// pause, the longest lease and the cooldown.
    fn assert_recovers(&mut self) -> TestCaseResult {
        self.source.is_up = true;
        self.source.serves_metadata = true;
        let newest = self.source.rotate();
        for _ in 0..100 {
            self.pass(Duration::from_secs(1), |_| {});
            let availability: Result<Vec<_>, _> =
                (0..self.workers.len()).map(|worker| self.ask(worker, newest)).collect();
            if availability?.iter().all(|availability| *availability == Availability::Found) {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("a worker never has the newest key"))
    }

    /// Advances the clock as the shell would, with a source that responds at once.
    fn pass(&mut self, duration: Duration, mut observe: impl FnMut(&Self)) {
        const IDLE: Duration = Duration::from_secs(1);
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + Duration::from_millis(20);
            for worker in 0..self.workers.len() {
                let Worker { keys, ticked, .. } = &self.workers[worker];
                if self.now >= keys.next_tick(self.now).min(*ticked + IDLE) {
                    self.tick(worker).unwrap();
                    self.drain(worker).unwrap();
                }
                for _ in 0..2 {
                    self.serve(worker);
                    self.deliver(worker).unwrap();
                    self.drain(worker).unwrap();
                }
            }
            observe(self);
        }
    }

    fn tick(&mut self, worker: usize) -> TestCaseResult {
        // A callback runs to its end before the next starts.
        self.drain(worker)?;
        self.workers[worker].ticked = self.now;
        self.workers[worker].keys.handle(Event::Tick, self.now);
        Ok(())
    }

    fn ask(&mut self, worker: usize, kid: u32) -> Result<Availability, TestCaseError> {
        self.drain(worker)?;
        self.workers[worker].keys.handle(Event::Request, self.now);
        self.drain(worker)?;
        let availability = self.availability(worker, kid);
        match availability {
            Availability::Found => {
                let (published, keys) = self.published();
                prop_assert!(keys.contains(&kid), "key {} was withdrawn", kid);
                let age = self.now.since(published);
                let lifetime = self.source.max_age.map_or(self.settings.max_age, seconds);
                prop_assert!(age < lifetime + self.settings.max_stale, "{:?} old", age);
            }
            Availability::ToWait(demand) => self.workers[worker].keys.want(demand),
            Availability::Unknown => {
                prop_assert!(!self.published().1.contains(&kid));
                let asked = self.last_fetch_for_unknown;
                let is_recent = |at: UnixTime| self.now < at + self.settings.refresh_cooldown;
                prop_assert!(asked.is_some_and(is_recent), "unknown without having asked");
            }
            Availability::Unavailable => {}
        }
        Ok(availability)
    }

    fn availability(&self, worker: usize, kid: u32) -> Availability {
        let header = json!({"alg": "ES256", "kid": kid.to_string()}).to_string();
        let token = format!("{}.e30.", URL_SAFE_NO_PAD.encode(header));
        let (jws, _) = CompactJws::parse(token.as_bytes()).unwrap();
        match self.workers[worker].keys.find(jws.header(), Algorithm::Es256, self.now) {
            KeyLookup::Candidates(..) => Availability::Found,
            KeyLookup::Await(demand) => Availability::ToWait(demand),
            KeyLookup::Unavailable(_) => Availability::Unavailable,
            KeyLookup::Unknown(_) => Availability::Unknown,
            KeyLookup::KeyMismatch(mismatch) => panic!("{mismatch}"),
        }
    }

    /// When the shared set was published, and its keys.
    fn published(&self) -> (UnixTime, Vec<u32>) {
        let (state, _) = self.shared.state.as_ref().unwrap();
        let state: Value = serde_json::from_slice(state).unwrap();
        let at = time(&state["published"]["at"]);
        let (key_set, _) = self.shared.key_set.as_ref().unwrap();
        let set = KeySet::from_json(&key_set[8..]).unwrap();
        let kids = set.kids().map(|kid| kid.parse().unwrap()).collect();
        (at, kids)
    }

    fn drain(&mut self, worker: usize) -> TestCaseResult {
        while self.step(worker)? {}
        Ok(())
    }

    /// Carries out one effect, if there is one.
    fn step(&mut self, worker: usize) -> Result<bool, TestCaseError> {
        let Some(effect) = self.workers[worker].keys.next_effect() else { return Ok(false) };
        let event = match effect {
            Effect::ReadState => {
                let (bytes, number) = self.shared.state.clone().unzip();
                Event::StateRead(bytes, number)
            }
            Effect::ReadKeySet => {
                let (bytes, number) = self.shared.key_set.clone().unzip();
                Event::KeySetRead(bytes, number)
            }
            Effect::ReplaceState(bytes, number) => {
                let before = self.shared.state_value();
                let is_done = self.shared.replace(|shared| &mut shared.state, bytes, number);
                if is_done {
                    self.check_transition(&before, &self.shared.state_value())?;
                }
                Event::StateReplaced(is_done)
            }
            Effect::ReplaceKeySet(bytes, number) => {
                let is_done = self.shared.replace(|shared| &mut shared.key_set, bytes, number);
                Event::KeySetReplaced(is_done)
            }
            Effect::Callout(_, deadline) if self.now >= deadline => Event::CalloutStarted(false),
            Effect::Callout(endpoint, deadline) => {
                let Worker { seed, call, .. } = &mut self.workers[worker];
                *call =
                    Some(PendingCallout { url: endpoint.to_string(), deadline, response: None });
                let is_answerable = |(_, until): &&(u64, UnixTime)| self.now < *until;
                let other =
                    self.in_flight.iter().filter(is_answerable).find(|(holder, _)| holder != seed);
                prop_assert!(other.is_none(), "two fetches in flight: {:?}", other);
                self.in_flight.push((*seed, deadline));
                Event::CalloutStarted(true)
            }
            Effect::Report(_) => return Ok(true),
        };
        self.workers[worker].keys.handle(event, self.now);
        Ok(true)
    }

    fn check_transition(&mut self, before: &Value, after: &Value) -> TestCaseResult {
        if after["lease"].is_object() {
            self.fetches.push(self.now);
        }
        if after["unknown_key_fetch"] != before["unknown_key_fetch"] {
            let now = time(&after["unknown_key_fetch"]);
            let cooldown = self.settings.refresh_cooldown;
            let is_allowed = |at: UnixTime| now >= at + cooldown;
            prop_assert!(self.last_fetch_for_unknown.is_none_or(is_allowed), "no cool-down");
            self.last_fetch_for_unknown = Some(now);
        }
        Ok(())
    }

    fn serve(&mut self, worker: usize) {
        if let Some(call) = &mut self.workers[worker].call
            && call.response.is_none()
            && self.now < call.deadline
        {
            call.response = Some(self.source.response(&call.url));
        }
    }

    fn deliver(&mut self, worker: usize) -> TestCaseResult {
        self.drain(worker)?;
        let Some(call) = &self.workers[worker].call else { return Ok(()) };
        if call.response.is_some() || self.now >= call.deadline {
            let Worker { seed, call, .. } = &mut self.workers[worker];
            let response = call.take().and_then(|call| call.response);
            self.in_flight.retain(|(holder, _)| holder != seed);
            self.workers[worker].keys.handle(Event::CalloutEnded(response), self.now);
        }
        Ok(())
    }
}

impl Shared {
    fn state_value(&self) -> Value {
        let bytes = self.state.as_ref().map(|(bytes, _)| bytes.as_slice());
        bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
    }

    fn replace(
        &mut self,
        value: impl FnOnce(&mut Self) -> &mut Option<(Vec<u8>, u32)>,
        bytes: Vec<u8>,
        number: Option<u32>,
    ) -> bool {
        self.last_number += 1;
        let own_number = self.last_number;
        let value = value(self);
        let may_replace = value.as_ref().is_none_or(|(_, present)| Some(*present) == number);
        if may_replace {
            *value = Some((bytes, own_number));
        }
        may_replace
    }
}

impl Source {
    fn newest(&self) -> u32 {
        *self.keys.last().unwrap()
    }

    fn rotate(&mut self) -> u32 {
        self.keys.push(self.newest() + 1);
        self.keys.drain(..self.keys.len().saturating_sub(2));
        self.newest()
    }

    fn response(&mut self, url: &str) -> CalloutResponse {
        let key_set_url = format!("https://id.example.com/keys/{}", self.location);
        let document = match url {
            _ if !self.is_up => None,
            METADATA if self.serves_metadata => {
                self.metadata_served += 1;
                Some(json!({"issuer": "https://id.example.com", "jwks_uri": key_set_url}))
            }
            _ if url == key_set_url => {
                self.key_sets_served += 1;
                Some(json!({"keys": self.keys.iter().map(|kid| jwk(*kid)).collect::<Vec<_>>()}))
            }
            _ => None,
        };
        let body = document.as_ref().map_or_else(Vec::new, |value| value.to_string().into_bytes());
        CalloutResponse {
            status: Some(if document.is_some() { 200 } else { 503 }),
            cache_control: self.max_age.map(|age| format!("max-age={age}")),
            body_length: body.len(),
            body,
            ..CalloutResponse::default()
        }
    }
}

/// The key of RFC 7515 A.3; nothing is verified here.
fn jwk(kid: u32) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid.to_string(),
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn time(millis: &Value) -> UnixTime {
    UnixTime::default() + Duration::from_millis(millis.as_u64().unwrap())
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
