//! From the client's token request to its token response, and registrations.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::authorize::FoundClient;
use super::discovery::{DiscoveryFault, ProviderEndpoints};
use super::error_code::ErrorCode;
use super::event::{LoginEvent, LoginResult, LoginStage};
use super::issued::IssuedToken;
use super::page::PageFault;
use super::parameters::Parameters;
use super::registration::register;
use super::response::{OAuthError, unavailable};
use super::step::{AwaitingEndpoints, Form, Step, TokenJudgement};
use super::token_request::{Exchange, Grant};
use super::visit::Nonce;
use super::{Login, LoginProvider};
use crate::callout::{CalloutFault, CalloutResponse};
use crate::printable::clipped;
use crate::provider::ProviderId;
use crate::request::RequestHead;
use crate::response::Response;
use crate::seal::Randomness;
use crate::time::UnixTime;

impl Login {
    /// Pause before a client should try again while a provider cannot be reached.
    const PAUSE: Duration = Duration::from_secs(5);

    /// The head of a token request.
    pub(super) fn token_head(head: RequestHead<'_>) -> Step {
        if media_type(head).is_some_and(|own| own == "application/x-www-form-urlencoded") {
            return Step::ReadBody(Form::Token);
        }
        let problem = "content-type must be application/x-www-form-urlencoded";
        let error = OAuthError::new(ErrorCode::InvalidRequest, problem);
        refused(error.response(400), LoginStage::Token, None, &error)
    }

    /// The head of a registration, which is JSON (RFC 7591 §3.1). Clients may leave the type out.
    pub(super) fn registration_head(head: RequestHead<'_>) -> Step {
        if media_type(head).is_none_or(|own| own == "application/json") {
            return Step::ReadBody(Form::Registration);
        }
        let problem = "content-type must be application/json";
        let error = OAuthError::new(ErrorCode::InvalidClientMetadata, problem);
        refused(error.response(400), LoginStage::Register, None, &error)
    }

    /// Continues with the body of a request; `None` if it is too large.
    pub(crate) fn on_body(
        &self,
        form: Form,
        body: Option<&[u8]>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        let Some(body) = body else {
            let problem = "the body is longer than 64 KiB";
            let error = OAuthError::new(ErrorCode::InvalidRequest, problem);
            return match form {
                Form::Approval(_) => Step::refuse(PageFault::TooLarge, LoginStage::Approve, None),
                Form::Token => refused(error.response(413), LoginStage::Token, None, &error),
                Form::Registration => {
                    refused(error.response(413), LoginStage::Register, None, &error)
                }
            };
        };
        match form {
            Form::Approval(approval) => self.approve(*approval, body, now),
            Form::Token => self.token(body, now),
            Form::Registration => {
                let response = register(body, &self.redirect_policy, &self.sealer, now, random);
                let result =
                    if response.status == 201 { LoginResult::Ok } else { LoginResult::Refused };
                let stage = LoginStage::Register;
                let event = LoginEvent::new(None, stage, result, None);
                Step::Respond(response, Some(event))
            }
        }
    }

    /// Continues with the endpoints of a provider, or the fault that prevented reading them.
    pub(crate) fn on_endpoints(
        &self,
        id: ProviderId,
        awaiting: AwaitingEndpoints,
        endpoints: Result<&ProviderEndpoints, &DiscoveryFault>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        match awaiting {
            AwaitingEndpoints::Visit { login, consents } => {
                self.send_to_provider(id, login, consents, endpoints, now, random)
            }
            AwaitingEndpoints::Exchange(exchange) => self.exchange(id, exchange, endpoints),
        }
    }

    /// Continues with the response of the provider's token endpoint, or its absence.
    pub(crate) fn on_exchanged(
        &self,
        id: ProviderId,
        exchange: Exchange,
        response: Result<CalloutResponse, CalloutFault>,
    ) -> Step {
        let stage = exchange.stage();
        let resource = self.resource(&exchange.resource);
        let asked = resource.and_then(|own| Some((own, self.provider_for(id, own)?)));
        let Some((resource, provider)) = asked else { return Self::gone(stage) };
        match IssuedToken::from_response(response, exchange, &provider, resource) {
            Ok(issued) => Step::Judge(id, Box::new(issued), stage),
            Err(fault) => {
                let result = match fault.is_of_operator() {
                    true => LoginResult::Failed,
                    false => LoginResult::Refused,
                };
                let line = Some(fault.to_string());
                let event = LoginEvent::new(Some(id), stage, result, line);
                Step::Respond(fault.response(), Some(event))
            }
        }
    }

