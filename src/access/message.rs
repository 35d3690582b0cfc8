//! Reads the parts of a JSON-RPC message that access rules match: its method, and the name of the
//! tool, prompt, resource or task.
//!
//! Servers differ in how they treat duplicate members, and members spelt in another case. A message
//! must mean the same to the rules and to every server, so both are refused at each level that is
//! read. Everything else is skipped without building a tree.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::case::case_folded;
use super::mcp_call::{self, NameMember};
use crate::refusal::{BodyFault, McpCall};

/// The parts of a message that rules match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// `None` for a response.
    pub(super) call: Option<McpCall>,
    /// True for a request, false for a notification or response.
    pub(super) is_request: bool,
    /// The protocol revision in `params._meta`.
    pub(super) version: Option<String>,
}

impl Message {
    /// Whether the server responds to it: it is neither a notification nor a response.
    #[must_use]
    pub(crate) fn is_request(&self) -> bool {
        self.is_request
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// It is not a single message, or servers could interpret it differently.
    pub(super) fn read(body: &[u8]) -> Result<Self, BodyFault> {
        let text = std::str::from_utf8(body).map_err(|_| BodyFault::NotUtf8)?;
        if nests_too_deeply(text) {
            return Err(BodyFault::Nesting);
        }
        let fault = Cell::new(None);
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = ObjectVisitor { content: MessageMembers::default(), fault: &fault };
        match members.deserialize(&mut reader).and_then(|read| reader.end().map(|()| read)) {
            Ok(members) => members.message(),
            Err(_) if text.trim_ascii_start().starts_with('[') => Err(BodyFault::Batch),
            Err(error) if error.is_data() => Err(fault.take().unwrap_or(BodyFault::NotAnObject)),
            Err(_) => Err(BodyFault::NotJson),
        }
    }
}

/// Applies the nesting limit of serde_json, which does not count the values that are skipped.
fn nests_too_deeply(text: &str) -> bool {
    const MAX_DEPTH: usize = 128;
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    text.bytes().any(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

/// The members of an object that are read.
trait ReadMembers: Default {
    /// Names of the members.
    const NAMES: &'static [&'static str];

    /// Takes the value of the member `name`, which is one of [`Self::NAMES`].
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        members: &mut A,
        fault: &Cell<Option<BodyFault>>,
    ) -> Result<(), A::Error>;
}

/// Top-level members (JSON-RPC 2.0 §4, §5).
#[derive(Default)]
struct MessageMembers {
    method: Option<Scalar>,
    params: Params,
    has_id: bool,
    has_outcome: bool,
}

impl MessageMembers {
    fn message(self) -> Result<Message, BodyFault> {
        let version = match self.params.meta.version {
            None | Some(Scalar::Null) => None,
            Some(Scalar::String(version)) => Some(version),
            Some(Scalar::Other) => return Err(BodyFault::WrongType { member: Meta::VERSION }),
        };
        let method = match self.method {
            Some(Scalar::String(method)) if !self.has_outcome => method,
            None if self.has_outcome => {
                return Ok(Message { call: None, is_request: false, version });
            }
            None | Some(Scalar::String(_)) => return Err(BodyFault::Kind),
            Some(_) => return Err(BodyFault::WrongType { member: "method" }),
        };
        let [name, task_id, uri] = [self.params.name, self.params.task_id, self.params.uri];
        // A server since that revision does not know the method, so it needs no name.
        let is_unknown = mcp_call::is_older(&method)
            && version.as_ref().is_some_and(|version| version.as_str() >= mcp_call::HEADERS_SINCE);
        let call = McpCall::new(method, |member| {
            let value = match member {
                NameMember::Name => name,
                NameMember::TaskId => task_id,
                NameMember::Uri => uri,
            };
            match value {
                Some(Scalar::String(name)) => Ok(Some(name)),
                None if is_unknown => Ok(None),
                _ => Err(BodyFault::MissingName { member: member.as_str() }),
            }
        })?;
        Ok(Message { call: Some(call), is_request: self.has_id, version })
    }
}

impl ReadMembers for MessageMembers {
    const NAMES: &'static [&'static str] =
        &["error", "id", "jsonrpc", "method", "params", "result"];

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        members: &mut A,
        fault: &Cell<Option<BodyFault>>,
    ) -> Result<(), A::Error> {
        match name {
            "method" => self.method = Some(members.next_value_seed(ScalarSeed)?),
            "params" => {
                self.params =
                    members.next_value_seed(ObjectVisitor { content: Params::default(), fault })?;
            }
            "id" => {
                if !may_be_id(members.next_value::<&RawValue>()?) {
                    return Err(A::Error::custom("not an id"));
                }
                self.has_id = true;
            }
            _ => {
                members.next_value::<IgnoredAny>()?;
                self.has_outcome |= matches!(name, "error" | "result");
            }
        }
        Ok(())
    }
}

