//! Several workers that spend tokens, and the values that they share, with clocks that only the
//! tests advance. No interleaving of single reads and writes spends a token twice.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::shard::Shard;
use super::single_use_token::{Expiry, TokenDigest};
use super::*;
use crate::time::UnixTime;

const START: u32 = 1_800_000_000;
const WORKERS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn no_interleaving_spends_a_token_twice_or_forgets_it(
        room in prop_oneof![Just(Shard::MAX_ENTRIES), 0..10_usize],
        deeds in vec(op(), 0..300),
    ) {
        let mut world = World::new(room);
        for op in deeds {
            world.perform(op)?;
        }
    }

    #[test]
    fn no_bytes_in_shared_data_stop_a_worker_or_let_a_spent_token_pass(
        bytes in prop_oneof![vec(any::<u8>(), 0..100), shard_like()],
        token in token(),
    ) {
        let mut world = World::new(Shard::MAX_ENTRIES);
        world.begin(0, token, world.now());
        world.run(0)?;
        world.overwrite(&bytes);
        let before = world.shared.clone();
        world.begin(0, token, world.now());
        let result = world.run(0);
        match Shard::decode(0, &bytes) {
            // These bytes are in our format, so their writer controls the store in any case.
            Some(_) => {}
            None => {
                result?;
                let faults: Vec<_> = world.refused.iter().filter_map(|not_spent| match not_spent {
                    NotSpent::Unknown { fault, .. } => Some(fault.clone()),
                    NotSpent::AlreadySpent => None,
                }).collect();
                prop_assert_eq!(faults, [StoreFault::Unreadable]);
                prop_assert_eq!(world.shared, before);
            }
        }
    }
}

#[test]
fn exactly_one_of_several_workers_that_read_before_a_write_passes() {
    let mut world = World::new(Shard::MAX_ENTRIES);
    for worker in 0..WORKERS {
        world.begin(worker, (1, 100), world.now());
        world.step(worker).unwrap();
    }
    for worker in (0..WORKERS).chain(0..WORKERS) {
        world.run(worker).unwrap();
    }
    assert_eq!(world.passed.len(), 1);
    assert_eq!(world.refused, vec![NotSpent::AlreadySpent; WORKERS - 1]);
}

#[test]
fn a_worker_that_is_always_late_gives_up_after_a_bounded_number_of_attempts() {
    let mut world = World::new(Shard::MAX_ENTRIES);
    world.begin(0, (0, 100), world.now());
    for number in 1..100 {
        // This worker reads, then the other one replaces the value first.
        world.step(0).unwrap();
        if world.workers[0].is_none() {
            break;
        }
        world.begin(1, (number, 100), world.now());
        world.run(1).unwrap();
        world.step(0).unwrap();
    }
    assert!(world.workers[0].is_none());
    let retry_after = Duration::from_secs(1);
    assert_eq!(world.refused, [NotSpent::Unknown { retry_after, fault: StoreFault::Contended }]);
}

#[test]
fn a_hundred_thousand_live_tokens_fit_in_two_and_a_half_mebibytes() {
    let mut shards: Vec<Shard> = vec![Shard::default(); 256];
    let now = UnixTime::from_secs(START.into());
    let spend = |shards: &mut [Shard], number: usize| {
        let last_use = UnixTime::from_secs((START + 300).into());
        let single_use_token =
            SingleUseToken::new("https://id.example.com", &format!("id-{number}"), last_use);
        shards[usize::from(single_use_token.digest.shard())].spend(single_use_token, now)
    };
    let results = (0..256 * Shard::MAX_ENTRIES).map(|number| spend(&mut shards, number));
    let spent = results.take_while(|result| result.is_ok()).count();
    assert!(spent > 110_000, "{spent}");
    let refused = spend(&mut shards, spent);
    assert!(matches!(refused, Err(NotSpent::Unknown { fault: StoreFault::Full, .. })));
    let bytes: usize = shards.iter().map(|shard| shard.encode().len()).sum();
    assert!(bytes <= 256 * Shard::MAX_LENGTH, "{bytes}");
    assert_eq!(256 * Shard::MAX_LENGTH, 2_622_720);
}

/// A token: the last byte of its digest, and its expiry in seconds from the start. All belong to
/// one shard.
type Token = (u8, u32);

/// A step of the simulation.
#[derive(Clone, Debug)]
enum Op {
    /// Seconds pass.
    Advance(u32),
    /// The clock is set back by this many seconds.
    SetBack(u32),
    /// A worker begins to spend a token, with a time read this many seconds ago.
    Begin(usize, Token, u32),
    /// A worker reads or writes.
    Step(usize),
    /// A worker dies between two steps.
    Crash(usize),
}

fn token() -> impl Strategy<Value = Token> {
    (0..4_u8, prop_oneof![1..30_u32, Just(100), Just(u32::MAX - START)])
}

fn op() -> impl Strategy<Value = Op> {
    let worker = || 0..WORKERS;
    prop_oneof![
        2 => (0..10_u32).prop_map(Op::Advance),
        1 => (0..50_u32).prop_map(Op::SetBack),
        8 => (worker(), token(), prop_oneof![3 => Just(0), 1 => 0..5_u32])
            .prop_map(|(worker, token, ago)| Op::Begin(worker, token, ago)),
        24 => worker().prop_map(Op::Step),
        1 => worker().prop_map(Op::Crash),
    ]
}

