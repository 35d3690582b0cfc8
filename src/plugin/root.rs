//! The root context: one for each configuration in each worker thread.

use std::cell::RefCell;
use std::rc::Rc;

use log::error;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};

use super::host;
use super::http_filter::HttpFilter;
use super::status_filter::StatusFilter;
use super::worker::Worker;
use crate::config::{Config, ConfigError, StatusConfig};
use crate::status::StatusPage;

/// A root context, and once it is configured what it does.
pub(super) struct Root {
    context_id: u32,
    /// Of a filter that authenticates.
    worker: Option<Rc<RefCell<Worker>>>,
    /// Of a filter that is the status page.
    page: Option<Rc<StatusPage>>,
}

impl Root {
    pub(super) fn new(context_id: u32) -> Self {
        Self { context_id, worker: None, page: None }
    }

    fn configure(&mut self, bytes: &[u8]) -> Result<(), ConfigError> {
        if host::root_id().is_some_and(|id| id == StatusPage::ROOT_ID.as_bytes()) {
            let config = StatusConfig::from_bytes(bytes)?;
            self.page = Some(Rc::new(StatusPage::new(config)));
        } else {
            let worker = Worker::new(self.context_id, Config::from_bytes(bytes)?);
            self.worker = Some(Rc::new(RefCell::new(worker)));
        }
        Ok(())
    }
}

impl Context for Root {
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

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = match size {
            0 => None,
            size => hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten(),
        };
        match self.configure(&bytes.unwrap_or_default()) {
            Ok(()) => true,
            Err(refused) => {
                for fault in refused.faults() {
                    error!("configuration refused: {fault}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            worker.borrow_mut().on_tick();
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.page {
            Some(page) => Box::new(StatusFilter::new(page.clone())),
            None => Box::new(HttpFilter::new(context_id, self.worker.clone())),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
