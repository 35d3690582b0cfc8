//! What a provider's tokens must say in `jti` (RFC 7519 §4.1.7), and what it is good for.

use super::single_use::SingleUseToken;
use crate::json::{Json, Object};
use crate::provider::{ClaimRules, TokenIdRule};
use crate::refusal::Refusal;
use crate::time::UnixTime;

impl TokenIdRule {
    /// Checks `jti`. Returns what must be spent before a request with this token may go on.
    ///
    /// # Errors
    ///
    /// [`Refusal::TokenIdMissing`].
    pub(super) fn check(
        self,
        claims: &Object,
        expires: UnixTime,
        rules: &ClaimRules,
    ) -> Result<Option<SingleUseToken>, Refusal> {
        if self == Self::Ignore {
            return Ok(None);
        }
        let string = |name| claims.get(name).and_then(Json::as_str);
        let token_id = string("jti").ok_or(Refusal::TokenIdMissing)?;
        Ok((self == Self::SingleUse).then(|| {
            // The provider was found by `iss`, so it is a string.
            let issuer = string("iss").unwrap_or_default();
            SingleUseToken::new(issuer, token_id, rules.last_use(claims, expires))
        }))
    }
}
