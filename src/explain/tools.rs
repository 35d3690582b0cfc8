//! What the holder of a token sees in the lists of a server, and may call.

use serde::Serialize;
use serde_json::{Map, Value};

use super::explanation::{Explanation, Verdict};
use super::offline::{End, Offline};
use super::outside::Outside;
use super::question::{Message, Question};
use super::remedy::{self, Case, Remedy};
use super::setup::Setup;
use super::step::StepStatus;
use crate::access::{AccessPolicy, Listed, normal_uri_from};
use crate::engine::authenticator::Refused;
use crate::json::without_byte_order_mark;
use crate::lists::ListKind;
use crate::provider::Provider;
use crate::refusal::Check;
use crate::resource::ResourceId;
use crate::response_messages::Members;

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
    /// Why the request for it is refused, or its response.
    #[serde(flatten)]
    pub refusal: Option<ItemRefusal>,
    /// Whether the plugin cannot read it, so that its clients get an error in its place.
    pub is_unreadable: bool,
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
    /// Whether calling it is allowed; for a template, calling its literal beginning, or a URI that
    /// begins so where that is none. An item without a name cannot be called.
    pub is_allowed: bool,
    /// Why its call is refused.
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
struct Lists {
    lists: Vec<(ListKind, Vec<Value>)>,
    /// The response of a server that holds them, as it was written.
    response: String,
}

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
        let Lists { lists, response } = Lists::parse(document)?;
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
        let lists = lists.into_iter().map(|(kind, items)| judge.list(kind, &items, &response));
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
    fn list(
        &mut self,
        kind: ListKind,
        items: &[Value],
        response: &str,
    ) -> Result<JudgedList, String> {
        let method = kind.method();
        let mut refusal = self.decide(method, None)?;
        let mut is_unreadable = false;
        let mut shown = vec![];
        if refusal.as_ref().is_none_or(|refusal| refusal.is_forwarded) {
            match self.offline.respond(response.as_bytes().to_vec()) {
                Ok(response) => shown = items_of(&response, kind),
                Err(refused) => {
                    is_unreadable = true;
                    refusal = Some(self.explain(&refused, false));
                }
            }
        }
        let mut shown = shown.iter().peekable();
        let mut judged = Vec::new();
        for item in items {
            // The filter keeps the order.
            let is_shown = shown.next_if(|first| *first == item).is_some();
            let name = item.get(kind.key()).and_then(Value::as_str);
            let refusal = match name.map(|name| kind.item(name)) {
                Some(Listed::Call(call)) => self.decide(&call.method, call.name.as_deref())?,
                Some(Listed::Template(beginning)) => {
                    let uri = beginning
                        .name
                        .as_deref()
                        .map(|name| normal_uri_from(name).unwrap_or_else(|| name.to_owned()));
                    self.decide(&beginning.method, uri.as_deref())?
                }
                None => None,
            };
            let is_forwarded = refusal.as_ref().is_none_or(|refusal| refusal.is_forwarded);
            judged.push(JudgedItem {
                name: name.unwrap_or_default().to_owned(),
                is_shown,
                is_allowed: name.is_some() && is_forwarded,
                refusal,
            });
        }
        Ok(JudgedList { method, refusal, is_unreadable, items: judged })
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
        Ok(Some(self.explain(&refused, is_forwarded)))
    }

    fn explain(&self, refused: &Refused, is_forwarded: bool) -> ItemRefusal {
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
        ItemRefusal {
            reason: refused.refusal.reason().code(),
            details: refused.refusal.log_details(),
            is_forwarded,
            remedy,
        }
    }
}

impl Lists {
    /// Reads the response to a request for a list, its result, or an array of tools.
    fn parse(document: &[u8]) -> Result<Self, String> {
        let document = without_byte_order_mark(document);
        let value: Value =
            serde_json::from_slice(document).map_err(|fault| format!("is not JSON: {fault}"))?;
        let text = std::str::from_utf8(document).map_err(|fault| format!("is no text: {fault}"))?;
        let is_response = value.get("result").is_some();
        let response = match &value {
            _ if is_response => with_id_of_request(text)?,
            Value::Array(_) => in_response(&format!(r#"{{"tools":{text}}}"#)),
            _ => in_response(text),
        };
        let result = value.get("result").unwrap_or(&value);
        let lists: Vec<_> = match result {
            Value::Array(items) => vec![(ListKind::Tools, items.clone())],
            _ => {
                let kinds = ListKind::ALL.into_iter();
                let list = |kind: ListKind| result.get(kind.member())?.as_array().cloned();
                kinds.filter_map(|kind| Some((kind, list(kind)?))).collect()
            }
        };
        if lists.is_empty() {
            return Err("holds no list: neither a response to tools/list, prompts/list, \
                        resources/list or resources/templates/list, nor its result, nor an array of \
                        tools"
                .to_owned());
        }
        Ok(Self { lists, response })
    }
}

/// The response to the request with the `id` 1, with this result.
fn in_response(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)
}

/// The same response to the request with the `id` 1: else it is no response to the request for the
/// list.
fn with_id_of_request(response: &str) -> Result<String, String> {
    let members: Members<'_> =
        serde_json::from_str(response).map_err(|fault| format!("is not JSON: {fault}"))?;
    let members = members.iter().filter(|(name, _)| *name != "id");
    let members = members.map(|(name, value)| format!("{}:{}", Value::from(name), value.get()));
    Ok(format!(r#"{{"id":1,{}}}"#, members.collect::<Vec<_>>().join(",")))
}

/// The items of a list that are left in a response.
fn items_of(response: &[u8], kind: ListKind) -> Vec<Value> {
    let message: Value = serde_json::from_slice(response).unwrap_or_default();
    let items = message.get("result").and_then(|result| result.get(kind.member()));
    items.and_then(Value::as_array).cloned().unwrap_or_default()
}
