//! Several worker threads next to the main one, and their shared state; ThreadSanitizer runs these
//! tests too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use testkit::{Algorithm, SigningKey, claims, random_id};

use crate::envoy::{Envoy, schedulers};
use crate::provider::{Provider, assert_identity, open, start, start_with};

const WORKERS: usize = 4;

/// Runs this in all workers at once, with the events of the main thread and `on_main` meanwhile.
fn in_workers(
    envoy: &Envoy,
    work: impl Fn(usize, &Envoy) + Send + Sync,
    mut on_main: impl FnMut(&Envoy),
) {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (become_worker, work) = (envoy.worker(), &work);
                scope.spawn(move || work(number, &become_worker()))
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            envoy.run();
            on_main(envoy);
            thread::yield_now();
        }
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn workers_wait_for_keys_that_the_main_thread_fetches_for_all() {
    const ROUNDS: usize = 5;
    let envoy = Envoy::start();
    for round in 0..ROUNDS {
        let provider = Provider::new();
        let configuration = provider.configuration().to_string();
        let config = envoy.configure("mcp-federated-auth", &configuration).unwrap();
        let token = provider.token();
        let served = AtomicUsize::new(0);
        let opened = AtomicUsize::new(0);
        in_workers(
            &envoy,
            |_, envoy| {
                let streams: Vec<usize> =
                    (0..3).map(|_| open(envoy, config, &token, true)).collect();
                opened.fetch_add(1, Ordering::SeqCst);
                envoy.run_until("all are forwarded", |envoy| {
                    streams
                        .iter()
                        .all(|stream| envoy.status(*stream) == 0 || envoy.is_resumed(*stream))
                });
                for stream in streams {
                    assert_identity(envoy, stream);
                }
            },
            |envoy| {
                // Some workers are waiting, others are about to.
                if opened.load(Ordering::SeqCst) > round % WORKERS {
                    for callout in envoy.callouts() {
                        envoy.respond(&callout, Some(("200", provider.key_set().as_bytes())));
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                }
            },
        );
        assert_eq!(served.load(Ordering::SeqCst), 1);
        envoy.remove(config);
        assert_eq!(schedulers(), 0);
    }
}

#[test]
fn a_token_that_all_workers_get_at_once_is_spent_once() {
    let provider = Provider::new();
    let mut configuration = provider.configuration();
    configuration["providers"][0]["jti"] = json!("single_use");
    let (envoy, config) = start_with(&provider, &configuration);
    let tokens: Vec<String> = (0..20)
        .map(|_| {
            let mut claims = claims(&provider.issuer, "mcp");
            claims["jti"] = json!(random_id());
            provider.key.token(&claims)
        })
        .collect();
    let passed = AtomicUsize::new(0);
    in_workers(
        &envoy,
        |_, envoy| {
            for token in &tokens {
                let stream = open(envoy, config, token, true);
                if envoy.status(stream) == 0 {
                    passed.fetch_add(1, Ordering::SeqCst);
                } else {
                    assert_eq!(envoy.response(stream).unwrap().reason(), "jti_replayed");
                }
                envoy.close(stream);
            }
        },
        |_| (),
    );
    assert_eq!(passed.load(Ordering::SeqCst), tokens.len());
}

#[test]
fn workers_serve_while_configurations_and_keys_change() {
    let mut provider = Provider::new();
    let (envoy, config) = start_with(&provider, &provider.configuration());
    let old = provider.token();
    provider.key = SigningKey::generate(Algorithm::Es256, "two");
    let new = provider.token();
    let key_set = provider.key_set();
    let configuration = provider.configuration().to_string();
    in_workers(
        &envoy,
        |number, envoy| {
            for round in 0..20 {
                let stream = open(envoy, config, if round < 3 { &old } else { &new }, true);
                if number % 2 == 0 && round == 5 {
                    envoy.close(stream);
                    continue;
                }
                envoy.run_until("the request is decided", |envoy| {
                    envoy.status(stream) == 0
                        || envoy.is_resumed(stream)
                        || envoy.response(stream).is_some()
                });
                envoy.close(stream);
            }
        },
        |envoy| {
            for callout in envoy.callouts() {
                envoy.respond(&callout, Some(("200", key_set.as_bytes())));
            }
            let other = envoy.configure("mcp-federated-auth", &configuration).unwrap();
            envoy.run();
            envoy.remove(other);
        },
    );
    let stream = open(&envoy, config, &new, true);
    assert_eq!(envoy.status(stream), 0);
}

#[test]
fn a_removed_configuration_keeps_no_scheduler_while_a_worker_still_holds_it() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let token = provider.token();
    let ((serve, served), (remove, removed)) = (mpsc::channel(), mpsc::channel::<()>());
    thread::scope(|scope| {
        let become_worker = envoy.worker();
        scope.spawn(move || {
            let envoy = become_worker();
            let stream = open(&envoy, config, &token, true);
            envoy.close(stream);
            serve.send(()).unwrap();
            // Waits until the other end is dropped.
            let _ = removed.recv();
        });
        served.recv().unwrap();
        envoy.remove(config);
        assert_eq!(schedulers(), 0);
        drop(remove);
    });
}
