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
pub use headers::IdentityFields;
pub(crate) use headers::{ClaimHeader, IdentityHeaders};
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

/// For the fuzz targets: a string, a list and scopes encoded as header values.
#[cfg(any(fuzzing, test))]
pub(crate) fn encoded_values(text: &str, items: &[String]) -> [String; 3] {
    let mut values = [const { String::new() }; 3];
    let [value, list, scopes] = &mut values;
    encoding::write_value(text, value);
    encoding::write_list(items.iter(), list);
    encoding::write_scopes(items.iter().map(String::as_str), scopes);
    values
}
