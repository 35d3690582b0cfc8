//! From a request's credentials to a token that has been verified.

mod bearer;
mod cache;
mod claim;
mod claims;
mod key_trial;
mod replay;
mod token_id;
mod verification;
mod verification_budget;

#[cfg(any(fuzzing, test))]
pub(crate) use bearer::check_single;
pub(crate) use bearer::{AuthorizationFault, bearer_token};
pub(crate) use cache::{HashedToken, TokenCache, TokenHasher};
pub(crate) use claim::{
    ClaimPath, ListClaim, RequiredClaim, UnreadList, any_of, is_elsewhere, strings,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use claims::CLIENT_ID_CLAIMS;
pub(crate) use claims::{AudienceClaim, ClaimRules, TokenTypes};
#[cfg(any(fuzzing, test))]
pub(crate) use replay::reads_shared_tokens;
pub(crate) use replay::{
    FleetStore, NotSpent, ReplayStore, Spending, SpendingStep, StoreFault, TokenUse,
};
pub(crate) use token_id::TokenIdRule;
pub(crate) use verification::{PlausibleToken, Unverified, VerifiedToken};
pub(crate) use verification_budget::VerificationBudget;
