use reqwest::Client;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _};
use serde_json::{Value, json};

/// A session of the official MCP client, after its `initialize`.
pub struct McpSession {
    client: RunningService<RoleClient, ()>,
}

impl McpSession {
    /// Connects and initializes, or returns the error.
    pub async fn open(url: &str, token: Option<&str>) -> Result<Self, String> {
        Self::open_as(ClientLifecycleMode::Initialize, url, token).await
    }

    /// Connects by MCP 2026-07-28, which has no sessions: each request is complete.
    pub async fn open_stateless(url: &str, token: Option<&str>) -> Result<Self, String> {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        Self::open_as(ClientLifecycleMode::Discover { preferred_versions }, url, token).await
    }

    async fn open_as(
        lifecycle: ClientLifecycleMode,
        url: &str,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        let client =
            Client::builder().no_proxy().build().expect("the client has nothing to object to");
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let client =
            ().serve_with_lifecycle(transport, lifecycle)
                .await
                .map_err(|error| error.to_string())?;
        Ok(Self { client })
    }

    /// The names of the server's tools.
    pub async fn tools(&self) -> Result<Vec<String>, String> {
        let tools = self.client.list_all_tools().await;
        let tools = tools.map_err(|error| error.to_string())?;
        Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// What `whoami` reports: the identity headers that reached the server.
    pub async fn whoami(&self) -> Result<Value, String> {
        let mut content = self.call("whoami", json!({})).await?;
        Ok(content["identity"].take())
    }

    /// Calls a tool and returns its structured content, or else its text.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value, String> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = self.client.call_tool(call).await;
        let result = result.map_err(|error| error.to_string())?;
        let text = || result.content.first()?.as_text().map(|text| json!(text.text));
        Ok(result.structured_content.clone().or_else(text).unwrap_or_default())
    }

    /// Ends the session.
    pub async fn close(self) {
        // It does not matter if the connection is already closed.
        let _ended = self.client.cancel().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp_server::McpServer;

    #[tokio::test]
    async fn initializes_lists_and_calls() {
        let server = McpServer::start().await;
        let session = McpSession::open(&server.url(), Some("abc")).await.unwrap();
        assert_eq!(session.tools().await.unwrap(), ["add", "whoami"]);
        assert_eq!(session.call("add", json!({"a": 2, "b": 3})).await.unwrap(), "5");
        assert_eq!(session.whoami().await.unwrap(), json!({}));
        session.close().await;
        for request in server.requests() {
            assert_eq!(request.header("authorization"), [b"Bearer abc"]);
        }
    }

    #[tokio::test]
    async fn says_why_it_cannot_open() {
        let error = McpSession::open("http://127.0.0.1:1/mcp", None).await.err();
        assert!(error.is_some_and(|error| !error.is_empty()));
    }
}
