use std::env;

use serde_json::json;

use crate::official_sdk::ClientReport;
use crate::port::Port;
use crate::program::Program;

/// Has a person open a web page in Chromium, which is an MCP client that knows nothing but this URL,
/// log in where the page sends them, and wait until it has called the tool `whoami`. The browser is
/// the one of the machine, or what `CHROMIUM` names.
///
/// # Panics
///
/// When the browser cannot be started, or the page comes to nothing; what goes wrong in the page
/// is in the report.
pub async fn visit_mcp_page(url: &str, page: &Port, person: &str) -> ClientReport {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let options =
        json!({"url": url, "port": page.number(), "person": person, "chromium": chromium});
    ClientReport::of(Program::node("browser.mjs", &options)).await
}
