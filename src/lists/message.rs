//! Finds the lists in a message, and takes out the items that the caller may not use.
//!
//! A message that clients could read in several ways cannot be filtered: one with a duplicate
//! member, or with a member in another case. Values are copied as they were written.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::asked::Asked;
use super::kind::ListKind;
use crate::access::{MessageId, case_folded};
use crate::json::without_byte_order_mark;
use crate::refusal::McpCall;
use crate::response_messages::Members;

/// What a message is, and what of it is forwarded.
#[derive(Debug)]
pub(super) enum Screened {
    /// It is not JSON.
    NotJson,
    /// It holds no list, or one without an item that is hidden: it is forwarded unchanged.
    Unchanged,
    /// It is forwarded as this, in one line; this number of items is hidden.
    Filtered { message: String, hidden: usize },
    /// It may hold a list, but cannot be read. It has this `id`, if that can be read.
    Unreadable(Option<MessageId>),
}

/// How a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It is not JSON.
    NotJson,
    /// It has the `id` of the request.
    Response,
    /// Neither is known yet.
    Unknown,
}

/// Screens a message. `shows` says whether the caller may make a call.
pub(super) fn screen(text: &[u8], asked: &Asked, shows: &dyn Fn(McpCall) -> bool) -> Screened {
    match std::str::from_utf8(text) {
        Ok(text) => screen_text(text, asked, shows),
        Err(_) if asked.list().is_some() => Screened::Unreadable(None),
        // Clients of event streams replace what is not UTF-8, and read the rest.
        Err(_) => match screen_text(&String::from_utf8_lossy(text), asked, &|_| false) {
            Screened::Filtered { .. } => Screened::Unreadable(None),
            other => other,
        },
    }
}

/// What the beginning of an incomplete message shows.
pub(super) fn beginning(text: &[u8], asked: &Asked) -> Beginning {
    let text = match std::str::from_utf8(without_byte_order_mark(text)) {
        Ok(text) => text,
        // The last character may be incomplete.
        Err(error) => match error.error_len() {
            None => {
                let whole = without_byte_order_mark(text).get(..error.valid_up_to());
                std::str::from_utf8(whole.unwrap_or_default()).unwrap_or_default()
            }
            Some(_) => return Beginning::Unknown,
        },
    };
    if !text.trim_ascii_start().starts_with(['{', '[']) && !text.trim_ascii_start().is_empty() {
        return Beginning::NotJson;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut id = None;
    let first_id = FirstId { id: &mut id, end: text.as_bytes().as_ptr_range().end };
    // Reading ends with an error, since the text ends too early.
    let _ = Deserializer::deserialize_map(&mut reader, first_id);
    match (id, asked.id()) {
        (Some(found), Some(asked)) if found == *asked => Beginning::Response,
        _ => Beginning::Unknown,
    }
}

fn screen_text(text: &str, asked: &Asked, shows: &dyn Fn(McpCall) -> bool) -> Screened {
    let (mark, json) = match text.strip_prefix('\u{feff}') {
        Some(json) => ("\u{feff}", json),
        None => ("", text),
    };
    if json.trim_ascii_start().starts_with('[') {
        return screen_batch(json, asked);
    }
    let Ok(message) = serde_json::from_str::<Members<'_>>(json) else {
        return not_an_object(json);
    };
    match message.screen(asked, shows) {
        Screened::Filtered { message, hidden } => {
            Screened::Filtered { message: [mark, &message].concat(), hidden }
        }
        other => other,
    }
}

/// A batch, which no revision of MCP since 2025-06-18 allows, passes unless it holds a list.
fn screen_batch(json: &str, asked: &Asked) -> Screened {
    let Ok(messages) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return not_an_object(json);
    };
    let holds_list = |message: &&RawValue| {
        let Ok(message) = serde_json::from_str::<Members<'_>>(message.get()) else {
            return !matches!(not_an_object(message.get()), Screened::Unchanged);
        };
        !matches!(message.screen(asked, &|_| false), Screened::Unchanged)
    };
    if messages.iter().any(holds_list) { Screened::Unreadable(None) } else { Screened::Unchanged }
}

/// Text that is not a JSON object may be one to a lenient client, such as text with half a
/// surrogate pair. It must not name a list.
fn not_an_object(json: &str) -> Screened {
    let is_json = serde_json::from_str::<&RawValue>(json).is_ok();
    let folded = case_folded(json);
    let names_list = |kind: ListKind| folded.contains(&case_folded(kind.member()));
    let may_name_list = folded.contains("\\u") || ListKind::ALL.into_iter().any(names_list);
    match json.trim_ascii_start().as_bytes() {
        [b'{' | b'[', ..] if may_name_list => Screened::Unreadable(None),
        _ if is_json => Screened::Unchanged,
        _ => Screened::NotJson,
    }
}

