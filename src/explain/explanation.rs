//! A token judged, with everything that a person needs to see why.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::key_run::{CompletedCallout, KeyRun, now};
use super::outside::Outside;
use super::remedy::{self, Case, Remedy};
use super::setup::Setup;
use super::step::{Known, Step, StepStatus, steps};
use super::words::{number, seconds};
use crate::authenticator::{Authenticator, Decision, Examined, Need, RequestEdits, WorkerView};
use crate::authenticator::{PlausibleRequest, Refused};
use crate::claim::AudienceClaim;
use crate::jose::PureRust;
use crate::keys::{Event, KeySet, KeySetFault, ProviderKeys};
use crate::provider::{ProviderId, ProviderMap};
use crate::refusal::{Check, Refusal};
use crate::request::{Field, RequestHead};
use crate::time::UnixTime;
use crate::token::VerificationBudget;

/// What is asked: would a request with this token pass?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The token, without `Bearer`.
    pub token: &'a [u8],
    /// The method of the request.
    pub method: &'a str,
    /// The path of the request; none is that of `resource.url`.
    pub path: Option<&'a str>,
    /// A key set document that is used instead of what the token's provider publishes.
    pub key_set: Option<&'a [u8]>,
}

/// A token judged.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What becomes of the request.
    pub verdict: Verdict,
    /// The reason code of the refusal.
    pub reason: Option<&'static str>,
    /// The same in words, as the client is told.
    pub description: Option<String>,
    /// What was seen beside what is configured, as the log line has it.
    pub details: Map<String, Value>,
    /// The name of the provider that the token picks.
    pub provider: Option<String>,
    /// The token's header, as far as it can be read.
    pub header: Option<Map<String, Value>>,
    /// The token's claims, as far as they can be read.
    pub claims: Option<Map<String, Value>>,
    /// The steps of the decision.
    pub steps: Vec<Step>,
    /// What was fetched for it.
    pub fetches: Vec<FetchedFrom>,
    /// Why, and what to do about it.
    #[serde(flatten)]
    pub remedy: Option<Remedy>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// The header fields that the MCP server would see.
    pub identity: Vec<(String, String)>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passes.
    Accepted,
    /// It is refused.
    Refused,
    /// It cannot be told here.
    Undecided,
}

/// A document that was fetched, or not.
#[derive(Clone, Debug, Serialize)]
pub struct FetchedFrom {
    /// Its URL.
    pub url: String,
    /// The Envoy cluster on which the plugin calls it.
    pub cluster: String,
    /// How long it took.
    pub milliseconds: u64,
    /// The status of the answer.
    pub status: Option<u16>,
    /// The length of the answer.
    pub bytes: Option<usize>,
    /// Why there was none.
    pub fault: Option<String>,
    /// By how many seconds the clock here is ahead of the server's, if they differ.
    pub clock_ahead_seconds: Option<i64>,
}

impl Setup {
    /// Judges a token.
    ///
    /// # Errors
    ///
    /// The key set document that was given is none.
    pub fn explain(
        &self,
        question: &Question<'_>,
        outside: &mut dyn Outside,
    ) -> Result<Explanation, String> {
        let given = question.key_set.map(KeySet::from_json).transpose();
        let given = given.map_err(|fault: KeySetFault| fault.to_string())?;
        let mut judge = Judge::new(self, given);
        let decided_at = now(outside);
        let end = judge.decide(question, outside);
        if let End::Refused(refused, _) = &end {
            judge.compare_clocks(&refused.refusal, question, outside);
        }
        Ok(judge.explanation(question, end, decided_at))
    }
}

impl FetchedFrom {
    pub(super) fn new(call: &CompletedCallout) -> Self {
        let reply = call.outcome.as_ref();
        Self {
            url: call.url.clone(),
            cluster: call.cluster.clone(),
            milliseconds: u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX),
            status: reply.ok().map(|reply| reply.status),
            bytes: reply.ok().map(|reply| reply.body.len()),
            fault: reply.err().map(ToString::to_string),
            clock_ahead_seconds: call.clock_ahead(),
        }
    }
}

