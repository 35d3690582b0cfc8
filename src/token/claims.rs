//! What can be judged of a token before its signature is: cheap, and so done before any key is
//! looked for. A token that fails here causes no fetch.

use std::time::Duration;

use serde_json::{Map, Number, Value};

use crate::jose::TokenType;
use crate::refusal::{Refusal, Strings};
use crate::time::UnixTime;

/// What a provider's tokens must say of their type, audience and time.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRules {
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// Greatest age from `iat` on.
    pub max_token_age: Option<Duration>,
    /// Accepted values of `typ`.
    pub token_types: TokenTypes,
}

/// Accepted values of `typ`, compared without case and without `application/` (RFC 7515 §4.1.9).
#[derive(Clone, Debug)]
pub(crate) enum TokenTypes {
    /// `at+jwt` (RFC 9068 §4), `JWT` and none at all.
    AccessTokens,
    /// These alone.
    Listed(Vec<String>),
}

impl ClaimRules {
    /// Checks type, time and audience, in this order.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub(super) fn check(
        &self,
        token_type: &TokenType,
        claims: &Map<String, Value>,
        now: UnixTime,
    ) -> Result<UnixTime, Refusal> {
        self.token_types.check(token_type)?;
        let expires = self.check_time(claims, now)?;
        if !self.names_audience(claims) {
            return Err(Refusal::AudienceMismatch {
                found: Strings::of_claim(claims.get("aud")),
                configured: Strings::of(&self.audiences),
            });
        }
        Ok(expires)
    }

    /// True when `aud` is or holds an accepted value (RFC 7519 §4.1.3).
    pub(crate) fn names_audience(&self, claims: &Map<String, Value>) -> bool {
        let accepted = |value: &Value| {
            value.as_str().is_some_and(|value| self.audiences.iter().any(|own| own == value))
        };
        match claims.get("aud") {
            Some(Value::Array(values)) => values.iter().any(accepted),
            Some(value) => accepted(value),
            None => false,
        }
    }

    /// RFC 7519 §4.1.4 to §4.1.6. A time of a wrong type is as good as none.
    fn check_time(&self, claims: &Map<String, Value>, now: UnixTime) -> Result<UnixTime, Refusal> {
        let expires = claims
            .get("exp")
            .and_then(numeric_date)
            .ok_or(Refusal::Expired { seconds_ago: None })?;
        if now >= expires + self.clock_skew {
            return Err(Refusal::Expired { seconds_ago: Some(now.since(expires).as_secs()) });
        }
        for name in ["nbf", "iat"] {
            let Some(value) = claims.get(name) else { continue };
            let time = numeric_date(value)
                .ok_or(Refusal::NotYetValid { claim: name, seconds_left: None })?;
            if time > now + self.clock_skew {
                let seconds_left = Some(time.since(now).as_secs());
                return Err(Refusal::NotYetValid { claim: name, seconds_left });
            }
        }
        if let Some(max_age) = self.max_token_age {
            let issued = claims.get("iat").and_then(numeric_date);
            let age = issued.map(|issued| now.since(issued));
            if age.is_none_or(|age| age > max_age.saturating_add(self.clock_skew)) {
                return Err(Refusal::TokenTooOld { seconds: age.map(|age| age.as_secs()) });
            }
        }
        Ok(expires)
    }
}

impl TokenTypes {
    /// Types that say themselves that they are no access tokens.
    pub(crate) const NEVER: [&str; 3] = ["oauth-id-jag+jwt", "dpop+jwt", "logout+jwt"];

    fn check(&self, token_type: &TokenType) -> Result<(), Refusal> {
        let is_accepted = match (self, token_type) {
            (Self::AccessTokens, TokenType::Absent) => true,
            (Self::AccessTokens, TokenType::Named(name)) => {
                matches!(Self::normalised(name).as_str(), "at+jwt" | "jwt")
            }
            (Self::Listed(accepted), TokenType::Named(name)) => {
                accepted.contains(&Self::normalised(name))
            }
            (Self::Listed(_), TokenType::Absent) | (_, TokenType::NoString) => false,
        };
        is_accepted.then_some(()).ok_or_else(|| Refusal::WrongTokenType {
            found: match token_type {
                TokenType::Named(name) => Some(name.clone()),
                TokenType::Absent | TokenType::NoString => None,
            },
        })
    }

    /// A media type as it is compared.
    pub(crate) fn normalised(name: &str) -> String {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("application/").map_or(name.clone(), str::to_owned)
    }
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
fn numeric_date(value: &Value) -> Option<UnixTime> {
    let number: &Number = match value {
        Value::Number(number) => number,
        _ => return None,
    };
    if let Some(seconds) = number.as_u64() {
        return Some(UnixTime::from_secs(seconds));
    }
    if number.as_i64().is_some() {
        // Before the epoch.
        return Some(UnixTime::default());
    }
    let since_epoch = Duration::try_from_secs_f64(number.as_f64()?).ok()?;
    Some(UnixTime::default() + since_epoch)
}
