//! Carries out decisions on streams, and reports them: metrics, log, filter state.

use super::BodyAction;
use super::Engine;
use super::host::{Host, HostRefused, Part, StreamId};
use super::metrics::{Outcome, RequestLabels};
use super::sessions::AwaitedSession;
use crate::access::RuleIndex;
use crate::engine::authenticator::{Attribution, Decision, Refused, RequestEdits, method_label};
use crate::identity::{IdentityFields, logged_name};
use crate::refusal::{McpCall, Refusal};
use crate::resource::{ResourceId, ResourceLabel};
use crate::response::Response;
use crate::status::RefusalRecord;
use crate::time::UnixTime;

impl<H: Host> Engine<H> {
    /// Carries out a decision. A request whose head could not be edited is not forwarded.
    pub(super) fn carry_out(
        &mut self,
        stream: StreamId,
        decision: Decision,
        now: UnixTime,
    ) -> BodyAction {
        let done = match decision {
            Decision::Forward(edits, resource, attribution) => {
                self.carry_out_forward(stream, &edits, resource, attribution, now)
            }
            Decision::LetThrough(refused, edits) => {
                self.note(stream, &refused, Outcome::Reported, now);
                self.forward(stream, &edits)
            }
            Decision::Refuse(refused) => {
                self.note(stream, &refused, Outcome::Refused, now);
                self.respond(stream, self.authenticator.response(&refused))
            }
            Decision::Respond(response, resource) => {
                let labels = RequestLabels::new(resource, Outcome::Metadata);
                self.metrics.count_request(labels, &self.host);
                self.respond(stream, response)
            }
            Decision::Login(step) => return self.run_login(stream, *step, now),
            Decision::Spend(request) => return self.spend(stream, request, now),
            Decision::AwaitBody(request) => return self.hold(stream, request, now),
            Decision::Await(request, need) => {
                return match self.wait_for(stream, *request, need, now) {
                    None => BodyAction::Stop,
                    Some(given_up) => self.carry_out(stream, given_up, now),
                };
            }
        };
        if self.host.part() == Part::Requests {
            // There may be no further tick.
            self.write_status(now);
        }
        done.unwrap_or_else(|HostRefused| self.abort(stream))
    }

    /// Forwards a request, and prepares for its response.
    fn carry_out_forward(
        &mut self,
        stream: StreamId,
        edits: &RequestEdits,
        resource: Option<ResourceId>,
        attribution: Option<Attribution>,
        now: UnixTime,
    ) -> Result<BodyAction, HostRefused> {
        match (resource, &attribution) {
            (Some(resource), Some(attribution)) => {
                self.metrics.count_allowed(resource, attribution.provider, &self.host);
            }
            _ => {
                let labels = RequestLabels::new(resource, Outcome::Exempt);
                self.metrics.count_request(labels, &self.host);
            }
        }
        let (mut may_be_refused, mut is_reported) = (false, false);
        if let Some(Attribution { overage, grant, lists, followed, .. }) = attribution {
            if let Some(overage) = overage {
                self.overage_log.write(&overage, &self.host, now);
            }
            if let Some(view) = lists {
                may_be_refused = !view.asked().is_call();
                self.responses.expect(stream, view);
            }
            self.note_call(stream, grant.call());
            if let (Some(rule), Some(resource)) = (grant.rule, resource) {
                self.note_rule(stream, resource, rule);
            }
            if let Some(call) = followed {
                self.outcomes.expect(stream, call);
                is_reported = !may_be_refused;
            }
        }
        let action = self.forward(stream, edits)?;
        // The server carries out a call even if its client goes away. A list that is refused has a
        // reason and no outcome.
        if is_reported {
            self.report_outcome(stream);
        }
        Ok(action)
    }

    /// Carries out a decision on a stream that waited.
    pub(super) fn settle(&mut self, stream: StreamId, decision: Decision, now: UnixTime) {
        if self.host.is_open(stream) {
            let action = self.carry_out(stream, decision, now);
            self.apply_action(stream, action, now);
        } else {
            self.streams.remove(stream);
        }
    }

    /// Resumes a stream that an earlier callback stopped, if the action says so.
    pub(super) fn apply_action(&mut self, stream: StreamId, action: BodyAction, now: UnixTime) {
        if action == BodyAction::Continue {
            if let Some(body) = self.streams.body_mut(stream) {
                body.was_resumed = true;
            }
            self.host.resume(stream);
            if self.delivery.is_open() {
                self.set_pace(now);
            }
        }
    }

    /// Ends a stream whose host refused an operation.
    pub(super) fn abort(&mut self, stream: StreamId) -> BodyAction {
        self.end(stream, 500)
    }

    /// Ends a stream with a bare status.
    pub(super) fn end(&mut self, stream: StreamId, status: u16) -> BodyAction {
        // If even that fails, the stream stays stopped.
        let _ = self.host.respond(stream, Response::bare(status));
        BodyAction::Stop
    }

