//! The HTTP context of the status page: answers each request itself, and lets nothing on.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::status_board::HostBoard;
use crate::request::{RequestHead, decode_fields};
use crate::response::Response;
use crate::status::StatusPage;

/// A request for the status page.
pub(super) struct StatusFilter {
    page: Rc<StatusPage>,
}

impl StatusFilter {
    pub(super) fn new(page: Rc<StatusPage>) -> Self {
        Self { page }
    }

    fn response(&self) -> Response {
        let bytes = host::request_fields();
        match (host::now(), bytes.as_deref().and_then(decode_fields)) {
            (Some(now), Some(fields)) => {
                self.page.response(RequestHead::new(&fields, false), &HostBoard, now)
            }
            _ => Response { status: 500, headers: vec![], body: vec![] },
        }
    }
}

impl Context for StatusFilter {}

/// Paused for good if no answer can be given: nothing of a request goes on.
impl HttpContext for StatusFilter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let _ = host::respond(&self.response());
        Action::Pause
    }

    fn on_http_request_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        Action::Pause
    }
}
