//! Whom a verified token stands for, and how the upstream is told.

mod directory;
mod encoding;
mod headers;
mod scim;
mod verified_identity;

pub(crate) use directory::{
    Basis, Directory, Finding, Standing, UnknownUser, User, UserRecord, Wanted,
};
pub(crate) use headers::{ClaimHeader, IdentityFields, IdentityHeaders};
pub(crate) use scim::{
    Attribute, LookupId, LookupReport, Provisioning, ScimDirectory, Secret, UserKey, UserLookups,
    UserQuery,
};
pub(crate) use verified_identity::{
    ClaimedIdentity, ClientType, ClientTypeRule, IdentityRules, Overage, ServiceSign, Unconfirmed,
    VerifiedIdentity,
};

/// A text, a list and scopes as values of header fields, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn encoded_values(text: &str, items: &[String]) -> [Option<String>; 3] {
    [encoding::value(text), encoding::list(items), encoding::scopes(items)]
}
