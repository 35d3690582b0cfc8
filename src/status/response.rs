//! The responses of the status listener. It responds to every request; none reaches an upstream.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::page::{self, STYLE};
use super::{Board, Status};
use crate::config::StatusConfig;
use crate::printable::Printable;
use crate::request::{RequestHead, without_slash};
use crate::response::Response;
use crate::time::UnixTime;

/// Serves the report as a page and as JSON.
#[derive(Debug)]
pub(crate) struct StatusPage {
    config: StatusConfig,
    security_policy: String,
}

impl StatusPage {
    /// The `root_id` of a plugin that is the status page.
    pub(crate) const ROOT_ID: &str = "mcp_auth_status";

    #[must_use]
    pub(crate) fn new(config: StatusConfig) -> Self {
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let security_policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        );
        Self { config, security_policy }
    }

    /// The response to a request.
    #[must_use]
    pub(crate) fn response(
        &self,
        head: RequestHead<'_>,
        board: &dyn Board,
        now: UnixTime,
    ) -> Response {
        if !self.is_own_host(head) {
            return self.plain(
                403,
                "The status page is not served under this host name. Use an IP address or \
                 localhost, or add the name to `hosts` in the configuration of the page.\n",
            );
        }
        let render: fn(&Status) -> (&'static str, String) = match without_slash(head.path()) {
            b"/" => |status| ("text/html; charset=utf-8", page::html(status)),
            b"/status.json" => |status| ("application/json", json(status)),
            _ => return self.plain(404, "Not found. Try / or /status.json.\n"),
        };
        if !matches!(head.method(), b"GET" | b"HEAD") {
            let mut response = self.plain(405, "Use GET.\n");
            response.headers.push(("allow", "GET, HEAD".into()));
            return response;
        }
        let (content_type, body) = render(&Status::gather(board, now));
        self.with_body(200, content_type, body)
    }

    /// Whether the authority is an IP address, `localhost` or a configured host. Under any other name
    /// the web pages of that name could read the report (DNS rebinding).
    fn is_own_host(&self, head: RequestHead<'_>) -> bool {
        let authority = head.values(":authority").next().unwrap_or_default();
        let Ok(authority) = std::str::from_utf8(authority) else { return false };
        let is_address = authority.parse::<SocketAddr>().is_ok()
            || authority.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let host = authority.split_once(':').map_or(authority, |(host, _)| host);
        let names = ["localhost"].into_iter().chain(self.config.hosts.iter().map(String::as_str));
        is_address || names.into_iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    fn plain(&self, status: u16, text: &str) -> Response {
        self.with_body(status, "text/plain; charset=utf-8", text.to_owned())
    }

    fn with_body(&self, status: u16, content_type: &'static str, body: String) -> Response {
        let headers = vec![
            ("content-type", content_type.into()),
            ("cache-control", "no-store".into()),
            ("content-security-policy", self.security_policy.clone().into()),
            ("cross-origin-resource-policy", "same-origin".into()),
            ("referrer-policy", "no-referrer".into()),
            ("x-content-type-options", "nosniff".into()),
            ("x-frame-options", "DENY".into()),
        ];
        Response { status, headers, body: body.into_bytes() }
    }
}

fn json(status: &Status) -> String {
    // Nothing here can fail to serialise.
    let text = serde_json::to_string_pretty(status).unwrap_or_default();
    // A terminal must not interpret control characters.
    format!("{}\n", Printable::lines(text))
}
