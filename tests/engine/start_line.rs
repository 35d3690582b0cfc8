//! The log line of each start.

use crate::host::{SharedData, log};
use crate::provider::{configuration, start};

fn start_lines() -> Vec<String> {
    log().into_iter().filter(|line| line.contains(" started, configuration ")).collect()
}

#[test]
fn only_the_first_worker_logs_the_version_and_the_configuration() {
    let shared = SharedData::default();
    let workers = [(); 3].map(|()| start(&configuration(), &shared));
    assert_eq!(start_lines(), [""; 0]);
    for worker in &workers {
        worker.tick();
        worker.tick();
    }
    let lines = start_lines();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("mcp-federated-auth {version} started, configuration ");
    let digest = line.strip_prefix(&start).unwrap();
    assert_eq!(digest.len(), 64, "{line}");
    assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
}

#[test]
fn a_changed_configuration_logs_its_own_start() {
    let shared = SharedData::default();
    let mut changed = configuration();
    changed["max_token_size"] = "4KiB".into();
    let lines = [configuration(), changed].map(|configuration| {
        start(&configuration, &shared).tick();
        start_lines()
    });
    assert_eq!(lines.each_ref().map(Vec::len), [1, 1], "{lines:?}");
    assert_ne!(lines[0], lines[1]);
}
