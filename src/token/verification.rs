//! The order of a token's checks, and the types that prove which have passed.

use std::ops::Range;

use super::bearer::check_single;
use super::key_trial::{KeyTrial, TrialEnd};
use super::single_use::SingleUseToken;
use super::verification_budget::VerificationBudget;
use crate::claim::{any_of, carries_one_of, is_elsewhere};
use crate::jose::{Algorithm, CompactJws, MalformedToken, ProtectedHeader, SignatureVerifier};
use crate::json::{Json, Object};
use crate::keys::{Candidates, KeyVersion};
use crate::provider::{AcceptedProviders, Provider, ProviderId, Providers, Validity};
use crate::refusal::{Check, Refusal, Strings};
use crate::time::UnixTime;

/// Audiences of Microsoft Graph: application id and URI.
const GRAPH: [&str; 2] = ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com"];

/// A token that passed all checks that need no key.
#[derive(Debug)]
pub(crate) struct PlausibleToken {
    jws: CompactJws,
    /// `None` while the token waits.
    claims: Option<Object>,
    algorithm: Algorithm,
    provider: ProviderId,
    validity: Validity,
    /// The result of verifying the signature of the same token before.
    known: Option<KnownSignature>,
    /// The keys of the provider tried so far.
    trial: KeyTrial<KeyVersion>,
}

/// Why the signature is not verified. Returns the token, which newer keys may verify.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// No key verifies it.
    ByAny(Box<PlausibleToken>),
    /// The remaining keys must wait for the verification budget.
    ForNow(Box<PlausibleToken>),
}

impl PlausibleToken {
    /// Parses a token, selects its provider among the accepted ones by `iss` (and by `aud` among
    /// several of one issuer), and makes all checks that need no key.
    ///
    /// # Errors
    ///
    /// The refusal of the first check that failed, and the provider if one was selected.
    pub(crate) fn read(
        token: &[u8],
        max_size: usize,
        providers: &Providers,
        accepted: &AcceptedProviders,
        now: UnixTime,
    ) -> Result<Self, (Refusal, Option<ProviderId>)> {
        // A list of tokens never parses as a JWS, so test for one only after parsing fails.
        let fault = |refusal| (check_single(token).err().unwrap_or(refusal), None);
        let (jws, claims, algorithm) = signed_jws(token, max_size).map_err(fault)?;
        let Some((id, provider, tokens)) = accepted.for_token(providers, &claims) else {
            let refusal = Refusal::UnknownIssuer {
                found: claims.get("iss").and_then(Json::as_str).map(str::to_owned),
                configured: Strings::new(accepted.issuers(providers)),
            };
            return Err((refusal, None));
        };
        let blame = |refusal| (refusal, Some(id));
        if !provider.algorithms.contains(&algorithm) {
            return Err(blame(unsupported(jws.header(), Check::Algorithm)));
        }
        let token_type = jws.header().token_type();
        let rules = &provider.claim_rules;
        let validity = rules.check(token_type, &claims, &tokens.audiences, now).map_err(blame)?;
        let (claims, known, trial) = (Some(claims), None, KeyTrial::default());
        Ok(Self { jws, claims, algorithm, provider: id, validity, known, trial })
    }

    /// The same token, with the result of verifying its signature before, if there is one.
    #[must_use]
    pub(crate) fn with_known(self, known: Option<KnownSignature>) -> Self {
        Self { known: known.or(self.known), ..self }
    }

    /// Drops the parsed claims while the token waits: they take many times the memory of the text.
    #[must_use]
    pub(crate) fn without_claims(self) -> Self {
        Self { claims: None, ..self }
    }

