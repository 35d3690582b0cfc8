//! The HTTP context of the status page.

use std::cell::RefCell;
use std::rc::Rc;

use mcp_federated_auth::{RequestHead, StatusPageFilter};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::header_pairs::decode_fields;
use crate::host::{self, EnvoyHost, stream_id};

/// A request for the status page. It is stopped and gets a response.
pub(crate) struct StatusFilter {
    context_id: u32,
    page: Rc<RefCell<StatusPageFilter<EnvoyHost>>>,
}

impl StatusFilter {
    pub(crate) fn new(context_id: u32, page: Rc<RefCell<StatusPageFilter<EnvoyHost>>>) -> Self {
        Self { context_id, page }
    }
}

impl Context for StatusFilter {}

impl HttpContext for StatusFilter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let bytes = host::request_fields();
        let fields = bytes.as_deref().and_then(decode_fields);
        let head = fields.as_deref().map(|fields| RequestHead::new(fields, false));
        let mut page = self.page.borrow_mut();
        page.host().entered(self.context_id);
        page.on_request_head(stream_id(self.context_id), head);
        Action::Pause
    }

    fn on_http_request_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        Action::Pause
    }
}
