//! From the client's authorization request to its authorization response.

use super::Login;
use super::authorization_request::{ClientFault, ClientRequest, TrustedRequest, UntrustedFault};
use super::browser::{Browser, BrowserId, Cookie};
use super::callback::{Callback, CallbackFault};
use super::client::{Client, DocumentUrl, RegisteredClient};
use super::client_document::DocumentFault;
use super::consent::{ConsentMode, Consents};
use super::discovery::{DiscoveryFault, ProviderEndpoints};
use super::error_code::ErrorCode;
use super::event::{LoginEvent, LoginResult, LoginStage};
use super::page::{ConsentPage, PageFault};
use super::parameters::Parameters;
use super::provider::LoginProvider;
use super::redirect_uri::RedirectUri;
use super::resource::LoginResource;
use super::step::{Approval, AwaitingClient, AwaitingEndpoints, Form, Step};
use super::visit::{ApprovedLogin, PendingLogin};
use crate::provider::ProviderId;
use crate::request::RequestHead;
use crate::response::Response;
use crate::seal::Randomness;
use crate::time::UnixTime;

/// A client by its `client_id`.
pub(super) enum FoundClient {
    Known(Client),
    /// It is described by its metadata document.
    Document(DocumentUrl),
}

impl Login {
    /// An authorization request of a client.
    pub(super) fn authorize(
        &self,
        head: RequestHead<'_>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        let refuse = |fault| Step::refuse(fault, LoginStage::Authorize, None);
        let browser = Browser::from_head(head, &self.issuer, &self.sealer, now);
        if !browser.is_navigation {
            return refuse(PageFault::Framed);
        }
        let Ok(parameters) = Parameters::parse(head.query().unwrap_or_default()) else {
            return refuse(PageFault::Request(UntrustedFault::Malformed));
        };
        let client_id = parameters.get("client_id").ok().flatten().unwrap_or_default().to_owned();
        let consents = self.consents(head, now);
        let request = AwaitingClient { client_id, parameters, browser, consents };
        match self.client(&request.client_id, now) {
            None => refuse(PageFault::Request(UntrustedFault::UnknownClient)),
            Some(FoundClient::Known(client)) => self.show_page(request, &client, now, random),
            Some(FoundClient::Document(url)) => Step::FetchClient(url, Box::new(request)),
        }
    }

    /// Continues with the metadata document of a client, or the fault that prevented reading it.
    pub(crate) fn on_client(
        &self,
        request: AwaitingClient,
        client: Result<&Client, &DocumentFault>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        match client {
            Ok(client) => self.show_page(request, client, now, random),
            Err(fault) => {
                let line = format!("client {:?}: {fault}", request.client_id);
                // Whoever names a document chooses its fault, but for a cluster that is not there.
                let result = match fault.is_of_operator() {
                    true => LoginResult::Failed,
                    false => LoginResult::Refused,
                };
                let event = LoginEvent::new(None, LoginStage::Authorize, result, Some(line));
                Step::Respond(PageFault::ClientDocument.response(), Some(event))
            }
        }
    }

    /// The head of the form with which a person approves or cancels.
    pub(super) fn approval_head(&self, head: RequestHead<'_>, now: UnixTime) -> Step {
        let browser = Browser::from_head(head, &self.issuer, &self.sealer, now);
        if !browser.is_navigation || !browser.is_from_own_page {
            return Step::refuse(PageFault::Approval, LoginStage::Approve, None);
        }
        let consents = self.consents(head, now);
        Step::ReadBody(Form::Approval(Box::new(Approval { browser, consents })))
    }

    /// The form itself.
    pub(super) fn approve(&self, approval: Approval, body: &[u8], now: UnixTime) -> Step {
        let refuse = |fault| Step::refuse(fault, LoginStage::Approve, None);
        let Approval { browser, mut consents } = approval;
        let Ok(form) = Parameters::parse(body) else { return refuse(PageFault::Approval) };
        let get = |name| form.get(name).ok().flatten();
        let pending = get("request").and_then(|sealed| self.sealer.open(sealed, now).ok());
        let Some(pending) = pending else { return refuse(PageFault::Approval) };
        let pending: PendingLogin = pending;
        if browser.id.as_ref() != Some(&pending.browser) {
            return refuse(PageFault::Approval);
        }
        let resource = self.resource(&pending.request.resource);
        let chosen = get("provider").and_then(|name| self.provider_named(name));
        let chosen =
            chosen.zip(resource).filter(|((id, _), resource)| resource.providers.contains(id));
        match (get("cancel"), chosen) {
            (Some(_), _) => {
                let stage = LoginStage::Approve;
                let event = LoginEvent::new(None, stage, LoginResult::Refused, None);
                let response = self.error_to(
                    &pending.request,
                    ErrorCode::AccessDenied,
                    "the person cancelled the login",
                );
                Step::Respond(response, Some(event))
            }
            (None, Some(((id, provider), resource))) => {
                let consents = (self.consent == ConsentMode::Remember).then(|| {
                    let basis = self.consent_basis(&pending.request, resource, provider);
                    consents.add(&pending.request, &basis, now);
                    consents
                });
                let login = ApprovedLogin { pending };
                Step::Discover(id, Box::new(AwaitingEndpoints::Visit { login, consents }))
            }
            (None, _) => refuse(PageFault::Approval),
        }
    }

