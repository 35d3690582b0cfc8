//! Which resource a request belongs to, by its authority and path.

use std::collections::HashMap;

use super::{Authority, ResourceId};
use crate::access::CanonicalPath;

/// Finds the resource of a request. The time does not depend on the number of resources.
#[derive(Clone, Debug, Default)]
pub(super) struct Router {
    named: HashMap<String, PathTree>,
    /// For authorities that are not in `named`, and paths that are longer here.
    any: PathTree,
}

/// The addresses of a resource.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Authorities in all accepted spellings.
    pub authorities: Vec<String>,
    /// Whether it is served under any other authority too (`*`).
    pub has_any_authority: bool,
    /// The path.
    pub path: CanonicalPath,
}

/// Another resource has the same authority and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The authority, or `*`.
    pub authority: String,
    /// The other resource.
    pub with: ResourceId,
}

/// Resources by the segments of their paths.
#[derive(Clone, Debug, Default)]
struct PathTree {
    root: Node,
    resources: Vec<ResourceId>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    resource: Option<ResourceId>,
    below: HashMap<Box<[u8]>, Self>,
}

/// A resource, and how many segments its path has.
type Found = (usize, ResourceId);

impl Router {
    /// Adds a resource. Returns each authority under which another resource has the same path.
    pub(super) fn insert(&mut self, id: ResourceId, addresses: &Addresses) -> Vec<Conflict> {
        let Addresses { authorities, has_any_authority, path } = addresses;
        let mut conflicts = Vec::new();
        for authority in authorities {
            let tree = self.named.entry(authority.clone()).or_default();
            if let Err(with) = tree.insert(id, path) {
                conflicts.push(Conflict { authority: authority.clone(), with });
            }
        }
        if *has_any_authority && let Err(with) = self.any.insert(id, path) {
            conflicts.push(Conflict { authority: "*".to_owned(), with });
        }
        conflicts
    }

    /// The resource with the longest path that equals the path of the request, or is a prefix of it
    /// that ends before a `/`. Of two of the same length, the one that names the authority.
    #[must_use]
    pub(super) fn find(&self, authority: &Authority, path: &CanonicalPath) -> Option<ResourceId> {
        let named = self.named(authority).and_then(|tree| tree.find(path));
        let any = self.any.find(path);
        let found = match (named, any) {
            (Some(named), Some(any)) if any.0 > named.0 => any,
            (Some(found), _) | (None, Some(found)) => found,
            (None, None) => return None,
        };
        Some(found.1)
    }

    /// The resource with exactly this path.
    #[must_use]
    pub(super) fn find_exact(
        &self,
        authority: &Authority,
        path: &CanonicalPath,
    ) -> Option<ResourceId> {
        let named = self.named(authority).and_then(|tree| tree.find_exact(path));
        named.or_else(|| self.any.find_exact(path))
    }

    /// The only resource of this authority; `None` if it has several. Under an authority that is
    /// not named, a resource of any authority is the only one if there is no other resource at all.
    #[must_use]
    pub(super) fn only_one(&self, authority: &Authority) -> Option<ResourceId> {
        let any = &self.any.resources;
        match self.named(authority) {
            Some(tree) => {
                let mut all = tree.resources.iter().chain(any);
                let first = *all.next()?;
                all.all(|other| *other == first).then_some(first)
            }
            None => {
                let first = *any.first()?;
                let mut all = self.named.values().flat_map(|tree| &tree.resources).chain(any);
                all.all(|other| *other == first).then_some(first)
            }
        }
    }

    /// Whether any resource is served under this authority.
    #[must_use]
    pub(super) fn knows(&self, authority: &Authority) -> bool {
        !self.any.resources.is_empty() || self.named(authority).is_some()
    }

    /// The authorities under which resources are served, `*` aside.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    fn named(&self, authority: &Authority) -> Option<&PathTree> {
        self.named.get(authority.as_str())
    }
}

impl PathTree {
    fn insert(&mut self, id: ResourceId, path: &CanonicalPath) -> Result<(), ResourceId> {
        let mut node = &mut self.root;
        for segment in path.segments() {
            node = node.below.entry(segment.into()).or_default();
        }
        match node.resource {
            Some(other) if other != id => return Err(other),
            _ => node.resource = Some(id),
        }
        if !self.resources.contains(&id) {
            self.resources.push(id);
        }
        Ok(())
    }

    fn find(&self, path: &CanonicalPath) -> Option<Found> {
        let mut node = &self.root;
        let mut found = node.resource.map(|id| (0, id));
        for (index, segment) in path.segments().enumerate() {
            let Some(below) = node.below.get(segment) else { break };
            node = below;
            found = node.resource.map(|id| (index + 1, id)).or(found);
        }
        found
    }

    fn find_exact(&self, path: &CanonicalPath) -> Option<ResourceId> {
        let mut segments = path.segments();
        segments.try_fold(&self.root, |node, segment| node.below.get(segment))?.resource
    }
}

#[cfg(test)]
mod tests;
