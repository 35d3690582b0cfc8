//! The functions that the built module imports and exports.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;

use wasmparser::{ExternalKind, Parser, Payload};

/// Host functions of proxy-wasm 0.2.1. Most are imported because default methods of the SDK's
/// traits use them; the plugin does not call them.
const PROXY_WASM: [&str; 36] = [
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// The functions that the standard library needs: the VM's arguments, a panic's output, random
/// seeds.
const WASI: [&str; 5] = ["environ_get", "environ_sizes_get", "fd_write", "proc_exit", "random_get"];

fn module() -> Vec<u8> {
    std::fs::read(testkit::module_path()).unwrap()
}

fn payloads(module: &[u8]) -> impl Iterator<Item = Payload<'_>> {
    Parser::new(0).parse_all(module).map(|payload| payload.expect("the module is well formed"))
}

fn exported_functions(module: &[u8]) -> BTreeSet<&str> {
    let mut exports = BTreeSet::new();
    for payload in payloads(module) {
        if let Payload::ExportSection(section) = payload {
            for export in section {
                let export = export.unwrap();
                if export.kind == ExternalKind::Func {
                    exports.insert(export.name);
                }
            }
        }
    }
    exports
}

#[test]
fn the_module_imports_only_host_functions_that_envoy_has() {
    let module = module();
    let mut imports = BTreeSet::new();
    for payload in payloads(&module) {
        if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                let import = import.unwrap();
                imports.insert(format!("{}.{}", import.module, import.name));
            }
        }
    }
    let expected: BTreeSet<String> = PROXY_WASM
        .map(|name| format!("env.{name}"))
        .into_iter()
        .chain(WASI.map(|name| format!("wasi_snapshot_preview1.{name}")))
        .collect();
    assert_eq!(imports, expected);
}

/// A host calls each exported callback, so none may be exported that does nothing.
#[test]
fn the_module_exports_only_callbacks_that_do_something() {
    let module = module();
    let expected = [
        "_initialize",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_http_call_response",
        "proxy_on_memory_allocate",
        "proxy_on_request_body",
        "proxy_on_request_headers",
        "proxy_on_request_trailers",
        "proxy_on_response_body",
        "proxy_on_response_headers",
        "proxy_on_response_trailers",
        "proxy_on_tick",
        "proxy_on_vm_start",
    ];
    assert_eq!(exported_functions(&module), BTreeSet::from(expected));
}

/// Otherwise a callback that a context implements could be missing without an error.
#[test]
fn each_callback_that_the_contexts_implement_is_exported() {
    let sources = ["root.rs", "http_filter.rs"].map(|path| {
        std::fs::read_to_string(testkit::repository_root().join("shells/proxy-wasm/src").join(path))
            .unwrap()
    });
    let lines = sources.iter().flat_map(|source| source.lines());
    let implemented = lines.filter_map(|line| line.trim().strip_prefix("fn on_")?.split_once('('));
    let module = module();
    let exports = exported_functions(&module);
    let mut count = 0;
    for (name, _) in implemented {
        let name = name.replace("http_request_", "request_").replace("http_response_", "response_");
        assert!(exports.contains(format!("proxy_on_{name}").as_str()), "{name}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
}
