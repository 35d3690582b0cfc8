//! Access policy: rules that match paths, HTTP methods and MCP messages, and what they require.

mod case;
mod inspection;
mod mcp_call;
mod mcp_headers;
mod message;
mod message_id;
mod path;
mod pattern;
mod policy;
mod rule;
mod scopes;
mod uri;

pub(crate) use case::case_folded;
pub(crate) use inspection::Inspection;
pub(crate) use mcp_call::HEADERS_SINCE;
#[cfg(any(fuzzing, test))]
pub use message::fuzz_message;

pub(crate) use message_id::MessageId;
pub(crate) use path::CanonicalPath;
#[cfg(any(fuzzing, test))]
pub use path::fuzz_path;
pub(crate) use pattern::Pattern;
pub(crate) use policy::{
    AccessPolicy, DefaultAccess, Grant, ListRules, Listed, Permission, RuleIndex, Target,
};
pub(crate) use rule::{Match, Requirement, Rule};
pub(crate) use scopes::ScopeHierarchy;
pub(crate) use uri::{is_normal as is_normal_uri, normal_uri_from};