    /// Continues with the judgement on the token that the provider issued.
    pub(crate) fn on_judged(
        &self,
        id: ProviderId,
        stage: LoginStage,
        issued: IssuedToken,
        judgement: TokenJudgement,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        /// Maximum length of the values in a description, in characters.
        const MAX_VALUES: usize = 200;
        let event = |result, line| Some(LoginEvent::new(Some(id), stage, result, line));
        match judgement {
            TokenJudgement::Accepted { expires } => {
                let response = issued.response(expires, &self.sealer, now, random);
                Step::Respond(response, event(LoginResult::Ok, None))
            }
            TokenJudgement::Refused { reason, cause, values, fix, details } => {
                let values = match values.as_str() {
                    "" => String::new(),
                    values => format!(" ({})", clipped(values, MAX_VALUES)),
                };
                let problem = |values: &str| {
                    format!(
                        "the token that the identity provider issued would be refused here \
                         ({reason}): {cause}{values}. {fix}"
                    )
                };
                let error = OAuthError::new(ErrorCode::InvalidGrant, problem(&values));
                let line = format!("{} details={details}", problem(""));
                Step::Respond(error.response(400), event(LoginResult::Failed, Some(line)))
            }
            TokenJudgement::Unavailable { why, retry_after } => {
                let problem = "the token cannot be verified at the moment";
                let response = unavailable(problem, retry_after);
                let line = format!("{problem}: {why}");
                Step::Respond(response, event(LoginResult::Failed, Some(line)))
            }
        }
    }

    /// The token that the provider would issue could not be judged, so the provider is not asked: a
    /// code or refresh token that it rotates would be spent in vain. `why` is for the operator.
    pub(crate) fn unjudgeable(
        provider: ProviderId,
        stage: LoginStage,
        why: &str,
        retry_after: Duration,
    ) -> Step {
        let line = format!("{why}; the provider was not asked for a token");
        let event = LoginEvent::new(Some(provider), stage, LoginResult::Failed, Some(line));
        let problem = "tokens cannot be verified at the moment; the code or refresh token was not \
                       used";
        Step::Respond(unavailable(problem, retry_after), Some(event))
    }

    /// A code of the same login was exchanged, or is under way to the provider (RFC 6749 §4.1.2).
    pub(crate) fn code_used(provider: ProviderId) -> Step {
        let problem = "another request has used a code of this login";
        let error = OAuthError::new(ErrorCode::InvalidGrant, problem);
        refused(error.response(400), LoginStage::Token, Some(provider), &error)
    }

    /// The same refresh token is under way to the provider too often. It may stay valid, so the client
    /// must keep it.
    pub(crate) fn refresh_in_use(provider: ProviderId) -> Step {
        let problem = "too many requests use this refresh token at the moment";
        let line = Some(problem.to_owned());
        let stage = LoginStage::Refresh;
        let event = LoginEvent::new(Some(provider), stage, LoginResult::Refused, line);
        Step::Respond(unavailable(problem, Self::PAUSE), Some(event))
    }

    /// Too many logins are waiting.
    pub(crate) fn busy(provider: Option<ProviderId>, stage: LoginStage) -> Step {
        let problem = "too many logins at the moment";
        let response = match stage {
            LoginStage::Authorize | LoginStage::Approve | LoginStage::Callback => {
                PageFault::Busy.response()
            }
            LoginStage::Register | LoginStage::Token | LoginStage::Refresh => {
                unavailable(problem, Self::PAUSE)
            }
        };
        let line = Some(problem.to_owned());
        let event = LoginEvent::new(provider, stage, LoginResult::Refused, line);
        Step::Respond(response, Some(LoginEvent { is_crowding: true, ..event }))
    }

    /// The proxy does not deliver the body of a request while its head is held back. `fix` says
    /// what the operator must change.
    pub(crate) fn withheld(form: &Form, fix: &str) -> Step {
        let stage = form.stage();
        let response = match form {
            Form::Approval(_) => PageFault::Withheld.response(),
            Form::Token | Form::Registration => {
                let problem = "this server cannot read request bodies; its operator finds the \
                               cause in the log";
                OAuthError::new(ErrorCode::ServerError, problem).response(500)
            }
        };
        let line = format!(
            "Envoy does not deliver a request body while its head is held back, so no login \
             works: {fix}"
        );
        let event = LoginEvent::new(None, stage, LoginResult::Failed, Some(line));
        Step::Respond(response, Some(event))
    }

