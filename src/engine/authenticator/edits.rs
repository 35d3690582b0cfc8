//! The changes to a forwarded request, and the source of its identity.

use std::borrow::Cow;
use std::rc::Rc;

use crate::identity::{IdentityFields, Overage};
use crate::provider::ProviderId;

/// Edits of a forwarded request's head: first fields are removed, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestEdits {
    /// Names of the fields to remove, with all their values.
    pub remove: Vec<Cow<'static, str>>,
    /// The new value of `Connection`, if it changes.
    pub connection: Option<&'static str>,
    /// The identity to add.
    pub identity: Option<Rc<IdentityFields>>,
}

/// The provider of an identity.
#[derive(Debug)]
pub(crate) struct Attribution {
    /// The provider of the token.
    pub provider: ProviderId,
    /// The claims that the token refers to elsewhere.
    pub overage: Option<Rc<Overage>>,
}
