//! What the built module requires of Envoy and of the system.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::{envoys, module};

/// Envoy's callbacks, without their prefix: Envoy 1.38 exports each of them.
const CALLBACKS: [&str; 29] = [
    "get_most_specific_route_config",
    "http_add_header",
    "http_append_body",
    "http_clear_route_cache",
    "http_drain_body",
    "http_filter_config_define_counter",
    "http_filter_config_define_gauge",
    "http_filter_config_http_callout",
    "http_filter_config_scheduler_commit",
    "http_filter_config_scheduler_delete",
    "http_filter_config_scheduler_new",
    "http_filter_continue_decoding",
    "http_filter_increment_counter",
    "http_filter_scheduler_commit",
    "http_filter_scheduler_delete",
    "http_filter_scheduler_new",
    "http_filter_set_gauge",
    "http_get_body_chunks",
    "http_get_body_chunks_size",
    "http_get_body_size",
    "http_get_headers",
    "http_get_headers_size",
    "http_received_buffered_request_body",
    "http_received_buffered_response_body",
    "http_send_response",
    "http_set_filter_state_bytes",
    "http_set_header",
    "log",
    "log_enabled",
];
const PREFIX: &str = "envoy_dynamic_module_callback_";

/// The glibc version that docs/native.md names. Envoy itself needs 2.30.
const GLIBC: (u32, u32) = (2, 28);

fn readelf(options: &[&str], file: &Path) -> String {
    let output = Command::new("readelf").arg("--wide").args(options).arg(file).output();
    let output = output.expect("readelf comes with the C compiler");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names of dynamic symbols: of those that the file defines, or of those that it imports.
pub fn symbols(file: &Path, are_defined: bool) -> BTreeSet<String> {
    let table = readelf(&["--dyn-syms"], file);
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows =
        rows.filter(|row| row.len() >= 8 && row[6] != "Ndx" && (row[6] != "UND") == are_defined);
    rows.map(|row| row[7].split('@').next().unwrap().to_owned()).collect()
}

#[test]
fn the_module_imports_only_callbacks_that_envoy_has_had_since_1_38() {
    let imported = symbols(&module(), false);
    let of_envoy: Vec<&str> =
        imported.iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
    assert_eq!(of_envoy, CALLBACKS);
}

#[test]
fn every_envoy_exports_the_callbacks_that_the_module_imports() {
    for (version, launcher) in envoys() {
        let packages = launcher.parent().unwrap().parent().unwrap().join("lib");
        let python = std::fs::read_dir(packages).unwrap().next().unwrap().unwrap().path();
        let exported = symbols(&python.join("site-packages/envoy/_bin/envoy"), true);
        for callback in CALLBACKS {
            assert!(exported.contains(&format!("{PREFIX}{callback}")), "{version}: {callback}");
        }
    }
}

#[test]
fn the_module_exports_only_hooks() {
    let exported = symbols(&module(), true);
    let others: Vec<_> =
        exported.iter().filter(|name| !name.starts_with("envoy_dynamic_module_on_")).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(exported.len(), 25, "{exported:?}");
}

#[test]
fn the_module_loads_on_every_system_that_envoy_runs_on() {
    let needed = readelf(&["--dynamic"], &module());
    let needed: Vec<&str> = needed
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    // All of these belong to glibc, none to the compiler.
    let glibc =
        ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1"];
    for library in needed {
        assert!(glibc.contains(&library) || library.starts_with("ld-linux"), "{library}");
    }
    let versions = readelf(&["--version-info"], &module());
    let versions = versions.split("GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split(|sign: char| !sign.is_ascii_digit() && sign != '.').next()?;
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    });
    let newest: Option<(u32, u32)> = versions.max();
    assert!(newest.is_some_and(|newest| newest <= GLIBC), "{newest:?}");
}

#[test]
fn the_module_is_stripped() {
    let sections = readelf(&["--section-headers"], &module());
    assert!(!sections.contains(".symtab") && !sections.contains(".debug"), "{sections}");
}
