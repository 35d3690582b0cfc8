//! The scope hierarchy: which scopes imply others.

use std::collections::{BTreeMap, BTreeSet};

/// Maps each broad scope to the narrower ones it implies.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeHierarchy(BTreeMap<String, Vec<String>>);

impl ScopeHierarchy {
    /// Takes each scope with those it implies directly.
    #[must_use]
    pub(crate) fn new(implied: BTreeMap<String, Vec<String>>) -> Self {
        Self(implied)
    }

    /// The transitive closure of `granted`.
    #[must_use]
    pub(super) fn implied_by<'a>(
        &'a self,
        granted: impl Iterator<Item = &'a str>,
    ) -> BTreeSet<&'a str> {
        let mut all = BTreeSet::new();
        let mut open: Vec<&str> = granted.collect();
        while let Some(scope) = open.pop() {
            if all.insert(scope) {
                open.extend(self.0.get(scope).into_iter().flatten().map(String::as_str));
            }
        }
        all
    }

    /// All scopes in the hierarchy.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|(broad, narrow)| [broad].into_iter().chain(narrow))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement: scope-hierarchy
    #[test]
    fn a_scope_implies_narrower_ones_also_by_way_of_others_and_in_circles() {
        let strings = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let hierarchy = ScopeHierarchy::new(BTreeMap::from([
            ("admin".to_owned(), strings(&["write"])),
            ("write".to_owned(), strings(&["read", "admin"])),
        ]));
        let implied = |granted: &[&str]| {
            hierarchy
                .implied_by(granted.iter().copied())
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(implied(&["admin"]), ["admin", "read", "write"]);
        assert_eq!(implied(&["read"]), ["read"]);
        assert_eq!(implied(&["other", "read"]), ["other", "read"]);
        assert_eq!(implied(&[]), [""; 0]);
    }
}
