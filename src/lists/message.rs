//! Finds the lists in a message, and takes out the items that the caller may not use.
//!
//! A message that clients could read in several ways cannot be filtered: one with a duplicate
//! member, or with a member in another case. Values are copied as they were written.

use serde_json::value::RawValue;

use super::asked::Asked;
use super::kind::ListKind;
use super::scan::{ListScan, Sight};
use crate::access::{Listed, MessageId, case_folded};
use crate::json::without_byte_order_mark;
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

/// Screens a message. `shows` says whether the caller sees an item.
pub(super) fn screen(text: &[u8], asked: &Asked, shows: &dyn Fn(&Listed) -> bool) -> Screened {
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

/// Whether JSON is a message, or a batch of messages, whose lists are looked for where clients look
/// for them.
pub(super) fn is_message(text: &[u8]) -> bool {
    let text = std::str::from_utf8(without_byte_order_mark(text)).unwrap_or_default();
    if text.trim_ascii_start().starts_with('[') {
        let messages = serde_json::from_str::<Vec<Members<'_>>>(text);
        return messages.is_ok_and(|messages| messages.iter().all(Members::is_message));
    }
    serde_json::from_str::<Members<'_>>(text).is_ok_and(|message| message.is_message())
}

fn screen_text(text: &str, asked: &Asked, shows: &dyn Fn(&Listed) -> bool) -> Screened {
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
    match after_comments(json).as_bytes() {
        [b'{' | b'[', ..] if may_name_list => Screened::Unreadable(None),
        _ if is_json => Screened::Unchanged,
        // After what else some parsers skip, markdown may follow too.
        _ if holds_list(json) => Screened::Unreadable(None),
        _ => Screened::NotJson,
    }
}

/// Whether lenient parsers find a list.
fn holds_list(text: &str) -> bool {
    let mut scan = ListScan::new(None);
    scan.read(text.as_bytes());
    scan.sight() == Sight::List
}

/// The text after the comments before it, which lenient parsers skip.
fn after_comments(text: &str) -> &str {
    let mut rest = text.trim_ascii_start();
    loop {
        let (comment, end) = match (rest.strip_prefix("/*"), rest.strip_prefix("//")) {
            (Some(comment), _) => (comment, comment.find("*/").map(|end| end.saturating_add(2))),
            (_, Some(comment)) => (comment, comment.find(['\n', '\r'])),
            (None, None) => return rest,
        };
        let after = end.and_then(|end| comment.get(end..));
        rest = after.unwrap_or_default().trim_ascii_start();
    }
}

impl Members<'_> {
    /// The members of a message that are read.
    const READ: [&'static str; 2] = ["id", "result"];

    fn screen(&self, asked: &Asked, shows: &dyn Fn(&Listed) -> bool) -> Screened {
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
        if is_response && asked.is_call() {
            return Screened::Unchanged;
        }
        let expected = asked.list().filter(|_| is_response);
        let Ok(members) = serde_json::from_str::<Members<'_>>(result.get()) else {
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

    /// Whether this is a message of JSON-RPC, with no list in a form of its own in its result.
    fn is_message(&self) -> bool {
        let Some(result) = self.only("result") else {
            return self.has("error") || self.has("method");
        };
        let is_odd = |result: &Members<'_>| {
            let values = |kind: ListKind| result.all(kind.member());
            ListKind::ALL.into_iter().flat_map(values).any(|value| !value.get().starts_with('['))
        };
        !serde_json::from_str::<Members<'_>>(result.get()).is_ok_and(|result| is_odd(&result))
    }

    /// The result with the items that the caller may use, and how many were taken out. `None` if it
    /// stays as it is.
    fn filter(
        &self,
        expected: Option<ListKind>,
        shows: &dyn Fn(&Listed) -> bool,
    ) -> Result<Option<(String, usize)>, Unreadable> {
        let is_array = |kind: &ListKind| {
            let mut values = self.all(kind.member());
            values.any(|value| value.get().starts_with('['))
        };
        let other_letters = |kind: &ListKind| self.has_in_other_case(kind.member());
        let is_found =
            |kind: &ListKind| expected == Some(*kind) || is_array(kind) || other_letters(kind);
        let kinds: Vec<ListKind> = ListKind::ALL.into_iter().filter(is_found).collect();
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
    shows: &dyn Fn(&Listed) -> bool,
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
    Ok(shows(&kind.item(&key)))
}

/// White space between the parts of a value may contain line ends; strings cannot.
fn push_in_one_line(value: &str, text: &mut String) {
    text.extend(value.chars().filter(|character| !matches!(character, '\n' | '\r')));
}

#[cfg(test)]
mod tests;
