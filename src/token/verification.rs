//! The order in which a token is judged, and the types that say how far it came.

use std::ops::Range;

use super::bearer::check_single;
use super::key_trial::{KeyTrial, TrialEnd};
use super::single_use::SingleUseToken;
use super::verification_budget::VerificationBudget;
use crate::claim::{any_of, carries_one_of, is_elsewhere};
use crate::jose::{
    Algorithm, CompactJws, KnownHeaders, MalformedToken, ProtectedHeader, SignatureVerifier,
};
use crate::json::{Json, Object};
use crate::keys::{Candidates, KeyVersion};
use crate::provider::{Provider, ProviderId, Providers};
use crate::refusal::{Check, Refusal, Strings};
use crate::time::UnixTime;

/// Audiences of Microsoft Graph: its application id and its URI.
const GRAPH: [&str; 2] = ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com"];

/// A token that could be good: everything that needs no key has been checked.
#[derive(Debug)]
pub(crate) struct PlausibleToken {
    jws: CompactJws,
    /// None while the token waits.
    claims: Option<Object>,
    algorithm: Algorithm,
    provider: ProviderId,
    expires: UnixTime,
    /// With the keys of its provider.
    trial: KeyTrial<KeyVersion>,
}

/// Why a token has no good signature so far. Gives it back, for newer keys may verify it.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// None of the keys verifies it.
    ByAny(Box<PlausibleToken>),
    /// Some keys are left to try, in its turn.
    ForNow(Box<PlausibleToken>),
}

impl PlausibleToken {
    /// Reads a token, finds its provider by `iss` (among several of one issuer by `aud`), and
    /// checks what needs no key.
    ///
    /// # Errors
    ///
    /// The first check that fails, with the provider if it was found.
    pub(crate) fn read<'a>(
        token: &[u8],
        max_size: usize,
        providers: &'a Providers,
        known: &KnownHeaders,
        now: UnixTime,
    ) -> Result<Self, (Refusal, Option<&'a Provider>)> {
        // Several tokens are never one JWS, so only what is none is asked whether it is several.
        let fault = |refusal| (check_single(token).err().unwrap_or(refusal), None);
        let (jws, claims, algorithm) = signed_jws(token, max_size, known).map_err(fault)?;
        let Some((id, provider)) = providers.for_token(&claims) else {
            let refusal = Refusal::UnknownIssuer {
                found: claims.get("iss").and_then(Json::as_str).map(str::to_owned),
                configured: Strings::new(providers.issuers()),
            };
            return Err((refusal, None));
        };
        let blame = |refusal| (refusal, Some(provider));
        if !provider.algorithms.contains(&algorithm) {
            return Err(blame(unsupported(jws.header(), Check::Algorithm)));
        }
        let token_type = jws.header().token_type();
        let expires = provider.claim_rules.check(token_type, &claims, now).map_err(blame)?;
        let trial = KeyTrial::default();
        Ok(Self { algorithm, provider: id, expires, trial, claims: Some(claims), jws })
    }

    /// Makes the token small for the time that it waits for keys: JSON takes many times more memory
    /// read than written.
    #[must_use]
    pub(crate) fn without_claims(self) -> Self {
        Self { claims: None, ..self }
    }

    /// The token as it came.
    #[must_use]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.jws.into_bytes()
    }

    /// Which of the providers issued it, if it is good.
    #[must_use]
    pub(crate) fn provider(&self) -> ProviderId {
        self.provider
    }

    /// Its header.
    #[must_use]
    pub(crate) fn header(&self) -> &ProtectedHeader {
        self.jws.header()
    }

    /// Its algorithm.
    #[must_use]
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks the signature with each of the candidates of this version until one verifies it. Those
    /// that were tried before are not tried again.
    ///
    /// # Errors
    ///
    /// None does, as far as it could be tried.
    pub(crate) fn verify_signature(
        mut self,
        candidates: &Candidates<'_>,
        version: KeyVersion,
        verifier: &dyn SignatureVerifier,
        budget: &VerificationBudget,
        now: UnixTime,
    ) -> Result<SignedToken, Unverified> {
        let (algorithm, jws) = (self.algorithm, &self.jws);
        let end = self.trial.run(version, candidates.keys.len(), |place| {
            let Some(key) = candidates.keys.get(place) else { return Some(false) };
            let cost = verifier.cost(algorithm, key);
            // A token that names its key costs one verification, however expensive; so may this.
            if place == 0 || candidates.are_named || VerificationBudget::is_cheap(cost) {
                budget.charge(cost);
            } else if !budget.pay(cost, now) {
                return None;
            }
            Some(verifier.verify(algorithm, key, jws.signing_input(), jws.signature()))
        });
        match end {
            TrialEnd::Verified => Ok(SignedToken(self)),
            TrialEnd::Exhausted => Err(Unverified::ByAny(Box::new(self))),
            TrialEnd::Suspended => Err(Unverified::ForNow(Box::new(self))),
        }
    }

    /// Remembers that there is no key for it in this version.
    #[must_use]
    pub(crate) fn without_key_in(mut self, version: Option<KeyVersion>) -> Self {
        if let Some(version) = version {
            self.trial.exhaust(version);
        }
        self
    }

    /// True when no key of this version verifies it, as far as is known; and where there are none.
    #[must_use]
    pub(crate) fn is_tried_with(&self, version: Option<KeyVersion>) -> bool {
        version.is_none_or(|version| self.trial.is_exhausted(version))
    }

    /// When it can be used, as far as it says so; never, if it waited.
    #[must_use]
    pub(crate) fn usable(&self, provider: &Provider) -> Range<UnixTime> {
        let rules = &provider.claim_rules;
        let usable = self.claims.as_ref().map(|claims| rules.usable(claims, self.expires));
        usable.unwrap_or_default()
    }

    /// Why the token is refused when no key verifies it.
    #[must_use]
    pub(crate) fn bad_signature(&self) -> Refusal {
        let header = self.jws.header();
        if header.has_nonce() {
            // Microsoft hashes the nonce before it signs: nobody else can verify that.
            Refusal::GraphToken { check: Check::Signature }
        } else {
            Refusal::BadSignature { kid: header.kid().map(str::to_owned) }
        }
    }
}

