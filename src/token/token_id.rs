//! The check of `jti` (RFC 7519 §4.1.7).

use super::single_use::SingleUseToken;
use crate::json::{Json, Object};
use crate::provider::TokenIdRule;
use crate::refusal::Refusal;
use crate::time::UnixTime;

impl TokenIdRule {
    /// Checks `jti`. Returns the single-use token that must be spent before a request is forwarded.
    /// `last_use`: the end of the time in which the token is valid.
    ///
    /// # Errors
    ///
    /// [`Refusal::TokenIdMissing`].
    pub(super) fn check(
        self,
        claims: &Object,
        last_use: UnixTime,
    ) -> Result<Option<SingleUseToken>, Refusal> {
        if self == Self::Ignore {
            return Ok(None);
        }
        let string = |name| claims.get(name).and_then(Json::as_str);
        let token_id = string("jti").ok_or(Refusal::TokenIdMissing)?;
        Ok((self == Self::SingleUse).then(|| {
            // The provider was selected by `iss`, so it is a string.
            let issuer = string("iss").unwrap_or_default();
            SingleUseToken::new(issuer, token_id, last_use)
        }))
    }
}