/// A worker of the plugin, as far as it decides, without Envoy.
struct Judge<'a> {
    setup: &'a Setup,
    authenticator: Authenticator,
    keys: ProviderMap<ProviderKeys>,
    runs: ProviderMap<KeyRun>,
    uses_given_keys: bool,
}

/// How the way of a request ended.
enum End {
    Accepted {
        edits: RequestEdits,
        needs_no_token: bool,
    },
    Refused(Box<Refused>, bool),
    /// The directory would have to be asked for this user.
    Directory(String),
    /// An access rule asks for the message, which is not there.
    Message,
}

impl<'a> Judge<'a> {
    /// Most times that one request is judged: it waits for discovery, a key that is unknown, and no
    /// more.
    const MAX_ROUNDS: usize = 8;

    fn new(setup: &'a Setup, given: Option<KeySet>) -> Self {
        let providers = &setup.config.providers;
        let keys = providers.map(|provider| match &given {
            Some(set) => ProviderKeys::Static(set.clone()),
            None => ProviderKeys::new(provider.key_source.clone(), 0),
        });
        Self {
            setup,
            authenticator: Authenticator::new(setup.config.clone()),
            runs: keys.map(|_| KeyRun::default()),
            keys,
            uses_given_keys: given.is_some(),
        }
    }

    fn decide(&mut self, question: &Question<'_>, outside: &mut dyn Outside) -> End {
        let own_path = self.setup.resource_path();
        let path = question.path.unwrap_or(own_path);
        let authorization = [b"Bearer ", question.token].concat();
        let fields: [Field<'_>; 4] = [
            (b":method", question.method.as_bytes()),
            (b":path", path.as_bytes()),
            (b"authorization", &authorization),
            // What an MCP client sends by POST is a message.
            (b"content-type", b"application/json"),
        ];
        let head = RequestHead::new(&fields, question.method == "POST");
        let request = match self.authenticator.examine(head) {
            Examined::Decided(decision) => return self.end(*decision),
            Examined::Bearer(request) => request,
        };
        let mut request = match self.authenticator.read(request, now(outside)) {
            Ok(request) => request,
            Err(decision) => return self.end(*decision),
        };
        let users = self.authenticator.user_lookups();
        let budget = VerificationBudget::unlimited();
        for _ in 0..Self::MAX_ROUNDS {
            let id = request.provider();
            self.run(id, Event::Request, outside);
            let view = WorkerView {
                keys: &self.keys,
                users: users.as_ref(),
                verifier: &PureRust,
                budget: &budget,
            };
            match self.authenticator.judge(request, view, now(outside)).decision {
                Decision::Await(waiting, Need::Keys(demand)) => {
                    if let Some(keys) = self.keys[id].remote_mut() {
                        keys.want(demand);
                    }
                    self.run(id, Event::Tick, outside);
                    request = waiting;
                }
                Decision::Await(_, Need::User(query)) => return End::Directory(query.key.value),
                Decision::Await(waiting, Need::Turn) => request = waiting,
                decision => return self.end(decision),
            }
        }
        self.give_up(request, outside)
    }

    /// Like the plugin, when a request has waited for too long.
    fn give_up(&self, request: PlausibleRequest, outside: &dyn Outside) -> End {
        let view = WorkerView {
            keys: &self.keys,
            users: None,
            verifier: &PureRust,
            budget: &VerificationBudget::unlimited(),
        };
        let need = Need::Keys(crate::keys::Demand::Due);
        self.end(self.authenticator.give_up(request, need, view, now(outside)))
    }

