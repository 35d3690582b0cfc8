//! What the holder of a token sees in the lists of a server, and may call.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::explanation::{Explanation, Verdict};
use super::offline::{End, Offline};
use super::outside::Outside;
use super::question::{Message, Question};
use super::remedy::{self, Case, Remedy};
use super::setup::Setup;
use super::step::StepStatus;
use crate::access::AccessPolicy;
use crate::json::without_byte_order_mark;
use crate::lists::ListKind;
use crate::provider::Provider;
use crate::refusal::Check;
use crate::resource::ResourceId;

/// What the holder of a token sees in lists, and may call.
#[derive(Clone, Debug, Serialize)]
pub struct ListReport {
    /// Whether the token is accepted; otherwise there are no lists.
    pub verdict: Verdict,
    /// The decision on the token, with the first of the requests for lists.
    pub token: Explanation,
    /// The lists, in the order of MCP: tools, prompts, resources, templates.
    pub lists: Vec<JudgedList>,
}

/// A list, with the decisions on its request and its items.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedList {
    /// The method that returns it: `tools/list`.
    pub method: &'static str,
    /// Why the request for it is refused, if it is.
    #[serde(flatten)]
    pub refusal: Option<ItemRefusal>,
    /// Its items in their order.
    pub items: Vec<JudgedItem>,
}

/// An item of a list.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedItem {
    /// Its `name`, `uri` or `uriTemplate`; empty if that is not a string.
    pub name: String,
    /// Whether the list shows it.
    pub is_shown: bool,
    /// Whether calling it is allowed; for a template, calling its literal beginning.
    pub is_allowed: bool,
    /// Why it is not.
    #[serde(flatten)]
    pub refusal: Option<ItemRefusal>,
}

/// Why a request about an item or a list is refused.
#[derive(Clone, Debug, Serialize)]
pub struct ItemRefusal {
    /// The reason code.
    pub reason: &'static str,
    /// The rule and what it requires, as in the log.
    pub details: Map<String, Value>,
    /// Whether the plugin forwards the request anyway (`mode: report`).
    pub is_forwarded: bool,
    /// The cause, and its fix.
    #[serde(flatten)]
    pub remedy: Remedy,
}

/// The lists of a document: a response, its result, or an array of tools.
struct Lists(Vec<(ListKind, Vec<Value>)>);

impl Setup {
    /// Judges the items of the lists in `document` for the holder of a token: the plugin itself
    /// filters them, and decides on the call of each. `question` gives token, URL and keys.
    ///
    /// # Errors
    ///
    /// The document holds no list, the given document is not a key set, or the question does not say
    /// which resource is meant.
    pub fn judge_lists(
        &self,
        question: &Question<'_>,
        document: &[u8],
        outside: &mut dyn Outside,
    ) -> Result<ListReport, String> {
        let Lists(lists) = Lists::parse(document)?;
        let first = lists.first().map_or(ListKind::Tools, |(kind, _)| *kind);
        let (authority, path) = self.address(question)?;
        let resource = self.resource_at(&authority, &path);
        let access = resource.map(|resource| &self.config.resources[resource].access);
        let revision = access.map_or("", AccessPolicy::revision);
        let message = Message { method: first.method(), name: None, revision };
        let question = Question { method: "POST", message: Some(message), ..*question };
        let (token, keys) = self.explain_with_keys(&question, outside)?;
        let is_refused_by_rules = token
            .steps
            .iter()
            .any(|step| step.step == Check::Access && step.status == StepStatus::Failed);
        // Where the rules refuse this request, they may allow others.
        if token.verdict != Verdict::Accepted && !is_refused_by_rules {
            return Ok(ListReport { verdict: token.verdict, token, lists: vec![] });
        }
        let mut providers = self.config.providers.iter();
        let provider = providers.find(|known| Some(&known.name) == token.provider.as_ref());
        let offline = Offline::new(self, provider, keys.as_ref(), outside);
        let address = (authority, path);
        let mut judge = Judge {
            setup: self,
            question,
            revision,
            address,
            token: &token,
            resource,
            provider,
            offline,
        };
        let lists = lists.into_iter().map(|(kind, items)| judge.list(kind, &items));
        let lists = lists.collect::<Result<_, String>>()?;
        Ok(ListReport { verdict: Verdict::Accepted, token, lists })
    }
}

