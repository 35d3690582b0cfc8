//! Escapes characters that a terminal would interpret or a reader could not see, and clips long text.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// True for characters that a reader cannot see, or that change the position of others: control
/// characters, line and paragraph separators, and characters that change the text direction or have
/// no width (Unicode's `Default_Ignorable_Code_Point`, as far as assigned).
#[must_use]
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a string is only visible ASCII and spaces, so that nothing is escaped. Most are.
#[must_use]
pub(crate) fn is_plain(text: &str) -> bool {
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Eight bytes at once. If the high bit is clear in all of them, no sum carries into the next
    // byte: adding 0x60 sets the bit from the space on, and adding 1 sets it only for DEL.
    let are_plain = |bytes: &[u8; 8]| {
        let bytes = u64::from_ne_bytes(*bytes);
        let plus = |byte: u8| bytes.wrapping_add(u64::from_ne_bytes([byte; 8]));
        bytes & HIGH_BITS == 0 && plus(0x60) & HIGH_BITS == HIGH_BITS && plus(1) & HIGH_BITS == 0
    };
    let (eights, rest) = text.as_bytes().as_chunks();
    eights.iter().all(are_plain) && rest.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The text, cut to `max_characters`; the last is `…` if it was longer. Idempotent.
#[must_use]
pub(crate) fn clipped(text: &str, max_characters: usize) -> String {
    match text.char_indices().nth(max_characters) {
        Some(_) => text.chars().take(max_characters.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// A log line with the escapes of [`Printable`].
#[must_use]
pub fn escaped_line(line: &str) -> Cow<'_, str> {
    match is_plain(line) {
        true => Cow::Borrowed(line),
        false => Cow::Owned(Printable::line(line).to_string()),
    }
}

/// Writes a string with an escape for each invisible character, in the form of JSON (RFC 8259 §7):
/// JSON remains JSON with the same meaning.
#[derive(Clone, Copy, Debug)]
pub struct Printable<T> {
    text: T,
    keeps_lines: bool,
}

impl<T: Display> Printable<T> {
    /// A string shown on one line.
    #[must_use]
    pub fn line(text: T) -> Self {
        Self { text, keeps_lines: false }
    }

    /// A string that may have several lines.
    #[must_use]
    pub fn lines(text: T) -> Self {
        Self { text, keeps_lines: true }
    }
}

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper { to: f, keeps_lines: self.keeps_lines }, "{}", self.text)
    }
}

/// Escapes everything written to it.
struct Escaper<W> {
    to: W,
    keeps_lines: bool,
}

impl<W: Write> Write for Escaper<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\n' if self.keeps_lines => self.to.write_char('\n')?,
                plain if !is_invisible(plain) => self.to.write_char(plain)?,
                hidden => {
                    for unit in hidden.encode_utf16(&mut [0; 2]) {
                        write!(self.to, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        for (given, written) in [
            ("plain é 漢 ünï \\ \"", "plain é 漢 ünï \\ \""),
            ("a\0b\r\n\u{1b}[31m", "a\\u0000b\\u000d\\u000a\\u001b[31m"),
            ("\u{7f}\u{85}\u{9b}31m", "\\u007f\\u0085\\u009b31m"),
            ("\u{2028}\u{2029}", "\\u2028\\u2029"),
            (
                "\u{61c}\u{200e}\u{202e}gpj\u{2066}\u{feff}",
                "\\u061c\\u200e\\u202egpj\\u2066\\ufeff",
            ),
            ("\u{e0041}", "\\udb40\\udc41"),
        ] {
            assert_eq!(Printable::line(given).to_string(), written);
        }
    }

    #[test]
    fn a_clipped_string_is_not_clipped_again() {
        let text = clipped(&"é".repeat(1000), 200);
        assert_eq!(text.chars().count(), 200);
        assert!(text.ends_with("é…"));
        assert_eq!(clipped(&text, 200), text);
        assert_eq!(clipped("short", 5), "short");
        assert_eq!(clipped("longer", 5), "long…");
    }

    #[test]
    fn line_ends_are_kept_where_several_lines_are_allowed() {
        assert_eq!(Printable::lines("a\nb\u{85}").to_string(), "a\nb\\u0085");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_string_is_plain_if_each_character_is(
            text in "[ -~]{0,20}", other in any::<char>(), at in any::<prop::sample::Index>(),
        ) {
            prop_assert!(is_plain(&text));
            let mut text = text;
            text.insert(at.index(text.len() + 1), other);
            prop_assert_eq!(is_plain(&text), matches!(other, ' '..='~'));
        }

        #[test]
        fn the_neighbours_of_plain_characters_are_not_plain(at in 0..16_usize) {
            for other in ['\u{0}', '\u{1f}', '\u{7f}', '\u{80}', '\u{ff}'] {
                let mut text = "~ ".repeat(8);
                text.insert(at, other);
                prop_assert!(!is_plain(&text));
            }
        }

        #[test]
        fn no_invisible_character_is_left_and_json_keeps_its_meaning(
            strings in proptest::collection::vec("\\PC|[\u{0}-\u{a0}\u{2000}-\u{206f}]|.", 0..20),
        ) {
            let document = json!({"kid": strings.concat(), "published": strings});
            let line = Printable::line(&document).to_string();
            prop_assert!(!line.chars().any(is_invisible));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), document.clone());
            let lines = serde_json::to_string_pretty(&document).unwrap();
            let lines = Printable::lines(lines).to_string();
            prop_assert_eq!(serde_json::from_str::<Value>(&lines).unwrap(), document);
        }
    }
}
