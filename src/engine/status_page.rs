//! The status page, served by a separate filter.

use super::host::{Host, StreamId};
use super::metrics::HostBoard;
use crate::config::StatusConfig;
use crate::request::RequestHead;
use crate::response::Response;
use crate::status::StatusPage;

/// Responds to every request itself; no request is forwarded.
pub struct StatusPageFilter<H> {
    page: StatusPage,
    host: H,
}

impl<H: Host> StatusPageFilter<H> {
    /// The `root_id` of a plugin that is the status page.
    pub const ROOT_ID: &'static str = StatusPage::ROOT_ID;

    /// The page for this configuration.
    pub fn new(config: StatusConfig, host: H) -> Self {
        Self { page: StatusPage::new(config), host }
    }

    /// The host of this filter.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// Responds to a request; `head` is `None` if it cannot be read. The stream stays stopped.
    pub fn on_request_head(&mut self, stream: StreamId, head: Option<RequestHead<'_>>) {
        let response = match (self.host.now(), head) {
            (Some(now), Some(head)) => self.page.response(head, &HostBoard(&self.host), now),
            _ => Response::bare(500),
        };
        // If even that fails, the stream stays stopped.
        let _ = self.host.respond(stream, response);
    }
}
