//! Looks for a list in a message as it arrives, and keeps nothing of it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::kind::ListKind;
use crate::access::{MessageId, case_folded};

/// Looks for a list in JSON that arrives in whatever parts. Only the members of a message and of
/// its `result` are read. What only lenient parsers accept is read as they do: comments, strings in
/// single quotes, names and values without quotes, `=` for `:`, `;` for `,`, and white space of any
/// kind.
#[derive(Debug)]
pub(super) struct ListScan {
    /// The `id` of the call that the message may answer.
    call: Option<MessageId>,
    /// How many objects and arrays are open.
    depth: usize,
    /// Whether the outermost value is an array.
    is_batch: bool,
    message: Message,
    has_other_id: bool,
    position: Position,
    token: Token,
    sight: Sight,
}

/// What the JSON so far shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// No list yet, but one may follow.
    Nothing,
    /// The response to the call.
    Response,
    /// A list, or what some clients take for one.
    List,
    /// Whole values, and no list in them.
    Whole,
    /// It is not JSON.
    NotJson,
}

/// The message that is being read.
#[derive(Debug, Default)]
struct Message {
    is_object: bool,
    has_id: bool,
    has_result: bool,
    /// Whether its `result`, an object, is being read.
    is_in_result: bool,
}

/// What comes next in an object whose members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// The name of a member.
    Name,
    /// The value of a member of this name.
    Value(Name),
    /// Something that is not read.
    Elsewhere,
}

/// The name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Id,
    Result,
    /// That of a list, spelt so or otherwise.
    List {
        is_exact: bool,
    },
    Other,
}

#[derive(Debug)]
enum Token {
    None,
    /// A string in these quotes, with its text if that is read.
    String {
        quote: u8,
        text: Option<Vec<u8>>,
        is_escaped: bool,
    },
    /// A number, or anything else without quotes, with its text if that is read.
    Word(Option<Vec<u8>>),
    /// A slash that may begin a comment.
    Slash,
    Comment(Comment),
}

/// A comment that is being skipped.
#[derive(Clone, Copy, Debug)]
enum Comment {
    /// To the end of the line.
    Line,
    /// To `*/`, of which the star may have come.
    Block { after_star: bool },
}

impl ListScan {
    /// Longest name or `id` that is read, as it is written, in bytes.
    const MAX_TEXT: usize = 8 * 1024;

    /// `call`: the `id` of the call that the message may answer.
    pub(super) fn new(call: Option<MessageId>) -> Self {
        Self {
            call,
            depth: 0,
            is_batch: false,
            message: Message::default(),
            has_other_id: false,
            position: Position::Elsewhere,
            token: Token::None,
            sight: Sight::Nothing,
        }
    }

    /// What the JSON so far shows.
    pub(super) fn sight(&self) -> Sight {
        self.sight
    }

    /// Whether a message has an `id`, and not that of the call.
    pub(super) fn has_other_id(&self) -> bool {
        self.has_other_id
    }

