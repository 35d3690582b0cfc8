//! Event streams (WHATWG HTML §9.2): split into events as they arrive, and read.
//!
//! Lines end in CRLF, LF or CR; an empty line ends an event. Every byte of the stream is in exactly
//! one part, so a reader that forwards all parts forwards the stream.

use crate::json::without_byte_order_mark;

/// Splits an event stream into events, in whatever chunks it arrives.
#[derive(Debug)]
pub(crate) struct EventReader {
    /// The beginning of an event that is not complete.
    buffer: Vec<u8>,
    /// Whether the stream has begun, with a byte order mark or without.
    is_begun: bool,
    /// Whether the beginning of the event was emitted because the event is too long.
    is_overlong: bool,
    /// Whether the line that is being read is empty so far.
    is_empty_line: bool,
    /// Whether the last byte was a CR, which an LF may follow.
    after_cr: bool,
    max_event: usize,
}

/// A part of an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The byte order mark at the beginning of the stream. Clients may take it for a part of the
    /// first line.
    Mark(&'a [u8]),
    /// A complete event, with the empty line that ends it if there is one.
    Event(&'a [u8]),
    /// The beginning of an event that is longer than the limit.
    Overlong(&'a [u8]),
    /// More of an overlong event.
    More(&'a [u8]),
    /// The end of an overlong event, with the empty line.
    End(&'a [u8]),
    /// The LF of a CRLF whose CR ended an event.
    LineFeed,
}

impl EventReader {
    /// `max_event`: the longest event that is emitted whole, in bytes.
    pub(crate) fn new(max_event: usize) -> Self {
        Self {
            buffer: Vec::new(),
            is_begun: false,
            is_overlong: false,
            is_empty_line: true,
            after_cr: false,
            max_event,
        }
    }

    /// How much of an event is kept, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// From now on, this is the longest event that is emitted whole, in bytes.
    pub(crate) fn limit_events(&mut self, max_event: usize) {
        self.max_event = max_event;
    }

    /// Reads a chunk, and emits the parts that it completes.
    pub(crate) fn read(&mut self, chunk: &[u8], mut part: impl FnMut(Part<'_>)) {
        if self.is_begun {
            return self.read_lines(chunk, &mut part);
        }
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() < MARK.len() && MARK.starts_with(&self.buffer) {
            return;
        }
        self.is_begun = true;
        let begun = std::mem::take(&mut self.buffer);
        let text = without_byte_order_mark(&begun);
        if text.len() < begun.len() {
            part(Part::Mark(MARK));
        }
        self.read_lines(text, &mut part);
    }

    fn read_lines(&mut self, chunk: &[u8], part: &mut impl FnMut(Part<'_>)) {
        let mut rest = chunk;
        if let [b'\n', after @ ..] = rest
            && self.after_cr
        {
            self.after_cr = false;
            rest = after;
            if self.buffer.is_empty() && !self.is_overlong {
                part(Part::LineFeed);
            } else {
                self.buffer.push(b'\n');
            }
        }
        while let Some((line, after)) = self.split_line(rest) {
            self.buffer.extend_from_slice(line);
            rest = after;
            if std::mem::replace(&mut self.is_empty_line, true) && is_line_end(line) {
                self.finish(part);
            }
        }
        if !rest.is_empty() {
            self.after_cr = false;
            self.is_empty_line = false;
            self.buffer.extend_from_slice(rest);
        }
        self.limit(part);
    }

    /// The stream has ended: emits what has no empty line after it.
    pub(crate) fn end(&mut self, mut part: impl FnMut(Part<'_>)) {
        if !self.buffer.is_empty() || self.is_overlong {
            self.finish(&mut part);
        }
    }

    /// The first line with its end, and the rest; `None` without an end of line.
    fn split_line<'a>(&mut self, text: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        let is_cr = text.get(end) == Some(&b'\r');
        let is_crlf = is_cr && text.get(end.saturating_add(1)) == Some(&b'\n');
        let end = end.saturating_add(if is_crlf { 2 } else { 1 });
        self.after_cr = is_cr && !is_crlf && end == text.len();
        text.split_at_checked(end)
    }

    fn finish(&mut self, part: &mut impl FnMut(Part<'_>)) {
        let event = std::mem::take(&mut self.buffer);
        let is_overlong = std::mem::take(&mut self.is_overlong);
        if is_overlong {
            part(Part::End(&event));
        } else if event.len() > self.max_event {
            part(Part::Overlong(&event));
            part(Part::End(&[]));
        } else {
            part(Part::Event(&event));
        }
        self.is_empty_line = true;
    }

    /// Emits the beginning of an event that has become too long.
    fn limit(&mut self, part: &mut impl FnMut(Part<'_>)) {
        if self.is_overlong && !self.buffer.is_empty() {
            part(Part::More(&std::mem::take(&mut self.buffer)));
        } else if self.buffer.len() > self.max_event {
            self.is_overlong = true;
            part(Part::Overlong(&std::mem::take(&mut self.buffer)));
        }
    }
}

/// The data of an event: its `data` lines, joined by LF. `None` if it has none.
pub(crate) fn data(event: &[u8]) -> Option<Vec<u8>> {
    let mut lines = lines(event).filter_map(|(line, _)| data_line(line));
    let mut data = lines.next()?.to_vec();
    for line in lines {
        data.push(b'\n');
        data.extend_from_slice(line);
    }
    Some(data)
}

/// The event with other data, in one line. `data` holds no end of line.
pub(crate) fn with_data(event: &[u8], data: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(event.len().saturating_add(data.len()));
    let mut is_written = false;
    for (line, end) in lines(event) {
        // The LF of an empty line must not become the end of this line once those between are gone.
        let end = if end == b"\r" && !line.is_empty() { b"\r\n" } else { end };
        if data_line(line).is_none() {
            changed.extend_from_slice(line);
            changed.extend_from_slice(end);
        } else if !std::mem::replace(&mut is_written, true) {
            changed.extend([b"data: ", data, end].concat());
        }
    }
    changed
}

/// The value of a line with the field `data`.
fn data_line(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Whether text that may be an event stream begins like one. `None` if more of it has to arrive.
pub(crate) fn begins_like_events(text: &[u8]) -> Option<bool> {
    let text = without_byte_order_mark(text).trim_ascii_start();
    let is_end = |byte: &u8| matches!(byte, b':' | b'\n' | b'\r');
    let length = text.iter().position(is_end);
    let name = text.get(..length.unwrap_or(text.len())).unwrap_or_default();
    let names = [&b"data"[..], b"event", b"id", b"retry", b""];
    match length {
        Some(_) => Some(names.contains(&name)),
        None if names.iter().any(|known| known.starts_with(name)) => None,
        None => Some(false),
    }
}

/// The value of the data of an event if a client takes its first line for no data.
pub(crate) fn data_after_first_line(event: &[u8]) -> Option<Vec<u8>> {
    let (first, end) = lines(event).next()?;
    data(event.get(first.len().saturating_add(end.len())..)?)
}

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines, each with its end.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(length)?;
        let end = match after {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let (end, after) = after.split_at_checked(end)?;
        rest = after;
        Some((line, end))
    })
}

fn is_line_end(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r" | b"\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of a stream that arrives in these chunks.
    fn parts<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
        max_event: usize,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let mut reader = EventReader::new(max_event);
        let mut parts = Vec::new();
        let mut add = |part: Part<'_>| {
            parts.push(match part {
                Part::Mark(bytes) => ("mark", bytes.to_vec()),
                Part::Event(bytes) => ("event", bytes.to_vec()),
                Part::Overlong(bytes) => ("overlong", bytes.to_vec()),
                Part::More(bytes) => ("more", bytes.to_vec()),
                Part::End(bytes) => ("end", bytes.to_vec()),
                Part::LineFeed => ("line feed", b"\n".to_vec()),
            });
        };
        for chunk in chunks {
            reader.read(chunk, &mut add);
        }
        reader.end(&mut add);
        parts
    }

    fn events(stream: &[u8]) -> Vec<Option<String>> {
        let parts = parts([stream], 1000);
        let events = parts.iter().filter(|(kind, _)| *kind == "event");
        events.map(|(_, event)| data(event).map(|data| String::from_utf8(data).unwrap())).collect()
    }

    #[test]
    fn events_end_at_an_empty_line_whatever_ends_a_line() {
        for stream in
            ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"]
        {
            let expected = [Some("a".to_owned()), Some("b".to_owned())];
            assert_eq!(events(stream.as_bytes()), expected, "{stream:?}");
        }
    }

    #[test]
    fn the_lines_of_data_are_joined() {
        for (event, expected) in [
            ("data: a\ndata:b\ndata\ndata:  c\n\n", Some("a\nb\n\n c")),
            ("event: message\nid: 1\ndata: a\nretry: 5\n\n", Some("a")),
            (": comment\n\n", None),
            ("datax: a\nDATA: b\n data: c\n\n", None),
            ("\u{feff}data: a\n\n", Some("a")),
            ("\u{feff}\u{feff}data: a\n\n", None),
            (": c\n\u{feff}data: a\ndata: b\n\n", Some("b")),
            ("data: a", Some("a")),
        ] {
            assert_eq!(events(event.as_bytes()), [expected.map(str::to_owned)], "{event:?}");
        }
    }

    #[test]
    fn replaced_data_is_one_line_and_other_fields_are_kept() {
        let event = b"data: a\r\n: c\r\nid: 7\r\ndata: b\r\nevent: message\r\n\r\n";
        let changed = b"data: x\r\n: c\r\nid: 7\r\nevent: message\r\n\r\n";
        assert_eq!(with_data(event, b"x"), changed);
        assert_eq!(with_data(b"data: a", b"x"), b"data: x");
        assert_eq!(with_data(b"data: a\r: c\rdata: b\n\n", b"x"), b"data: x\r\n: c\r\n\n");
    }

    #[test]
    fn the_first_line_shows_whether_a_body_is_a_stream() {
        for (text, expected) in [
            ("data: a", Some(true)),
            ("\u{feff}\r\n\nevent:a", Some(true)),
            (": c", Some(true)),
            ("retry\n", Some(true)),
            ("id", None),
            ("dat", None),
            (" \n", None),
            ("", None),
            ("data a", Some(false)),
            ("<html>", Some(false)),
            ("datas", Some(false)),
            ("{\"a\":1}", Some(false)),
        ] {
            assert_eq!(begins_like_events(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_event_is_returned_in_parts() {
        let chunks: [&[u8]; 4] = [b"data: 12345", b"6789", b"\n", b"\ndata: a\n\n"];
        let expected = [
            ("overlong", &b"data: 12345"[..]),
            ("more", b"6789"),
            ("more", b"\n"),
            ("end", b"\n"),
            ("event", b"data: a\n\n"),
        ];
        let expected = expected.map(|(kind, bytes)| (kind, bytes.to_vec()));
        assert_eq!(parts(chunks, 9), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_split_gives_the_same_events_and_all_bytes(
            lines in prop::collection::vec(
                ("\u{feff}?(data: ?[a-z]{0,3}|: c|id:1|)", prop_oneof!["\n", "\r", "\r\n"]), 0..20),
            cuts in prop::collection::vec(0_usize..100, 0..6),
            max_event in prop_oneof![Just(1000_usize), 1_usize..20],
        ) {
            let stream: String = lines.iter().flat_map(|(line, end)| [&**line, &**end]).collect();
            let stream = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
            let split = parts(chunks, max_event);
            let bytes: Vec<u8> = split.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            prop_assert_eq!(&bytes, stream);
            if max_event == 1000 {
                // If a CRLF is split, its LF is a part of its own.
                let data = |parts: &[(&str, Vec<u8>)]| -> Vec<Option<Vec<u8>>> {
                    let events = parts.iter().filter(|(kind, _)| *kind == "event");
                    events.map(|(_, event)| data(event)).collect()
                };
                prop_assert_eq!(data(&split), data(&parts([stream], max_event)));
            }
        }
    }
}
