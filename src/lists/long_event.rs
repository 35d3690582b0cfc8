//! An event that is too long to be read as a whole: it passes while it shows no list.

use super::asked::Asked;
use super::scan::{ListScan, Sight};

/// An event of which the beginning was forwarded, or none of it.
#[derive(Debug)]
pub(super) struct LongEvent {
    line: Line,
    has_data: bool,
    scan: ListScan,
    passes: Passes,
}

/// Which events pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    /// None, or no more of this one.
    Nothing,
    /// What is not JSON.
    NotJson,
    /// What may be the response to the call, and what is not JSON. If its `id` is not known, any
    /// may be.
    Responses { any_id: bool },
}

/// A line of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Its field begins like `data`, for so many bytes.
    Begun(usize),
    /// The name `data` has ended; a space that follows is not part of the value.
    BeforeValue,
    Value,
    Other,
}

impl LongEvent {
    /// The event that begins like this.
    pub(super) fn new(beginning: &[u8], asked: &Asked) -> Self {
        let passes = match asked {
            Asked::List(..) => Passes::Nothing,
            Asked::Call(id) => Passes::Responses { any_id: id.is_none() },
            Asked::Other(_) => Passes::NotJson,
        };
        let scan = ListScan::new(asked.call().cloned());
        let mut this = Self { line: Line::Begun(0), has_data: false, scan, passes };
        this.read(beginning);
        this
    }

    /// No event.
    pub(super) fn none() -> Self {
        let (scan, passes) = (ListScan::new(None), Passes::Nothing);
        Self { line: Line::Begun(0), has_data: false, scan, passes }
    }

    /// More of it arrived. Returns whether this made it a list: it passed before.
    pub(super) fn read_on(&mut self, text: &[u8]) -> bool {
        let passed = self.passes();
        self.read(text);
        passed && !self.passes()
    }

    /// Whether what has arrived is forwarded.
    pub(super) fn passes(&self) -> bool {
        self.passes != Passes::Nothing
    }

    fn read(&mut self, text: &[u8]) {
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
            if is_end(byte) {
                self.scan.read(b"\n");
                self.line = Line::Begun(0);
                rest = after;
                continue;
            }
            let length = match self.line {
                Line::Value | Line::Other => rest.iter().position(is_end).unwrap_or(rest.len()),
                Line::Begun(_) | Line::BeforeValue => 1,
            };
            let Some((part, after)) = rest.split_at_checked(length) else { break };
            self.read_part(part, *byte);
            rest = after;
        }
        let shows_none = match (self.scan.sight(), self.passes) {
            (Sight::NotJson, _) => true,
            (Sight::Response, Passes::Responses { .. }) => true,
            (Sight::Nothing | Sight::Whole, Passes::Responses { any_id }) => {
                any_id || !self.scan.has_other_id()
            }
            (_, Passes::NotJson | Passes::Nothing) | (Sight::List, _) => false,
        };
        let is_dropped = self.passes == Passes::Nothing;
        if is_dropped || !self.has_data || !shows_none {
            self.passes = Passes::Nothing;
        }
    }

    /// Reads a part of a line that begins with this byte.
    fn read_part(&mut self, part: &[u8], byte: u8) {
        const DATA: &[u8] = b"data";
        match self.line {
            Line::Begun(length) if DATA.get(length) == Some(&byte) => {
                self.line = Line::Begun(length.saturating_add(1));
            }
            Line::Begun(length) if length == DATA.len() && byte == b':' => {
                self.line = Line::BeforeValue;
                self.has_data = true;
            }
            Line::Begun(_) | Line::Other => self.line = Line::Other,
            Line::BeforeValue | Line::Value => {
                self.line = Line::Value;
                self.scan.read(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::access::MessageId;
    use crate::lists::kind::ListKind;

    fn id() -> Option<MessageId> {
        MessageId::from_value(&RawValue::from_string("1".to_owned()).unwrap())
    }

    /// Whether each part of an event passes.
    fn passing(asked: &Asked, parts: &[&str]) -> Vec<bool> {
        let (first, rest) = parts.split_first().unwrap();
        let mut event = LongEvent::new(first.as_bytes(), asked);
        let mut passing = vec![event.passes()];
        for part in rest {
            let passed = event.passes();
            let is_cut = event.read_on(part.as_bytes());
            assert_eq!(is_cut, passed && !event.passes(), "{parts:?}");
            passing.push(event.passes());
        }
        passing
    }

    #[test]
    fn the_response_to_a_call_passes_wherever_its_id_is() {
        for parts in [
            &["data: {\"id\":1,\"result\":{\"a\":", "1}}"][..],
            &["event: message\ndata:{\"result\":{\"a\":", "{\"tools\":[]}},", "\"id\":1}"],
            &["data: {\"id\":1,\nda", "ta: \"result\":{\"tools\":[]}}\n"],
            &["id: 5\r\ndata: <", "html"],
            &["data: {\"method\":\"notifications/message\",", "\"params\":{}}\n\n"],
        ] {
            let passing = passing(&Asked::Call(id()), parts);
            assert!(passing.iter().all(|passes| *passes), "{parts:?}");
        }
    }

    #[test]
    fn an_event_passes_until_it_shows_a_list() {
        for (parts, expected) in [
            (&["data: {\"result\":{\"a\":1,", "\"tools\":[", "]}}"][..], &[true, false, false][..]),
            (&["data: {\"result\":{},", "\"id\":2"], &[true, true]),
            (&["data: {\"result\":{},", "\"id\":2,"], &[true, false]),
            (&["data: {\"id\":1,", "\"id\":9,"], &[true, false]),
            (&["data: {\"id\":2,"], &[false]),
            (&["data: {\"result\":{\"tools\":["], &[false]),
            (&["data: \u{feff}{\"result\":{\"tools\":["], &[false]),
            (&["data: {\"result\":\ndata: {\"tools\":["], &[false]),
            (&["data: {\"result\":\nid: 1,\"id\":1\ndata: {", "\"tools\":["], &[true, false]),
            (&[": a comment"], &[false]),
        ] {
            assert_eq!(passing(&Asked::Call(id()), parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn any_response_may_be_that_to_a_call_with_an_unknown_id() {
        let passing = |parts: &[&str]| passing(&Asked::Call(None), parts);
        assert_eq!(passing(&["data: {\"id\":5,\"result\":{\"a\":", "1}}\n"]), [true, true]);
        assert_eq!(passing(&["data: {\"id\":5,\"result\":{\"tools\":["]), [false]);
    }

    #[test]
    fn on_other_streams_only_data_that_is_not_json_passes() {
        for asked in [Asked::Other(None), Asked::Other(id())] {
            assert_eq!(passing(&asked, &["data: {\"id\":1,\"result\":{\"a\":"]), [false]);
            assert_eq!(passing(&asked, &["data: text"]), [true]);
        }
        let list = Asked::List(ListKind::Tools, id());
        assert_eq!(passing(&list, &["data: text"]), [false]);
    }
}
