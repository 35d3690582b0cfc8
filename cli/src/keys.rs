//! `mcp-auth keys`.

use mcp_federated_auth::explain::{KeyReport, ReportedKey};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::Keys;
use crate::explain::fetches;
use crate::fetcher::Fetcher;
use crate::plugin_file::{ChosenPlugin, PluginFile};
use crate::print::{BAD, FAINT, GOOD, HEADING, PLAIN, Printer, WARNING};

#[derive(Serialize)]
struct KeysReport {
    verdict: &'static str,
    providers: Vec<KeyReport>,
}

/// Fetches keys, and shows them.
pub(crate) fn run(arguments: &Keys, printer: Printer) -> Result<Outcome, String> {
    let ChosenPlugin { setup, clusters, .. } = PluginFile::setup(&arguments.source)?;
    if let Some(name) = &arguments.provider
        && !setup.provider_names().any(|known| known == name)
    {
        let names: Vec<&str> = setup.provider_names().collect();
        return Err(format!("there is no active provider {name:?}, only {}", names.join(", ")));
    }
    let mut fetcher = Fetcher::new(&arguments.callouts, clusters)?;
    let providers = setup.key_reports(arguments.provider.as_deref(), &mut fetcher);
    let is_good = providers.iter().all(|provider| provider.is_usable);
    for provider in &providers {
        print(provider, printer);
    }
    if printer.json {
        let verdict = if is_good { "good" } else { "faulty" };
        printer.json(&KeysReport { verdict, providers });
    }
    Ok(if is_good { Outcome::Good } else { Outcome::Bad })
}

fn print(report: &KeyReport, printer: Printer) {
    let life = match report.lifetime_seconds {
        Some(seconds) => format!(": fetched again in {seconds} s"),
        None if report.fetches.is_empty() => ": from the configuration".to_owned(),
        None => String::new(),
    };
    printer.line(HEADING, &format!("Provider {}", report.provider), life);
    if let Some(remedy) = &report.remedy {
        printer.line(BAD, "no keys", "");
        printer.line(HEADING, "Cause", format!("  {}", remedy.cause));
        printer.line(HEADING, "Fix", format!("    {}", remedy.fix));
    }
    for ReportedKey { kid, algorithms, is_dropped, problem } in &report.keys {
        let kid = kid.as_deref().unwrap_or("(no kid)");
        match problem {
            None => {
                let text = format!("  {kid}  {}", algorithms.join(", "));
                printer.line(GOOD, "  usable  ", text);
            }
            Some(problem) => {
                let word = if *is_dropped { "  dropped " } else { "  unusable" };
                printer.line(WARNING, word, format!("  {kid}  {problem}"));
            }
        }
    }
    if report.fetches.is_empty() {
        printer.line(FAINT, "", "");
    } else {
        fetches(&report.fetches, printer);
    }
    printer.line(PLAIN, "", "");
}
