//! HTTP requests to identity providers, directories and stores, and their responses. This module
//! only describes them; the host sends them.

mod endpoint;
mod response;

pub use endpoint::CalloutRequest;
pub(crate) use endpoint::{Clusters, Endpoint, EndpointFault, USER_AGENT, is_secure_url};
pub use response::CalloutResponse;
pub(crate) use response::{BodyLimit, CalloutFault, beginning};
