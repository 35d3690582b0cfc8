//! All protected resources of a configuration.

use std::ops::{Index, IndexMut};
use std::rc::Rc;

use super::router::{Addresses, Conflict, Router};
use super::{Authority, Mode, ProtectedResource, ResourceId, ResourceUrl};
use crate::access::CanonicalPath;
use crate::request::{RequestHead, without_slash};

/// One value for each resource of a configuration, in the order of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct ResourceMap<T>(Vec<T>);

/// The resources, and which of them a request belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    all: ResourceMap<ProtectedResource>,
    routing: Routing,
}

/// The address of a request.
#[derive(Debug)]
pub(crate) struct Address {
    /// `None` if no resource has this spelling, or if every request belongs to the only resource.
    authority: Option<Authority>,
    /// `None` for a path that servers may interpret differently.
    pub path: Option<CanonicalPath>,
}

/// A path names a resource in a spelling that Envoy's routes may read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AmbiguousPath;

/// The resource for which a client looks for an authorization server at a well-known path. The path
/// of the resource may be inserted there (RFC 8414 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// Any of the several resources of the host.
    AnyOfHost,
    /// The host has no resource.
    NoneOfHost,
    /// This one.
    Resource(ResourceId),
}

/// How requests are assigned to resources.
#[derive(Clone, Debug)]
enum Routing {
    /// By authority and path.
    ByAddress(Rc<Router>, Outside),
    /// All belong to the only one, whose metadata is at this path too.
    ToTheOnlyOne(String),
}

/// The settings for requests that belong to no resource.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    /// Names of the default identity headers: a server of any path may trust them.
    pub identity_names: Vec<String>,
    /// Paths that need no token.
    pub exempt: Vec<CanonicalPath>,
    /// Origins of web pages that may send requests to them; empty: all.
    pub allowed_origins: Vec<String>,
    /// Whether the upstream gets the token.
    pub forward_token: bool,
    /// Whether requests on other paths are refused. Ambiguous paths are always refused.
    pub mode: Mode,
}

impl Address {
    /// The address of a request.
    #[must_use]
    pub(crate) fn from_head(head: RequestHead<'_>) -> Self {
        let mut authorities = head.values(":authority");
        let authority = authorities.next().filter(|_| authorities.next().is_none());
        Self { authority: authority.and_then(Authority::parse), ..Self::without_authority(head) }
    }

    fn without_authority(head: RequestHead<'_>) -> Self {
        Self { authority: None, path: CanonicalPath::parse(head.path()) }
    }
}

impl Resources {
    /// The only resource: every request belongs to it.
    #[must_use]
    pub(crate) fn only(resource: ProtectedResource) -> Self {
        let routing = Routing::ToTheOnlyOne(resource.url.metadata_path());
        Self { all: ResourceMap(vec![resource]), routing }
    }

    /// Resources to which requests belong by authority and path. Also returns each resource that has
    /// an address of one before it.
    #[must_use]
    pub(crate) fn by_address(
        resources: Vec<(ProtectedResource, Addresses)>,
        outside: Outside,
    ) -> (Self, Vec<(ResourceId, Conflict)>) {
        let mut router = Router::default();
        let mut conflicts = Vec::new();
        for (index, (_, addresses)) in resources.iter().enumerate() {
            let id = ResourceId(index);
            let found = router.insert(id, addresses);
            conflicts.extend(found.into_iter().map(|conflict| (id, conflict)));
        }
        let all = resources.into_iter().map(|(resource, _)| resource).collect();
        let routing = Routing::ByAddress(Rc::new(router), outside);
        (Self { all: ResourceMap(all), routing }, conflicts)
    }

    /// The address of a request, as far as it matters.
    #[must_use]
    pub(crate) fn address(&self, head: RequestHead<'_>) -> Address {
        match self.routing {
            Routing::ByAddress(..) => Address::from_head(head),
            Routing::ToTheOnlyOne(_) => Address::without_authority(head),
        }
    }

    /// The resource that a request belongs to, if any.
    ///
    /// # Errors
    ///
    /// The path is spelled so that Envoy's routes, which compare bytes, may lead to another server.
    pub(crate) fn owner(
        &self,
        head: RequestHead<'_>,
        address: &Address,
    ) -> Result<Option<ResourceId>, AmbiguousPath> {
        match &self.routing {
            Routing::ByAddress(router, _) => {
                let (Some(authority), Some(path)) = (&address.authority, &address.path) else {
                    return Ok(None);
                };
                let Some(id) = router.find(authority, path) else { return Ok(None) };
                match self.all[id].url.begins_as_written(head.path()) {
                    true => Ok(Some(id)),
                    false => Err(AmbiguousPath),
                }
            }
            Routing::ToTheOnlyOne(_) => Ok(Some(ResourceId(0))),
        }
    }