impl Members<'_> {
    /// The members of a message that are read.
    const READ: [&'static str; 2] = ["id", "result"];

    fn screen(&self, asked: &Asked, shows: &dyn Fn(McpCall) -> bool) -> Screened {
        if !self.has("result") {
            return Screened::Unchanged;
        }
        let id = self.id();
        let Some(result) =
            self.only("result").filter(|_| self.is_clear(&Self::READ) && !self.repeats())
        else {
            return Screened::Unreadable(id);
        };
        let is_response = id.is_some() && id.as_ref() == asked.id();
        if is_response && asked.list().is_none() {
            return Screened::Unchanged;
        }
        let expected = asked.list().filter(|_| is_response);
        let Ok(members) = serde_json::from_str::<Members<'_>>(result.get()) else {
            // Values of other types hold no list.
            // Other types hold no list, but neither are they a response to a request for one.
            let is_object = result.get().starts_with('{');
            return match expected {
                None if !is_object => Screened::Unchanged,
                _ => Screened::Unreadable(id),
            };
        };
        match members.filter(expected, shows) {
            Ok(None) => Screened::Unchanged,
            Ok(Some((result, hidden))) => {
                let replaced = |name: &str| (name == "result").then_some(&*result);
                Screened::Filtered { message: self.with(replaced), hidden }
            }
            Err(Unreadable) => Screened::Unreadable(id),
        }
    }

    /// The result with the items that the caller may use, and how many were taken out. `None` if it
    /// stays as it is.
    fn filter(
        &self,
        expected: Option<ListKind>,
        shows: &dyn Fn(McpCall) -> bool,
    ) -> Result<Option<(String, usize)>, Unreadable> {
        let kinds: Vec<ListKind> = match expected {
            Some(kind) => vec![kind],
            None => {
                let is_array = |kind: &ListKind| {
                    let mut values = self.all(kind.member());
                    values.any(|value| value.get().starts_with('['))
                };
                let other_letters = |kind: &ListKind| self.has_in_other_case(kind.member());
                let kinds = ListKind::ALL.into_iter();
                kinds.filter(|kind| is_array(kind) || other_letters(kind)).collect()
            }
        };
        if kinds.is_empty() {
            return Ok(None);
        }
        let mut names = ListKind::ALL.map(ListKind::member).to_vec();
        names.push(CACHE_SCOPE);
        if !self.is_clear(&names) || self.repeats() {
            return Err(Unreadable);
        }
        let mut replaced: Vec<(&str, String)> = Vec::new();
        let mut hidden = 0_usize;
        let mut is_list = false;
        for kind in kinds {
            let Some(items) = self.only(kind.member()) else { continue };
            is_list = true;
            let items: Vec<&RawValue> =
                serde_json::from_str(items.get()).map_err(|_| Unreadable)?;
            let mut kept = Vec::with_capacity(items.len());
            for item in &items {
                if is_shown(item, kind, shows)? {
                    kept.push(item.get());
                }
            }
            hidden = hidden.saturating_add(items.len().saturating_sub(kept.len()));
            if kept.len() < items.len() {
                replaced.push((kind.member(), format!("[{}]", kept.join(","))));
            }
        }
        let is_private = |scope: &RawValue| scope.get() == PRIVATE;
        if is_list && self.only(CACHE_SCOPE).is_some_and(|scope| !is_private(scope)) {
            replaced.push((CACHE_SCOPE, PRIVATE.to_owned()));
        }
        if replaced.is_empty() {
            return Ok(None);
        }
        let find = |name: &str| {
            replaced.iter().find(|(replaced, _)| *replaced == name).map(|(_, value)| &**value)
        };
        Ok(Some((self.with(find), hidden)))
    }

    /// The object with some values replaced, in one line.
    fn with<'b>(&self, replaced: impl Fn(&str) -> Option<&'b str>) -> String {
        let mut text = String::from("{");
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(name).to_string());
            text.push(':');
            push_in_one_line(replaced(name).unwrap_or(value.get()), &mut text);
        }
        text.push('}');
        text
    }
}

/// The member of a result that says who may share a cached copy.
const CACHE_SCOPE: &str = "cacheScope";
/// A list that depends on the caller's permissions must not be cached for others.
const PRIVATE: &str = "\"private\"";

/// A list that clients could read in several ways.
struct Unreadable;

fn is_shown(
    item: &RawValue,
    kind: ListKind,
    shows: &dyn Fn(McpCall) -> bool,
) -> Result<bool, Unreadable> {
    if !item.get().starts_with('{') {
        return Ok(false);
    }
    let item: Members<'_> = serde_json::from_str(item.get()).map_err(|_| Unreadable)?;
    if !item.is_clear(&[kind.key()]) {
        return Err(Unreadable);
    }
    let Some(key) = item.only(kind.key()) else { return Ok(false) };
    if !key.get().starts_with('"') {
        return Ok(false);
    }
    let key: String = serde_json::from_str(key.get()).map_err(|_| Unreadable)?;
    Ok(shows(kind.call(&key)))
}

/// White space between the parts of a value may contain line ends; strings cannot.
fn push_in_one_line(value: &str, text: &mut String) {
    text.extend(value.chars().filter(|character| !matches!(character, '\n' | '\r')));
}

/// Reads members up to the first `id`.
struct FirstId<'a> {
    id: &'a mut Option<MessageId>,
    /// The end of the text: a number that ends here may be incomplete.
    end: *const u8,
}

impl<'de> Visitor<'de> for FirstId<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some((name, value)) = members.next_entry::<String, &RawValue>()? {
            if case_folded(&name) == "id" {
                let is_whole = value.get().as_bytes().as_ptr_range().end != self.end;
                *self.id = MessageId::from_value(value).filter(|_| is_whole && name == "id");
                return Err(A::Error::custom("found"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
