use super::*;

const SETTINGS: KeySettings = KeySettings {
    max_age: Duration::from_secs(600),
    max_age_cap: Duration::from_secs(86_400),
    refresh_ahead: Duration::from_secs(30),
    refresh_cooldown: Duration::from_secs(30),
    timeout: Duration::from_secs(5),
    max_stale: Duration::from_secs(60),
    max_body: 1024,
};
const ME: u64 = 1;
const OTHER: u64 = 2;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(1_800_000_000 + seconds)
}

fn fetched(lifetime: u64, jitter: u64) -> KeyState {
    let claimed = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
    published(&claimed, None, Some(Duration::from_secs(lifetime)), jitter, at(0)).0
}

fn published(
    claimed: &KeyState,
    discovered: Option<&str>,
    lifetime: Option<Duration>,
    jitter: u64,
    now: UnixTime,
) -> (KeyState, Published) {
    claimed.succeeded(ME, discovered, lifetime, jitter, now).unwrap()
}

fn unknown_key(state: &KeyState) -> Demand {
    Demand::UnknownKey { searched: state.published().unwrap().version }
}

fn why(cause: &str) -> FetchFailure {
    FetchFailure { code: FetchFaultCode::NoResponse, cause: cause.to_owned() }
}

#[test]
fn a_lease_keeps_others_out_until_it_expires() {
    let state = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
    let claim = |now| state.claimed(Demand::Due, OTHER, &SETTINGS, now);
    assert!(claim(at(6)).is_none());
    let taken = claim(at(7)).unwrap();
    assert!(taken.failed(ME, why(""), &SETTINGS, 0, at(8)).is_none());
    assert!(taken.succeeded(ME, None, None, 0, at(8)).is_none());
    assert!(taken.failed(OTHER, why(""), &SETTINGS, 0, at(8)).is_some());
}

#[test]
fn a_lease_outlives_its_fetch_but_never_blocks_forever() {
    let hour = Duration::from_secs(3600);
    let slower = KeySettings { timeout: Duration::from_secs(30), ..SETTINGS };
    let slowest = KeySettings { timeout: hour, ..SETTINGS };
    for (holder, reader, expires) in
        [(&slower, &SETTINGS, 32), (&slowest, &SETTINGS, 62), (&slowest, &slowest, 3602)]
    {
        let state = KeyState::default().claimed(Demand::Due, OTHER, holder, at(0)).unwrap();
        assert!(!state.may_fetch(Demand::Due, reader, at(expires - 1)));
        assert!(state.may_fetch(Demand::Due, reader, at(expires)));
    }
}

#[test]
fn a_key_set_is_refreshed_before_its_expiry_whatever_the_jitter() {
    for jitter in [0, 1, 7_499, 7_500, u64::MAX] {
        let state = fetched(600, jitter);
        assert!(!state.may_fetch(Demand::Due, &SETTINGS, at(569)));
        assert!(state.may_fetch(Demand::Due, &SETTINGS, at(578)));
    }
}

#[test]
fn a_short_lived_set_is_used_for_at_least_half_of_its_lifetime() {
    let state = fetched(2, 0);
    assert!(!state.may_fetch(Demand::Due, &SETTINGS, at(0)));
    assert!(state.may_fetch(Demand::Due, &SETTINGS, at(1)));
}

#[test]
fn unknown_keys_cause_one_fetch_in_a_cooldown() {
    let state = fetched(600, 0);
    let claimed = state.claimed(unknown_key(&state), ME, &SETTINGS, at(1)).unwrap();
    let (state, _) = published(&claimed, None, None, 0, at(2));
    assert!(!state.may_fetch(unknown_key(&state), &SETTINGS, at(30)));
    assert!(state.may_fetch(unknown_key(&state), &SETTINGS, at(31)));
}

#[test]
fn a_key_that_appears_right_after_a_refresh_is_fetched_immediately() {
    let state = fetched(600, 0);
    let claimed = state.claimed(Demand::Due, ME, &SETTINGS, at(590)).unwrap();
    let (state, _) = published(&claimed, None, None, 0, at(591));
    assert!(state.may_fetch(unknown_key(&state), &SETTINGS, at(591)));
}

#[test]
fn a_search_in_an_older_set_is_not_a_reason_to_fetch() {
    let state = fetched(600, 0);
    let searched = state.published().unwrap().version - 1;
    assert!(!state.may_fetch(Demand::UnknownKey { searched }, &SETTINGS, at(1)));
}

#[test]
fn a_key_set_goes_through_its_phases() {
    let set = fetched(600, 0).published().unwrap();
    for (seconds, phase) in [
        (0, Phase::Fresh),
        (569, Phase::Fresh),
        (570, Phase::Due),
        (599, Phase::Due),
        (600, Phase::Stale),
        (659, Phase::Stale),
        (660, Phase::Unavailable),
    ] {
        assert_eq!(set.phase(&SETTINGS, at(seconds)), phase, "{seconds}");
    }
}

#[test]
fn each_configuration_sets_the_lifetime_of_a_set_whose_source_states_none() {
    let claimed = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
    let (_, set) = published(&claimed, None, None, 0, at(0));
    let shorter = KeySettings { max_age: Duration::from_secs(100), ..SETTINGS };
    assert_eq!(set.phase(&SETTINGS, at(120)), Phase::Fresh);
    assert_eq!(set.phase(&shorter, at(120)), Phase::Stale);
}

