//! HTTP calls to the world outside: identity providers, directories, stores. Here they are only
//! described; whoever holds the host makes them.

mod endpoint;
mod response;

pub(crate) use endpoint::{
    CalloutRequest, Clusters, Endpoint, EndpointFault, USER_AGENT, is_secure_url,
};
pub(crate) use response::{BodyLimit, CalloutFault, CalloutResponse, beginning};
