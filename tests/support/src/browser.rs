use std::env;

use serde::Deserialize;
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
    let options =
        json!({"url": url, "port": page.number(), "person": person, "chromium": chromium()});
    ClientReport::new(Program::node("browser.mjs", &options)).await
}

/// What a person sees of a web page, and what the browser has to say of it.
#[derive(Clone, Debug, Deserialize)]
pub struct SeenPage {
    /// Its title.
    pub title: String,
    /// All of its visible text.
    pub text: String,
    /// The colours of the page.
    pub body: Colours,
    /// Whether it has to be moved sideways to be read.
    pub is_wider_than_window: bool,
    /// The URLs that the browser asked for, the page's own first.
    pub requests: Vec<String>,
    /// Errors, warnings, and requests that failed.
    pub complaints: Vec<String>,
}

/// Colours as CSS writes them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Colours {
    /// Of the ground.
    pub ground: String,
    /// Of the text.
    pub text: String,
}

/// Has a person who prefers `light` or `dark` look at a web page in a window of this width.
///
/// # Panics
///
/// When the browser cannot be started, or the page does not come.
pub async fn look_at_page(url: &str, scheme: &str, width: u32) -> SeenPage {
    let options = json!({"url": url, "scheme": scheme, "width": width, "chromium": chromium()});
    let line = Program::node("look_at_page.mjs", &options).line().await;
    serde_json::from_value(line).expect("the program says what was seen")
}

fn chromium() -> String {
    env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned())
}
