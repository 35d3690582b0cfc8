//! The decision on a token, with everything that a person needs to understand it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::notes;
use super::offline::{CompletedCallout, End, Offline, now};
use super::outside::Outside;
use super::question::Question;
use super::remedy::{self, Case, Remedy};
use super::setup::Setup;
use super::step::{Known, Step, StepStatus, steps};
use crate::engine::authenticator::Refused;
use crate::keys::{FetchFault, KeySet, KeySetFault, ProviderKeys, RemoteKeys};
use crate::refusal::{Check, Refusal};
use crate::request::{Field, RequestHead};
use crate::resource::ResourceId;
use crate::time::UnixTime;

/// The decision on a token.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Whether the request would be forwarded.
    pub verdict: Verdict,
    /// The reason code of the refusal.
    pub reason: Option<&'static str>,
    /// The meaning of the reason, as in the response to the client.
    pub description: Option<String>,
    /// The found and expected values, as in the log line.
    pub details: Map<String, Value>,
    /// The `id` of the resource that the request belongs to, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The name of the provider that the token selects.
    pub provider: Option<String>,
    /// The token's header, as far as it can be read.
    pub header: Option<Map<String, Value>>,
    /// The token's claims, as far as they can be read.
    pub claims: Option<Map<String, Value>>,
    /// The steps of the decision.
    pub steps: Vec<Step>,
    /// The documents that were fetched to decide.
    pub fetches: Vec<FetchedFrom>,
    /// The cause of a refusal, and its fix.
    #[serde(flatten)]
    pub remedy: Option<Remedy>,
    /// Further observations.
    pub notes: Vec<String>,
    /// The header fields that the MCP server would receive.
    pub identity: Vec<(String, String)>,
}

/// The decision on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The request would be forwarded.
    Accepted,
    /// The request would be refused.
    Refused,
    /// The decision needs something that is not available here.
    Undecided,
}

/// An attempt to fetch a document.
#[derive(Clone, Debug, Serialize)]
pub struct FetchedFrom {
    /// Its URL.
    pub url: String,
    /// The Envoy cluster on which the plugin calls it.
    pub cluster: String,
    /// The duration of the callout.
    pub milliseconds: u64,
    /// The status of the response.
    pub status: Option<u16>,
    /// The length of the body.
    pub bytes: Option<usize>,
    /// Why there was no response.
    pub fault: Option<String>,
    /// How many seconds the local clock is ahead of the server's, if they differ.
    pub clock_ahead_seconds: Option<i64>,
}

impl Setup {
    /// Decides on a token and explains the decision.
    ///
    /// # Errors
    ///
    /// The given document is not a key set, or the question does not select a resource.
    pub fn explain(
        &self,
        question: &Question<'_>,
        outside: &mut dyn Outside,
    ) -> Result<Explanation, String> {
        Ok(self.explain_with_keys(question, outside)?.0)
    }