    /// Continues with the endpoints of the provider at which a person logs in, or the fault that
    /// prevented reading them.
    pub(super) fn send_to_provider(
        &self,
        id: ProviderId,
        login: ApprovedLogin,
        consents: Option<Consents>,
        endpoints: Result<&ProviderEndpoints, &DiscoveryFault>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        let event = |result, line| LoginEvent::new(Some(id), LoginStage::Approve, result, line);
        let resource = self.resource(&login.pending.request.resource);
        let provider = resource.and_then(|resource| self.provider_for(id, resource));
        let Some(provider) = provider else {
            return Step::refuse(PageFault::Approval, LoginStage::Approve, None);
        };
        let endpoints = match endpoints {
            Ok(endpoints) => endpoints,
            Err(fault) => {
                let event = event(LoginResult::Failed, Some(fault.to_string()));
                return Step::Respond(PageFault::Provider.response(), Some(event));
            }
        };
        let browser = login.pending.browser.clone();
        let redirect_uri = self.redirect_uri(&provider);
        let url =
            login.authorization_url(&provider, endpoints, &redirect_uri, &self.sealer, now, random);
        let Ok(url) = url else {
            return Step::refuse(PageFault::TooLarge, LoginStage::Approve, Some(id));
        };
        let mut response = redirect(url);
        self.set_cookie(&mut response, Cookie::Browser, &browser, now, random);
        if let Some(consents) = consents {
            self.set_cookie(&mut response, Cookie::Consent, &consents, now, random);
        }
        Step::Respond(response, Some(event(LoginResult::Ok, None)))
    }

    /// The provider's response, which the browser delivers.
    pub(super) fn callback(
        &self,
        id: ProviderId,
        head: RequestHead<'_>,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        let stage = LoginStage::Callback;
        let refuse = |fault| Step::refuse(PageFault::Callback(fault), stage, Some(id));
        let Some(provider) = &self.providers[id] else { return refuse(CallbackFault::State) };
        let browser = Browser::from_head(head, &self.issuer, &self.sealer, now);
        let query = head.query().unwrap_or_default();
        let event = |result, line| Some(LoginEvent::new(Some(id), stage, result, line));
        match Callback::read(query, provider, &browser, &self.sealer, now) {
            Err(fault) => refuse(fault),
            Ok(Callback::Error { request, code }) => {
                let line = format!("the provider ended the login with {}", code.as_str());
                let description = "the identity provider ended the login";
                let response = self.error_to(&request, code, description);
                Step::Respond(response, event(LoginResult::Refused, Some(line)))
            }
            Ok(Callback::Code(code)) => match self.sealer.seal(&*code, now, random) {
                Err(_) => refuse(CallbackFault::CodeTooLong),
                Ok(sealed) => {
                    let ClientRequest { redirect_uri, state, .. } = &code.request;
                    let parameters = [("code", sealed.as_str())];
                    let response = self.response_to(redirect_uri, state.as_deref(), &parameters);
                    Step::Respond(response, event(LoginResult::Ok, None))
                }
            },
        }
    }

    /// The client with this `client_id`; `None` if it is not known here.
    pub(super) fn client(&self, client_id: &str, now: UnixTime) -> Option<FoundClient> {
        if let Some(client) = self.clients.iter().find(|client| client.client_id == client_id) {
            return Some(FoundClient::Known(client.into()));
        }
        if let Some(url) = DocumentUrl::parse(client_id) {
            let clusters = self.client_documents.as_ref()?;
            return clusters.endpoint(url.as_str()).is_ok().then_some(FoundClient::Document(url));
        }
        let client: RegisteredClient =
            self.sealer.open(client_id, now).ok().filter(|_| self.registers)?;
        Some(FoundClient::Known(client.into()))
    }