    fn end(&self, decision: Decision) -> End {
        match decision {
            Decision::Forward(edits, attribution) => {
                End::Accepted { edits, needs_no_token: attribution.is_none() }
            }
            Decision::Respond(_) => {
                End::Accepted { edits: RequestEdits::default(), needs_no_token: true }
            }
            // Whether it was spent before, only that Envoy knows.
            Decision::Spend(request) => self.end(self.authenticator.conclude(request, Ok(()))),
            Decision::Refuse(refused) => End::Refused(Box::new(refused), false),
            Decision::LetThrough(refused, _) => End::Refused(Box::new(refused), true),
            Decision::Await(..) => End::Directory(String::new()),
            Decision::AwaitBody(..) => End::Message,
        }
    }

    /// Where time is the matter, the provider's clock tells whose is wrong.
    fn compare_clocks(
        &mut self,
        refusal: &Refusal,
        question: &Question<'_>,
        outside: &mut dyn Outside,
    ) {
        if matches!(refusal, Refusal::Expired { .. } | Refusal::NotYetValid { .. })
            && let [_, Some(claims)] = shown(question.token)
            && let Some((id, _)) = self.setup.config.providers.for_token(&(&claims).into())
        {
            self.run(id, Event::Tick, outside);
        }
    }

    fn run(&mut self, provider: ProviderId, event: Event, outside: &mut dyn Outside) {
        if let Some(keys) = self.keys[provider].remote_mut() {
            self.runs[provider].run(event, keys, outside);
        }
    }

    fn explanation(&self, question: &Question<'_>, end: End, now: UnixTime) -> Explanation {
        let [header, claims] = shown(question.token);
        let nothing = Map::new();
        let config = &self.setup.config;
        let found = claims.as_ref().and_then(|claims| config.providers.for_token(&claims.into()));
        let (id, provider) = found.unzip();
        let callouts = id.map(|id| self.runs[id].callouts()).unwrap_or_default();
        let known = Known {
            config,
            provider,
            header: header.as_ref().unwrap_or(&nothing),
            claims: claims.as_ref().unwrap_or(&nothing),
            size: question.token.len(),
            kids: id.and_then(|id| self.kids(id, now)),
            now,
        };
        let mut explanation = Explanation {
            verdict: Verdict::Accepted,
            reason: None,
            description: None,
            details: Map::new(),
            provider: provider.map(|provider| provider.name.clone()),
            header: header.clone(),
            claims: claims.clone(),
            steps: steps(None, &known),
            fetches: callouts.iter().map(FetchedFrom::new).collect(),
            remedy: None,
            notes: vec![],
            identity: vec![],
        };
        match end {
            End::Accepted { needs_no_token: true, .. } => {
                explanation.steps =
                    steps(Some((Check::Credentials, StepStatus::NotReached)), &known);
                explanation.notes.push("this path needs no token".to_owned());
            }
            End::Accepted { edits, .. } => {
                explanation.notes = self.notes(id, &known);
                let callout_outcome = edits.identity.iter().flat_map(|identity| identity.headers());
                explanation.identity = callout_outcome
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
            }
            End::Directory(user) => {
                explanation.verdict = Verdict::Undecided;
                explanation.steps = steps(Some((Check::User, StepStatus::NotReached)), &known);
                explanation.notes.push(format!(
                    "everything up to the user holds; whether {user:?} may pass, the directory at \
                     users.scim.url tells, which is not asked here"
                ));
            }
            End::Message => {
                explanation.verdict = Verdict::Undecided;
                explanation.steps = steps(Some((Check::Access, StepStatus::NotReached)), &known);
                explanation.notes.push(
                    "everything up to the access rules holds; one of them asks for the method or the \
                     name in the message (mcp_methods, mcp_names), which is not looked at here"
                        .to_owned(),
                );
            }
            End::Refused(refused, is_let_through) => {
                let refusal = refused.refusal;
                let provider = provider.filter(|_| refused.provider.is_some());
                explanation.verdict = Verdict::Refused;
                explanation.reason = Some(refusal.reason().code());
                explanation.description = Some(refusal.to_string());
                explanation.details = refusal.log_details();
                explanation.steps = steps(Some((refusal.check(), StepStatus::Failed)), &known);
                if is_let_through {
                    explanation
                        .notes
                        .push("mode is report: the plugin lets the request through".to_owned());
                }
                explanation.remedy = Some(remedy::remedy(&Case {
                    refusal: &refusal,
                    setup: self.setup,
                    provider,
                    token: question.token,
                    header: known.header,
                    claims: known.claims,
                    callouts,
                    fetch_fault: id.and_then(|id| self.runs[id].fault()),
                    uses_given_keys: self.uses_given_keys,
                }));
            }
        }
        explanation.notes.extend(never_expires(known.claims));
        explanation.notes.extend(self.too_large_for_envoy(question.token));
        explanation
    }

