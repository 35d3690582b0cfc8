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

/// A login by the page of the gateway, with properties of the page.
#[derive(Clone, Debug, Deserialize)]
pub struct LoginByPage {
    /// Its title.
    pub title: String,
    /// All of its visible text.
    pub text: String,
    /// The colours of the page.
    pub body: Colours,
    /// Whether it must be scrolled sideways to be read.
    pub is_wider_than_window: bool,
    /// The language that it declares.
    pub language: String,
    /// Its headings.
    pub headings: Vec<String>,
    /// How many main parts it has.
    pub landmarks: usize,
    /// Its buttons.
    pub buttons: Vec<String>,
    /// The height of the smallest one, in pixels.
    pub smallest_button: f64,
    /// The element that the first press of the Tab key focuses.
    pub focused: String,
    /// The URLs that the browser requested for it.
    pub requests: Vec<String>,
    /// Errors and warnings, up to the end of the login.
    pub complaints: Vec<String>,
    /// The URL with which the person came back to the client.
    pub callback: String,
}

/// Logs this person in by the page at an authorization URL in Chromium, with the keyboard, with the
/// preference `light` or `dark` in a window of this width. If `MCP_FEDERATED_AUTH_SCREENSHOTS` names
/// a folder, a screenshot of the page is written there.
///
/// # Panics
///
/// If the browser cannot be started, or does not come back to the client.
pub async fn log_in_by_page(
    url: &str,
    redirect_url: &str,
    person: &str,
    scheme: &str,
    width: u32,
) -> LoginByPage {
    let screenshot = env::var("MCP_FEDERATED_AUTH_SCREENSHOTS").ok();
    let screenshot = screenshot.map(|folder| format!("{folder}/login-{scheme}-{width}.png"));
    let options = json!({
        "url": url,
        "redirect_url": redirect_url,
        "person": person,
        "scheme": scheme,
        "width": width,
        "screenshot": screenshot,
        "chromium": chromium(),
    });
    let line = Program::node("log_in_by_page.mjs", &options).line().await;
    serde_json::from_value(line).expect("the program says what was seen")
}

fn chromium() -> String {
    env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned())
}