/// Bytes in the format of a shard, with arbitrary content.
fn shard_like() -> impl Strategy<Value = Vec<u8>> {
    (0..3_u8, any::<u32>(), vec((0..3_u8, any::<[u8; 19]>()), 0..20), 0..3_usize).prop_map(
        |(version, forgotten, entries, cut)| {
            let mut bytes = vec![version];
            bytes.extend(forgotten.to_be_bytes());
            entries.iter().for_each(|(first, rest)| {
                bytes.push(*first);
                bytes.extend(rest);
            });
            bytes.truncate(bytes.len() - cut);
            bytes
        },
    )
}

#[derive(Debug)]
struct World {
    now: u32,
    /// The latest time that a worker used.
    latest: u32,
    /// The shared value and its CAS value.
    shared: Option<(Vec<u8>, u32)>,
    last_number: u32,
    workers: [Option<(SpendAttempt, SpendStep)>; WORKERS],
    /// The accepted tokens, in order.
    passed: Vec<SingleUseToken>,
    /// Unexpired tokens that were present at the start.
    prefilled: Vec<SingleUseToken>,
    refused: Vec<NotSpent>,
}

impl World {
    /// A shard with room for this many tokens.
    fn new(room: usize) -> Self {
        let mut world = Self {
            now: START,
            latest: START,
            shared: None,
            last_number: 0,
            workers: [const { None }; WORKERS],
            passed: Vec::new(),
            prefilled: Vec::new(),
            refused: Vec::new(),
        };
        let mut bytes = Shard::default().encode();
        for number in 0..Shard::MAX_ENTRIES - room {
            let mut digest = [1; TokenDigest::LENGTH];
            digest[0] = 0;
            digest[8..].copy_from_slice(&number.to_be_bytes());
            let expiry = Expiry(START + 1000);
            bytes.extend(digest);
            bytes.extend(expiry.0.to_be_bytes());
            world.prefilled.push(SingleUseToken { digest: TokenDigest(digest), expiry });
        }
        if room < Shard::MAX_ENTRIES {
            world.overwrite(&bytes);
        }
        world
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.now.into())
    }

    fn overwrite(&mut self, bytes: &[u8]) {
        self.last_number += 1;
        self.shared = Some((bytes.to_vec(), self.last_number));
    }

    fn perform(&mut self, op: Op) -> TestCaseResult {
        match op {
            Op::Advance(seconds) => self.now += seconds,
            Op::SetBack(seconds) => self.now -= seconds,
            Op::Begin(worker, token, ago) => {
                let now = UnixTime::from_secs((self.now - ago).into());
                self.begin(worker, token, now);
            }
            Op::Step(worker) => self.step(worker)?,
            Op::Crash(worker) => self.workers[worker] = None,
        }
        Ok(())
    }

    /// A token that has expired passes no other check and is not spent.
    fn begin(&mut self, worker: usize, (number, lifetime): Token, now: UnixTime) {
        let mut digest = [0; TokenDigest::LENGTH];
        digest[TokenDigest::LENGTH - 1] = number;
        let single_use_token =
            SingleUseToken { digest: TokenDigest(digest), expiry: Expiry(START + lifetime) };
        if self.workers[worker].is_none() && !single_use_token.expiry.is_past(now) {
            self.latest = self.latest.max(u32::try_from(now.as_secs()).unwrap());
            self.workers[worker] =
                Some((SpendAttempt::new(single_use_token, now), SpendStep::Read));
        }
    }

    fn run(&mut self, worker: usize) -> TestCaseResult {
        while self.workers[worker].is_some() {
            self.step(worker)?;
        }
        Ok(())
    }

    /// One read or one write.
    fn step(&mut self, worker: usize) -> TestCaseResult {
        let Some((mut spend_attempt, step)) = self.workers[worker].take() else { return Ok(()) };
        let next = match step {
            SpendStep::Read => {
                let (bytes, number) = self.shared.clone().unzip();
                spend_attempt.on_read(bytes.as_deref(), number)
            }
            SpendStep::Replace(bytes, number) => {
                let current_number = self.shared.as_ref().map(|(_, number)| *number);
                // As in Envoy, any CAS value matches while there is no value.
                let is_done = current_number.is_none() || current_number == number;
                if is_done {
                    self.overwrite(&bytes);
                }
                spend_attempt.on_replaced(is_done)
            }
            SpendStep::Done(_) => panic!("it is not kept"),
        };
        match next {
            SpendStep::Done(Ok(())) => self.assert_may_pass(spend_attempt.single_use_token())?,
            SpendStep::Done(Err(not_spent)) => self.refused.push(not_spent),
            next => self.workers[worker] = Some((spend_attempt, next)),
        }
        Ok(())
    }

    fn assert_may_pass(&mut self, single_use_token: SingleUseToken) -> TestCaseResult {
        prop_assert!(!self.passed.contains(&single_use_token), "twice, whatever the clock did");
        let latest = UnixTime::from_secs(self.latest.into());
        for earlier in self.passed.iter().filter(|spent| spent.digest == single_use_token.digest) {
            prop_assert!(earlier.expiry.is_past(latest), "again before its expiry");
        }
        self.passed.push(single_use_token);

        let (bytes, _) = self.shared.as_ref().unwrap();
        prop_assert!(bytes.len() <= Shard::MAX_LENGTH);
        let shard = Shard::decode(0, bytes).unwrap();
        let mut live = self.passed.iter().chain(&self.prefilled);
        let forgotten =
            live.find(|spent| !spent.expiry.is_past(latest) && !shard.remembers(**spent));
        prop_assert!(forgotten.is_none(), "{:?} is forgotten", forgotten);
        Ok(())
    }
}
