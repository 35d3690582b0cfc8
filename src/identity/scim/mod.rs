//! Users in a SCIM directory (RFC 7644): looked up, created where configured, and cached.
//!
//! [`ScimLookups`] is a worker's cache of users. Each lookup in progress is a
//! [`lookup::ScimLookup`]: it takes responses and returns callouts.

mod attribute;
mod document;
mod lookup;
mod lookups;
mod not_found;
mod protocol;
mod query;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use attribute::Attribute;
pub(super) use lookups::ScimResult;
pub(crate) use lookups::{LookupId, LookupReport, ScimLookups};
pub(super) use not_found::NotFound;
pub(crate) use query::{UserKey, UserQuery};
pub(crate) use settings::{Provisioning, ScimSettings, Secret};
