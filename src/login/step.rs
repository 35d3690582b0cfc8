//! What a login needs next.

use std::fmt;
use std::time::Duration;

use super::browser::Browser;
use super::client::DocumentUrl;
use super::consent::Consents;
use super::event::{LoginEvent, LoginResult, LoginStage};
use super::issued::IssuedToken;
use super::page::PageFault;
use super::parameters::Parameters;
use super::token_request::Exchange;
use super::visit::ApprovedLogin;
use crate::callout::CalloutRequest;
use crate::provider::ProviderId;
use crate::response::Response;
use crate::time::UnixTime;

/// The next step of a login. Holds secrets.
pub(crate) enum Step {
    /// It ends with this response.
    Respond(Response, Option<LoginEvent>),
    /// The body of the request, at most [`Form::MAX_LENGTH`] bytes.
    ReadBody(Form),
    /// The metadata document of a client; then `Login::on_client`.
    FetchClient(DocumentUrl, Box<AwaitingClient>),
    /// The endpoints of a provider; then `Login::on_endpoints`.
    Discover(ProviderId, Box<AwaitingEndpoints>),
    /// The response of the provider's token endpoint to this request; then `Login::on_exchanged`.
    Exchange(ProviderId, CalloutRequest, Box<Exchange>),
    /// A judgement on this token of the provider, for the resource with this URL; then
    /// `Login::on_judged`.
    Judge(ProviderId, Box<IssuedToken>, LoginStage),
}

/// Which form a body is.
#[derive(Debug)]
pub(crate) enum Form {
    Approval(Box<Approval>),
    Token,
    Registration,
}

/// The head of an approval.
#[derive(Debug)]
pub(crate) struct Approval {
    pub browser: Browser,
    pub consents: Consents,
}

/// An authorization request whose client has to be fetched.
#[derive(Debug)]
pub(crate) struct AwaitingClient {
    pub client_id: String,
    pub parameters: Parameters,
    pub browser: Browser,
    pub consents: Consents,
}

/// A login that needs the provider's endpoints.
#[derive(Debug)]
pub(crate) enum AwaitingEndpoints {
    /// To send the browser there.
    Visit {
        login: ApprovedLogin,
        /// The consents to remember; `None` if consents are not remembered.
        consents: Option<Consents>,
    },
    /// To exchange a code or a refresh token.
    Exchange(Exchange),
}

/// How a request with an issued token would be decided at its resource, without rules and scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenJudgement {
    /// It would be accepted until then.
    Accepted { expires: UnixTime },
    /// It would be refused.
    Refused {
        /// Code of the reason.
        reason: &'static str,
        /// The cause in words.
        cause: String,
        /// The values that were found and expected, as far as clients may see them; may be empty.
        values: String,
        /// What to change.
        fix: &'static str,
        /// What was found and expected, for the log.
        details: String,
    },
    /// Cannot be decided for now: keys or directory are not available.
    Unavailable {
        /// What is not available, for the log.
        why: String,
        retry_after: Duration,
    },
}

impl TokenJudgement {
    /// Undecided; the client may retry immediately.
    #[must_use]
    pub(crate) fn unavailable_for_now(why: &str) -> Self {
        Self::Unavailable { why: why.to_owned(), retry_after: Duration::ZERO }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Respond(..) => "Respond",
            Self::ReadBody(_) => "ReadBody",
            Self::FetchClient(..) => "FetchClient",
            Self::Discover(..) => "Discover",
            Self::Exchange(..) => "Exchange",
            Self::Judge(..) => "Judge",
        })
    }
}

impl AwaitingEndpoints {
    /// The stage of the login.
    #[must_use]
    pub(crate) fn stage(&self) -> LoginStage {
        match self {
            Self::Visit { .. } => LoginStage::Approve,
            Self::Exchange(exchange) => exchange.stage(),
        }
    }
}

impl Form {
    /// Maximum size of a body in bytes.
    pub(crate) const MAX_LENGTH: usize = 64 * 1024;

    /// The stage of the login that it begins.
    #[must_use]
    pub(crate) fn stage(&self) -> LoginStage {
        match self {
            Self::Approval(_) => LoginStage::Approve,
            Self::Token => LoginStage::Token,
            Self::Registration => LoginStage::Register,
        }
    }
}

impl Step {
    /// Ends with a response that is not reported as an event.
    pub(super) fn respond(response: Response) -> Self {
        Self::Respond(response, None)
    }

    /// Ends with a page that says why the login failed.
    pub(super) fn refuse(
        fault: PageFault,
        stage: LoginStage,
        provider: Option<ProviderId>,
    ) -> Self {
        let line = Some(fault.title().to_owned());
        let event = LoginEvent::new(provider, stage, LoginResult::Refused, line);
        Self::Respond(fault.response(), Some(event))
    }
}
