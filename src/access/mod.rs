//! What an identity may do: rules over paths and methods, and what they require.

mod path;
mod policy;
mod rule;
mod scopes;

pub(crate) use path::CanonicalPath;
pub(crate) use policy::{AccessPolicy, DefaultAccess, Target};
pub(crate) use rule::{Match, Requirement, Rule};
pub(crate) use scopes::ScopeHierarchy;
