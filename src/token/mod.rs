//! From a request's credentials to a token that has been verified.

mod bearer;
mod claim;
mod claims;
mod verification;

pub(crate) use bearer::{AuthorizationFault, bearer_token};
pub(crate) use claim::{ClaimPath, RequiredClaim};
pub(crate) use claims::{ClaimRules, TokenTypes};
pub(crate) use verification::{PlausibleToken, SignedToken, VerifiedToken};
