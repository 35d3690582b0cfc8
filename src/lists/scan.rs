//! Looks for a list in a message as it arrives, and keeps nothing of it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::kind::ListKind;
use crate::access::{MessageId, case_folded};

/// Looks for a list in JSON that arrives in whatever parts. Only the members of a message and of
/// its `result` are read. What only lenient parsers accept is read as they do: comments, strings in
/// single quotes, names and values without quotes, `=` for `:`, and `;` for `,`.
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
            // A byte order mark.
            0xef | 0xbb | 0xbf if self.depth == 0 => {}
            b'/' => self.token = Token::Slash,
            _ if self.depth == 0 => self.sight = Sight::NotJson,
            b'#' => self.token = Token::Comment(Comment::Line),
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
        let Ok(text) = String::from_utf8(text) else {
            self.position = Position::Elsewhere;
            return;
        };
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
    Some(Cow::Borrowed(quoted.unwrap_or(text))).filter(|name| !name.contains('\\'))
}

/// Whether a byte ends what is without quotes.
fn ends_word(byte: u8) -> bool {
    is_space(byte) || b",:;={}[]/#".contains(&byte)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
