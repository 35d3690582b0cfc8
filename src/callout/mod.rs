//! HTTP calls to the world outside: identity providers, directories, stores. Here they are only
//! described; whoever holds the host makes them.

mod endpoint;
mod response;

pub use endpoint::CalloutRequest;
pub(crate) use endpoint::{Clusters, Endpoint, EndpointFault, USER_AGENT, is_secure_url};
pub use response::CalloutResponse;
pub(crate) use response::{BodyLimit, CalloutFault, beginning};
