//! The HTTP context: one for each request.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::worker::Worker;
use crate::response::Response;

/// A request.
pub(super) struct HttpFilter {
    context_id: u32,
    /// None when the host sends requests to a plugin whose configuration it saw refused.
    worker: Option<Rc<RefCell<Worker>>>,
}

impl HttpFilter {
    pub(super) fn new(context_id: u32, worker: Option<Rc<RefCell<Worker>>>) -> Self {
        Self { context_id, worker }
    }
}

impl Context for HttpFilter {
    /// The SDK remembers that the call was made during a callback of this request.
    fn on_http_call_response(
        &mut self,
        token_id: u32,
        num_headers: usize,
        body_size: usize,
        _num_trailers: usize,
    ) {
        if let Some(worker) = &self.worker {
            worker.borrow_mut().on_callout_response(token_id, num_headers, body_size);
        }
    }
}

impl HttpContext for HttpFilter {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        match &self.worker {
            Some(worker) => worker.borrow_mut().on_request(self.context_id, !end_of_stream),
            None => {
                // Paused for good if even that fails: nothing passes without a configuration.
                let _ = host::respond(&Response { status: 503, headers: vec![], body: vec![] });
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        match &self.worker {
            Some(worker) => {
                worker.borrow_mut().on_request_body(self.context_id, body_size, end_of_stream)
            }
            None => Action::Pause,
        }
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        match &self.worker {
            Some(worker) => {
                let mut worker = worker.borrow_mut();
                match worker.strip_trailers(self.context_id) {
                    Ok(()) => worker.on_request_trailers(self.context_id),
                    Err(action) => action,
                }
            }
            None => Action::Pause,
        }
    }
}

impl Drop for HttpFilter {
    fn drop(&mut self) {
        if let Some(Ok(mut worker)) = self.worker.as_ref().map(|worker| worker.try_borrow_mut()) {
            worker.forget(self.context_id);
        }
    }
}
