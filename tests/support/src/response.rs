use http::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null if it is not JSON.
    pub body: Value,
    /// The body as received.
    pub text: String,
}

impl Response {
    /// A POST of `tools/call whoami`, to be completed and sent.
    pub fn mcp_call(client: &Client, url: &str) -> RequestBuilder {
        client.post(url).header("accept", "application/json, text/event-stream").json(&json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "whoami", "arguments": {}},
        }))
    }

    /// Reads a response to its end.
    pub async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.expect("the body arrives whole");
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    /// A header's value; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The reason code of a refusal; empty if there is none.
    pub fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }

    /// The identity headers that `whoami` reports; null if the call did not reach the tool.
    pub fn whoami(&self) -> &Value {
        &self.body["result"]["structuredContent"]["identity"]
    }
}
