use std::env;
use std::fs;
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

/// The native module under test: `dist/libmcp_federated_auth.so`, or what
/// `MCP_FEDERATED_AUTH_NATIVE` names.
pub fn native_module_path() -> PathBuf {
    let path = match env::var_os("MCP_FEDERATED_AUTH_NATIVE") {
        Some(path) => path.into(),
        None => repository_root().join("dist/libmcp_federated_auth.so"),
    };
    assert!(path.is_file(), "{} is not there: run `make native`", path.display());
    path
}

/// A native module that panics on request: a debug build in Cargo's target directory.
pub fn panicking_module_path() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let debug = repository_root().join(target).join("debug");
    let path = debug.join("libmcp_federated_auth_dynamic_module.so");
    assert!(path.is_file(), "{} is not there: run `make native-tests`", path.display());
    path
}

/// The module under test: `dist/mcp-federated-auth.wasm`, or the file `MCP_FEDERATED_AUTH_WASM`
/// names.
pub fn module_path() -> PathBuf {
    let path = match env::var_os("MCP_FEDERATED_AUTH_WASM") {
        Some(path) => path.into(),
        None => repository_root().join("dist/mcp-federated-auth.wasm"),
    };
    assert!(path.is_file(), "{} is not there: run `make build`", path.display());
    path
}

/// All YAML files in a folder of the repository, and below it.
pub fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![repository_root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is a folder") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