    /// Edits a head, and sets the filter state that identifies its sender to access logs.
    pub(super) fn edit_head(
        &mut self,
        stream: StreamId,
        edits: &RequestEdits,
    ) -> Result<(), HostRefused> {
        self.host.edit_request(stream, edits)?;
        if self.logins.is_some() {
            self.responses.expect_cookies(stream);
        }
        if let Some(session) = AwaitedSession::new(edits) {
            self.responses.expect_session(stream, session);
        }
        if let Some(identity) = &edits.identity {
            self.note_identity(stream, identity);
        }
        Ok(())
    }

    fn forward(
        &mut self,
        stream: StreamId,
        edits: &RequestEdits,
    ) -> Result<BodyAction, HostRefused> {
        self.edit_head(stream, edits)?;
        self.streams.decide(stream, true);
        Ok(BodyAction::Continue)
    }

    fn respond(&mut self, stream: StreamId, response: Response) -> Result<BodyAction, HostRefused> {
        self.streams.decide(stream, false);
        self.host.respond(stream, response)?;
        Ok(BodyAction::Stop)
    }

    /// Counts a refusal, and logs it.
    pub(super) fn note(
        &mut self,
        stream: StreamId,
        refused: &Refused,
        outcome: Outcome,
        now: UnixTime,
    ) {
        let reason = refused.refusal.reason();
        let labels = RequestLabels {
            provider: refused.provider,
            reason: Some(reason.code()),
            ..RequestLabels::new(refused.resource, outcome)
        };
        self.metrics.count_request(labels, &self.host);
        self.host.set_filter_state(stream, "mcp_auth.reason", reason.code());
        match (&refused.identity, refused.provider) {
            (Some(identity), _) => self.note_identity(stream, identity),
            // The request was forwarded with its identity.
            _ if matches!(refused.refusal, Refusal::McpListInvalid) => {}
            (None, Some(provider)) => {
                Self::note_provider(&mut self.host, stream, &self.provider_names[provider]);
            }
            (None, None) => {}
        }
        self.note_refused_call(stream, refused, outcome);
        let provider = refused.provider.map(|provider| self.provider_names[provider].as_str());
        let action = match outcome {
            Outcome::Reported => "allowed (report mode), would be refused",
            _ => "refused",
        };
        let label = refused.resource.and_then(|resource| self.authenticator.label(resource));
        let resource = label.map(ResourceLabel::id);
        let details = self.refusal_log.write(action, refused, resource, provider, &self.host, now);
        if let Some(mut details) = details {
            if let (None, Some(call)) = (refused.refusal.call(), refused.call()) {
                call.describe(&mut details);
            }
            let record = RefusalRecord::new(
                self.heartbeat_writer.configuration(),
                resource,
                provider,
                outcome == Outcome::Reported,
                details,
                now,
            );
            self.heartbeat_writer.note(reason, record);
            if self.host.part() == Part::Requests {
                self.heartbeat_writer.hasten();
            }
        }
        self.host.note_refusal(stream, refused);
    }

    /// Reports what a refused request called, and counts it where calls are counted.
    fn note_refused_call(&mut self, stream: StreamId, refused: &Refused, outcome: Outcome) {
        self.note_call(stream, refused.call());
        match (refused.refusal.rule(), refused.rule_of_grant(), refused.resource) {
            (Some(rule), ..) => {
                self.host.set_filter_state(stream, "mcp_auth.rule", &logged_name(rule));
            }
            (None, Some(rule), Some(resource)) => self.note_rule(stream, resource, rule),
            _ => {}
        }
        if outcome == Outcome::Refused && self.authenticator.follows_calls() {
            let reason = refused.refusal.reason().code();
            self.host.set_filter_state(stream, "mcp_auth.error_type", reason);
            let followed = self.stop_following(stream);
            let method = followed.unwrap_or_else(|| method_label(refused.call()));
            let outcome = Outcome::Refused.as_str();
            self.metrics.count_call(refused.resource, method, outcome, &self.host);
        }
    }

    fn note_call(&mut self, stream: StreamId, call: Option<&McpCall>) {
        let Some(McpCall { method, name }) = call else { return };
        self.host.set_filter_state(stream, "mcp_auth.method", &logged_name(method));
        if let Some(name) = name {
            self.host.set_filter_state(stream, "mcp_auth.name", &logged_name(name));
        }
    }

    fn note_rule(&mut self, stream: StreamId, resource: ResourceId, rule: RuleIndex) {
        let name = self.authenticator.logged_rule(resource, rule);
        self.host.set_filter_state(stream, "mcp_auth.rule", name);
    }

    fn note_identity(&mut self, stream: StreamId, identity: &IdentityFields) {
        self.host.set_filter_state(stream, "mcp_auth.user", identity.user());
        let client = identity.client_id();
        if !client.is_empty() {
            self.host.set_filter_state(stream, "mcp_auth.client", client);
        }
        Self::note_provider(&mut self.host, stream, identity.provider());
    }

    fn note_provider(host: &mut H, stream: StreamId, name: &str) {
        host.set_filter_state(stream, "mcp_auth.provider", name);
    }
}