/// A token with a good signature. Only [`PlausibleToken::verify_signature`] makes one.
#[derive(Debug)]
pub(crate) struct SignedToken(PlausibleToken);

impl SignedToken {
    /// Lets other tokens with the same protected header be read at less cost.
    pub(crate) fn remember_header(&self, known: &KnownHeaders) {
        self.0.jws.remember_header(known);
    }

    /// Checks the claims that only a signed token may be asked for. Gives back the token as it came,
    /// too, at rest: it may have to wait.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub(crate) fn check_claims(
        self,
        provider: &Provider,
        now: UnixTime,
    ) -> Result<(VerifiedToken, PlausibleToken), Refusal> {
        let mut token = self.0;
        let claims = match token.claims.take() {
            Some(claims) => claims,
            None => {
                let claims = token.jws.payload()?;
                // It waited, and may have expired meanwhile.
                provider.claim_rules.check_time(&claims, now)?;
                claims
            }
        };
        let expires = token.expires;
        for required in &provider.required_claims {
            match required.is_met_by(&claims) {
                Some(true) => {}
                Some(false) => {
                    return Err(Refusal::ClaimMismatch { claim: required.name.clone() });
                }
                None if required.may_be_absent => {}
                None => {
                    let claim = required.name.clone();
                    let is_elsewhere = is_elsewhere(&claims, &claim);
                    return Err(Refusal::MissingClaim { claim, is_elsewhere });
                }
            }
        }
        let alternatives = &provider.required_any_claim;
        if !alternatives.is_empty() && !carries_one_of(&claims, alternatives) {
            let is_elsewhere =
                alternatives.iter().any(|claim| is_elsewhere(&claims, claim.top_level()));
            return Err(Refusal::MissingAnyClaim { claims: any_of(alternatives), is_elsewhere });
        }
        if claims.contains_key("cnf") {
            // RFC 9449 §7.1, RFC 8705 §3: bound to a key whose possession nobody has shown here.
            return Err(Refusal::BoundToken);
        }
        let single_use = provider.token_id_rule.check(&claims, expires, &provider.claim_rules)?;
        Ok((VerifiedToken { claims, expires, single_use }, token))
    }
}

/// A token that passed every check. Only [`SignedToken::check_claims`] makes one.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    claims: Object,
    expires: UnixTime,
    single_use: Option<SingleUseToken>,
}

impl VerifiedToken {
    /// Its claims.
    #[must_use]
    pub(crate) fn claims(&self) -> &Object {
        &self.claims
    }

    /// Its `exp`.
    #[must_use]
    pub(crate) fn expires(&self) -> UnixTime {
        self.expires
    }

    /// What must be spent before a request with it may go on.
    #[must_use]
    pub(crate) fn single_use(&self) -> Option<SingleUseToken> {
        self.single_use
    }
}

/// What does not depend on the provider.
fn signed_jws(
    token: &[u8],
    max_size: usize,
    known: &KnownHeaders,
) -> Result<(CompactJws, Object, Algorithm), Refusal> {
    if token.len() > max_size {
        return Err(MalformedToken::TooLong { limit: max_size }.into());
    }
    let (jws, claims) = CompactJws::parse(token, known)?;
    let header = jws.header();
    let algorithm = Algorithm::from_name(header.algorithm())
        .ok_or_else(|| unsupported(header, Check::Header))?;
    if let Some(name) = header.critical() {
        return Err(Refusal::UnsupportedCriticalHeader { name: name.to_owned() });
    }
    if jws.signature().is_empty() {
        return Err(MalformedToken::Unsigned.into());
    }
    if header.has_nonce() && is_for_graph(&claims) {
        return Err(Refusal::GraphToken { check: Check::Header });
    }
    Ok((jws, claims, algorithm))
}

fn unsupported(header: &ProtectedHeader, check: Check) -> Refusal {
    Refusal::UnsupportedAlgorithm { found: header.algorithm().to_owned(), check }
}

fn is_for_graph(claims: &Object) -> bool {
    claims
        .get("aud")
        .and_then(Json::as_str)
        .is_some_and(|audience| GRAPH.contains(&audience.trim_end_matches('/')))
}
