//! The root context: one per configuration and worker thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use log::error;
use mcp_federated_auth::{Config, ConfigError, StatusConfig, StatusPageFilter};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};

use crate::crypto::VerifySignature;
use crate::host::{self, EnvoyHost};
use crate::http_filter::HttpFilter;
use crate::status_filter::StatusFilter;

/// The engine of a worker thread.
pub(crate) type Engine = mcp_federated_auth::Engine<EnvoyHost>;

thread_local! {
    /// The engine of each root context in this VM.
    static ENGINES: RefCell<HashMap<u32, Weak<RefCell<Engine>>>> = RefCell::default();
}

/// The host has the response to a callout of this root context, or the callout has failed: then
/// there are no header fields.
pub fn on_callout_response(root_id: u32, callout: u32, header_count: usize, body_length: usize) {
    let engine = ENGINES.with_borrow(|engines| engines.get(&root_id)?.upgrade());
    if let Some(engine) = engine {
        host::on_callout_response(&mut engine.borrow_mut(), callout, header_count, body_length);
    }
}

/// A root context, and its role once it is configured.
pub(crate) struct Root {
    context_id: u32,
    /// Present in a filter that authenticates.
    engine: Option<Rc<RefCell<Engine>>>,
    /// Present in a filter that is the status page.
    page: Option<Rc<RefCell<StatusPageFilter<EnvoyHost>>>>,
}

impl Root {
    pub(crate) fn new(context_id: u32) -> Self {
        Self { context_id, engine: None, page: None }
    }

    fn configure(&mut self, bytes: &[u8]) -> Result<(), ConfigError> {
        let host = EnvoyHost::new(self.context_id);
        let status_page = StatusPageFilter::<EnvoyHost>::ROOT_ID.as_bytes();
        if host::root_id().is_some_and(|id| id == status_page) {
            let page = StatusPageFilter::new(StatusConfig::from_bytes(bytes)?, host);
            self.page = Some(Rc::new(RefCell::new(page)));
        } else {
            let engine = Engine::new(Config::from_bytes(bytes)?, host, VerifySignature);
            let engine = Rc::new(RefCell::new(engine));
            ENGINES.with_borrow_mut(|engines| {
                engines.retain(|_, engine| engine.strong_count() > 0);
                engines.insert(self.context_id, Rc::downgrade(&engine));
            });
            self.engine = Some(engine);
        }
        Ok(())
    }
}

impl Context for Root {}

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
        if let Some(engine) = &self.engine {
            let mut engine = engine.borrow_mut();
            engine.host().entered(self.context_id);
            engine.on_tick();
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.page {
            Some(page) => Box::new(StatusFilter::new(context_id, page.clone())),
            None => Box::new(HttpFilter::new(context_id, self.engine.clone())),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