    /// The resource that a request with this host and path belongs to.
    pub(super) fn resource_at(&self, authority: &str, path: &str) -> Option<ResourceId> {
        let fields: [Field<'_>; 2] =
            [(b":authority", authority.as_bytes()), (b":path", path.as_bytes())];
        let head = RequestHead::new(&fields, false);
        let resources = &self.config.resources;
        resources.owner(head, &resources.address(head)).ok().flatten()
    }

    /// The same as [`explain`](Self::explain), and the keys of the token's provider.
    pub(super) fn explain_with_keys(
        &self,
        question: &Question<'_>,
        outside: &mut dyn Outside,
    ) -> Result<(Explanation, Option<KeySet>), String> {
        let given = question.key_set.map(KeySet::from_json).transpose();
        let given = given.map_err(|fault: KeySetFault| fault.to_string())?;
        let [header, claims] = shown(question.token);
        let (authority, path) = self.address(question)?;
        let resource = self.resource_at(&authority, &path);
        let found = claims.as_ref().zip(resource).and_then(|(claims, resource)| {
            let accepted = &self.config.resources[resource].providers;
            accepted.for_token(&self.config.providers, &claims.into())
        });
        let (id, provider) = found.map(|(id, provider, _)| (id, provider)).unzip();
        let now = now(outside);
        let mut offline = Offline::new(self, provider, given.as_ref(), outside);
        let end = offline.decide(question, &authority, &path);
        if let End::Refused(refused, _) = &end
            && matches!(refused.refusal, Refusal::Expired { .. } | Refusal::NotYetValid { .. })
        {
            // The provider's clock shows whose clock is wrong.
            offline.fetch_keys();
        }
        let callouts = offline.callouts().to_vec();
        let keys = id.map(|id| offline.keys(id));
        let nothing = Map::new();
        let judged = Judged {
            setup: self,
            question,
            known: Known {
                config: &self.config,
                address: (&authority, &path),
                resource,
                provider,
                header: header.as_ref().unwrap_or(&nothing),
                claims: claims.as_ref().unwrap_or(&nothing),
                size: question.token.len(),
                kids: keys.and_then(|keys| kids(keys, now)),
                now,
            },
            keys,
            fetch_fault: keys.and_then(ProviderKeys::remote).and_then(RemoteKeys::fault),
            callouts: &callouts,
        };
        let explanation = Explanation {
            header: header.clone(),
            claims: claims.clone(),
            ..judged.explanation(end)
        };
        Ok((explanation, keys.and_then(|keys| current(keys, now)).cloned()))
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

/// The parts of an explanation.
struct Judged<'a> {
    setup: &'a Setup,
    question: &'a Question<'a>,
    known: Known<'a>,
    /// The keys of the selected provider.
    keys: Option<&'a ProviderKeys>,
    fetch_fault: Option<&'a FetchFault>,
    callouts: &'a [CompletedCallout],
}

impl Judged<'_> {
    fn explanation(&self, end: End) -> Explanation {
        let Self { known, question, .. } = self;
        let explanation = Explanation {
            verdict: Verdict::Accepted,
            reason: None,
            description: None,
            details: Map::new(),
            resource: known.label().map(|label| label.id().to_owned()),
            provider: known.provider.map(|provider| provider.name.clone()),
            header: None,
            claims: None,
            steps: steps(None, known),
            fetches: self.callouts.iter().map(FetchedFrom::new).collect(),
            remedy: None,
            notes: vec![],
            identity: vec![],
        };
        let mut explanation = match end {
            End::Accepted { needs_no_token: true, .. } => Explanation {
                steps: steps(Some((Check::Credentials, StepStatus::NotReached)), known),
                notes: vec!["this path needs no token".to_owned()],
                ..explanation
            },
            End::Accepted { edits, .. } => {
                let fields = edits.added().map(|(name, value)| (name.to_owned(), value.to_owned()));
                Explanation {
                    identity: fields.collect(),
                    notes: notes::on_accepted(known, self.keys),
                    ..explanation
                }
            }
            End::Directory(user) => Explanation {
                verdict: Verdict::Undecided,
                steps: steps(Some((Check::User, StepStatus::NotReached)), known),
                notes: vec![format!(
                    "every check before the user passes; whether {user:?} is known depends on the \
                     directory at users.scim.url, which is not called here"
                )],
                ..explanation
            },
            End::Message => Explanation {
                verdict: Verdict::Undecided,
                steps: steps(Some((Check::Access, StepStatus::NotReached)), known),
                notes: vec![
                    "every check before the access rules passes; one of them depends on the \
                     method or the name in the message (mcp_methods, mcp_names), which is not \
                     known here"
                        .to_owned(),
                ],
                ..explanation
            },
            End::Refused(refused, is_forwarded) => {
                self.refused(&refused, is_forwarded, explanation)
            }
        };
        explanation.notes.extend(notes::on_lifetime(known.claims));
        let limit = self.setup.header_limit;
        explanation.notes.extend(notes::on_header_limit(question.token, limit));
        explanation
    }

    fn refused(
        &self,
        refused: &Refused,
        is_forwarded: bool,
        explanation: Explanation,
    ) -> Explanation {
        let Self { known, question, .. } = self;
        let refusal = &refused.refusal;
        let remedy = remedy::remedy(&Case {
            refusal,
            setup: self.setup,
            resource: known.resource,
            provider: known.provider.filter(|_| refused.provider.is_some()),
            token: question.token,
            header: known.header,
            claims: known.claims,
            callouts: self.callouts,
            fetch_fault: self.fetch_fault,
            uses_given_keys: question.key_set.is_some(),
        });
        let forwarded = "mode is report: the plugin forwards the request";
        Explanation {
            verdict: Verdict::Refused,
            reason: Some(refusal.reason().code()),
            description: Some(refusal.to_string()),
            details: refusal.log_details(),
            steps: steps(Some((refusal.check(), StepStatus::Failed)), known),
            notes: is_forwarded.then(|| forwarded.to_owned()).into_iter().collect(),
            remedy: Some(remedy),
            ..explanation
        }
    }
}

fn kids(keys: &ProviderKeys, now: UnixTime) -> Option<Vec<String>> {
    Some(current(keys, now)?.kids().take(20).map(str::to_owned).collect())
}

fn current(keys: &ProviderKeys, now: UnixTime) -> Option<&KeySet> {
    match keys {
        ProviderKeys::Static(set) => Some(set),
        ProviderKeys::Remote(keys) => keys.held(now).map(|(set, _)| set),
    }
}

/// Header and claims in readable form. They may be shown even if the engine rejects their format.
fn shown(token: &[u8]) -> [Option<Map<String, Value>>; 2] {
    let mut segments = token.split(|&byte| byte == b'.');
    [(); 2].map(|()| {
        let bytes = URL_SAFE_NO_PAD.decode(segments.next()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    })
}
