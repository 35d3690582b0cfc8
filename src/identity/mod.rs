//! Whom a verified token stands for, and how the upstream is told.

mod encoding;
mod headers;
mod verified_identity;

pub(crate) use headers::{ClaimHeader, IdentityHeaders};
pub(crate) use verified_identity::{
    ClientType, ClientTypeRule, IdentityRules, Overage, ServiceSign, VerifiedIdentity,
};
