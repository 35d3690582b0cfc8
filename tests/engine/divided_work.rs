//! One engine of the process fetches keys for all others.

use std::time::Duration;

use mcp_federated_auth::host::Part;

use crate::host::{Outcome, SharedData, Vm};
use crate::provider::{
    assert_accepted, assert_forwarded, assert_paused, assert_refused, configuration, fetch, key,
    request, respond_with_discovery, respond_with_key_set, start, token,
};

/// An engine that fetches, and one that serves requests.
fn start_both() -> (SharedData, Vm, Vm) {
    let shared = SharedData::default();
    let fetcher = start(&configuration(), &shared);
    let configuration = configuration().to_string();
    let worker = Vm::start_part(configuration.as_bytes(), &shared, Part::Requests).unwrap();
    (shared, fetcher, worker)
}

/// Passes the demands of requests to the fetching engine, as a host does.
fn hand_on(worker: &Vm, fetcher: &Vm) -> usize {
    let demands = worker.take_demands();
    demands.iter().for_each(|demand| fetcher.fetch_keys(*demand));
    demands.len()
}

#[test]
fn requests_wait_for_keys_that_the_other_engine_fetches() {
    let (_, fetcher, worker) = start_both();
    let key = key("one");
    let (id, outcome) = request(&worker, &token(&key));
    assert_paused(&outcome);
    worker.tick();
    assert!(worker.calls().is_empty());
    hand_on(&worker, &fetcher);
    respond_with_discovery(&fetcher, &fetcher.call());
    respond_with_key_set(&fetcher, &fetcher.call(), &[&key]);
    worker.tick();
    assert_forwarded(&worker.outcome(id));
    assert_accepted(&worker, &token(&key));
}

#[test]
fn a_waiting_request_needs_one_tick_a_second_until_its_deadline() {
    let (_, _, worker) = start_both();
    let (id, outcome) = request(&worker, &token(&key("one")));
    assert_paused(&outcome);
    let mut ticks = 0;
    let mut outcome = worker.outcome(id);
    while matches!(outcome, Outcome::Paused) {
        let period = worker.tick_period().unwrap();
        assert!(period >= Duration::from_millis(500), "{period:?}");
        worker.advance(period);
        worker.tick();
        ticks += 1;
        outcome = worker.outcome(id);
    }
    assert_refused(&outcome, 503, "keys_unavailable");
    assert!(ticks <= 10, "{ticks}");
}

#[test]
fn the_other_engine_fetches_an_unknown_key_once_for_all_waiting_requests() {
    let (_, fetcher, worker) = start_both();
    let (old, new) = (key("old"), key("new"));
    fetch(&fetcher, &[&old]);
    let waiting: Vec<u32> = (0..20).map(|_| request(&worker, &token(&new)).0).collect();
    for _ in 0..10 {
        worker.tick();
    }
    assert_eq!(hand_on(&worker, &fetcher), 1);
    respond_with_key_set(&fetcher, &fetcher.call(), &[&old, &new]);
    worker.tick();
    for id in waiting {
        assert_forwarded(&worker.outcome(id));
    }
    let (_, outcome) = request(&worker, &token(&key("none")));
    assert_refused(&outcome, 401, "unknown_kid");
    assert!(worker.calls().is_empty() && worker.take_demands().is_empty());
}

#[test]
fn an_unfulfilled_demand_is_repeated_after_a_second() {
    let (_, fetcher, worker) = start_both();
    let (id, outcome) = request(&worker, &token(&key("one")));
    assert_paused(&outcome);
    assert_eq!(worker.take_demands().len(), 1);
    worker.advance(Duration::from_millis(999));
    worker.tick();
    assert_eq!(worker.take_demands().len(), 0);
    worker.advance(Duration::from_millis(1));
    worker.tick();
    assert_eq!(hand_on(&worker, &fetcher), 1);
    assert_eq!(fetcher.calls().len(), 1);
    assert_paused(&worker.outcome(id));
}

#[test]
fn shared_data_is_read_only_after_an_announcement() {
    let (shared, fetcher, worker) = start_both();
    let (old, new) = (key("old"), key("new"));
    fetch(&fetcher, &[&old]);
    let old_token = token(&old);
    assert_accepted(&worker, &old_token);
    worker.tick();
    let reads = shared.reads();
    for _ in 0..100 {
        assert_accepted(&worker, &old_token);
    }
    assert_eq!(shared.reads(), reads);

    fetcher.advance(Duration::from_secs(600));
    fetcher.tick();
    respond_with_key_set(&fetcher, &fetcher.call(), &[&new]);
    // The key was withdrawn, and one more fetch may bring it back.
    assert_paused(&request(&worker, &old_token).1);
    assert_accepted(&worker, &token(&new));
}

#[test]
fn refusals_are_on_the_status_page_without_a_tick() {
    let (shared, fetcher, worker) = start_both();
    fetch(&fetcher, &[&key("one")]);
    for _ in 0..2 {
        let (_, outcome) = request(&worker, "no-token");
        assert_refused(&outcome, 401, "malformed_token");
    }
    let history = shared.value("mcp-federated-auth/1/status/refusals/malformed_token");
    let history: serde_json::Value = serde_json::from_slice(&history).unwrap();
    assert_eq!(history[0]["times"], 2, "{history}");
}
