//! Callouts of logins: documents of clients, endpoints of providers, and exchanges of codes.

use std::time::Duration;

use super::{AwaitedByLogin, no_randomness};
use crate::callout::{CalloutFault, CalloutRequest, CalloutResponse};
use crate::engine::Engine;
use crate::engine::callouts::{Callout, LoginPurpose, Purpose};
use crate::engine::host::{CalloutId, Host, StreamId};
use crate::login::{
    AwaitingClient, AwaitingEndpoints, Client, DOCUMENT_LIMIT, DiscoveryFault, DocumentFault,
    DocumentLookup, DocumentUrl, EndpointLookup, Exchange, GrantId, Login, LoginStage,
    ProviderEndpoints, Step,
};
use crate::provider::ProviderId;
use crate::refusal::Refusal;
use crate::time::UnixTime;

/// Maximum number of simultaneous exchanges of codes at a provider, and of refresh tokens: made-up
/// codes delay no refresh.
const MAX_EXCHANGES: usize = 32;
/// How many of these one refresh token may take. Clients that make several calls at once refresh for
/// each of them.
const MAX_OF_ONE_REFRESH_TOKEN: usize = 8;
/// Timeout for the metadata document of a client.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer than the timeout of its callout a login waits.
const GRACE: Duration = Duration::from_secs(2);

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct ExchangeUnderWay {
    /// When it is given up.
    deadline: UnixTime,
    grant: GrantId,
}

impl<H: Host> Engine<H> {
    /// A callout for logins is over.
    pub(in crate::engine) fn on_login_response(
        &mut self,
        callout: CalloutId,
        purpose: LoginPurpose,
        response: Result<CalloutResponse, CalloutFault>,
        now: UnixTime,
    ) {
        let Some(logins) = &mut self.logins else { return };
        match purpose {
            LoginPurpose::Client(url) => {
                let client = response.map_err(DocumentFault::Callout);
                let client =
                    client.and_then(|response| Client::from_document(Some(response), &url));
                logins.documents.on_fetched(url.clone(), client, now);
                let waiting = self.streams.logins(
                    |awaited| matches!(awaited, AwaitedByLogin::Client(own, _) if *own == url),
                );
                self.resume_logins(&waiting, now);
            }
            LoginPurpose::Endpoints(id) => {
                if let Some(provider) = &logins.login.providers[id] {
                    let endpoints =
                        response.map_err(DiscoveryFault::Callout).and_then(|response| {
                            ProviderEndpoints::from_response(Some(response), provider)
                        });
                    logins.endpoints[id].on_fetched(endpoints, now);
                }
                let waiting = self.streams.logins(
                    |awaited| matches!(awaited, AwaitedByLogin::Endpoints(own, _) if *own == id),
                );
                self.resume_logins(&waiting, now);
            }
            LoginPurpose::Exchange(id, stream) => {
                let exchange = logins.exchanges[id].remove(&callout);
                if let Some(ExchangeUnderWay { grant: GrantId::Login(nonce), .. }) = exchange
                    && response.as_ref().is_ok_and(is_decision)
                {
                    logins.spent_codes.insert(nonce, now);
                }
                self.on_exchanged(stream, callout, response, now);
            }
        }
    }

    /// A callout for logins could not be made.
    pub(in crate::engine) fn on_login_refused(
        &mut self,
        callout: CalloutId,
        purpose: LoginPurpose,
        now: UnixTime,
    ) {
        let cluster = match &purpose {
            LoginPurpose::Client(url) => self.cluster_of_client(url),
            LoginPurpose::Endpoints(id) | LoginPurpose::Exchange(id, _) => {
                let logins = self.logins.as_ref();
                let provider = logins.and_then(|logins| logins.login.providers[*id].as_ref());
                provider.map(|provider| provider.metadata.cluster().to_owned())
            }
        };
        let fault = CalloutFault::Dispatch { cluster: cluster.unwrap_or_default() };
        self.on_login_response(callout, purpose, Err(fault), now);
    }

