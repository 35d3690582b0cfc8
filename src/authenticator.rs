//! The decision on a request. Reads like the way of a request: metadata, origin, token, keys,
//! signature, identity.

use crate::answer::{Answer, RefusalAnswers, ResourceMetadata};
use crate::config::{Config, Provider};
use crate::identity::VerifiedIdentity;
use crate::jose::SignatureVerifier;
use crate::keys::{Demand, KeyAnswer, ProviderKeys};
use crate::refusal::Refusal;
use crate::request::RequestHead;
use crate::time::UnixTime;
use crate::token::{PlausibleToken, bearer_token};

/// Decides on requests for one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator {
    config: Config,
    metadata: ResourceMetadata,
    answers: RefusalAnswers,
}

/// What is to become of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It waits for keys of a provider.
    AwaitKeys(Waiting),
    /// It goes to the upstream with these changes.
    Forward(HeaderEdits),
    /// It is refused.
    Refuse(Refused),
    /// It asks for something that is answered here.
    Respond(Answer),
}

/// A request that waits for keys.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Index of the provider whose keys it waits for.
    pub provider: usize,
    /// Why they should be fetched.
    pub demand: Demand,
    token: PlausibleToken,
    edits: HeaderEdits,
}

/// A request that is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// Name of the provider that the token says it comes from, if it is one.
    pub provider: Option<String>,
    /// What the client gets.
    pub answer: Answer,
}

/// Changes to the header fields of a request on its way to the upstream: first everything is
/// removed, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderEdits {
    /// Names of fields that go, with all their values.
    pub remove: Vec<String>,
    /// Fields that come.
    pub add: Vec<(String, String)>,
}

impl Authenticator {
    /// Prepares what does not depend on requests.
    #[must_use]
    pub(crate) fn new(config: Config) -> Self {
        Self {
            metadata: ResourceMetadata::new(&config.resource, &config.providers),
            answers: RefusalAnswers::new(&config.resource, config.details),
            config,
        }
    }

    /// Decides on a request. `keys` are those of the providers, in the order of the configuration.
    #[must_use]
    pub(crate) fn decide(
        &self,
        head: RequestHead<'_>,
        keys: &[ProviderKeys],
        verifier: &dyn SignatureVerifier,
        now: UnixTime,
    ) -> Decision {
        if let Some(answer) = self.metadata.answer(head) {
            return Decision::Respond(answer);
        }
        match self.plausible_token(head, now) {
            Ok(token) => {
                let edits =
                    HeaderEdits { remove: self.config.identity_headers.forged(head), add: vec![] };
                self.decide_on_token(token, edits, keys, verifier, now)
            }
            Err((refusal, provider)) => self.refuse(refusal, provider),
        }
    }

    /// Decides on a request that waited, now that there may be keys.
    #[must_use]
    pub(crate) fn decide_again(
        &self,
        waiting: Waiting,
        keys: &[ProviderKeys],
        verifier: &dyn SignatureVerifier,
        now: UnixTime,
    ) -> Decision {
        self.decide_on_token(waiting.token, waiting.edits, keys, verifier, now)
    }

    /// Refuses a request that waited for too long.
    #[must_use]
    pub(crate) fn give_up(
        &self,
        waiting: &Waiting,
        keys: &[ProviderKeys],
        now: UnixTime,
    ) -> Decision {
        let state = keys.get(waiting.provider).map(ProviderKeys::state);
        let retry_after = state.map(|state| state.retry_after(now)).unwrap_or_default();
        let provider = self.config.providers.get(waiting.provider);
        self.refuse(Refusal::KeysUnavailable { retry_after }, provider)
    }

    fn plausible_token(
        &self,
        head: RequestHead<'_>,
        now: UnixTime,
    ) -> Result<PlausibleToken, (Refusal, Option<&Provider>)> {
        if self.is_foreign_origin(head) {
            return Err((Refusal::OriginDenied, None));
        }
        let token = bearer_token(head).map_err(|refusal| (refusal, None))?;
        PlausibleToken::read(token, self.config.max_token_size, &self.config.providers, now)
    }

    fn decide_on_token(
        &self,
        token: PlausibleToken,
        edits: HeaderEdits,
        keys: &[ProviderKeys],
        verifier: &dyn SignatureVerifier,
        now: UnixTime,
    ) -> Decision {
        let index = token.provider();
        let (Some(provider), Some(own_keys)) = (self.config.providers.get(index), keys.get(index))
        else {
            let nothing = Refusal::KeysUnavailable { retry_after: std::time::Duration::ZERO };
            return self.refuse(nothing, None);
        };
        let refusal = match own_keys.find(token.header(), token.algorithm(), now) {
            KeyAnswer::Await(demand) => {
                let token = token.at_rest();
                return Decision::AwaitKeys(Waiting { provider: index, demand, token, edits });
            }
            KeyAnswer::Candidates(keys) => {
                let identity = token
                    .verify(&keys, verifier, provider)
                    .and_then(|token| VerifiedIdentity::of_token(token, &provider.identity_rules));
                match identity {
                    Ok(identity) => return Decision::Forward(self.forward(edits, &identity)),
                    Err(refusal) => refusal,
                }
            }
            KeyAnswer::Misfit(misfit) => Refusal::KeyMismatch(misfit),
            KeyAnswer::Unavailable { retry_after } => Refusal::KeysUnavailable { retry_after },
            KeyAnswer::Unknown => {
                Refusal::UnknownKid { kid: token.header().kid().map(str::to_owned) }
            }
        };
        self.refuse(refusal, Some(provider))
    }

    fn forward(&self, mut edits: HeaderEdits, identity: &VerifiedIdentity) -> HeaderEdits {
        if !self.config.forward_token {
            edits.remove.push("authorization".to_owned());
        }
        edits.add = self.config.identity_headers.of(identity);
        edits
    }

    fn refuse(&self, refusal: Refusal, provider: Option<&Provider>) -> Decision {
        Decision::Refuse(Refused {
            answer: self.answers.answer(&refusal),
            provider: provider.map(|provider| provider.name.clone()),
            refusal,
        })
    }

    fn is_foreign_origin(&self, head: RequestHead<'_>) -> bool {
        let listed = &self.config.allowed_origins;
        !listed.is_empty()
            && head
                .values("origin")
                .any(|origin| !listed.iter().any(|own| own.as_bytes() == origin))
    }
}
