//! The number of a resource in its configuration.

/// One of the resources of a configuration. Made together with a [`ResourceMap`](super::ResourceMap),
/// never from a number, so every table of that configuration has its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceId(pub(super) usize);