    pub(super) fn await_client(
        &mut self,
        stream: StreamId,
        url: DocumentUrl,
        request: Box<AwaitingClient>,
        now: UnixTime,
    ) -> Option<Step> {
        let logins = self.logins.as_mut()?;
        let client = match logins.documents.look_up(&url, now, DOCUMENT_TIMEOUT + GRACE) {
            DocumentLookup::Known(client) => Ok(client),
            DocumentLookup::Failed(fault) => Err(fault),
            DocumentLookup::Busy => return Some(Login::busy(None, LoginStage::Authorize)),
            lookup @ (DocumentLookup::Fetch | DocumentLookup::Await) => {
                if lookup == DocumentLookup::Fetch
                    && let Err(fault) = self.fetch_client(&url)
                {
                    let fault = DocumentFault::Callout(fault);
                    let logins = self.logins.as_mut()?;
                    logins.documents.on_fetched(url.clone(), Err(fault), now);
                    return self.await_client(stream, url, request, now);
                }
                if self.is_crowded(|awaited| awaited.is_document_of(url.host())) {
                    return Some(Login::busy(None, LoginStage::Authorize));
                }
                let awaited = AwaitedByLogin::Client(url, request);
                self.let_login_wait(stream, awaited, DOCUMENT_TIMEOUT + GRACE, now);
                return None;
            }
        };
        self.on_client(*request, client.as_deref(), now)
    }

    pub(super) fn on_client(
        &self,
        request: AwaitingClient,
        client: Result<&Client, &DocumentFault>,
        now: UnixTime,
    ) -> Option<Step> {
        let step = self.with_login(|login, random| login.on_client(request, client, now, random));
        Some(step.unwrap_or_else(no_randomness))
    }

    pub(super) fn await_endpoints(
        &mut self,
        stream: StreamId,
        id: ProviderId,
        awaiting: Box<AwaitingEndpoints>,
        now: UnixTime,
    ) -> Option<Step> {
        let logins = self.logins.as_mut()?;
        let patience = logins.timeouts[id] + GRACE;
        let endpoints = match logins.endpoints[id].look_up(now, patience) {
            EndpointLookup::Known(endpoints) => Ok(endpoints),
            EndpointLookup::Failed(fault) => Err(fault),
            lookup @ (EndpointLookup::Fetch | EndpointLookup::Await) => {
                let timeout = logins.timeouts[id];
                if lookup == EndpointLookup::Fetch
                    && let Err(fault) = self.fetch_endpoints(id, timeout)
                {
                    let fault = DiscoveryFault::Callout(fault);
                    let logins = self.logins.as_mut()?;
                    logins.endpoints[id].on_fetched(Err(fault), now);
                    return self.await_endpoints(stream, id, awaiting, now);
                }
                if self.is_crowded(|awaited| awaited.is_endpoints_of(id)) {
                    return Some(Login::busy(Some(id), awaiting.stage()));
                }
                let awaited = AwaitedByLogin::Endpoints(id, awaiting);
                self.let_login_wait(stream, awaited, patience, now);
                return None;
            }
        };
        let step = self.with_login(|login, random| {
            login.on_endpoints(id, *awaiting, endpoints.as_deref(), now, random)
        });
        Some(step.unwrap_or_else(no_randomness))
    }

    pub(super) fn exchange(
        &mut self,
        stream: StreamId,
        id: ProviderId,
        request: &CalloutRequest,
        exchange: Box<Exchange>,
        now: UnixTime,
    ) -> Option<Step> {
        let stage = exchange.stage();
        if let Some((why, retry_after)) = self.outage(id, now) {
            return Some(Login::unjudgeable(id, stage, &why, retry_after));
        }
        let logins = self.logins.as_mut()?;
        let timeout = logins.timeouts[id];
        let under_way = &mut logins.exchanges[id];
        under_way.retain(|_, exchange| now < exchange.deadline);
        let grant = exchange.grant_id();
        let same = under_way.values().filter(|other| other.grant == grant).count();
        match &grant {
            GrantId::Login(nonce) if same > 0 || logins.spent_codes.contains(nonce, now) => {
                return Some(Login::code_used(id));
            }
            GrantId::RefreshToken(_) if same >= MAX_OF_ONE_REFRESH_TOKEN => {
                return Some(Login::refresh_in_use(id));
            }
            GrantId::Login(_) | GrantId::RefreshToken(_) => {}
        }
        let of_kind = under_way.values().filter(|other| other.grant.is_of_kind(&grant));
        if of_kind.count() >= MAX_EXCHANGES {
            return Some(Login::busy(Some(id), stage));
        }
        let Some(callout) = self.host.call(request, timeout) else {
            let fault = CalloutFault::Dispatch { cluster: request.cluster.clone() };
            return Some(logins.login.on_exchanged(id, *exchange, Err(fault)));
        };
        let deadline = now + timeout + GRACE;
        under_way.insert(callout, ExchangeUnderWay { deadline, grant });
        let purpose = Purpose::Login(LoginPurpose::Exchange(id, stream));
        self.callouts.insert(callout, Callout { purpose, max_body: request.max_body });
        let awaited = AwaitedByLogin::Exchange(callout, id, exchange);
        self.let_login_wait(stream, awaited, timeout + GRACE, now);
        None
    }

