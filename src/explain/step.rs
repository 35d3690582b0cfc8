//! The steps of the decision on a token, in the order of the core, told from how it ended.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::words::{either, number, seconds, value};
use crate::claim::{AudienceClaim, CLIENT_ID_CLAIMS, any_of};
use crate::config::Config;
use crate::json::Object;
use crate::provider::{Provider, TokenIdRule, TokenTypes};
use crate::refusal::Refusal;
use crate::time::UnixTime;

/// A step with what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Which.
    pub step: Stage,
    /// What became of it.
    pub status: StepStatus,
    /// What it compares, in words and numbers; empty when nothing is known of it.
    pub finding: String,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// The check holds.
    Passed,
    /// It does not; the token is refused because of it.
    Failed,
    /// The decision was made before.
    NotReached,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The token is the only credential, in the right place.
    Credentials,
    /// It is a JWS of two JSON objects and not too long.
    Form,
    /// Its algorithm is a known one, it is signed, and it demands nothing that is not understood.
    Header,
    /// Its `iss` picks a provider.
    Provider,
    /// The provider allows its algorithm.
    Algorithm,
    /// The provider allows its `typ`.
    Type,
    /// `exp`, `nbf`, `iat`.
    Time,
    /// `aud`.
    Audience,
    /// The provider has a key for it.
    Key,
    /// A key verifies it.
    Signature,
    /// The required claims.
    RequiredClaims,
    /// It is not bound to a key.
    Binding,
    /// `jti`.
    TokenId,
    /// The claim that identifies the user.
    UserClaim,
    /// The user is known and may be used.
    User,
    /// The access rules, and the origin.
    Access,
    /// It was not spent before.
    Replay,
}

/// What is known when the steps are told.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    pub(super) provider: Option<&'a Provider>,
    pub(super) header: &'a Map<String, Value>,
    pub(super) claims: &'a Map<String, Value>,
    pub(super) size: usize,
    /// The keys that were looked through, for people.
    pub(super) kids: Option<Vec<String>>,
    pub(super) now: UnixTime,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Credentials,
        Self::Form,
        Self::Header,
        Self::Provider,
        Self::Algorithm,
        Self::Type,
        Self::Time,
        Self::Audience,
        Self::Key,
        Self::Signature,
        Self::RequiredClaims,
        Self::Binding,
        Self::TokenId,
        Self::UserClaim,
        Self::User,
        Self::Access,
        Self::Replay,
    ];

    /// Where the core refuses a token for this.
    pub(super) fn for_refusal(refusal: &Refusal, provider: Option<&Provider>) -> Self {
        use crate::jose::MalformedToken::Unsigned;
        match refusal {
            Refusal::MissingToken | Refusal::MalformedAuthorization(_) | Refusal::OriginDenied => {
                Self::Credentials
            }
            Refusal::MalformedToken(Unsigned) | Refusal::UnsupportedCriticalHeader { .. } => {
                Self::Header
            }
            Refusal::MalformedToken(_) => Self::Form,
            Refusal::UnsupportedAlgorithm { .. } | Refusal::GraphToken if provider.is_none() => {
                Self::Header
            }
            Refusal::UnsupportedAlgorithm { .. } => Self::Algorithm,
            Refusal::UnknownIssuer { .. } => Self::Provider,
            Refusal::WrongTokenType { .. } => Self::Type,
            Refusal::Expired { .. } | Refusal::NotYetValid { .. } | Refusal::TokenTooOld { .. } => {
                Self::Time
            }
            Refusal::AudienceMismatch { .. } => Self::Audience,
            Refusal::KeyMismatch(_)
            | Refusal::KeysUnavailable { .. }
            | Refusal::UnknownKid { .. } => Self::Key,
            Refusal::BadSignature { .. } | Refusal::GraphToken => Self::Signature,
            Refusal::MissingClaim { claim, .. } if !is_required(claim, provider) => Self::UserClaim,
            Refusal::ClaimMismatch { .. }
            | Refusal::MissingAnyClaim { .. }
            | Refusal::MissingClaim { .. } => Self::RequiredClaims,
            Refusal::BoundToken => Self::Binding,
            Refusal::TokenIdMissing => Self::TokenId,
            Refusal::DirectoryUnavailable { .. }
            | Refusal::UserInactive { .. }
            | Refusal::UserNotServiceAccount { .. }
            | Refusal::UserUnknown { .. } => Self::User,
            Refusal::AccessDenied { .. }
            | Refusal::InsufficientScope { .. }
            | Refusal::McpBodyInvalid(_)
            | Refusal::McpHeaderMismatch(_) => Self::Access,
            Refusal::ReplayStoreUnavailable { .. } | Refusal::TokenReplayed => Self::Replay,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Form => "form",
            Self::Header => "header",
            Self::Provider => "provider",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Time => "time",
            Self::Audience => "audience",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::RequiredClaims => "required claims",
            Self::Binding => "binding",
            Self::TokenId => "token id",
            Self::UserClaim => "user claim",
            Self::User => "user",
            Self::Access => "access",
            Self::Replay => "replay",
        }
    }
}

