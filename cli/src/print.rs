//! Output for people and programs.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use mcp_federated_auth::Printable;
use serde::Serialize;

/// Prints, in colours if the terminal has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    /// Whether the output is JSON.
    pub(crate) json: bool,
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const PLAIN: Style = Style::new();

impl Printer {
    /// Prints a document for programs.
    pub(crate) fn json(self, document: &impl Serialize) {
        // Serialising strings and numbers cannot fail.
        let text = serde_json::to_string_pretty(document).unwrap_or_default();
        anstream::println!("{}", Printable::lines(text));
    }

    /// Prints one line for people, whatever the text is: a word in a style, and text.
    pub(crate) fn line(self, style: Style, word: &str, text: impl Display) {
        if !self.json {
            let (word, text) = (Printable::line(word), Printable::line(text));
            anstream::println!("{style}{word}{style:#}{text}");
        }
    }

    /// Prints an error.
    pub(crate) fn trouble(self, why: &str) {
        if self.json {
            self.json(&serde_json::json!({"verdict": "undecided", "error": why}));
        }
        anstream::eprintln!("{BAD}error{BAD:#}: {}", Printable::lines(why));
    }

    /// Prints a warning.
    pub(crate) fn warn(self, what: &str) {
        anstream::eprintln!("{WARNING}warning{WARNING:#}: {}", Printable::lines(what));
    }
}