    /// Why a token of this provider could not be judged, if that is known, and when to try again.
    fn outage(&mut self, id: ProviderId, now: UnixTime) -> Option<(String, Duration)> {
        self.sync_keys(id, now);
        let refusal = self.keys[id].outage(now).map(Refusal::from).or_else(|| {
            let fault = self.users.as_ref()?.outage(now)?;
            Some(Refusal::directory_unavailable(fault.clone()))
        })?;
        let retry_after = Duration::from_secs(refusal.retry_after().unwrap_or(1));
        Some((format!("{} ({refusal})", refusal.reason().code()), retry_after))
    }

    /// Ends the exchange of this stream, if it is the one of this callout.
    fn on_exchanged(
        &mut self,
        stream: StreamId,
        callout: CalloutId,
        response: Result<CalloutResponse, CalloutFault>,
        now: UnixTime,
    ) {
        let is_its = self.streams.login(stream).is_some_and(
            |login| matches!(login.awaited, AwaitedByLogin::Exchange(own, ..) if own == callout),
        );
        if !is_its || !self.host.is_open(stream) {
            return;
        }
        let Some(logins) = &self.logins else { return };
        if let Some(AwaitedByLogin::Exchange(_, id, exchange)) = self.streams.take_login(stream) {
            let step = logins.login.on_exchanged(id, *exchange, response);
            self.run_login(stream, step, now);
        }
    }

    fn fetch_client(&mut self, url: &DocumentUrl) -> Result<(), CalloutFault> {
        let Some(logins) = &self.logins else { return Err(CalloutFault::NoResponse) };
        let clusters = logins.login.client_documents.as_ref();
        let endpoint = clusters.and_then(|clusters| clusters.endpoint(url.as_str()).ok());
        let endpoint = endpoint.ok_or(CalloutFault::NoResponse)?;
        let request = endpoint.request("GET", "application/json", DOCUMENT_LIMIT.bytes);
        let purpose = LoginPurpose::Client(url.clone());
        self.call_for_logins(&request, purpose, DOCUMENT_TIMEOUT)
    }

    fn cluster_of_client(&self, url: &DocumentUrl) -> Option<String> {
        let clusters = self.logins.as_ref()?.login.client_documents.as_ref()?;
        Some(clusters.endpoint(url.as_str()).ok()?.cluster().to_owned())
    }

    fn fetch_endpoints(&mut self, id: ProviderId, timeout: Duration) -> Result<(), CalloutFault> {
        let Some(logins) = &self.logins else { return Err(CalloutFault::NoResponse) };
        let provider = logins.login.providers[id].as_ref().ok_or(CalloutFault::NoResponse)?;
        let request = ProviderEndpoints::request(provider);
        self.call_for_logins(&request, LoginPurpose::Endpoints(id), timeout)
    }

    fn call_for_logins(
        &mut self,
        request: &CalloutRequest,
        purpose: LoginPurpose,
        timeout: Duration,
    ) -> Result<(), CalloutFault> {
        let callout = self.host.call(request, timeout);
        let fault = || CalloutFault::Dispatch { cluster: request.cluster.clone() };
        let callout = callout.ok_or_else(fault)?;
        let purpose = Purpose::Login(purpose);
        self.callouts.insert(callout, Callout { purpose, max_body: request.max_body });
        Ok(())
    }
}

/// Whether the provider has redeemed the code or refused it for good (RFC 6749 §5.2).
fn is_decision(response: &CalloutResponse) -> bool {
    matches!(response.status, Some(200 | 400))
}
