//! Verification of a token: from the credentials of a request to a [`VerifiedToken`].

mod bearer;
mod cache;
mod key_trial;
mod single_use;
mod token_id;
mod verification;
mod verification_budget;

pub(crate) use bearer::bearer_token;
#[cfg(any(fuzzing, test))]
pub use bearer::fuzz_bearer_token;
pub(crate) use cache::{HashedToken, TokenCache, TokenHasher};
#[cfg(any(fuzzing, test))]
pub use single_use::fuzz_spent_tokens;
pub(crate) use single_use::{
    FleetStore, NotSpent, ReplayStore, SingleUseToken, SpendAttempt, SpendStep,
};
pub(crate) use verification::{
    KnownSignature, PlausibleToken, SignedToken, Unverified, VerifiedToken,
};
pub(crate) use verification_budget::VerificationBudget;