    /// The resource whose metadata is at the path of a request (RFC 9728 §3.1).
    #[must_use]
    pub(crate) fn described_at(
        &self,
        head: RequestHead<'_>,
        address: &Address,
    ) -> Option<ResourceId> {
        match &self.routing {
            Routing::ByAddress(router, _) => {
                let authority = address.authority.as_ref()?;
                let path = address.path.as_ref()?.below(ResourceUrl::WELL_KNOWN)?;
                let found = router.find_exact(authority, &path);
                found.or_else(|| router.only_one(authority).filter(|_| path.is_root()))
            }
            Routing::ToTheOnlyOne(metadata_path) => {
                let path = without_slash(head.path());
                let is_it =
                    path == metadata_path.as_bytes() || path == ResourceUrl::WELL_KNOWN.as_bytes();
                is_it.then_some(ResourceId(0))
            }
        }
    }

    /// The resource for which a client looks for an authorization server; `None` if the path is not
    /// one of these, or all requests belong to one resource.
    #[must_use]
    pub(crate) fn sought_at(&self, address: &Address, well_known: &[&str]) -> Option<Sought> {
        let Routing::ByAddress(router, _) = &self.routing else { return None };
        let path = address.path.as_ref()?;
        let inserted = well_known.iter().find_map(|well_known| path.below(well_known))?;
        let authority = address.authority.as_ref().filter(|authority| router.knows(authority));
        Some(match authority {
            None => Sought::NoneOfHost,
            Some(authority) => router
                .find(authority, &inserted)
                .or_else(|| router.only_one(authority))
                .map_or(Sought::AnyOfHost, Sought::Resource),
        })
    }

    /// The settings for requests that belong to no resource; `None` if there are no such requests.
    #[must_use]
    pub(crate) fn outside(&self) -> Option<&Outside> {
        match &self.routing {
            Routing::ByAddress(_, outside) => Some(outside),
            Routing::ToTheOnlyOne(_) => None,
        }
    }

    /// The resource with this URL.
    #[must_use]
    pub(crate) fn with_url(&self, url: &str) -> Option<ResourceId> {
        self.entries().find(|(_, resource)| resource.url.as_str() == url).map(|(id, _)| id)
    }

    /// Whether this is true of an authority at which the configuration says that a resource is.
    #[must_use]
    pub(crate) fn any_authority(&self, is_it: impl Fn(&str) -> bool) -> bool {
        match &self.routing {
            Routing::ByAddress(router, _) => router.authorities().any(is_it),
            Routing::ToTheOnlyOne(_) => self.iter().any(|only| is_it(only.url.authority())),
        }
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ProtectedResource> + Clone {
        self.all.0.iter()
    }

    /// All of them with their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (ResourceId, &ProtectedResource)> + Clone {
        self.all.entries()
    }

    /// A table with one value for each of them.
    #[must_use]
    pub(crate) fn map<T>(&self, value: impl FnMut(&ProtectedResource) -> T) -> ResourceMap<T> {
        ResourceMap(self.all.0.iter().map(value).collect())
    }
}

impl<T> ResourceMap<T> {
    /// All entries with their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (ResourceId, &T)> + Clone {
        self.0.iter().enumerate().map(|(index, value)| (ResourceId(index), value))
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter()
    }
}

impl Index<ResourceId> for Resources {
    type Output = ProtectedResource;

    fn index(&self, id: ResourceId) -> &ProtectedResource {
        &self.all[id]
    }
}

// The only two places that index by number. An id of another configuration would be a bug in this
// crate; it ends the VM rather than select a wrong resource.
#[expect(clippy::indexing_slicing, reason = "ids and tables are made together")]
impl<T> Index<ResourceId> for ResourceMap<T> {
    type Output = T;

    fn index(&self, id: ResourceId) -> &T {
        &self.0[id.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "ids and tables are made together")]
impl<T> IndexMut<ResourceId> for ResourceMap<T> {
    fn index_mut(&mut self, id: ResourceId) -> &mut T {
        &mut self.0[id.0]
    }
}
