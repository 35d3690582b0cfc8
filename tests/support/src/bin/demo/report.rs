use std::array;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// The HTTP status, or a word if the call was more than one request.
    pub(crate) status: String,
    /// The reason code; empty for an allowed call.
    pub(crate) reason: String,
    /// What the MCP server recorded.
    pub(crate) seen: Seen,
}

impl Outcome {
    pub(crate) fn allowed(user: &str, provider: &str) -> Self {
        let identity =
            [("x-mcp-user", user), ("x-mcp-provider", provider), ("x-mcp-scopes", "mcp.tools")];
        Self {
            status: "200".to_owned(),
            reason: String::new(),
            seen: Seen::Identity(
                identity.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ),
        }
    }

    pub(crate) fn refused(status: u16, reason: &str) -> Self {
        Self { status: status.to_string(), reason: reason.to_owned(), seen: Seen::Nothing }
    }

    fn cells(&self, call: &str) -> Cells {
        let reason = match self.reason.as_str() {
            "" => "-",
            reason => reason,
        };
        [call, &self.status, reason, &self.seen.text()].map(str::to_owned)
    }
}

/// What the MCP server recorded during a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    /// Requests that all carried the same identity headers; the ones to show.
    Identity(BTreeMap<String, String>),
    /// No request.
    Nothing,
    /// Something that must never happen.
    Wrong(&'static str),
}

impl Seen {
    /// The headers that the table shows.
    pub(crate) const SHOWN: [&str; 3] = ["x-mcp-user", "x-mcp-provider", "x-mcp-scopes"];

    fn text(&self) -> String {
        match self {
            Self::Identity(headers) => {
                Self::SHOWN.map(|name| headers.get(name).map_or("-", String::as_str)).join(", ")
            }
            Self::Nothing => "not reached".to_owned(),
            Self::Wrong(what) => (*what).to_owned(),
        }
    }
}

/// The table of all calls.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    const HEAD: [&str; 4] =
        ["What the caller sent", "Status", "Reason", "MCP server saw: user, provider, scopes"];

    pub(crate) fn add(&mut self, call: &str, expected: Outcome, actual: Outcome) {
        self.rows.push(Row { call: call.to_owned(), expected, actual });
    }

    pub(crate) fn surprises(&self) -> usize {
        self.rows.iter().filter(|row| row.is_surprise()).count()
    }

    pub(crate) fn text(&self, colourful: bool) -> String {
        let head = Self::HEAD.map(str::to_owned);
        let mut lines = vec![(Some(BOLD), head), (Some(DIM), Cells::default())];
        for row in &self.rows {
            let colour = match (row.is_surprise(), row.actual.seen == Seen::Nothing) {
                (true, _) => Some(RED),
                (false, true) => None,
                (false, false) => Some(GREEN),
            };
            lines.push((colour, row.actual.cells(&row.call)));
            if row.is_surprise() {
                lines.push((colour, row.expected.cells("  ^ WRONG, this was expected:")));
            }
        }
        let widths: [usize; 4] = array::from_fn(|column| {
            let widths = lines.iter().map(|(_, cells)| cells[column].len());
            widths.max().unwrap_or_default()
        });
        lines[1].1 = widths.map(|width| "-".repeat(width));

        let mut text = String::new();
        for (colour, cells) in &lines {
            let [call, status, reason, seen] =
                array::from_fn(|column| format!("{:1$}", cells[column], widths[column]));
            let line = format!("  {call}  {status}  {reason}  {seen}");
            let line = line.trim_end();
            let _infallible = match colour.filter(|_| colourful) {
                Some(colour) => writeln!(text, "\x1b[{colour}m{line}\x1b[0m"),
                None => writeln!(text, "{line}"),
            };
        }
        let calls = self.rows.len();
        let _infallible = match self.surprises() {
            0 => writeln!(text, "\nAll {calls} calls went as expected."),
            wrong => writeln!(text, "\n{wrong} of {calls} calls did NOT go as expected."),
        };
        text
    }
}

#[derive(Debug)]
struct Row {
    call: String,
    expected: Outcome,
    actual: Outcome,
}

impl Row {
    fn is_surprise(&self) -> bool {
        self.actual != self.expected
    }
}

type Cells = [String; 4];

const BOLD: u8 = 1;
const DIM: u8 = 2;
const RED: u8 = 31;
const GREEN: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unexpected_findings_are_marked() {
        let mut report = Report::default();
        let expired = Outcome::refused(401, "expired");
        report.add("fine", expired.clone(), expired.clone());
        assert!(report.text(false).ends_with("\nAll 1 calls went as expected.\n"));
        report.add("surprise", expired, Outcome::allowed("ada", "demo"));
        assert_eq!(report.surprises(), 1);
        let text = report.text(false);
        assert!(text.ends_with("\n1 of 2 calls did NOT go as expected.\n"));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "  fine                           401     expired  not reached");
        assert_eq!(
            lines[3],
            "  surprise                       200     -        ada, demo, mcp.tools"
        );
        assert_eq!(lines[4], "    ^ WRONG, this was expected:  401     expired  not reached");
    }

    #[test]
    fn only_terminals_get_colours() {
        let mut report = Report::default();
        report.add("call", Outcome::allowed("ada", "demo"), Outcome::allowed("ada", "demo"));
        assert!(report.text(true).contains("\x1b[32m"));
        assert!(!report.text(false).contains('\x1b'));
    }
}
