//! The checks of a token that precede its signature: cheap, and so made before any key is looked
//! up. A token that fails here causes no fetch.

use std::ops::Range;
use std::time::Duration;

use crate::claim::{AudienceClaim, CLIENT_ID_CLAIMS};
use crate::jose::TokenType;
use crate::json::{Json, Object};
use crate::refusal::{Refusal, Strings};
use crate::time::UnixTime;

/// The required type, audience and time of a provider's tokens.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRules {
    /// The claim that audiences are compared with.
    pub audience_claim: AudienceClaim,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// Greatest age, counted from `iat`.
    pub max_token_age: Option<Duration>,
    /// Accepted values of `typ`.
    pub token_types: TokenTypes,
}

/// When a token is valid, by its claims.
#[derive(Clone, Debug)]
pub(crate) struct Validity {
    /// `exp`.
    pub expires: UnixTime,
    /// When the token passes [`ClaimRules::check_time`].
    pub usable: Range<UnixTime>,
}

/// Accepted values of `typ`, compared without case and without `application/` (RFC 7515 §4.1.9).
#[derive(Clone, Debug)]
pub(crate) enum TokenTypes {
    /// `at+jwt` (RFC 9068 §4), `JWT`, and tokens without `typ`.
    AccessTokens,
    /// Only these.
    Listed(Vec<String>),
}

impl ClaimRules {
    /// Checks type, time and audience, in this order. `audiences` are the accepted ones.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub(crate) fn check(
        &self,
        token_type: &TokenType,
        claims: &Object,
        audiences: &[String],
        now: UnixTime,
    ) -> Result<Validity, Refusal> {
        self.token_types.check(token_type)?;
        let validity = self.check_time(claims, now)?;
        if !self.names_audience(claims, audiences) {
            return Err(self.audience_mismatch(claims, audiences));
        }
        Ok(validity)
    }

    /// True if the token is for one of these audiences.
    pub(crate) fn names_audience(&self, claims: &Object, audiences: &[String]) -> bool {
        match self.audience_claim {
            AudienceClaim::Audience => aud_is_accepted(claims, audiences),
            AudienceClaim::ClientId => {
                client_is_accepted(claims, audiences)
                    && (!claims.contains_key("aud") || aud_is_accepted(claims, audiences))
            }
        }
    }

    fn audience_mismatch(&self, claims: &Object, audiences: &[String]) -> Refusal {
        let is_about_client = self.audience_claim == AudienceClaim::ClientId
            && !client_is_accepted(claims, audiences);
        let found = if is_about_client {
            let named = CLIENT_ID_CLAIMS.iter().filter_map(|name| claims.get(name)?.as_str());
            Strings::new(named)
        } else {
            Strings::from_claim(claims.get("aud"))
        };
        Refusal::AudienceMismatch {
            claim: if is_about_client { AudienceClaim::ClientId } else { AudienceClaim::Audience },
            found,
            configured: Strings::new(audiences),
        }
    }

    /// Checks the time (RFC 7519 §4.1.4 to §4.1.6). An `exp` of a wrong type counts as missing.
    ///
    /// # Errors
    ///
    /// [`Refusal::Expired`], [`Refusal::NotYetValid`] or [`Refusal::TokenTooOld`].
    pub(crate) fn check_time(&self, claims: &Object, now: UnixTime) -> Result<Validity, Refusal> {
        let expires = claims
            .get("exp")
            .and_then(numeric_date)
            .ok_or(Refusal::Expired { seconds_ago: None })?;
        let mut usable = UnixTime::default()..expires + self.clock_skew;
        if now >= usable.end {
            return Err(Refusal::Expired { seconds_ago: Some(now.since(expires).as_secs()) });
        }
        for name in ["nbf", "iat"] {
            let Some(value) = claims.get(name) else { continue };
            let time = numeric_date(value)
                .ok_or(Refusal::NotYetValid { claim: name, seconds_left: None })?;
            usable.start = usable.start.max(time - self.clock_skew);
            if now < usable.start {
                let seconds_left = Some(time.since(now).as_secs());
                return Err(Refusal::NotYetValid { claim: name, seconds_left });
            }
        }
        if let Some(max_age) = self.max_token_age {
            let max_age = max_age.saturating_add(self.clock_skew);
            match claims.get("iat").and_then(numeric_date) {
                Some(issued) if now.since(issued) <= max_age => {
                    usable.end = usable.end.min(issued + max_age);
                }
                issued => {
                    let seconds = issued.map(|issued| now.since(issued).as_secs());
                    return Err(Refusal::TokenTooOld { seconds });
                }
            }
        }
        Ok(Validity { expires, usable })
    }
}

