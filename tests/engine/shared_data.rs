use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::host::{Outcome, SharedData};
use crate::provider::{
    assert_accepted, assert_forwarded, assert_paused, assert_refused, configuration, fetch, key,
    key_set, request, respond_with_discovery, respond_with_key_set, start, token,
};

#[test]
fn exactly_one_of_many_workers_that_need_keys_simultaneously_fetches() {
    const WORKERS: usize = 8;
    for _ in 0..20 {
        let shared = SharedData::default();
        let barrier = Arc::new(Barrier::new(WORKERS));
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (shared, barrier) = (shared.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    let vm = start(&configuration(), &shared);
                    barrier.wait();
                    vm.tick();
                    vm.calls().len()
                })
            })
            .collect();
        let calls: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(calls, 1);
    }
}

/// Runs `elsewhere` in another worker of the same process.
fn in_another_worker<T: Send>(elsewhere: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(elsewhere).join().unwrap())
}

#[test]
fn keys_fetched_by_another_worker_are_used_without_a_fetch_or_a_tick() {
    let shared = SharedData::default();
    let key = key("one");
    let vm = start(&configuration(), &shared);
    in_another_worker(|| fetch(&start(&configuration(), &shared), &[&key]));
    assert_accepted(&vm, &token(&key));
    vm.tick();
    assert!(vm.calls().is_empty());
}

#[test]
fn a_waiting_request_continues_when_another_worker_publishes() {
    let shared = SharedData::default();
    let key = key("one");
    let vm = start(&configuration(), &shared);
    let (id, outcome) = request(&vm, &token(&key));
    assert_paused(&outcome);
    in_another_worker(|| fetch(&start(&configuration(), &shared), &[&key]));
    vm.tick();
    assert_forwarded(&vm.outcome(id));
    assert!(vm.calls().is_empty());
}

#[test]
fn a_key_that_was_removed_stops_working_in_every_worker() {
    let shared = SharedData::default();
    let (old, new) = (key("old"), key("new"));
    let vm = start(&configuration(), &shared);
    fetch(&vm, &[&old]);
    in_another_worker(|| {
        let other = start(&configuration(), &shared);
        let (_, outcome) = request(&other, &token(&new));
        assert_paused(&outcome);
        other.tick();
        respond_with_key_set(&other, &other.call(), &[&new]);
    });
    // At once, without a tick.
    let (_, outcome) = request(&vm, &token(&old));
    assert_refused(&outcome, 401, "unknown_kid");
    assert_accepted(&vm, &token(&new));
}

#[test]
fn a_worker_that_died_while_it_fetched_does_not_block_the_others() {
    let shared = SharedData::default();
    in_another_worker(|| start(&configuration(), &shared).tick());
    let key = key("one");
    let vm = start(&configuration(), &shared);
    vm.tick();
    assert!(vm.calls().is_empty());
    vm.advance(Duration::from_secs(7));
    fetch(&vm, &[&key]);
    assert_accepted(&vm, &token(&key));
}

#[test]
fn a_response_that_arrives_after_the_lease_was_lost_is_not_published() {
    let shared = SharedData::default();
    let (old, new) = (key("old"), key("new"));
    let late = start(&configuration(), &shared);
    late.tick();
    respond_with_discovery(&late, &late.call());
    in_another_worker(|| {
        let other = start(&configuration(), &shared);
        other.advance(Duration::from_secs(8));
        fetch(&other, &[&new]);
    });
    respond_with_key_set(&late, &late.call(), &[&old]);
    assert_accepted(&late, &token(&new));
}

#[test]
fn bytes_in_shared_data_that_are_not_ours_are_discarded() {
    let long = vec![b'['; 1 << 20];
    let foreign = [&b""[..], b"\0\0\0\0", b"{}", b"null", b"{\"lease\":5}", b"\xff\xff", &long];
    for bytes in foreign {
        let shared = SharedData::default();
        let (old, new) = (key("old"), key("new"));
        let vm = start(&configuration(), &shared);
        fetch(&vm, &[&old]);
        assert_eq!(shared.overwrite("/state", bytes), 1);
        assert_eq!(shared.overwrite("/key-set", bytes), 1);

        // The value read before stays in use; a worker that starts later fetches for itself.
        assert_accepted(&vm, &token(&old));
        in_another_worker(|| {
            let later = start(&configuration(), &shared);
            fetch(&later, &[&new]);
            assert_accepted(&later, &token(&new));
        });
    }
}