    /// That Envoy refuses the request before the plugin sees it, if the token alone is too much.
    fn too_large_for_envoy(&self, token: &[u8]) -> Option<String> {
        let limit = self.setup.header_limit;
        let size = "authorizationBearer ".len().saturating_add(token.len());
        let shown = |size: usize| number(u64::try_from(size).unwrap_or(u64::MAX));
        (size > limit).then(|| {
            format!(
                "with this token, `Authorization` alone has {} bytes, and Envoy takes {} for all header \
                 fields of a request: it responds with 431 itself (over HTTP/2 not at all), and the plugin \
                 never sees the request; raise `max_request_headers_kb` of the HTTP connection manager",
                shown(size),
                shown(limit),
            )
        })
    }

    fn kids(&self, provider: ProviderId, now: UnixTime) -> Option<Vec<String>> {
        let set = match &self.keys[provider] {
            ProviderKeys::Static(set) => set,
            ProviderKeys::Remote(keys) => keys.held(now)?.0,
        };
        Some(set.kids().take(20).map(str::to_owned).collect())
    }

    fn notes(&self, provider: Option<ProviderId>, known: &Known<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        if remedy::is_id_token(known.claims) {
            notes.push(
                "this looks like an ID token: it passes because its aud is one of client_ids; \
                 token_types: [at+jwt] or required_claims rules it out"
                    .to_owned(),
            );
        }
        if known
            .provider
            .is_some_and(|provider| provider.claim_rules.audience_claim == AudienceClaim::ClientId)
            && !known.claims.contains_key("aud")
        {
            notes.push(
                "it names no audience and passes by its client id \
                 (audience_claim: client_id): so does any token that this client got for another API"
                    .to_owned(),
            );
        }
        if known.provider.is_some_and(|provider| {
            provider.token_id_rule == crate::provider::TokenIdRule::SingleUse
        }) {
            notes.push("it serves once: whether it did already, only Envoy knows".to_owned());
        }
        if let Some(exp) = known.claims.get("exp").and_then(Value::as_u64) {
            let expires = UnixTime::from_secs(exp);
            if expires <= known.now {
                let ago = seconds(known.now.since(expires).as_secs());
                notes.push(format!("it expired {ago} ago and passes by clock_skew alone"));
            }
        }
        let keys = provider.and_then(|id| self.keys[id].remote());
        if let Some((set, _)) = keys.and_then(|keys| keys.held(known.now))
            && set.dropped() > 0
        {
            let dropped = number(u64::try_from(set.dropped()).unwrap_or_default());
            notes
                .push(format!("{dropped} elements of the key set are no key: see `mcp-auth keys`"));
        }
        notes
    }
}

/// That a token has milliseconds where seconds should be: it would serve for millennia.
fn never_expires(claims: &Map<String, Value>) -> Option<String> {
    let expires = claims.get("exp")?;
    remedy::is_in_milliseconds(expires).then(|| {
        "exp is in milliseconds, and must be in seconds since 1970: read as seconds, the token never \
         expires; correct whatever makes these tokens"
            .to_owned()
    })
}

/// Header and claims as they can be shown. Neither need be what the core makes of them.
fn shown(token: &[u8]) -> [Option<Map<String, Value>>; 2] {
    let mut segments = token.split(|&byte| byte == b'.');
    [(); 2].map(|()| {
        let bytes = URL_SAFE_NO_PAD.decode(segments.next()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    })
}
