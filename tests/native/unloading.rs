//! Envoy unloads the module if the first configuration is refused: none of its code may run
//! afterwards.

use serde_json::json;

use crate::support::{envoys, stack, timers};

/// Whether a process has the module in its memory.
fn is_loaded(pid: u32) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.contains("libmcp_federated_auth")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_module_leaves_no_thread_and_serves_once_loaded_again() {
    for (version, envoy) in envoys() {
        let builder = stack().binary(envoy).updatable();
        let mut stack =
            builder.configure(|configuration| configuration["typo"] = json!(1)).start().await;
        let pid = stack.envoy.pid();
        assert!(stack.envoy.log().contains("configuration refused: typo"), "{version}");
        assert!(!is_loaded(pid), "{version}");
        assert_eq!(timers(pid), 0, "{version}");
        for name in ["new", "newer"] {
            stack
                .reconfigure(|configuration| {
                    configuration.as_object_mut().unwrap().remove("typo");
                    configuration["resource"]["name"] = json!(name);
                })
                .await;
            assert_eq!(stack.call(&stack.token()).await.status, 200, "{version}");
            assert_eq!(timers(pid), 1, "{version}");
        }
        // From now on the module stays loaded: threads have values whose destructors are in it.
        assert!(is_loaded(pid), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_refuses_its_only_configuration_exits_without_a_crash() {
    for (version, envoy) in envoys() {
        let builder = stack().binary(envoy);
        let log = builder.configure(|configuration| configuration["typo"] = json!(1));
        let log = log.expect_refusal().await;
        assert!(log.contains("configuration refused: typo"), "{version}");
        for crash in ["Caught ", "Segmentation", "Backtrace (use"] {
            assert!(!log.contains(crash), "{version}: {log}");
        }
    }
}