#[test]
fn a_stated_lifetime_is_honoured_up_to_the_maximum_of_each_configuration() {
    let set = fetched(3600, 0).published().unwrap();
    let capped = KeySettings { max_age_cap: Duration::from_secs(100), ..SETTINGS };
    assert_eq!(set.phase(&SETTINGS, at(3569)), Phase::Fresh);
    assert_eq!(set.phase(&capped, at(69)), Phase::Fresh);
    assert_eq!(set.phase(&capped, at(70)), Phase::Due);
    assert_eq!(set.phase(&capped, at(100)), Phase::Stale);
    assert_eq!(set.phase(&capped, at(160)), Phase::Unavailable);
}

#[test]
fn versions_grow_even_if_the_clock_is_set_back() {
    let state = fetched(600, 0);
    let claimed = state.claimed(unknown_key(&state), ME, &SETTINGS, at(0)).unwrap();
    let (_, set) = published(&claimed, None, None, 0, UnixTime::from_secs(1));
    assert!(set.version > state.published().unwrap().version);
}

#[test]
fn a_clock_that_was_set_back_delays_no_fetch() {
    let hour = 3600;
    let claimed = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(hour)).unwrap();
    assert!(claimed.may_fetch(Demand::Due, &SETTINGS, at(0)));
    let failed = claimed.failed(ME, why(""), &SETTINGS, 0, at(hour)).unwrap();
    assert!(failed.may_fetch(Demand::Due, &SETTINGS, at(0)));
    let (state, set) = published(&claimed, Some("https://a.example/"), None, 0, at(hour));
    assert!(state.may_fetch(Demand::Due, &SETTINGS, at(0)));
    assert!(state.should_discover(at(0)));
    // The set may be as old as the clock was set back.
    assert!(set.serves(&SETTINGS, at(hour - 60)));
    assert!(!set.serves(&SETTINGS, at(hour - 61)));
    let claimed = state.claimed(unknown_key(&state), ME, &SETTINGS, at(hour)).unwrap();
    let (state, _) = published(&claimed, None, None, 0, at(0));
    assert!(state.may_fetch(unknown_key(&state), &SETTINGS, at(0)));
}

/// The pauses after consecutive failures, from this second on.
fn pauses(mut state: KeyState, settings: &KeySettings, start: u64) -> Vec<u64> {
    let mut now = at(start);
    (0..9)
        .map(|_| {
            state = state.claimed(Demand::Due, ME, settings, now).unwrap();
            state = state.failed(ME, why(""), settings, 0, now).unwrap();
            let pause = state.retry_after(now);
            now = now + pause;
            pause.as_secs()
        })
        .collect()
}

#[test]
fn pauses_double_up_to_a_minute_while_an_old_set_is_in_use() {
    let settings = KeySettings { max_stale: Duration::from_secs(86_400), ..SETTINGS };
    assert_eq!(pauses(fetched(600, 0), &settings, 570), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn pauses_stay_short_while_no_set_is_usable() {
    assert_eq!(pauses(KeyState::default(), &SETTINGS, 0), [1, 2, 4, 5, 5, 5, 5, 5, 5]);
    // The set is usable until second 660.
    assert_eq!(pauses(fetched(600, 0), &SETTINGS, 570), [1, 2, 4, 8, 16, 32, 32, 5, 5]);
}

#[test]
fn failures_are_recorded_from_the_first_one_on() {
    let fail = |state: &KeyState, cause: &str, seconds| {
        let claimed = state.claimed(Demand::Due, ME, &SETTINGS, at(seconds)).unwrap();
        claimed.failed(ME, why(cause), &SETTINGS, 0, at(seconds)).unwrap()
    };
    let failing = fail(&fail(&KeyState::default(), "one", 0), "two", 10);
    let fetch_failures = failing.fetch_failures().unwrap();
    let times = (fetch_failures.since, fetch_failures.last, fetch_failures.next_attempt);
    assert_eq!(times, (at(0), at(10), at(12)));
    assert_eq!((fetch_failures.attempts, fetch_failures.cause.as_str()), (2, "two"));
    let claimed = failing.claimed(Demand::Due, ME, &SETTINGS, at(20)).unwrap();
    let (healed, _) = published(&claimed, None, None, 0, at(20));
    assert_eq!(healed.fetch_failures(), None);
    assert_eq!(fail(&healed, "three", 700).fetch_failures().unwrap().since, at(700));
}

#[test]
fn the_pause_after_a_fetch_that_hung_is_counted_from_its_start() {
    let mut state = KeyState::default();
    let mut now = at(0);
    for _ in 0..5 {
        state = state.claimed(Demand::Due, ME, &SETTINGS, now).unwrap();
        let hung = now + SETTINGS.timeout;
        state = state.failed(ME, why(""), &SETTINGS, 0, hung).unwrap();
        now = hung + state.retry_after(hung);
    }
    assert_eq!(now, at(5 * 6));
}

#[test]
fn a_discovered_url_is_trusted_for_a_day_or_until_the_key_set_fails() {
    let claimed = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
    assert!(claimed.should_discover(at(0)));
    let url = "https://id.example.com/jwks";
    let (state, _) = published(&claimed, Some(url), None, 0, at(0));
    assert!(!state.should_discover(at(86_399)));
    assert!(state.should_discover(at(86_400)));
    let claimed = state.claimed(Demand::Due, ME, &SETTINGS, at(600)).unwrap();
    let failed = claimed.failed(ME, why(""), &SETTINGS, 0, at(600)).unwrap();
    assert!(failed.should_discover(at(600)));
    assert_eq!(failed.key_set_url(), Some(url));
}
