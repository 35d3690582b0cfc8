//! `mcp-auth explain`.

use std::fs;
use std::path::Path;

use mcp_federated_auth::explain::{Explanation, FetchedFrom, Question, StepStatus, Verdict};
use serde_json::{Map, Value};

use crate::Outcome;
use crate::arguments::Explain;
use crate::fetcher::Fetcher;
use crate::plugin_file::{ChosenPlugin, PluginFile};
use crate::print::{BAD, FAINT, GOOD, HEADING, PLAIN, Printer, WARNING};
use crate::token::GivenToken;

/// Judges a token.
pub(crate) fn run(arguments: &Explain, printer: Printer) -> Result<Outcome, String> {
    let ChosenPlugin { setup, normalisation, clusters } = PluginFile::setup(&arguments.source)?;
    let mut fetcher = Fetcher::new(&arguments.callouts, clusters)?;
    let key_set = arguments.keys.as_deref().map(file).transpose()?;
    let given = GivenToken::read(arguments.token.as_deref(), printer)?;
    let mut notes = Vec::new();
    let seen = normalisation.unwrap_or_default();
    let url = arguments.url.as_deref().map(|url| seen.forwarded_url(url, &mut notes));
    let path = arguments.path.as_deref().map(|path| seen.forwarded_path(path, &mut notes));
    let question = Question {
        token: &given.token,
        method: &arguments.method,
        url: url.as_deref(),
        path: path.as_deref(),
        message: None,
        key_set: key_set.as_deref(),
    };
    if let Some(seconds) = arguments.at {
        fetcher = fetcher.at(seconds);
    }
    let mut explanation =
        setup.explain(&question, &mut fetcher).map_err(|why| match &arguments.keys {
            Some(path) => format!("{}: is not a key set: {why}", path.display()),
            None => why,
        })?;
    if given.is_marked {
        explanation.notes.push(
            "a byte order mark (EF BB BF) before the token was ignored here; a client that reads \
             the same file must not send it"
                .to_owned(),
        );
    }
    explanation.notes.extend(notes);
    let is_unseen = normalisation.is_none() && arguments.url.is_some();
    if explanation.reason == Some("unknown_resource") && is_unseen {
        explanation.notes.push(
            "the plugin sees hosts and paths after Envoy has normalised them (`normalize_path`, \
             `merge_slashes`, `strip_any_host_port`), and this file does not show how: give the URL in \
             the form that Envoy forwards"
                .to_owned(),
        );
    }
    if printer.json {
        printer.json(&explanation);
    } else {
        print(&explanation, printer);
    }
    Ok(match explanation.verdict {
        Verdict::Accepted => Outcome::Good,
        Verdict::Refused => Outcome::Bad,
        Verdict::Undecided => Outcome::Undecided,
    })
}

/// Prints the decision on a token.
pub(crate) fn print(explanation: &Explanation, printer: Printer) {
    let provider = explanation.provider.as_ref().map(|name| format!("provider {name}"));
    let resource = explanation.resource.as_ref().map(|id| format!("resource {id}"));
    let by: Vec<String> = resource.into_iter().chain(provider).collect();
    let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
    match (explanation.verdict, explanation.reason) {
        (Verdict::Accepted, _) => printer.line(GOOD, "accepted", by),
        (Verdict::Undecided, _) => printer.line(WARNING, "undecided", by),
        (Verdict::Refused, reason) => {
            printer.line(BAD, "refused", format!(": {}{by}", reason.unwrap_or_default()));
        }
    }
    if let Some(remedy) = &explanation.remedy {
        printer.line(PLAIN, "", "");
        printer.line(HEADING, "Cause", format!("  {}", remedy.cause));
        printer.line(HEADING, "Fix", format!("    {}", remedy.fix));
    }
    for note in &explanation.notes {
        printer.line(HEADING, "Note", format!("   {note}"));
    }
    printer.line(PLAIN, "", "");
    printer.line(HEADING, "Steps", "");
    for step in &explanation.steps {
        let (style, word) = match step.status {
            StepStatus::Passed => (GOOD, "passed     "),
            StepStatus::Failed => (BAD, "failed     "),
            StepStatus::NotReached => (FAINT, "not reached"),
        };
        let text = format!("  {:<15}  {}", step.step.as_str(), step.finding);
        printer.line(style, &format!("  {word}"), text.trim_end());
    }
    members("Header", explanation.header.as_ref(), printer);
    members("Claims", explanation.claims.as_ref(), printer);
    if !explanation.identity.is_empty() {
        printer.line(PLAIN, "", "");
        printer.line(HEADING, "What the server sees", "");
        for (name, value) in &explanation.identity {
            printer.line(PLAIN, "", format!("  {name}: {value}"));
        }
    }
    if !explanation.fetches.is_empty() {
        printer.line(PLAIN, "", "");
        fetches(&explanation.fetches, printer);
    }
}

/// The content of a file.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|why| format!("{}: {why}", path.display()))
}

/// Prints what was fetched.
pub(crate) fn fetches(fetches: &[FetchedFrom], printer: Printer) {
    printer.line(HEADING, "Fetched", "");
    for fetch in fetches {
        let FetchedFrom { url, cluster, milliseconds, .. } = fetch;
        let came = match (fetch.status, fetch.bytes, &fetch.fault) {
            (_, _, Some(fault)) => fault.clone(),
            (Some(status), Some(bytes), _) => format!("status {status}, {bytes} bytes"),
            _ => "nothing".to_owned(),
        };
        printer.line(PLAIN, "", format!("  {url}"));
        printer.line(FAINT, &format!("    {came}, {milliseconds} ms, cluster {cluster}"), "");
    }
}

fn members(heading: &str, members: Option<&Map<String, Value>>, printer: Printer) {
    let Some(members) = members else { return };
    printer.line(PLAIN, "", "");
    printer.line(HEADING, heading, "");
    for (name, value) in members {
        printer.line(PLAIN, "", format!("  {name}: {value}"));
    }
}