/// Decides on requests with one token at one resource.
struct Judge<'a> {
    setup: &'a Setup,
    question: Question<'a>,
    revision: &'a str,
    /// Host and path.
    address: (String, String),
    token: &'a Explanation,
    resource: Option<ResourceId>,
    provider: Option<&'a Provider>,
    offline: Offline<'a>,
}

impl Judge<'_> {
    fn list(&mut self, kind: ListKind, items: &[Value]) -> Result<JudgedList, String> {
        let method = kind.method();
        let refusal = self.decide(method, None)?;
        let shown = match &refusal {
            Some(refusal) if !refusal.is_forwarded => vec![],
            _ => self.shown(kind, items)?,
        };
        let mut shown = shown.iter().peekable();
        let mut judged = Vec::new();
        for item in items {
            let name = item.get(kind.key()).and_then(Value::as_str).unwrap_or_default();
            let call = kind.call(name);
            let refusal = self.decide(&call.method, call.name.as_deref())?;
            judged.push(JudgedItem {
                name: name.to_owned(),
                // The filter keeps the order.
                is_shown: shown.next_if(|first| *first == item).is_some(),
                is_allowed: refusal.as_ref().is_none_or(|refusal| refusal.is_forwarded),
                refusal,
            });
        }
        Ok(JudgedList { method, refusal, items: judged })
    }

    /// The refusal of a request with this message, if it is refused.
    fn decide(&mut self, method: &str, name: Option<&str>) -> Result<Option<ItemRefusal>, String> {
        let message = Message { method, name, revision: self.revision };
        let question = Question { message: Some(message), ..self.question };
        let (authority, path) = &self.address;
        let (refused, is_forwarded) = match self.offline.decide(&question, authority, path) {
            End::Accepted { .. } => return Ok(None),
            End::Refused(refused, is_forwarded) => (refused, is_forwarded),
            End::Directory(_) | End::Message => return Err("the decision is not known".to_owned()),
        };
        let nothing = Map::new();
        let remedy = remedy::remedy(&Case {
            refusal: &refused.refusal,
            setup: self.setup,
            resource: self.resource,
            provider: self.provider,
            token: self.question.token,
            header: self.token.header.as_ref().unwrap_or(&nothing),
            claims: self.token.claims.as_ref().unwrap_or(&nothing),
            callouts: &[],
            fetch_fault: None,
            uses_given_keys: self.question.key_set.is_some(),
        });
        Ok(Some(ItemRefusal {
            reason: refused.refusal.reason().code(),
            details: refused.refusal.log_details(),
            is_forwarded,
            remedy,
        }))
    }

    /// The items that the plugin leaves in the response to the last request.
    fn shown(&mut self, kind: ListKind, items: &[Value]) -> Result<Vec<Value>, String> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "result": {(kind.member()): items}});
        let response = self.offline.respond(message.to_string().into_bytes());
        let message: Value = serde_json::from_slice(&response).unwrap_or_default();
        let shown = message.pointer(&format!("/result/{}", kind.member()));
        shown.and_then(Value::as_array).cloned().ok_or_else(|| {
            format!(
                "{}: the plugin cannot read this list, so its clients get an error",
                kind.method()
            )
        })
    }
}

impl Lists {
    /// Reads the response to a request for a list, its result, or an array of tools.
    fn parse(document: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(without_byte_order_mark(document))
            .map_err(|fault| format!("is not JSON: {fault}"))?;
        let result = document.get("result").unwrap_or(&document);
        if let Value::Array(items) = result {
            return Ok(Self(vec![(ListKind::Tools, items.clone())]));
        }
        let list = |kind: ListKind| Some((kind, result.get(kind.member())?.as_array()?.clone()));
        let lists: Vec<_> = ListKind::ALL.into_iter().filter_map(list).collect();
        if lists.is_empty() {
            return Err("holds no list: neither a response to tools/list, prompts/list, \
                        resources/list or resources/templates/list, nor its result, nor an array of \
                        tools"
                .to_owned());
        }
        Ok(Self(lists))
    }
}