#[test]
fn an_overwritten_key_set_is_fetched_again_and_not_used() {
    let shared = SharedData::default();
    let (genuine, planted) = (key("own"), key("planted"));
    fetch(&start(&configuration(), &shared), &[&genuine]);
    let forged = [&[0; 8][..], key_set(&[&planted]).as_bytes()].concat();
    shared.overwrite("/key-set", &forged);

    let vm = start(&configuration(), &shared);
    let (id, outcome) = request(&vm, &token(&planted));
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&genuine]);
    assert!(!matches!(vm.outcome(id), Outcome::Forwarded(_)));
    assert_accepted(&vm, &token(&genuine));
}

#[test]
fn configurations_share_keys_only_if_their_key_sources_are_identical() {
    let shared = SharedData::default();
    let same = configuration();
    let mut renamed = configuration();
    renamed["providers"][0]["name"] = "renamed".into();
    let mut other_cluster = configuration();
    other_cluster["providers"][0]["cluster"] = "other".into();
    let mut other_issuer = configuration();
    other_issuer["providers"][0]["issuer"] = "https://other.example.com".into();
    let mut other_limit = configuration();
    other_limit["keys"] = json!({"max_body": "4KiB"});
    for document in [&same, &same, &renamed, &other_cluster, &other_issuer, &other_limit] {
        in_another_worker(|| start(document, &shared).tick());
    }
    let states = shared.names().into_iter().filter(|name| name.ends_with("/state"));
    assert_eq!(states.count(), 4, "{:?}", shared.names());
    assert!(shared.names().iter().all(|name| name.starts_with("mcp-federated-auth/")));
}

#[test]
fn a_new_configuration_with_the_same_source_keeps_the_keys() {
    let shared = SharedData::default();
    let key = key("one");
    in_another_worker(|| fetch(&start(&configuration(), &shared), &[&key]));
    let mut changed = configuration();
    changed["providers"][0]["client_ids"] = json!(["another", "mcp"]);
    changed["keys"] = json!({
        "max_age": "5m", "refresh_ahead": "10s", "refresh_cooldown": "5s", "max_stale": "1h",
        "timeout": "3s",
    });
    let vm = start(&changed, &shared);
    assert_accepted(&vm, &token(&key));
    vm.tick();
    assert!(vm.calls().is_empty());
    // Its own settings decide how long they last.
    vm.advance(Duration::from_secs(5 * 60));
    vm.tick();
    assert_eq!(vm.calls().len(), 1);
}

#[test]
fn an_unreadable_newer_set_is_fetched_again() {
    let shared = SharedData::default();
    let (old, new) = (key("old"), key("new"));
    let vm = start(&configuration(), &shared);
    fetch(&vm, &[&old]);
    in_another_worker(|| {
        let other = start(&configuration(), &shared);
        other.advance(Duration::from_secs(590));
        other.tick();
        respond_with_key_set(&other, &other.call(), &[&new]);
    });
    vm.advance(Duration::from_secs(590));
    shared.overwrite("/key-set", b"");
    // The new key set may have withdrawn the old key.
    let (waiting, outcome) = request(&vm, &token(&old));
    assert_paused(&outcome);
    let (id, outcome) = request(&vm, &token(&new));
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new]);
    assert_forwarded(&vm.outcome(id));
    assert_refused(&vm.outcome(waiting), 401, "unknown_kid");
}

#[test]
fn a_worker_checks_for_published_keys_every_20_ms_while_requests_wait() {
    let shared = SharedData::default();
    in_another_worker(|| start(&configuration(), &shared).tick());
    let vm = start(&configuration(), &shared);
    request(&vm, &token(&key("one")));
    vm.tick();
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(20)));
}

#[test]
fn an_idle_worker_ticks_when_a_fetch_is_due_and_at_least_once_a_second() {
    let mut document = configuration();
    document["keys"] = json!({"max_age": "2s"});
    let vm = start(&document, &SharedData::default());
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(1)));
    fetch(&vm, &[&key("one")]);
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
    vm.advance(Duration::from_millis(700));
    vm.tick();
    // At half of its lifetime, minus at most a quarter of that as jitter.
    let next = vm.tick_period().unwrap();
    assert!((300..=550).contains(&next.as_millis()), "{next:?}");
    vm.advance(next);
    vm.tick();
    assert_eq!(vm.calls().len(), 1);
}

#[test]
fn a_callout_whose_end_is_never_reported_does_not_stop_further_callouts() {
    let vm = start(&configuration(), &SharedData::default());
    vm.tick();
    let lost = vm.call();
    vm.advance(Duration::from_secs(7));
    vm.tick();
    let (key, calls) = (key("one"), vm.calls());
    assert_eq!(calls.len(), 2);
    respond_with_discovery(&vm, &calls[1]);
    vm.fail(&lost);
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_accepted(&vm, &token(&key));
}