    fn token(&self, body: &[u8], now: UnixTime) -> Step {
        let refuse = |status, error: &OAuthError| {
            refused(error.response(status), LoginStage::Token, None, error)
        };
        let Ok(form) = Parameters::parse(body) else {
            let problem = "the body is not a form in UTF-8";
            return refuse(400, &OAuthError::new(ErrorCode::InvalidRequest, problem));
        };
        // This applies to unknown parameters too (RFC 6749 §3.2).
        if form.repeats_any() {
            let problem = "a parameter is repeated";
            return refuse(400, &OAuthError::new(ErrorCode::InvalidRequest, problem));
        }
        let client_id = form.get("client_id").ok().flatten().unwrap_or_default();
        if !self.knows_client(client_id, now) {
            let problem = "client_id is missing or not known here; register again";
            return refuse(401, &OAuthError::new(ErrorCode::InvalidClient, problem));
        }
        let exchange = match Exchange::read(&form, client_id, &self.sealer, now) {
            Ok(exchange) => exchange,
            Err(error) => return refuse(400, &error),
        };
        let provider = self.provider_of(&exchange.provider);
        let resource = self.resource(&exchange.resource);
        match (provider, resource) {
            (Some((id, _)), Some(resource)) if resource.providers.contains(&id) => {
                Step::Discover(id, Box::new(AwaitingEndpoints::Exchange(exchange)))
            }
            _ => {
                let problem = "the provider or resource of this login is no longer configured; \
                               log in again";
                refuse(400, &OAuthError::new(ErrorCode::InvalidGrant, problem))
            }
        }
    }

    /// A metadata document is read at the authorization endpoint alone: what was sealed there names
    /// its client.
    fn knows_client(&self, client_id: &str, now: UnixTime) -> bool {
        matches!(
            self.client(client_id, now),
            Some(FoundClient::Known(_) | FoundClient::Document(_))
        )
    }

    fn exchange(
        &self,
        id: ProviderId,
        exchange: Exchange,
        endpoints: Result<&ProviderEndpoints, &DiscoveryFault>,
    ) -> Step {
        let stage = exchange.stage();
        let provider: Option<&LoginProvider> = self.providers[id].as_ref();
        match (provider, endpoints) {
            (Some(provider), Ok(endpoints)) => {
                let request = exchange.request(provider, endpoints, &self.redirect_uri(provider));
                Step::Exchange(id, request, Box::new(exchange))
            }
            (Some(_), Err(fault)) => {
                let line = Some(fault.to_string());
                let result = LoginResult::Failed;
                let event = LoginEvent::new(Some(id), stage, result, line);
                let problem = "the identity provider cannot be reached";
                Step::Respond(unavailable(problem, Self::PAUSE), Some(event))
            }
            (None, _) => Self::gone(stage),
        }
    }

    fn gone(stage: LoginStage) -> Step {
        let problem = "the provider of this login is no longer configured; log in again";
        let error = OAuthError::new(ErrorCode::InvalidGrant, problem);
        refused(error.response(400), stage, None, &error)
    }
}

impl Exchange {
    /// The stage of the login.
    #[must_use]
    pub(crate) fn stage(&self) -> LoginStage {
        match self.grant {
            Grant::Code { .. } => LoginStage::Token,
            Grant::Refresh { .. } => LoginStage::Refresh,
        }
    }

    /// What it redeems.
    #[must_use]
    pub(crate) fn grant_id(&self) -> GrantId {
        match &self.grant {
            Grant::Code { nonce, .. } => GrantId::Login(nonce.clone()),
            Grant::Refresh { token } => GrantId::RefreshToken(Sha256::digest(token).into()),
        }
    }
}

/// What an exchange redeems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GrantId {
    /// A code of the login with this nonce.
    Login(Nonce),
    /// The refresh token with this digest (SHA-256).
    RefreshToken([u8; 32]),
}

impl GrantId {
    /// Whether both are codes, or both refresh tokens.
    #[must_use]
    pub(crate) fn is_of_kind(&self, other: &Self) -> bool {
        matches!(self, Self::Login(_)) == matches!(other, Self::Login(_))
    }
}

fn refused(
    response: Response,
    stage: LoginStage,
    provider: Option<ProviderId>,
    error: &OAuthError,
) -> Step {
    let line = Some(format!("{}: {}", error.code.as_str(), error.description()));
    let event = LoginEvent::new(provider, stage, LoginResult::Refused, line);
    Step::Respond(response, Some(event))
}

/// The media type of a body in lower case, without parameters; `None` if there is none.
fn media_type(head: RequestHead<'_>) -> Option<String> {
    let value = head.values("content-type").next()?;
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    Some(String::from_utf8_lossy(essence.trim_ascii()).to_ascii_lowercase())
}