    /// More of the JSON arrived.
    pub(super) fn read(&mut self, text: &[u8]) {
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            if matches!(self.sight, Sight::List | Sight::NotJson) {
                return;
            }
            match self.unread_prefix(rest) {
                0 => {
                    self.read_byte(*byte);
                    rest = after;
                }
                length => rest = rest.get(length..).unwrap_or_default(),
            }
        }
    }

    /// How many bytes change nothing, because they are inside a string that is not read.
    fn unread_prefix(&self, text: &[u8]) -> usize {
        match self.token {
            Token::String { quote, text: None, is_escaped: false } => {
                let is_end = |byte: &u8| *byte == quote || *byte == b'\\';
                text.iter().position(is_end).unwrap_or(text.len())
            }
            _ => 0,
        }
    }

    fn read_byte(&mut self, byte: u8) {
        match std::mem::replace(&mut self.token, Token::None) {
            Token::None => self.begin(byte),
            Token::String { quote, text, is_escaped: false } if byte == quote => {
                if let Some(mut text) = text {
                    text.push(quote);
                    self.finish(text);
                }
            }
            Token::String { quote, text, is_escaped } => {
                let is_escaped = !is_escaped && byte == b'\\';
                let text = self.longer(text, byte);
                self.token = Token::String { quote, text, is_escaped };
            }
            Token::Word(text) if ends_word(byte) => {
                if let Some(text) = text {
                    self.finish(text);
                }
                self.begin(byte);
            }
            Token::Word(Some(text)) if text.len() >= Self::MAX_TEXT => {
                if self.position == Position::Name && !is_word(&text) {
                    // Most of it may be white space to some parsers.
                    self.sight = Sight::List;
                }
                self.position = Position::Elsewhere;
                self.token = Token::Word(None);
            }
            Token::Word(text) => self.token = Token::Word(self.longer(text, byte)),
            Token::Slash => match byte {
                b'/' => self.token = Token::Comment(Comment::Line),
                b'*' => self.token = Token::Comment(Comment::Block { after_star: false }),
                _ => self.sight = Sight::NotJson,
            },
            Token::Comment(Comment::Line) if matches!(byte, b'\n' | b'\r') => {}
            Token::Comment(Comment::Block { after_star: true }) if byte == b'/' => {}
            Token::Comment(Comment::Line) => self.token = Token::Comment(Comment::Line),
            Token::Comment(Comment::Block { .. }) => {
                self.token = Token::Comment(Comment::Block { after_star: byte == b'*' });
            }
        }
    }

    /// The text with one more byte. What is too long to be a name that matters, or the `id` of a
    /// call, is not read.
    fn longer(&mut self, text: Option<Vec<u8>>, byte: u8) -> Option<Vec<u8>> {
        let mut text = text?;
        text.push(byte);
        if text.len() > Self::MAX_TEXT {
            self.position = Position::Elsewhere;
            return None;
        }
        Some(text)
    }

    fn begin(&mut self, byte: u8) {
        match byte {
            byte if is_space(byte) => {}
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' => self.close(),
            b',' | b';' => {
                let is_member = self.is_in_members();
                self.position = if is_member { Position::Name } else { Position::Elsewhere };
            }
            b':' | b'=' => {}
            byte if self.depth == 0 && may_be_of_blank(byte) => {}
            b'/' => self.token = Token::Slash,
            b'#' => self.token = Token::Comment(Comment::Line),
            _ if self.depth == 0 => self.sight = Sight::NotJson,
            byte => {
                self.value_begins(false);
                let is_read = matches!(self.position, Position::Name | Position::Value(Name::Id));
                let text = is_read.then(|| vec![byte]);
                self.token = match byte {
                    b'"' | b'\'' => Token::String { quote: byte, text, is_escaped: false },
                    _ => Token::Word(text),
                };
            }
        }
    }

    /// The depth inside a message.
    fn message_depth(&self) -> usize {
        if self.is_batch { 2 } else { 1 }
    }

    /// Whether the object that is being read is a message or its result.
    fn is_in_members(&self) -> bool {
        let depth = self.message_depth();
        let Message { is_object, is_in_result, .. } = self.message;
        (self.depth == depth && is_object)
            || (self.depth == depth.saturating_add(1) && is_in_result)
    }

    fn open(&mut self, is_object: bool) {
        if self.position == Position::Name {
            self.sight = Sight::NotJson;
            return;
        }
        self.value_begins(!is_object);
        if self.depth == 0 {
            self.is_batch = !is_object;
            self.sight = Sight::Nothing;
        }
        let is_result = self.position == Position::Value(Name::Result);
        self.depth = self.depth.saturating_add(1);
        if self.depth == self.message_depth() {
            self.message = Message { is_object, ..Message::default() };
        } else if is_result && is_object {
            self.message.is_in_result = true;
        }
        let is_member = is_object && self.is_in_members();
        self.position = if is_member { Position::Name } else { Position::Elsewhere };
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.position = Position::Elsewhere;
        if self.depth == self.message_depth() {
            self.message.is_in_result = false;
        }
        if self.depth == 0 {
            self.message = Message::default();
            if self.sight != Sight::Response {
                self.sight = Sight::Whole;
            }
        }
    }

    /// A value begins; only arrays are lists.
    fn value_begins(&mut self, is_array: bool) {
        if let Position::Value(Name::List { is_exact }) = self.position
            && (is_array || !is_exact)
            && self.sight != Sight::Response
        {
            self.sight = Sight::List;
        }
    }

    /// A name, or the value of `id`, is complete.
    fn finish(&mut self, text: Vec<u8>) {
        let text = String::from_utf8_lossy(&text).into_owned();
        if self.position == Position::Name {
            let is_in_result = self.message.is_in_result;
            let name = match unquoted(&text) {
                Some(name) if is_in_result => in_result(&name),
                Some(name) => self.in_message(&name),
                None if is_in_result => Name::List { is_exact: false },
                None => {
                    self.sight = Sight::List;
                    Name::Other
                }
            };
            self.position = Position::Value(name);
            return;
        }
        self.position = Position::Elsewhere;
        let id = RawValue::from_string(text).ok().and_then(|id| MessageId::from_value(&id));
        let is_call = !self.is_batch && id.is_some() && id == self.call;
        if is_call {
            self.sight = Sight::Response;
        } else {
            self.has_other_id = true;
        }
    }

    fn in_message(&mut self, name: &str) -> Name {
        let folded = case_folded(name);
        let Message { has_id, has_result, .. } = &mut self.message;
        let (is_known, found) = match folded.as_str() {
            "id" => (has_id, Name::Id),
            "result" => (has_result, Name::Result),
            _ => return Name::Other,
        };
        if std::mem::replace(is_known, true) || name != folded {
            // Clients may find different ones.
            self.sight = Sight::List;
        }
        found
    }
}

