//! Properties of every run of the simulation.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn the_key_lifecycle_rules_hold_in_any_order_of_worker_steps(
        workers in 1..5_usize,
        deeds in vec(op(), 0..300),
    ) {
        let mut world = World::new(workers, SETTINGS);
        for op in deeds {
            world.perform(op)?;
        }
        world.assert_recovers()?;
    }

    #[test]
    fn no_bytes_in_shared_data_stop_a_worker(
        state in prop_oneof![".{0,50}", foreign_state()],
        key_set in vec(any::<u8>(), 0..100),
    ) {
        let mut world = World::new(2, SETTINGS);
        world.shared.state = Some((state.into_bytes(), 1));
        world.shared.key_set = Some((key_set, 2));
        world.assert_recovers()?;
    }
}

#[test]
fn ten_minutes_of_steady_state_cost_the_fetches_of_one_worker() {
    for workers in [1, 4, 16] {
        let mut world = World::new(workers, SETTINGS);
        world.source.max_age = Some(60);
        world.pass(Duration::from_secs(600), |_| {});
        // Refreshed at an age of 30 to 37.5 s.
        assert!((16..=20).contains(&world.source.key_sets_served), "{workers}: {world:?}");
        assert_eq!(world.source.metadata_served, 1);
    }
}

#[test]
fn a_key_set_with_a_lifetime_of_a_week_is_fetched_again_before_the_maximum() {
    for (cap, fetches) in [(60, 16..=20), (600, 1..=2)] {
        let cap = Duration::from_secs(cap);
        let mut world = World::new(4, KeySettings { max_age_cap: cap, ..SETTINGS });
        world.source.max_age = Some(7 * 24 * 60 * 60);
        world.pass(Duration::from_secs(600), |_| {});
        assert!(fetches.contains(&world.source.key_sets_served), "{cap:?}: {world:?}");
    }
}

#[test]
fn while_the_source_is_down_for_an_hour_no_token_with_a_known_key_is_refused() {
    let day = Duration::from_secs(24 * 60 * 60);
    let mut world = World::new(4, KeySettings { max_stale: day, ..SETTINGS });
    let known = world.source.newest();
    world.pass(Duration::from_secs(5), |_| {});
    world.source.is_up = false;
    let before = world.fetches.len();
    let mut seconds = 0;
    while seconds < 3600 {
        world.pass(Duration::from_secs(1), |_| {});
        seconds += 1;
        for worker in 0..4 {
            assert_eq!(world.ask(worker, known).unwrap(), Availability::Found, "after {seconds} s");
        }
    }
    // Pauses double up to a minute, minus at most a quarter for jitter.
    let tries = world.fetches.len() - before;
    assert!((3600 / 61..=3600 / 45 + 6).contains(&tries), "{tries} tries");

    world.source.is_up = true;
    let new = world.source.rotate();
    world.pass(Duration::from_secs(61), |_| {});
    for worker in 0..4 {
        assert_eq!(world.ask(worker, new).unwrap(), Availability::Found);
    }
}

#[test]
fn a_source_down_at_the_start_is_used_within_five_seconds_of_its_return() {
    for down_for in 0..40 {
        let mut world = World::new(4, SETTINGS);
        world.source.is_up = false;
        world.pass(Duration::from_secs(down_for), |_| {});
        world.source.is_up = true;
        world.pass(Duration::from_secs(5), |_| {});
        let newest = world.source.newest();
        for worker in 0..4 {
            assert_eq!(world.ask(worker, newest).unwrap(), Availability::Found, "{down_for}");
        }
    }
}

#[test]
fn a_new_key_is_available_to_all_workers_once_one_request_has_caused_its_fetch() {
    let mut world = World::new(4, SETTINGS);
    // Right after a refresh, and again after the cooldown.
    for _ in 0..3 {
        world.pass(SETTINGS.refresh_cooldown, |_| {});
        let new = world.source.rotate();
        assert!(matches!(world.ask(2, new).unwrap(), Availability::ToWait(_)));
        world.pass(Duration::from_millis(60), |_| {});
        for worker in 0..4 {
            assert_eq!(world.ask(worker, new).unwrap(), Availability::Found);
        }
    }
}

#[test]
fn a_request_gets_keys_that_another_worker_fetches_within_20_ms() {
    let mut world = World::new(4, SETTINGS);
    let newest = world.source.newest();
    let mut published_at = None;
    let mut last_served = None;
    world.pass(Duration::from_secs(1), |world| {
        if published_at.is_none() && world.shared.key_set.is_some() {
            published_at = Some(world.now);
        }
        let all = (0..4).all(|worker| world.availability(worker, newest) == Availability::Found);
        if last_served.is_none() && all {
            last_served = Some(world.now);
        }
    });
    let (published_at, last_served) = (published_at.unwrap(), last_served.unwrap());
    assert!(last_served.since(published_at) <= Duration::from_millis(20));
}
