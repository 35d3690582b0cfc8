use std::env;

use serde::Deserialize;
use serde_json::json;

use crate::official_sdk::ClientReport;
use crate::port::Port;
use crate::program::Program;

/// Opens a web page in Chromium that is an MCP client and knows only this URL, logs in where the
/// page redirects to, and waits until the page has called the tool `whoami`. The browser is the
/// machine's, or the one that `CHROMIUM` names.
///
/// # Panics
///
/// If the browser cannot be started, or the page does not finish; faults within the page are in the
/// report.
pub async fn visit_mcp_page(url: &str, page: &Port, person: &str) -> ClientReport {
    let options =
        json!({"url": url, "port": page.number(), "person": person, "chromium": chromium()});
    ClientReport::new(Program::node("browser.mjs", &options)).await
}

/// A web page as a person sees it, and what the browser reports about it.
#[derive(Clone, Debug, Deserialize)]
pub struct SeenPage {
    /// Its title.
    pub title: String,
    /// All of its visible text.
    pub text: String,
    /// The colours of the page.
    pub body: Colours,
    /// Whether it must be scrolled sideways to be read.
    pub is_wider_than_window: bool,
    /// The URLs that the browser requested, the page's own first.
    pub requests: Vec<String>,
    /// Errors, warnings, and requests that failed.
    pub complaints: Vec<String>,
}

/// Colours as CSS writes them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Colours {
    /// The background.
    pub ground: String,
    /// The text.
    pub text: String,
}

/// Renders a web page with the preference `light` or `dark` in a window of this width.
///
/// # Panics
///
/// If the browser cannot be started, or the page does not load.
pub async fn look_at_page(url: &str, scheme: &str, width: u32) -> SeenPage {
    let options = json!({"url": url, "scheme": scheme, "width": width, "chromium": chromium()});
    let line = Program::node("look_at_page.mjs", &options).line().await;
    serde_json::from_value(line).expect("the program says what was seen")
}

fn chromium() -> String {
    env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned())
}
