//! Maps a verified token to an identity, and writes the identity headers for the server.

mod difference;
mod encoding;
mod headers;
mod scim;
mod string_list;
mod user;
mod users;
mod verified_identity;

pub(crate) use difference::Difference;
#[cfg(any(fuzzing, test))]
pub use encoding::fuzz_header_values;
pub(crate) use encoding::logged_name;
pub use headers::IdentityFields;
pub(crate) use headers::{ClaimHeader, IdentityHeaders, ReservedNames};
pub(crate) use scim::{
    Attribute, LookupId, LookupReport, Provisioning, ScimLookups, ScimSettings, Secret, UserKey,
    UserQuery,
};
pub(crate) use string_list::StringList;
pub(crate) use user::{User, UserSelector};
pub(crate) use users::{KnownBy, UnknownUser, UserLookup, UserRecord, Users};
pub(crate) use verified_identity::{
    ClaimedIdentity, ConfirmedIdentity, Overage, Unconfirmed, VerifiedIdentity,
};