impl TokenTypes {
    /// Types of tokens that are never access tokens.
    pub(crate) const NEVER: [&str; 3] = ["oauth-id-jag+jwt", "dpop+jwt", "logout+jwt"];

    fn check(&self, token_type: &TokenType) -> Result<(), Refusal> {
        let is_accepted = match (self, token_type) {
            (Self::AccessTokens, TokenType::Absent) => true,
            (Self::AccessTokens, TokenType::Named(name)) => {
                ["at+jwt", "jwt"].iter().any(|candidate| Self::is_spelling(name, candidate))
            }
            (Self::Listed(accepted), TokenType::Named(name)) => {
                accepted.iter().any(|accepted_type| Self::is_spelling(name, accepted_type))
            }
            (Self::Listed(_), TokenType::Absent) | (_, TokenType::NotAString) => false,
        };
        is_accepted.then_some(()).ok_or_else(|| Refusal::WrongTokenType {
            found: match token_type {
                TokenType::Named(name) => Some(name.clone()),
                TokenType::Absent | TokenType::NotAString => None,
            },
        })
    }

    /// Whether `name` normalises to `normalised`.
    fn is_spelling(name: &str, normalised: &str) -> bool {
        let prefix = "application/";
        let rest = match name.split_at_checked(prefix.len()) {
            Some((before, rest)) if before.eq_ignore_ascii_case(prefix) => rest,
            _ => name,
        };
        rest.eq_ignore_ascii_case(normalised)
    }

    /// A media type in the form used for comparison.
    pub(crate) fn normalised(name: &str) -> String {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("application/").map_or(name.clone(), str::to_owned)
    }
}

/// True if `aud` is or contains an accepted value (RFC 7519 §4.1.3).
fn aud_is_accepted(claims: &Object, audiences: &[String]) -> bool {
    match claims.get("aud") {
        Some(Json::Array(values)) => values.iter().any(|value| is_one_of(value, audiences)),
        Some(value) => is_one_of(value, audiences),
        None => false,
    }
}

/// True if the client is an accepted one. Several claims that name the client must agree, because it
/// is unknown which of them is right.
fn client_is_accepted(claims: &Object, audiences: &[String]) -> bool {
    let mut named = CLIENT_ID_CLAIMS.iter().filter_map(|name| claims.get(name));
    named.next().is_some_and(|first| {
        is_one_of(first, audiences) && named.all(|other| other.as_str() == first.as_str())
    })
}

fn is_one_of(value: Json<'_>, audiences: &[String]) -> bool {
    value.as_str().is_some_and(|value| audiences.iter().any(|audience| audience == value))
}