    /// Shows the page, or skips it if the browser remembers the consent.
    fn show_page(
        &self,
        request: AwaitingClient,
        client: &Client,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Step {
        let stage = LoginStage::Authorize;
        let AwaitingClient { client_id, parameters, browser, consents } = request;
        let trusted = TrustedRequest::new(&parameters, &client_id, client, &self.redirect_policy);
        let trusted = match trusted {
            Ok(trusted) => trusted,
            Err(fault) => return Step::refuse(PageFault::Request(fault), stage, None),
        };
        let (request, login_hint) = match trusted.read(&self.resources) {
            Ok(read) => read,
            Err(fault) => return self.refuse_client(fault),
        };
        let Some(resource) = self.resource(&request.resource) else {
            return Step::refuse(PageFault::Request(UntrustedFault::Malformed), stage, None);
        };
        let browser_id = browser.id.unwrap_or_else(|| BrowserId::new(random));
        let remembered = (browser.is_own_initiative && login_hint.is_none())
            .then(|| self.remembered(&consents, &request, resource, now))
            .flatten();
        let pending = PendingLogin { request, browser: browser_id, login_hint };
        if let Some(id) = remembered {
            let login = ApprovedLogin { pending };
            let visit = AwaitingEndpoints::Visit { login, consents: None };
            return Step::Discover(id, Box::new(visit));
        }
        let Ok(sealed) = self.sealer.seal(&pending, now, random) else {
            return Step::refuse(PageFault::TooLarge, stage, None);
        };
        let page = ConsentPage {
            client,
            request: &pending.request,
            resource,
            providers: self.providers_of(resource).map(|(_, provider)| provider).collect(),
            action: format!("{}/authorize", self.path),
            pending: sealed,
            is_remembered: self.consent == ConsentMode::Remember,
        };
        let mut response = page.response();
        self.set_cookie(&mut response, Cookie::Browser, &pending.browser, now, random);
        let event = LoginEvent::new(None, stage, LoginResult::Ok, None);
        Step::Respond(response, Some(event))
    }

    /// The provider for which the browser remembers a consent to this request; `None` if there are
    /// several, among which the person has to choose.
    fn remembered(
        &self,
        consents: &Consents,
        request: &ClientRequest,
        resource: &LoginResource,
        now: UnixTime,
    ) -> Option<ProviderId> {
        if self.consent != ConsentMode::Remember {
            return None;
        }
        let mut covered = self.providers_of(resource).filter(|(_, provider)| {
            consents.cover(request, &self.consent_basis(request, resource, provider), now)
        });
        let (id, _) = covered.next()?;
        covered.next().is_none().then_some(id)
    }

    fn consents(&self, head: RequestHead<'_>, now: UnixTime) -> Consents {
        let sealed = Cookie::Consent.value(head, &self.issuer);
        sealed.and_then(|sealed| self.sealer.open(sealed, now).ok()).unwrap_or_default()
    }

    fn providers_of<'a>(
        &'a self,
        resource: &'a LoginResource,
    ) -> impl Iterator<Item = (ProviderId, &'a LoginProvider)> {
        resource.providers.iter().filter_map(|id| Some((*id, self.providers[*id].as_ref()?)))
    }

    /// Sends the browser to the client with an error (RFC 6749 §4.1.2.1).
    fn refuse_client(&self, fault: ClientFault) -> Step {
        let ClientFault { redirect_uri, state, code, description } = fault;
        let parameters = [("error", code.as_str()), ("error_description", description)];
        let response = self.response_to(&redirect_uri, state.as_deref(), &parameters);
        let line = Some(format!("{}: {description}", code.as_str()));
        let event = LoginEvent::new(None, LoginStage::Authorize, LoginResult::Refused, line);
        Step::Respond(response, Some(event))
    }

    fn error_to(&self, request: &ClientRequest, code: ErrorCode, description: &str) -> Response {
        let parameters = [("error", code.as_str()), ("error_description", description)];
        self.response_to(&request.redirect_uri, request.state.as_deref(), &parameters)
    }

    /// An authorization response (RFC 6749 §4.1.2) that names its issuer (RFC 9207 §2).
    fn response_to(
        &self,
        redirect_uri: &RedirectUri,
        state: Option<&str>,
        parameters: &[(&str, &str)],
    ) -> Response {
        let mut parameters = parameters.to_vec();
        parameters.extend(state.map(|state| ("state", state)));
        parameters.push(("iss", self.issuer.origin()));
        redirect(redirect_uri.with_response(&parameters))
    }

    fn set_cookie<T: crate::seal::Sealed>(
        &self,
        response: &mut Response,
        cookie: Cookie,
        value: &T,
        now: UnixTime,
        random: &mut Randomness,
    ) {
        if let Ok(sealed) = self.sealer.seal(value, now, random) {
            response.headers.push(("set-cookie", cookie.set(&sealed, &self.issuer).into()));
        }
    }
}

/// 303: the browser continues with GET, whatever the method was (RFC 9700 §4.12).
fn redirect(url: String) -> Response {
    let headers = vec![
        ("location", url.into()),
        ("cache-control", "no-store".into()),
        ("referrer-policy", "no-referrer".into()),
    ];
    Response { status: 303, headers, body: Vec::new() }
}
