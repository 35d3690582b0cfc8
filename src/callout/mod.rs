//! HTTP calls to the world outside: identity providers, directories, stores. Here they are only
//! described; whoever holds the host makes them.

mod answer;
mod endpoint;

pub(crate) use answer::{BodyLimit, CalloutAnswer, CalloutFault, beginning};
pub(crate) use endpoint::{
    CalloutRequest, Clusters, Endpoint, EndpointFault, USER_AGENT, is_secure_url,
};
