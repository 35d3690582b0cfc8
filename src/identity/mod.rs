//! Whom a verified token stands for, and how the upstream is told.

mod directory;
mod encoding;
mod headers;
mod verified_identity;

pub(crate) use directory::{Directory, Finding, Standing, UnknownUser, User, UserRecord};
pub(crate) use headers::{ClaimHeader, IdentityHeaders};
pub(crate) use verified_identity::{
    ClaimedIdentity, ClientType, ClientTypeRule, IdentityRules, Overage, ServiceSign,
    VerifiedIdentity,
};
