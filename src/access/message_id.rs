//! The `id` of a message, which an error response repeats (JSON-RPC 2.0 §5).

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use super::case::case_folded;

/// The `id` of a request: a string or number of at most 1 KiB.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct MessageId(Box<RawValue>);

impl MessageId {
    /// Longest decoded string, or number as written, in bytes.
    const MAX_LENGTH: usize = 1024;

    /// The `id` of the request in this body, even if the request is refused. `None` if the body is
    /// not one object, has several `id` members, or an `id` that is neither a string nor a number.
    /// Also `None` for a response: its `id` belongs to a request of the server.
    #[must_use]
    pub(crate) fn from_body(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let members: IdMembers<'_> = serde_json::from_str(text).ok()?;
        match members {
            IdMembers { ids: 1, id: Some(id), is_response: false } => Self::from_value(id),
            _ => None,
        }
    }

    /// This value of a member `id`; `None` if it is neither a string nor a number, or is too long.
    #[must_use]
    pub(crate) fn from_value(id: &RawValue) -> Option<Self> {
        let is_short = |text: &str| text.len() <= Self::MAX_LENGTH;
        match id.get().bytes().next()? {
            // Serialised again, so that it is one line of complete characters.
            b'"' => {
                let text: String = serde_json::from_str(id.get()).ok()?;
                is_short(&text).then(|| to_raw_value(&text).ok().map(Self))?
            }
            // Kept as written: no numeric type holds every JSON number.
            b'-' | b'0'..=b'9' => is_short(id.get()).then(|| Self(id.to_owned())),
            _ => None,
        }
    }
}

impl Eq for MessageId {}

/// Numbers are equal if they are written alike.
impl PartialEq for MessageId {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// The members needed to find the `id`. Other values are skipped without building a tree.
#[derive(Default)]
struct IdMembers<'a> {
    id: Option<&'a RawValue>,
    /// Number of members named `id`, ignoring case.
    ids: usize,
    is_response: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for IdMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(IdMembersVisitor)
    }
}

struct IdMembersVisitor;

impl<'de> Visitor<'de> for IdMembersVisitor {
    type Value = IdMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<IdMembers<'de>, A::Error> {
        let mut found = IdMembers::default();
        let (mut has_method, mut has_outcome) = (false, false);
        while let Some(name) = members.next_key::<String>()? {
            has_method |= name == "method";
            has_outcome |= matches!(name.as_str(), "error" | "result");
            found.ids += usize::from(case_folded(&name) == "id");
            if name == "id" {
                found.id = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        found.is_response = has_outcome && !has_method;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<String> {
        let id = MessageId::from_body(body.as_bytes())?;
        Some(serde_json::to_string(&id).unwrap())
    }

    fn with_id(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","method":"ping","id": {id} ,"params":{{"id":3}}}}"#)
    }

    #[test]
    fn strings_and_numbers_are_sent_back_exactly() {
        for id in [
            "0",
            "1",
            "-1",
            "-0",
            "1.0",
            "1e0",
            "1.50",
            "9007199254740993",
            "18446744073709551616",
            "123456789012345678901234567890",
            "1e999",
            "\"\"",
            "\"1\"",
            "\"a b\"",
            "\"ü\u{1f600}\"",
            "\"\\\"\\\\\\n\"",
        ] {
            assert_eq!(read(&with_id(id)).as_deref(), Some(id));
        }
        assert_eq!(read(&with_id("\"\\u0061\\/\"")).as_deref(), Some("\"a/\""));
        assert_eq!(read(r#"{"\u0069d":7}"#).as_deref(), Some("7"));
    }

    #[test]
    fn long_ids_are_not_sent_back() {
        let string = |length: usize| format!("\"{}\"", "a".repeat(length));
        let escaped = |length: usize| format!("\"{}\"", "\\u0061".repeat(length));
        assert_eq!(read(&with_id(&string(1024))), Some(string(1024)));
        assert_eq!(read(&with_id(&escaped(1024))), Some(string(1024)));
        assert_eq!(read(&with_id(&"1".repeat(1024))), Some("1".repeat(1024)));
        for long in
            [string(1025), escaped(1025), "1".repeat(1025), "\"ü\"".replace('ü', &"ü".repeat(513))]
        {
            assert_eq!(read(&with_id(&long)), None);
        }
    }

    #[test]
    fn the_id_of_a_refused_message_is_known_if_it_is_valid() {
        let deep = format!(r#"{{"id":5,"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (body, id) in [
            (r#"{"method":"a","method":"b","id":5}"#, Some("5")),
            (r#"{"id":5,"method":["a"]}"#, Some("5")),
            (r#"{"id":5}"#, Some("5")),
            (r#"{"id":5,"method":"a","result":1}"#, Some("5")),
            (&deep, Some("5")),
            (r#"{"id":5,"result":1}"#, None),
            (r#"{"id":5,"error":{}}"#, None),
            (r#"{"method":"a"}"#, None),
            (r#"{"id":5,"id":5}"#, None),
            (r#"{"id":5,"ID":6}"#, None),
            (r#"{"ID":5}"#, None),
            (r#"{"id":null}"#, None),
            (r#"{"id":true}"#, None),
            (r#"{"id":{}}"#, None),
            (r#"{"id":[5]}"#, None),
            (r#"{"id":"\ud800"}"#, None),
            (r#"{"id":5"#, None),
            (r#"{"id":5}{}"#, None),
            (r#"[{"id":5}]"#, None),
            ("5", None),
            ("", None),
        ] {
            assert_eq!(read(body).as_deref(), id, "{body:.60}");
        }
        assert!(MessageId::from_body(b"{\"id\":5,\"a\":\"\xff\"}").is_none());
    }
}