fn in_result(name: &str) -> Name {
    let folded = case_folded(name);
    let kind = ListKind::ALL.into_iter().find(|kind| case_folded(kind.member()) == folded);
    match kind {
        Some(kind) => Name::List { is_exact: kind.member() == name },
        None => Name::Other,
    }
}

/// The name in this text; `None` if parsers differ on it.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    if text.starts_with('"') {
        return serde_json::from_str::<String>(text).ok().map(Cow::Owned);
    }
    let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let (name, is_clear) = match quoted {
        Some(name) => (name, !name.contains('\\')),
        None => (text, is_word(text.as_bytes())),
    };
    is_clear.then_some(Cow::Borrowed(name))
}

/// Whether every parser reads this name without quotes as it is.
fn is_word(name: &[u8]) -> bool {
    String::from_utf8_lossy(name).chars().all(is_of_word)
}

/// Whether no parser takes this character of a name without quotes for white space, or for a quote.
fn is_of_word(character: char) -> bool {
    let is_quote = matches!(character, '"' | '\'' | '`' | '\\');
    character.is_alphanumeric() || (character.is_ascii_graphic() && !is_quote)
}

/// The text after white space and byte order marks, whatever parsers skip as such.
pub(super) fn without_blank(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(length) = blank_length(rest) {
        rest = rest.get(length..).unwrap_or_default();
    }
    rest
}

/// Whether the text may be the beginning of a blank character, and no more.
pub(super) fn is_begun_blank(text: &[u8]) -> bool {
    text.len() < MAX_BLANK && text.iter().all(|byte| may_be_of_blank(*byte))
}

/// The length of the blank character that the text begins with, if it does.
fn blank_length(text: &[u8]) -> Option<usize> {
    if is_space(*text.first()?) {
        return Some(1);
    }
    let begun = text.get(..MAX_BLANK).unwrap_or(text);
    let first = begun.utf8_chunks().next()?.valid().chars().next()?;
    (first.is_whitespace() || first == '\u{feff}').then(|| first.len_utf8())
}

/// The length of the longest blank character, in bytes.
const MAX_BLANK: usize = 3;

/// Whether white space that is not ASCII, or a byte order mark, may have this byte.
fn may_be_of_blank(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xe1..=0xe3 | 0xef | 0x80..=0xbf)
}

/// Whether a byte ends what is without quotes.
fn ends_word(byte: u8) -> bool {
    is_space(byte) || b",:;={}[]/#".contains(&byte)
}

/// White space of JSON, and what some parsers skip likewise.
fn is_space(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

#[cfg(test)]
mod tests;
