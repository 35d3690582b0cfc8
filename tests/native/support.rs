//! Envoys and modules.

use std::path::PathBuf;
use std::time::Duration;

use testbed::{Stack, StackBuilder, native_module_path, repository_root};

/// The deadline of everything that should happen soon.
pub const SOON: Duration = Duration::from_secs(15);

/// The module under test.
pub fn module() -> PathBuf {
    native_module_path()
}

fn existing(path: &str) -> PathBuf {
    let path = repository_root().join(path);
    assert!(path.is_file(), "{} does not exist: run `make native-tests`", path.display());
    path
}

/// The Envoys that the module supports, by version.
pub fn envoys() -> [(&'static str, PathBuf); 3] {
    [
        ("1.38", existing(".venv/envoy-1.38/bin/envoy")),
        ("1.39", existing(".venv/envoy-1.39/bin/envoy")),
        ("1.40", existing(".venv/bin/envoy")),
    ]
}

/// The example with the native module, in an Envoy of its own.
pub fn stack() -> StackBuilder {
    Stack::builder().native(module()).alone()
}

/// How many threads of the module's timer this process has.
pub fn timers(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "mcp_auth_timer").count()
}
