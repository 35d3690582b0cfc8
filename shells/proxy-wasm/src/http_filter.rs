//! The HTTP context of one request.

use std::cell::RefCell;
use std::rc::Rc;

use mcp_federated_auth::{BodyAction, RequestHead, ResponseHead};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::head_status::to_sdk;
use crate::header_pairs::decode_fields;
use crate::host::{self, stream_id};
use crate::root::Engine;

/// A request.
pub(crate) struct HttpFilter {
    context_id: u32,
    /// `None` if the host sends requests to a plugin whose configuration was refused.
    engine: Option<Rc<RefCell<Engine>>>,
}

impl HttpFilter {
    pub(crate) fn new(context_id: u32, engine: Option<Rc<RefCell<Engine>>>) -> Self {
        Self { context_id, engine }
    }

    /// Passes a callback of this request to the engine; without one, nothing is forwarded.
    fn call_engine(&self, callback: impl FnOnce(&mut Engine) -> BodyAction) -> Action {
        let Some(engine) = &self.engine else { return Action::Pause };
        let mut engine = engine.borrow_mut();
        engine.host().entered(self.context_id);
        match callback(&mut engine) {
            BodyAction::Continue => Action::Continue,
            BodyAction::Stop => Action::Pause,
        }
    }
}

/// Ends the current context's request with a bare status.
fn end(status: u32) -> Action {
    // If even that fails, the stream stays paused.
    let _ = hostcalls::send_http_response(status, vec![], None);
    Action::Pause
}

impl Context for HttpFilter {}

impl HttpContext for HttpFilter {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let Some(engine) = &self.engine else { return end(503) };
        let bytes = host::request_fields();
        let Some(fields) = bytes.as_deref().and_then(decode_fields) else { return end(500) };
        let mut engine = engine.borrow_mut();
        engine.host().entered(self.context_id);
        let head = RequestHead::new(&fields, !end_of_stream);
        to_sdk(engine.on_request_head(stream_id(self.context_id), head))
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        let stream = stream_id(self.context_id);
        self.call_engine(|engine| engine.on_request_body(stream, body_size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.call_engine(|engine| engine.on_request_trailers(stream_id(self.context_id)))
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let stream = stream_id(self.context_id);
        let Some(engine) = &self.engine else { return Action::Continue };
        let mut engine = engine.borrow_mut();
        if !engine.reads_response(stream) {
            return Action::Continue;
        }
        engine.host().entered(self.context_id);
        let bytes = host::response_fields();
        let Some(fields) = bytes.as_deref().and_then(decode_fields) else { return end(500) };
        to_sdk(engine.on_response_head(stream, ResponseHead::new(&fields), !end_of_stream))
    }

    fn on_http_response_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        let stream = stream_id(self.context_id);
        self.call_engine(|engine| engine.on_response_body(stream, body_size, end_of_stream))
    }

    fn on_http_response_trailers(&mut self, _num_trailers: usize) -> Action {
        self.call_engine(|engine| engine.on_response_trailers(stream_id(self.context_id)))
    }
}

impl Drop for HttpFilter {
    fn drop(&mut self) {
        if let Some(Ok(mut engine)) = self.engine.as_ref().map(|engine| engine.try_borrow_mut()) {
            engine.on_stream_end(stream_id(self.context_id));
        }
    }
}
