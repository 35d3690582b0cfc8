//! Trims the exports of the plugin's module to the callbacks that it implements. A host calls every
//! callback that a module exports, and each call into the module costs time on each request.

use std::error::Error;

use walrus::{ExportItem, Module};

/// The plugin's own callbacks, and the SDK's that they replace.
const OWN_CALLBACKS: [(&str, &str); 2] = [
    ("mcp_auth_on_http_call_response", "proxy_on_http_call_response"),
    ("mcp_auth_on_request_headers", "proxy_on_request_headers"),
];

/// The callbacks that do something.
const CALLBACKS: [&str; 12] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// Removes the SDK's empty callbacks from the module in file `input`, and exports the plugin's own
/// callbacks in place of the SDK's.
///
/// # Errors
///
/// The module cannot be read or written, or lacks a callback.
pub(crate) fn trim_exports(input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let mut module = Module::from_file(input).map_err(|fault| format!("{input}: {fault:#}"))?;
    let is_callback =
        |name: &str| name.starts_with("proxy_on_") && name != "proxy_on_memory_allocate";
    for name in CALLBACKS {
        if !module.exports.iter().any(|export| export.name == name) {
            return Err(format!("{input}: does not export {name}").into());
        }
    }
    let unused: Vec<_> = module
        .exports
        .iter()
        .filter(|export| matches!(export.item, ExportItem::Function(_)))
        .filter(|export| is_callback(&export.name) && !CALLBACKS.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for export in unused {
        module.exports.delete(export);
    }
    for (own, sdk) in OWN_CALLBACKS {
        module.exports.remove(sdk).map_err(|fault| format!("{input}: {fault:#}"))?;
        let export = module.exports.iter_mut().find(|export| export.name == own);
        let export = export.ok_or_else(|| format!("{input}: does not export {own}"))?;
        sdk.clone_into(&mut export.name);
    }
    walrus::passes::gc::run(&mut module);
    module.emit_wasm_file(output).map_err(|fault| format!("{output}: {fault:#}").into())
}
