//! What rules may ask of a JSON-RPC message: its method, and the name of what it is about.
//!
//! Servers differ in how they read a message that names a member twice or in another case, and one
//! that was judged must mean the same to all of them. So nothing of the kind is read at the levels
//! that matter; the rest is skipped, and no tree is built of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::mcp_headers::McpHeaders;
use super::message_id::may_be_id;
use super::uri;
use super::uri::is_normal;

/// A message, as far as rules care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it calls; none when it is a response.
    pub(super) call: Option<McpCall>,
    /// Whether it wants an answer.
    pub(super) is_request: bool,
    /// The revision of MCP that it says it is written for.
    pub(super) version: Option<String>,
}

/// What a request or notification calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpCall {
    /// The method.
    pub method: String,
    /// The tool, prompt, resource or task, for methods that are about one.
    pub name: Option<String>,
}

/// Why a body that a rule needs was not accepted as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// An array of messages: no revision from 2025-06-18 on has them.
    Batch,
    /// `Content-Encoding` is none that can be looked into.
    ContentEncoding,
    /// `Content-Type` is not `application/json` in UTF-8.
    ContentType,
    /// It is neither a request or notification nor a response, or both.
    Kind,
    /// It nests deeper than servers read.
    Nesting,
    /// It is no JSON.
    NotJson,
    /// It is not UTF-8.
    NotUtf8,
    /// It lacks the name of what its method is about.
    MissingName {
        /// The member of `params` that should hold it.
        member: &'static str,
    },
    /// An object names a member twice, in the same case or another.
    Repeated {
        /// One of the spellings.
        member: String,
    },
    /// It is longer than `access.mcp.max_body`.
    TooLarge {
        /// That many bytes.
        limit: usize,
    },
    /// An object has too many members.
    TooManyMembers,
    /// It is JSON, but neither an object nor an array.
    NotAnObject,
    /// A member of JSON-RPC or MCP is not of the type that it has there.
    WrongType {
        /// Its name.
        member: &'static str,
    },
    /// A member has the name of one of JSON-RPC or MCP in another case.
    Misspelt {
        /// Its name.
        member: String,
    },
    /// The URI of a resource is not in normal form: servers may take it for that of another.
    Uri {
        /// The URI.
        found: String,
    },
}

/// Of what the client chose, no more than [`Shown`].
impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "it is an array of messages",
            Self::ContentEncoding => "it is encoded",
            Self::ContentType => "it is not application/json in UTF-8",
            Self::Kind => "it is neither a request nor a response",
            Self::Nesting => "it nests too deeply",
            Self::NotAnObject => "it is not an object",
            Self::NotJson => "it is not JSON",
            Self::NotUtf8 => "it is not UTF-8",
            Self::MissingName { member } => {
                return write!(
                    f,
                    "it lacks params.{member}, a string for what its method is about"
                );
            }
            Self::Repeated { member } => {
                return write!(f, "the member {} is repeated", Shown(member));
            }
            Self::TooLarge { limit } => {
                return write!(f, "it is larger than access.mcp.max_body ({limit} bytes)");
            }
            Self::TooManyMembers => "an object has too many members",
            Self::WrongType { member } => {
                return write!(f, "the member {member} is of the wrong type");
            }
            Self::Misspelt { member } => {
                return write!(f, "the name of the member {} is in the wrong case", Shown(member));
            }
            Self::Uri { .. } => "params.uri is not a URI in its normal form",
        })
    }
}

/// The beginning of a name that the client chose, in letters that mean nothing anywhere: not in
/// JSON, in a header field, in HTML, in a log.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_LENGTH: usize = 64;
        let is_harmless =
            |letter: &char| letter.is_ascii_alphanumeric() || "_-./".contains(*letter);
        let letters = self.0.chars().take(MAX_LENGTH);
        letters
            .map(|letter| Some(letter).filter(is_harmless).unwrap_or('?'))
            .try_for_each(|letter| f.write_char(letter))
    }
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// It is no single message, or one that servers might read in several ways.
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