    /// The token as received.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.jws.as_bytes()
    }

    /// The token as received.
    #[must_use]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.jws.into_bytes()
    }

    /// The provider selected by the unverified `iss`.
    #[must_use]
    pub(crate) fn provider(&self) -> ProviderId {
        self.provider
    }

    #[must_use]
    pub(crate) fn header(&self) -> &ProtectedHeader {
        self.jws.header()
    }

    #[must_use]
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Tries the candidates of this version until one verifies the signature, skipping those that
    /// were tried before. Tries none if the result is known.
    ///
    /// # Errors
    ///
    /// No candidate verified it, or the budget is used up.
    pub(crate) fn verify_signature(
        mut self,
        candidates: &Candidates<'_>,
        version: KeyVersion,
        verifier: &dyn SignatureVerifier,
        budget: &VerificationBudget,
        now: UnixTime,
    ) -> Result<SignedToken, Unverified> {
        if let Some(known) = self.known
            && (known.provider, known.keys) == (self.provider, version)
        {
            return match known.is_valid {
                true => Ok(SignedToken(self)),
                false => Err(Unverified::ByAny(Box::new(self))),
            };
        }
        let (algorithm, jws) = (self.algorithm, &self.jws);
        let end = self.trial.run(version, candidates.keys.len(), |place| {
            let Some(key) = candidates.keys.get(place) else { return Some(false) };
            let cost = verifier.cost(algorithm, key);
            // The first key is free, as it is for a token that names its key.
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

    /// Notes that this version has no key for the token.
    #[must_use]
    pub(crate) fn without_key_in(mut self, version: Option<KeyVersion>) -> Self {
        if let Some(version) = version {
            self.trial.exhaust(version);
        }
        self
    }

    /// True when it is known that no key of this version verifies it, or there are no keys.
    #[must_use]
    pub(crate) fn is_tried_with(&self, version: Option<KeyVersion>) -> bool {
        version.is_none_or(|version| self.trial.is_exhausted(version))
    }

    /// The time span in which the token is valid.
    #[must_use]
    pub(crate) fn usable(&self) -> Range<UnixTime> {
        self.validity.usable.clone()
    }

    /// The refusal when no key verifies the token.
    #[must_use]
    pub(crate) fn bad_signature(&self) -> Refusal {
        let header = self.jws.header();
        if header.has_nonce() {
            // Microsoft replaces the nonce by its hash before signing, so no one else can verify it.
            Refusal::GraphToken { check: Check::Signature }
        } else {
            Refusal::BadSignature { kid: header.kid().map(str::to_owned) }
        }
    }
}

/// The result of verifying a token's signature. It holds for the very same bytes alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownSignature {
    /// The provider whose keys were tried.
    pub provider: ProviderId,
    /// The version of those keys.
    pub keys: KeyVersion,
    /// Whether one of them verified it.
    pub is_valid: bool,
}

/// A token with a verified signature. Only [`PlausibleToken::verify_signature`] creates it.
#[derive(Debug)]
pub(crate) struct SignedToken(PlausibleToken);

impl SignedToken {
    /// Checks the claims that matter only for signed tokens. Also returns the token without its
    /// claims, since it may have to wait.
    ///
    /// # Errors
    ///
    /// The refusal of the first check that failed.
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
                // The token waited, and may have expired meanwhile.
                provider.claim_rules.check_time(&claims, now)?;
                claims
            }
        };
        let validity = token.validity.clone();
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
            // RFC 9449 §7.1, RFC 8705 §3: bound to a key, and possession is not proved here.
            return Err(Refusal::BoundToken);
        }
        let single_use = provider.token_id_rule.check(&claims, validity.usable.end)?;
        Ok((VerifiedToken { claims, validity, single_use }, token))
    }
}

/// A token that passed all checks. Only [`SignedToken::check_claims`] creates it.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    claims: Object,
    validity: Validity,
    single_use: Option<SingleUseToken>,
}

impl VerifiedToken {
    #[must_use]
    pub(crate) fn claims(&self) -> &Object {
        &self.claims
    }

    /// When the token is valid.
    #[must_use]
    pub(crate) fn validity(&self) -> &Validity {
        &self.validity
    }

    /// The single-use token that must be spent before a request is forwarded.
    #[must_use]
    pub(crate) fn single_use(&self) -> Option<SingleUseToken> {
        self.single_use
    }
}

/// The checks that do not depend on the provider.
fn signed_jws(token: &[u8], max_size: usize) -> Result<(CompactJws, Object, Algorithm), Refusal> {
    if token.len() > max_size {
        return Err(MalformedToken::TooLong { limit: max_size }.into());
    }
    let (jws, claims) = CompactJws::parse(token)?;
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
