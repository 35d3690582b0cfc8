use std::fs;

use crate::envoy::{Envoy, schedulers};
use crate::provider::{Provider, assert_identity, open};

#[test]
fn a_refused_configuration_is_logged_with_its_fault_and_leaves_nothing() {
    let envoy = Envoy::start();
    for configuration in ["", "{}", "{\"resource\":", "[]", "\u{1}\u{2}"] {
        assert_eq!(envoy.configure("mcp-federated-auth", configuration), None);
    }
    let refused =
        envoy.log().iter().filter(|line| line.starts_with("configuration refused: ")).count();
    assert!(refused >= 5, "{:?}", envoy.log());
    assert_eq!(schedulers(), 0);
    assert!(envoy.configure_route("{}").is_none());
}

/// The number of the timer's threads.
fn timers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "mcp_auth_timer").count()
}

#[test]
fn one_timer_thread_serves_all_configurations_and_ends_with_the_last() {
    let provider = Provider::new();
    let envoy = Envoy::start();
    let configuration = provider.configuration().to_string();
    for _ in 0..3 {
        let configs: Vec<usize> = (0..5)
            .map(|_| envoy.configure("mcp-federated-auth", &configuration).unwrap())
            .collect();
        // The thread names itself when it starts.
        envoy.run_until("there is one timer", |_| timers() == 1);
        configs.into_iter().for_each(|config| envoy.remove(config));
        assert_eq!(timers(), 0);
    }
}

#[test]
fn configurations_of_the_same_source_share_one_fetch() {
    let provider = Provider::new();
    let envoy = Envoy::start();
    let configuration = provider.configuration().to_string();
    let configs: Vec<usize> =
        (0..3).map(|_| envoy.configure("mcp-federated-auth", &configuration).unwrap()).collect();
    provider.serve_keys(&envoy);
    envoy.run();
    assert!(envoy.callouts().is_empty());
    for config in configs {
        let stream = open(&envoy, config, &provider.token(), true);
        assert_eq!(envoy.status(stream), 0);
        assert_identity(&envoy, stream);
    }
}

#[test]
fn a_configuration_that_replaces_another_has_the_keys_at_once() {
    let provider = Provider::new();
    let envoy = Envoy::start();
    let configuration = provider.configuration().to_string();
    let mut config = envoy.configure("mcp-federated-auth", &configuration).unwrap();
    provider.serve_keys(&envoy);
    for _ in 0..200 {
        let next = envoy.configure("mcp-federated-auth", &configuration).unwrap();
        let old = open(&envoy, config, &provider.token(), true);
        let new = open(&envoy, next, &provider.token(), true);
        assert_eq!((envoy.status(old), envoy.status(new)), (0, 0));
        envoy.close(old);
        envoy.remove(config);
        envoy.close(new);
        config = next;
        envoy.run();
    }
    assert!(envoy.callouts().is_empty());
    assert_eq!(schedulers(), 1);
}
