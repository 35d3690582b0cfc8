//! `mcp-auth tools`.

use std::path::Path;

use mcp_federated_auth::Printable;
use mcp_federated_auth::explain::{
    ItemRefusal, JudgedItem, JudgedList, Question, Verdict, without_byte_order_mark,
};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::Outcome;
use crate::arguments::Tools;
use crate::explain::{self, file};
use crate::fetcher::Fetcher;
use crate::plugin_file::{ChosenPlugin, PluginFile};
use crate::print::{BAD, GOOD, HEADING, PLAIN, Printer, WARNING};
use crate::token::GivenToken;

/// Judges the items of lists.
pub(crate) fn run(arguments: &Tools, printer: Printer) -> Result<Outcome, String> {
    let ChosenPlugin { setup, normalisation, clusters } = PluginFile::setup(&arguments.source)?;
    let mut fetcher = Fetcher::new(&arguments.callouts, clusters)?;
    let key_set = arguments.keys.as_deref().map(file).transpose()?;
    let list = read_list(&arguments.list)?;
    let given = GivenToken::read(arguments.token.as_deref(), printer)?;
    if let Some(seconds) = arguments.at {
        fetcher = fetcher.at(seconds);
    }
    let mut notes = Vec::new();
    let seen = normalisation.unwrap_or_default();
    let url = arguments.url.as_deref().map(|url| seen.forwarded_url(url, &mut notes));
    let question = Question {
        token: &given.token,
        method: "POST",
        url: url.as_deref(),
        path: None,
        message: None,
        key_set: key_set.as_deref(),
    };
    let mut report = setup.judge_lists(&question, &list, &mut fetcher)?;
    report.token.notes.extend(notes);
    if printer.json {
        printer.json(&report);
    } else if report.lists.is_empty() {
        explain::print(&report.token, printer);
    } else {
        report.lists.iter().for_each(|list| print(list, printer));
    }
    Ok(match report.verdict {
        Verdict::Accepted => Outcome::Good,
        Verdict::Refused => Outcome::Bad,
        Verdict::Undecided => Outcome::Undecided,
    })
}

/// The file's JSON: the whole, or the response in its event stream.
fn read_list(path: &Path) -> Result<Vec<u8>, String> {
    let content = file(path)?;
    let content = without_byte_order_mark(&content);
    let list = response_in_events(content).unwrap_or_else(|| content.to_vec());
    match serde_json::from_slice::<IgnoredAny>(&list) {
        Ok(_) => Ok(list),
        Err(fault) => Err(format!(
            "{} is not JSON: {fault}; expected is what a server responds to tools/list, as JSON or as \
             an event stream, without the head of the HTTP response",
            path.display()
        )),
    }
}

/// The data of the first event that holds a response, or else of the first with data. `None` if the
/// content has no events.
fn response_in_events(content: &[u8]) -> Option<Vec<u8>> {
    let lines = std::str::from_utf8(content).ok()?.trim_start().lines();
    let is_event_line = |line: &str| {
        let name = line.split(':').next();
        name.is_some_and(|name| ["", "data", "event", "id", "retry"].contains(&name))
    };
    if !lines.clone().next().is_some_and(is_event_line) {
        return None;
    }
    let lines: Vec<&str> = lines.collect();
    let events = lines.split(|line| line.is_empty()).filter_map(|event| {
        let values = event.iter().filter_map(|line| line.strip_prefix("data:"));
        let values = values.map(|value| value.strip_prefix(' ').unwrap_or(value));
        let values: Vec<&str> = values.collect();
        (!values.is_empty()).then(|| values.join("\n"))
    });
    let events: Vec<String> = events.collect();
    let is_response = |event: &&String| {
        let message: Value = serde_json::from_str(event).unwrap_or_default();
        message.get("result").is_some()
    };
    let found = events.iter().find(is_response).or_else(|| events.first())?;
    Some(found.clone().into_bytes())
}

fn print(list: &JudgedList, printer: Printer) {
    let shown = list.items.iter().filter(|item| item.is_shown).count();
    let counts = format!(": {shown} of {} are shown", list.items.len());
    printer.line(HEADING, list.method, counts);
    if let Some(refusal) = &list.refusal {
        let (what, why) = match list.is_unreadable {
            true => ("  the list is unreadable", format!(", clients get 502: {}", why(refusal))),
            false if refusal.is_forwarded => (
                "  the list itself is refused",
                format!(", but forwarded (mode: report): {}", why(refusal)),
            ),
            false => ("  the list itself is refused", format!(": {}", why(refusal))),
        };
        printer.line(BAD, what, why);
    }
    // As they are printed: the server chooses them.
    let name = |item: &JudgedItem| Printable::line(&item.name).to_string();
    let width = list.items.iter().map(|item| name(item).chars().count()).max().unwrap_or_default();
    for item in &list.items {
        let JudgedItem { refusal, is_shown, is_allowed, .. } = item;
        let (style, word) = match (is_shown, is_allowed, refusal) {
            (true, true, _) => (GOOD, "shown, allowed "),
            (true, false, Some(_)) => (WARNING, "shown, refused "),
            (true, false, None) => (WARNING, "shown, no name "),
            (false, true, _) => (WARNING, "hidden, allowed"),
            (false, false, Some(_)) => (BAD, "hidden, refused"),
            (false, false, None) => (BAD, "hidden, no name"),
        };
        let name = name(item);
        let why = refusal.as_ref().map(why).unwrap_or_default();
        let text = format!("  {name:width$}  {why}");
        printer.line(style, &format!("  {word}"), text.trim_end());
    }
    printer.line(PLAIN, "", "");
}

fn why(refusal: &ItemRefusal) -> String {
    format!("{}: {}", refusal.reason, refusal.remedy.cause)
}
