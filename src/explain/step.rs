//! The checks of a token as steps, each with its outcome and what it compares.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::words::{either, number, seconds, value};
use crate::claim::{AudienceClaim, CLIENT_ID_CLAIMS, any_of};
use crate::config::Config;
use crate::json::Object;
use crate::provider::{Provider, TokenIdRule, TokenTypes};
use crate::refusal::Check;
use crate::resource::{ResourceId, ResourceLabel};
use crate::time::UnixTime;

/// A check and its outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The check of this step.
    pub step: Check,
    /// Whether it passed.
    pub status: StepStatus,
    /// What the check compared, in words and numbers; empty if unknown.
    pub finding: String,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// The check passed.
    Passed,
    /// The check failed, so the token is refused.
    Failed,
    /// An earlier check decided.
    NotReached,
}

/// What is known when the steps are listed.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    /// Host and path of the request.
    pub(super) address: (&'a str, &'a str),
    /// The resource that it belongs to.
    pub(super) resource: Option<ResourceId>,
    pub(super) provider: Option<&'a Provider>,
    pub(super) header: &'a Map<String, Value>,
    pub(super) claims: &'a Map<String, Value>,
    pub(super) size: usize,
    /// The `kid` values of the keys that were searched, for people.
    pub(super) kids: Option<Vec<String>>,
    pub(super) now: UnixTime,
}

/// All steps, given the check at which the decision was made, if any.
pub(super) fn steps(end: Option<(Check, StepStatus)>, known: &Known<'_>) -> Vec<Step> {
    // A question has neither `Origin` nor a session.
    let is_shown = |check: &Check| match check {
        Check::Origin | Check::Session => false,
        Check::Resource => known.config.resources.outside().is_some(),
        _ => true,
    };
    let all = Check::ALL.into_iter().filter(is_shown);
    all.map(|check| Step {
        step: check,
        status: match end {
            Some((end, status)) if check == end => status,
            Some((end, _)) if check > end => StepStatus::NotReached,
            _ => StepStatus::Passed,
        },
        finding: known.finding(check),
    })
    .collect()
}

impl Known<'_> {
    /// The name of the resource, if there are several.
    pub(super) fn label(&self) -> Option<&ResourceLabel> {
        self.resource.and_then(|resource| self.config.resources[resource].label.as_ref())
    }

    fn finding(&self, check: Check) -> String {
        if check > Check::Form && self.header.is_empty() && self.claims.is_empty() {
            return String::new();
        }
        let claim = |name: &str| self.claim(name);
        let member = |name: &str| format!("{name} {}", value(self.header.get(name)));
        let of_token = match check {
            Check::Resource => self.resource_found(),
            Check::Credentials => "one bearer token in Authorization".to_owned(),
            Check::Form => {
                let max = number(u64::try_from(self.config.max_token_size).unwrap_or(u64::MAX));
                let size = number(u64::try_from(self.size).unwrap_or(u64::MAX));
                format!("{size} bytes; max_token_size is {max}")
            }
            Check::Header if self.header.contains_key("crit") => {
                [member("alg"), member("crit")].join(", ")
            }
            Check::Header | Check::Algorithm => member("alg"),
            Check::Provider => claim("iss"),
            Check::Type => member("typ"),
            Check::Time => self.times(),
            Check::Audience => self.audience_found(),
            Check::Key => member("kid"),
            Check::Binding if self.claims.contains_key("cnf") => claim("cnf"),
            Check::Binding => "to no key".to_owned(),
            Check::TokenId => claim("jti"),
            Check::Origin
            | Check::Signature
            | Check::RequiredClaims
            | Check::UserClaim
            | Check::User
            | Check::Session
            | Check::Access
            | Check::Replay => String::new(),
        };
        let of_configuration = match self.provider {
            Some(provider) => self.expectation(check, provider),
            None if check == Check::Provider => {
                let issuers = self.config.issuers(self.resource);
                format!("trusted: {}", either(&issuers))
            }
            None => String::new(),
        };
        let parts = [of_token, of_configuration].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("; ")
    }

    fn claim(&self, name: &str) -> String {
        format!("{name} {}", value(self.claims.get(name)))
    }

    fn resource_found(&self) -> String {
        let (authority, path) = self.address;
        let resource = match self.label() {
            Some(label) => format!("resource {:?}", label.id()),
            None => "no resource".to_owned(),
        };
        format!("host {authority:?}, path {path:?}; {resource}")
    }

    fn audience_found(&self) -> String {
        let audience = self.claim("aud");
        if !self.is_known_by_client() {
            return audience;
        }
        let named = CLIENT_ID_CLAIMS.iter().filter(|name| self.claims.contains_key(**name));
        let named: Vec<String> = named.map(|name| self.claim(name)).collect();
        match named.join(", ") {
            none if none.is_empty() => format!("no client, {audience}"),
            clients => format!("{clients}, {audience}"),
        }
    }

    /// What the provider's configuration expects.
    fn expectation(&self, check: Check, provider: &Provider) -> String {
        let rules = &provider.claim_rules;
        match check {
            Check::Provider => format!("provider {:?}", provider.name),
            Check::Algorithm => {
                let allowed =
                    provider.algorithms.iter().map(|algorithm| algorithm.name().to_owned());
                format!("allowed: {}", either(&allowed.collect::<Vec<_>>()))
            }
            Check::Type => match &rules.token_types {
                TokenTypes::AccessTokens => "allowed: at+jwt, JWT or none".to_owned(),
                TokenTypes::Listed(types) => format!("allowed: {}", either(types)),
            },
            Check::Time => {
                let skew = format!("clock_skew is {}", seconds(rules.clock_skew.as_secs()));
                match rules.max_token_age {
                    None => skew,
                    Some(age) => format!("{skew}, max_token_age {}", seconds(age.as_secs())),
                }
            }
            Check::Audience => format!("accepted: {}", either(&self.audiences(provider))),
            Check::Key => match &self.kids {
                None => String::new(),
                Some(kids) => format!("published: {}", either(kids)),
            },
            Check::RequiredClaims => self.required(provider),
            Check::TokenId => match provider.token_id_rule {
                TokenIdRule::Ignore => "not checked".to_owned(),
                TokenIdRule::Require => "required".to_owned(),
                TokenIdRule::SingleUse => "required, and single-use".to_owned(),
            },
            Check::UserClaim => {
                let rules = &provider.identity_rules;
                let of_users = any_of(&rules.user_claims);
                let of_services = any_of(&rules.service_user_claims);
                if of_users == of_services {
                    of_users
                } else {
                    format!("{of_users}; of a service {of_services}")
                }
            }
            Check::User => format!("looked up by {:?}", provider.identity_rules.user_field),
            Check::Access
            | Check::Binding
            | Check::Credentials
            | Check::Form
            | Check::Header
            | Check::Resource
            | Check::Origin
            | Check::Replay
            | Check::Session
            | Check::Signature => String::new(),
        }
    }

    fn audiences(&self, provider: &Provider) -> Vec<String> {
        self.config
            .providers
            .id(&provider.name)
            .map_or_else(Vec::new, |id| self.config.audiences(self.resource, id))
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

    /// Whether `client_ids` are compared with the client.
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