/// A NumericDate (RFC 7519 §2), possibly with a fraction.
fn numeric_date(value: Json<'_>) -> Option<UnixTime> {
    let Json::Number(number) = value else { return None };
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn check_with(rules: &ClaimRules, members: &Value) -> Result<(), &'static str> {
        let mut claims = json!({"aud": "mcp", "exp": NOW + 60});
        for (name, value) in members.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let now = UnixTime::from_secs(NOW);
        rules
            .check(&TokenType::Absent, &claims.as_object().unwrap().into(), &audiences(), now)
            .map(drop)
            .map_err(|refusal| refusal.reason().code())
    }

    fn audiences() -> [String; 2] {
        ["mcp", "api://mcp"].map(str::to_owned)
    }

    fn rules() -> ClaimRules {
        ClaimRules {
            audience_claim: AudienceClaim::Audience,
            clock_skew: Duration::from_secs(300),
            max_token_age: None,
            token_types: TokenTypes::AccessTokens,
        }
    }

    #[test]
    fn times_are_compared_to_the_second_with_the_skew() {
        for (members, result) in [
            (json!({}), Ok(())),
            (json!({"exp": NOW - 299}), Ok(())),
            (json!({"exp": NOW - 300}), Err("expired")),
            (json!({"exp": null}), Err("expired")),
            (json!({"exp": (NOW + 60).to_string()}), Err("expired")),
            (json!({"exp": true}), Err("expired")),
            (json!({"exp": -1}), Err("expired")),
            (json!({"exp": 0}), Err("expired")),
            (json!({"exp": -1.5}), Err("expired")),
            (json!({"exp": 1.8e9}), Ok(())),
            (json!({"exp": 1e300}), Err("expired")),
            (json!({"exp": u64::MAX}), Ok(())),
            (json!({"nbf": NOW + 300}), Ok(())),
            (json!({"nbf": NOW + 301}), Err("not_yet_valid")),
            (json!({"nbf": "0"}), Err("not_yet_valid")),
            (json!({"iat": NOW + 300}), Ok(())),
            (json!({"iat": NOW + 301}), Err("not_yet_valid")),
            (json!({"iat": []}), Err("not_yet_valid")),
            (json!({"iat": 0}), Ok(())),
        ] {
            assert_eq!(check_with(&rules(), &members), result, "{members}");
        }
    }

    #[test]
    fn the_age_counts_from_iat_with_the_skew() {
        let rules = ClaimRules { max_token_age: Some(Duration::from_secs(3600)), ..rules() };
        for (members, result) in [
            (json!({"iat": NOW - 3900}), Ok(())),
            (json!({"iat": NOW - 3901}), Err("token_too_old")),
            (json!({}), Err("token_too_old")),
        ] {
            assert_eq!(check_with(&rules, &members), result, "{members}");
        }
    }

    #[test]
    fn a_token_passes_until_its_last_use_and_not_after_it() {
        let second = Duration::from_secs(1);
        for (max_token_age, exp, iat, last_use) in [
            (None, NOW + 60, json!(NOW), NOW + 360),
            (None, NOW + 60, json!(null), NOW + 360),
            (Some(3600), NOW + 60, json!(NOW), NOW + 360),
            (Some(10), NOW + 60, json!(NOW), NOW + 310),
            (Some(10), u64::MAX, json!(NOW - 5), NOW + 305),
        ] {
            let max_token_age = max_token_age.map(Duration::from_secs);
            let rules = ClaimRules { max_token_age, ..rules() };
            let claims = json!({"aud": "mcp", "exp": exp, "iat": iat});
            let mut claims = claims.as_object().unwrap().clone();
            claims.retain(|_, value| !value.is_null());
            let claims = Object::from(&claims);
            let check = |now| rules.check(&TokenType::Absent, &claims, &audiences(), now);
            let validity = check(UnixTime::from_secs(NOW)).unwrap();
            assert_eq!(validity.usable.end, UnixTime::from_secs(last_use));
            assert!(check(UnixTime::from_secs(last_use - 1)).is_ok());
            assert!(check(UnixTime::from_secs(last_use) + second).is_err());
        }
    }

    #[test]
    fn one_audience_must_equal_ours_exactly() {
        for (audience, result) in [
            (json!("api://mcp"), Ok(())),
            (json!(["other", "mcp"]), Ok(())),
            (json!("MCP"), Err("audience_mismatch")),
            (json!("mcp/"), Err("audience_mismatch")),
            (json!("api://mcp/"), Err("audience_mismatch")),
            (json!([]), Err("audience_mismatch")),
            (json!([["mcp"]]), Err("audience_mismatch")),
            (json!({"mcp": 1}), Err("audience_mismatch")),
            (json!(1), Err("audience_mismatch")),
            (json!(null), Err("audience_mismatch")),
        ] {
            assert_eq!(check_with(&rules(), &json!({ "aud": audience })), result, "{audience}");
        }
    }

    #[test]
    fn a_token_without_audience_passes_by_its_client_if_configured() {
        let by_client = ClaimRules { audience_claim: AudienceClaim::ClientId, ..rules() };
        let aud = |aud: Value, client_id: &str| json!({"aud": aud, "client_id": client_id});
        for (members, result) in [
            (json!({"client_id": "mcp"}), Ok(())),
            (json!({"azp": "mcp"}), Ok(())),
            (json!({"appid": "mcp"}), Ok(())),
            (json!({"cid": "mcp", "client_id": "mcp"}), Ok(())),
            (json!({"client_id": "MCP"}), Err("audience_mismatch")),
            (json!({"client_id": ["mcp"]}), Err("audience_mismatch")),
            (json!({"sub": "mcp"}), Err("audience_mismatch")),
            (json!({}), Err("audience_mismatch")),
            // It is unknown which of them is right.
            (json!({"client_id": "mcp", "azp": "other"}), Err("audience_mismatch")),
            (json!({"client_id": "other", "azp": "mcp"}), Err("audience_mismatch")),
            (json!({"client_id": "mcp", "cid": "api://mcp"}), Err("audience_mismatch")),
            (json!({"client_id": "mcp", "azp": 1}), Err("audience_mismatch")),
            // A token that names an audience is for that audience only.
            (aud(json!("mcp"), "mcp"), Ok(())),
            (aud(json!(["other", "api://mcp"]), "mcp"), Ok(())),
            (aud(json!("other"), "mcp"), Err("audience_mismatch")),
            (aud(json!([]), "mcp"), Err("audience_mismatch")),
            (aud(json!(5), "mcp"), Err("audience_mismatch")),
            (aud(json!("mcp"), "other"), Err("audience_mismatch")),
        ] {
            let mut members = members;
            if members.get("aud").is_none() {
                members["aud"] = Value::Null;
            }
            assert_eq!(check_with(&by_client, &members), result, "{members}");
            let by_audience = check_with(&rules(), &members);
            assert!(by_audience == Err("audience_mismatch") || !members["aud"].is_null());
        }
    }

    #[test]
    fn an_unaccepted_client_is_named_next_to_the_accepted_ones() {
        let by_client = ClaimRules { audience_claim: AudienceClaim::ClientId, ..rules() };
        for (claims, details) in [
            (
                json!({"client_id": "a", "azp": "b"}),
                json!({"client_id": ["b", "a"], "configured": ["mcp", "api://mcp"]}),
            ),
            (
                json!({"client_id": "mcp", "aud": "c"}),
                json!({"aud": ["c"], "configured": ["mcp", "api://mcp"]}),
            ),
        ] {
            let refusal =
                by_client.audience_mismatch(&claims.as_object().unwrap().into(), &audiences());
            assert_eq!(Value::Object(refusal.details()), details);
        }
    }

    #[test]
    fn types_are_compared_without_case_and_prefix() {
        let listed = TokenTypes::Listed(vec!["at+jwt".to_owned()]);
        let named = |name: &str| TokenType::Named(name.to_owned());
        for (token_type, by_default, by_list) in [
            (TokenType::Absent, true, false),
            (named("JWT"), true, false),
            (named("jwt"), true, false),
            (named("at+jwt"), true, true),
            (named("application/AT+JWT"), true, true),
            (named("id_token"), false, false),
            (named("dpop+jwt"), false, false),
            (named(""), false, false),
            (named("application/application/at+jwt"), false, false),
            (TokenType::NotAString, false, false),
        ] {
            assert_eq!(TokenTypes::AccessTokens.check(&token_type).is_ok(), by_default);
            assert_eq!(listed.check(&token_type).is_ok(), by_list);
        }
    }
}
