//! An HTML writer: only string literals of this crate become markup.

use std::fmt::Write;

use crate::printable::is_invisible;

/// An HTML document in progress. Its methods are not inlined: module size matters more here than
/// speed.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// Appends markup.
    #[inline(never)]
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends untrusted text, escaped. Control, bidirectional and other invisible characters
    /// become visible escapes such as `\u{202e}`.
    #[inline(never)]
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                plain if !is_invisible(plain) => self.0.push(plain),
                // Writing to a `String` cannot fail.
                hidden => drop(write!(self.0, "{}", hidden.escape_unicode())),
            }
        }
        self
    }

    /// Appends escaped text in which back quotes enclose code.
    #[inline(never)]
    pub(crate) fn prose(&mut self, text: &str) -> &mut Self {
        for (index, part) in text.split('`').enumerate() {
            match index % 2 {
                0 => self.text(part),
                _ => self.raw("<code>").text(part).raw("</code>"),
            };
        }
        self
    }

    /// Appends escaped text as code.
    #[inline(never)]
    pub(crate) fn code(&mut self, text: &str) -> &mut Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    /// Returns the document.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.finish()
    }

    #[test]
    fn a_string_is_never_markup() {
        for (given, written) in [
            ("plain é 漢 ünï", "plain é 漢 ünï"),
            ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("&amp;", "&amp;amp;"),
            ("a\0b\r\n\u{1b}[31m", "a\\u{0}b\\u{d}\\u{a}\\u{1b}[31m"),
            ("\u{202e}gpj.exe\u{200b}", "\\u{202e}gpj.exe\\u{200b}"),
        ] {
            assert_eq!(text(given), written);
        }
    }

    #[test]
    fn back_quotes_enclose_code_and_nothing_can_end_it() {
        let mut html = Html::default();
        html.prose("set `a<b>` or `c`");
        assert_eq!(html.finish(), "set <code>a&lt;b&gt;</code> or <code>c</code>");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_string_ends_its_enclosing_element(given in any::<String>()) {
            let written = text(&given);
            prop_assert!(!written.contains(['<', '>', '"', '\'']));
            prop_assert!(!written.chars().any(char::is_control));
        }
    }
}