impl McpCall {
    /// A call of this method. `name` is what the member of `params` for it holds, if it has one.
    pub(super) fn new<F>(
        method: String,
        name: impl FnOnce(NameMember) -> Result<Option<String>, F>,
    ) -> Result<Self, F> {
        let name = NameMember::for_method(&method).map(name).transpose()?.flatten();
        Ok(Self { method, name })
    }

    /// The same in lower case, as a server may take it that does not mind the case.
    pub(super) fn in_lower_case(&self) -> Self {
        Self { method: case_folded(&self.method), name: self.name.as_deref().map(case_folded) }
    }

    /// The same call with its URI as servers may take it that decode it, or that look a resource up
    /// without query, fragment or user info.
    pub(super) fn other_readings(&self) -> impl Iterator<Item = Self> {
        let uri = match NameMember::for_method(&self.method) {
            Some(NameMember::Uri) => self.name.as_deref(),
            _ => None,
        };
        let readings = uri.map(uri::other_readings).unwrap_or_default();
        let method = self.method.clone();
        readings.into_iter().map(move |name| Self { method: method.clone(), name: Some(name) })
    }

    /// Whether clients of a revision with [`McpHeaders`] must say the name in one too.
    #[must_use]
    pub(super) fn demands_name_header(&self) -> bool {
        self.name.is_some() && !is_older(&self.method)
    }

    /// True when the method is that of a call with a name, but for its case: a server that does not
    /// mind the case would read a name that was not read here.
    #[must_use]
    pub(super) fn has_ambiguous_method(&self) -> bool {
        NameMember::for_method(&self.method).is_none()
            && NameMember::for_method(&case_folded(&self.method)).is_some()
    }

    /// Checks that servers take a URI for that of one resource alone.
    ///
    /// # Errors
    ///
    /// The name is a URI, and not in its normal form.
    pub(super) fn check_uri(&self) -> Result<(), BodyFault> {
        match (NameMember::for_method(&self.method), &self.name) {
            (Some(NameMember::Uri), Some(uri)) if !is_normal(uri) => {
                Err(BodyFault::Uri { found: uri.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// True for methods that no revision has any more that has [`McpHeaders`]: subscriptions to single
/// resources, and results of tasks.
pub(super) fn is_older(method: &str) -> bool {
    matches!(method, "resources/subscribe" | "resources/unsubscribe" | "tasks/result")
}

/// The member of `params` that names what a method is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameMember {
    Name,
    TaskId,
    Uri,
}

impl NameMember {
    fn for_method(method: &str) -> Option<Self> {
        match method {
            "prompts/get" | "tools/call" => Some(Self::Name),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some(Self::Uri),
            "tasks/cancel" | "tasks/get" | "tasks/result" | "tasks/update" => Some(Self::TaskId),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::TaskId => "taskId",
            Self::Uri => "uri",
        }
    }
}

/// The same limit as that of all other JSON that is read here.
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

/// The members of an object that are read, as they come.
trait ReadMembers: Default {
    /// Their names.
    const NAMES: &'static [&'static str];

    /// Takes the value of the member of this name, which is one of them.
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        members: &mut A,
        fault: &Cell<Option<BodyFault>>,
    ) -> Result<(), A::Error>;
}

/// Members of the message itself (JSON-RPC 2.0 §4, §5).
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
        // A server that has no such method says so, whatever the call is about.
        let is_unknown = is_older(&method)
            && version.as_ref().is_some_and(|version| version.as_str() >= McpHeaders::SINCE);
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
                    return Err(A::Error::custom("no id"));
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

/// Reads an object, or null as an empty one. An array is none: some servers take its elements for
/// the members.
struct ObjectVisitor<'a, T> {
    content: T,
    /// Why reading ended.
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
                        // A fault inside of it says more.
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

/// The same for all spellings that some server takes for one name. Upper case first: it makes the
/// long s and the Kelvin sign the letters that Go's JSON takes them for.
pub(super) fn case_folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// A value of which only the text counts.
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

#[cfg(test)]
mod tests;