/// All steps, when the decision was made at `end`, or at none of them.
pub(super) fn steps(end: Option<(Stage, StepStatus)>, known: &Known<'_>) -> Vec<Step> {
    let all = Stage::ALL.into_iter();
    all.map(|stage| Step {
        step: stage,
        status: match end {
            Some((end, status)) if stage == end => status,
            Some((end, _)) if stage > end => StepStatus::NotReached,
            _ => StepStatus::Passed,
        },
        finding: known.finding(stage),
    })
    .collect()
}

impl Known<'_> {
    fn finding(&self, stage: Stage) -> String {
        if stage > Stage::Form && self.header.is_empty() && self.claims.is_empty() {
            return String::new();
        }
        let claim = |name: &str| format!("{name} {}", value(self.claims.get(name)));
        let member = |name: &str| format!("{name} {}", value(self.header.get(name)));
        let of_token = match stage {
            Stage::Credentials => "one bearer token in Authorization".to_owned(),
            Stage::Form => {
                let max = number(u64::try_from(self.config.max_token_size).unwrap_or(u64::MAX));
                let size = number(u64::try_from(self.size).unwrap_or(u64::MAX));
                format!("{size} bytes; max_token_size is {max}")
            }
            Stage::Header if self.header.contains_key("crit") => {
                [member("alg"), member("crit")].join(", ")
            }
            Stage::Header | Stage::Algorithm => member("alg"),
            Stage::Provider => claim("iss"),
            Stage::Type => member("typ"),
            Stage::Time => self.times(),
            Stage::Audience if self.is_known_by_client() => {
                let named = CLIENT_ID_CLAIMS.iter().filter(|name| self.claims.contains_key(**name));
                let named: Vec<String> = named.map(|name| claim(name)).collect();
                if named.is_empty() {
                    format!("no client, {}", claim("aud"))
                } else {
                    format!("{}, {}", named.join(", "), claim("aud"))
                }
            }
            Stage::Audience => claim("aud"),
            Stage::Key => member("kid"),
            Stage::Binding if self.claims.contains_key("cnf") => claim("cnf"),
            Stage::Binding => "to no key".to_owned(),
            Stage::TokenId => claim("jti"),
            Stage::Signature
            | Stage::RequiredClaims
            | Stage::UserClaim
            | Stage::User
            | Stage::Access
            | Stage::Replay => String::new(),
        };
        let of_configuration = match (stage, self.provider) {
            (Stage::Provider, None) => {
                let issuers: Vec<String> =
                    self.config.providers.issuers().map(str::to_owned).collect();
                format!("trusted: {}", either(&issuers))
            }
            (_, Some(provider)) => self.expectation(stage, provider),
            _ => String::new(),
        };
        let parts = [of_token, of_configuration].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("; ")
    }

    /// What the provider's configuration says.
    fn expectation(&self, stage: Stage, provider: &Provider) -> String {
        let rules = &provider.claim_rules;
        match stage {
            Stage::Provider => format!("provider {:?}", provider.name),
            Stage::Algorithm => {
                let allowed =
                    provider.algorithms.iter().map(|algorithm| algorithm.name().to_owned());
                format!("allowed: {}", either(&allowed.collect::<Vec<_>>()))
            }
            Stage::Type => match &rules.token_types {
                TokenTypes::AccessTokens => "allowed: at+jwt, JWT or none".to_owned(),
                TokenTypes::Listed(types) => format!("allowed: {}", either(types)),
            },
            Stage::Time => {
                let skew = format!("clock_skew is {}", seconds(rules.clock_skew.as_secs()));
                match rules.max_token_age {
                    None => skew,
                    Some(age) => format!("{skew}, max_token_age {}", seconds(age.as_secs())),
                }
            }
            Stage::Audience => format!("accepted: {}", either(&rules.audiences)),
            Stage::Key => match &self.kids {
                None => String::new(),
                Some(kids) => format!("published: {}", either(kids)),
            },
            Stage::RequiredClaims => self.required(provider),
            Stage::TokenId => match provider.token_id_rule {
                TokenIdRule::Ignore => "not looked at".to_owned(),
                TokenIdRule::Require => "required".to_owned(),
                TokenIdRule::SingleUse => "required, and each serves once".to_owned(),
            },
            Stage::UserClaim => {
                let rules = &provider.identity_rules;
                let of_users = any_of(&rules.user_claims);
                let of_services = any_of(&rules.service_user_claims);
                if of_users == of_services {
                    of_users
                } else {
                    format!("{of_users}; of a service {of_services}")
                }
            }
            Stage::User => format!("looked for by {:?}", provider.identity_rules.user_field),
            _ => String::new(),
        }
    }

    fn required(&self, provider: &Provider) -> String {
        let all = provider.required_claims.iter().map(|required| {
            let accepted: Vec<String> = required.accepted.iter().map(Value::to_string).collect();
            let found = value(self.claims.get(&required.name));
            format!("{} {found}, accepted: {}", required.name, accepted.join(" or "))
        });
        let alternatives = &provider.required_any_claim;
        let claims = Object::from(self.claims);
        let found = alternatives.iter().map(|path| {
            let found = path.find(&claims).map(Value::from);
            format!("{path} {}", value(found.as_ref()))
        });
        let found: Vec<String> = found.collect();
        let any = (!found.is_empty())
            .then(|| format!("{}: one of them, and not empty", found.join(", ")));
        match all.chain(any).collect::<Vec<_>>().join("; ") {
            none if none.is_empty() => "none are configured".to_owned(),
            some => some,
        }
    }

    /// Whether `client_ids` are compared with the client's id.
    fn is_known_by_client(&self) -> bool {
        let compared = self.provider.map(|provider| provider.claim_rules.audience_claim);
        compared == Some(AudienceClaim::ClientId)
    }

    fn times(&self) -> String {
        let one = |name: &str| {
            let Some(claim) = self.claims.get(name) else { return format!("{name} missing") };
            let Some(time) = claim.as_u64().map(UnixTime::from_secs) else {
                return format!("{name} {}", value(Some(claim)));
            };
            if time >= self.now {
                let left = time.since(self.now) + Duration::from_millis(500);
                format!("{name} in {}", seconds(left.as_secs()))
            } else {
                format!("{name} {} ago", seconds(self.now.since(time).as_secs()))
            }
        };
        ["exp", "nbf", "iat"].map(one).join(", ")
    }
}

/// Whether the claim that is missing is one of those that the provider requires.
fn is_required(claim: &str, provider: Option<&Provider>) -> bool {
    let mut required = provider.into_iter().flat_map(|provider| &provider.required_claims);
    required.any(|required| required.name == claim && !required.may_be_absent)
}
