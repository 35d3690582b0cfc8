//! The status page, served by a filter of its own.

use super::host::{Host, StreamId};
use super::metrics::HostBoard;
use crate::config::StatusConfig;
use crate::request::RequestHead;
use crate::response::Response;
use crate::status::StatusPage;

/// Responds to every request itself; no request goes on.
pub struct StatusPageFilter<H> {
    page: StatusPage,
    host: H,
}

impl<H: Host> StatusPageFilter<H> {
    /// The `root_id` of a plugin that is the status page.
    pub const ROOT_ID: &'static str = StatusPage::ROOT_ID;

    /// The page as this configuration says.
    pub fn new(config: StatusConfig, host: H) -> Self {
        Self { page: StatusPage::new(config), host }
    }

    /// The host.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// Responds to a request; `head` is none if it cannot be read. The stream stays stopped.
    pub fn on_request_head(&mut self, stream: StreamId, head: Option<RequestHead<'_>>) {
        let response = match (self.host.now(), head) {
            (Some(now), Some(head)) => self.page.response(head, &HostBoard(&self.host), now),
            _ => Response { status: 500, headers: vec![], body: vec![] },
        };
        // Stopped for good if even that fails.
        let _ = self.host.respond(stream, &response);
    }
}
