//! Tables with one entry for each provider.

use std::ops::{Index, IndexMut};

/// Identifies a provider of a configuration. Created together with a [`ProviderMap`], never from a
/// number, so every table of that configuration has an entry for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProviderId(usize);

#[cfg(test)]
impl ProviderId {
    /// An id that no table needs to have.
    pub(crate) const fn from_index(index: usize) -> Self {
        Self(index)
    }
}

/// One value for each provider of a configuration, in the order of the configuration. Tables are
/// derived from [`super::Providers`] by `map`, so an id of the same configuration is in all of them.
#[derive(Clone, Debug)]
pub(crate) struct ProviderMap<T>(Vec<T>);

impl<T> ProviderMap<T> {
    /// The first table of a configuration.
    pub(crate) fn new(values: Vec<T>) -> Self {
        Self(values)
    }

    /// A table for the same providers.
    #[must_use]
    pub(crate) fn map<U>(&self, value: impl FnMut(&T) -> U) -> ProviderMap<U> {
        ProviderMap(self.0.iter().map(value).collect())
    }

    /// All entries with their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (ProviderId, &T)> + Clone {
        self.0.iter().enumerate().map(|(index, value)| (ProviderId(index), value))
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter()
    }
}

// The only two places that index by number. An id of another configuration would be a bug in this
// crate; it ends the VM rather than select a wrong provider.
#[expect(clippy::indexing_slicing, reason = "ids and tables are made together")]
impl<T> Index<ProviderId> for ProviderMap<T> {
    type Output = T;

    fn index(&self, id: ProviderId) -> &T {
        &self.0[id.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "ids and tables are made together")]
impl<T> IndexMut<ProviderId> for ProviderMap<T> {
    fn index_mut(&mut self, id: ProviderId) -> &mut T {
        &mut self.0[id.0]
    }
}
