use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout: where `envoy/`, `dist/` and `.venv/` are.
///
/// `MCP_FEDERATED_AUTH_ROOT` overrides the place where this crate was compiled.
pub fn repository_root() -> PathBuf {
    if let Some(root) = env::var_os("MCP_FEDERATED_AUTH_ROOT") {
        return PathBuf::from(root);
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the package lies two folders below the root")
        .to_owned()
}