/// Whether a value may be the `id` of a message: a string, a number or null.
fn may_be_id(value: &RawValue) -> bool {
    !value.get().starts_with(['{', '[', 't', 'f'])
}

/// Members of `params`.
#[derive(Default)]
struct Params {
    name: Option<Scalar>,
    task_id: Option<Scalar>,
    uri: Option<Scalar>,
    meta: Meta,
}

impl ReadMembers for Params {
    const NAMES: &'static [&'static str] = &["_meta", "name", "taskId", "uri"];

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        members: &mut A,
        fault: &Cell<Option<BodyFault>>,
    ) -> Result<(), A::Error> {
        match name {
            "name" => self.name = Some(members.next_value_seed(ScalarSeed)?),
            "taskId" => self.task_id = Some(members.next_value_seed(ScalarSeed)?),
            "uri" => self.uri = Some(members.next_value_seed(ScalarSeed)?),
            _ => {
                self.meta =
                    members.next_value_seed(ObjectVisitor { content: Meta::default(), fault })?;
            }
        }
        Ok(())
    }
}

/// Members of `params._meta`.
#[derive(Default)]
struct Meta {
    version: Option<Scalar>,
}

impl Meta {
    const VERSION: &'static str = "io.modelcontextprotocol/protocolVersion";
}

impl ReadMembers for Meta {
    const NAMES: &'static [&'static str] = &[Self::VERSION];

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        _name: &str,
        members: &mut A,
        _fault: &Cell<Option<BodyFault>>,
    ) -> Result<(), A::Error> {
        self.version = Some(members.next_value_seed(ScalarSeed)?);
        Ok(())
    }
}

/// Reads an object, or null as an empty one. Arrays are refused: some servers read their elements as
/// the members in order.
struct ObjectVisitor<'a, T> {
    content: T,
    /// Set when reading fails, since serde errors carry only a string.
    fault: &'a Cell<Option<BodyFault>>,
}

impl<T> ObjectVisitor<'_, T> {
    fn end<E: Error>(&self, fault: BodyFault) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }
}

impl<'de, T: ReadMembers> DeserializeSeed<'de> for ObjectVisitor<'_, T> {
    type Value = T;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<T, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, T: ReadMembers> Visitor<'de> for ObjectVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(self.content)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<T, A::Error> {
        const MAX_MEMBERS: usize = 1000;
        let known: BTreeSet<String> = T::NAMES.iter().map(|name| case_folded(name)).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let folded = case_folded(&name);
            let member = T::NAMES.iter().find(|member| **member == name);
            if member.is_none() && known.contains(&folded) {
                return Err(self.end(BodyFault::Misspelt { member: name }));
            }
            if !seen.insert(folded) {
                return Err(self.end(BodyFault::Repeated { member: name }));
            }
            if seen.len() > MAX_MEMBERS {
                return Err(self.end(BodyFault::TooManyMembers));
            }
            match member {
                Some(member) => {
                    self.content.take(member, &mut members, self.fault).inspect_err(|_| {
                        // A fault inside the member is more precise.
                        let inner = self.fault.take();
                        self.fault.set(inner.or(Some(BodyFault::WrongType { member })));
                    })?;
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self.content)
    }
}

/// A value that is only of interest if it is a string or null.
enum Scalar {
    Null,
    Other,
    String(String),
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Scalar, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::String(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Scalar, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Scalar, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// Whether the body of a request is a message. An `id` that would be sent back is short JSON.
#[cfg(any(fuzzing, test))]
pub fn fuzz_message(body: &[u8]) -> bool {
    let is_message = Message::read(body).is_ok();
    assert!(!is_message || std::str::from_utf8(body).is_ok());
    if let Some(id) = super::MessageId::from_body(body) {
        let id = serde_json::to_string(&id).unwrap_or_default();
        assert!(serde_json::from_str::<IgnoredAny>(&id).is_ok());
        assert!(id.len() <= 6 * 1024 + 2);
    }
    if std::str::from_utf8(body).is_ok_and(super::is_normal_uri) {
        assert!(body.is_ascii());
    }
    is_message
}

#[cfg(test)]
mod tests;
