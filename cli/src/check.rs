//! `mcp-auth check`.

use mcp_federated_auth::explain::{LoginReport, Outside, Setup};
use serde::Serialize;

use crate::Outcome;
use crate::arguments::Check;
use crate::clusters::{ClusterFault, EnvoyClusters};
use crate::fetcher::Fetcher;
use crate::plugin_file::{FoundPlugin, PluginFile};
use crate::print::{BAD, FAINT, GOOD, HEADING, Printer, WARNING};
use crate::routes::{self, Findings};

/// What was found.
#[derive(Serialize)]
struct CheckReport {
    verdict: &'static str,
    plugins: Vec<PluginReport>,
}

#[derive(Default, Serialize)]
struct PluginReport {
    place: String,
    faults: Vec<String>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

/// Checks all configurations of a file.
pub(crate) fn run(arguments: &Check, printer: Printer) -> Result<Outcome, String> {
    let file = PluginFile::read(&arguments.config)?;
    let mut fetcher = match arguments.offline {
        true => None,
        false => Some(Fetcher::new(&arguments.callouts, file.clusters.clone())?),
    };
    let plugins = file.plugins.iter();
    let plugins: Vec<PluginReport> = plugins
        .map(|plugin| PluginReport::new(plugin, file.clusters.as_ref(), fetcher.as_mut()))
        .collect();
    let is_good = plugins.iter().all(|plugin| plugin.faults.is_empty());
    for plugin in &plugins {
        plugin.print(printer);
    }
    if printer.json {
        let verdict = if is_good { "good" } else { "faulty" };
        printer.json(&CheckReport { verdict, plugins });
    }
    Ok(if is_good { Outcome::Good } else { Outcome::Bad })
}

impl PluginReport {
    fn new(
        plugin: &FoundPlugin,
        clusters: Option<&EnvoyClusters>,
        fetcher: Option<&mut Fetcher>,
    ) -> Self {
        let faults = plugin.duplicates.clone();
        let mut report = Self { place: plugin.place.clone(), faults, ..Self::default() };
        let setup = match Setup::new(&plugin.json) {
            Ok(setup) => setup,
            Err(refused) => {
                report.faults.extend(refused.faults().map(ToString::to_string));
                return report;
            }
        };
        report.faults.extend(plugin.surroundings.variable_faults(&setup));
        report.warnings.extend(setup.trust_warnings());
        report.warnings.extend(setup.idle_parts());
        report.warnings.extend(setup.unfiltered_lists());
        report.warnings.extend(plugin.surroundings.warnings(&setup));
        let uses = setup.cluster_uses();
        match clusters {
            Some(clusters) => {
                for fault in uses.iter().flat_map(|cluster_use| clusters.faults(cluster_use)) {
                    match fault {
                        ClusterFault::Missing(text) => report.faults.push(text),
                        ClusterFault::Unsafe(text) => report.warnings.push(text),
                    }
                }
                let table = plugin.surroundings.routes();
                let missing = table.map(|table| table.missing_clusters(clusters));
                report.faults.extend(missing.unwrap_or_default());
                if clusters.may_have_others() {
                    report.notes.push(
                        "clusters that Envoy gets by CDS were not checked: the file does not show \
                         them"
                            .to_owned(),
                    );
                }
            }
            None if uses.is_empty() => {}
            None => {
                let names: Vec<&str> = uses.iter().map(|used| used.cluster.as_str()).collect();
                report.notes.push(format!(
                    "Envoy must have these clusters, which this file does not show: {}",
                    names.join(", ")
                ));
            }
        }
        report.notes.extend(plugin.surroundings.unseen());
        report.compare_routes(&setup, plugin);
        let outside = fetcher.map(|fetcher| -> &mut dyn Outside { fetcher });
        let LoginReport { faults, warnings, notes } = setup.login_report(outside);
        report.faults.extend(faults);
        report.warnings.extend(warnings);
        report.notes.extend(notes);
        report
    }

    /// Compares the routes with the servers, if there are several.
    fn compare_routes(&mut self, setup: &Setup, plugin: &FoundPlugin) {
        let Some(table) = plugin.surroundings.routes() else {
            if !setup.servers().is_empty() {
                self.notes.push(
                    "`resources` was not compared with Envoy's routes, which this file does not show: \
                     see docs/several-servers.md"
                        .to_owned(),
                );
            }
            return;
        };
        let Findings { faults, warnings, notes } = routes::compare(setup, table);
        self.faults.extend(faults);
        self.warnings.extend(warnings);
        self.notes.extend(notes);
    }

    fn print(&self, printer: Printer) {
        if !self.place.is_empty() {
            printer.line(HEADING, &self.place, "");
        }
        if self.faults.is_empty() {
            printer.line(GOOD, "good", ": the plugin accepts this configuration");
        }
        for fault in &self.faults {
            printer.line(BAD, "fault", format!("   {fault}"));
        }
        for warning in &self.warnings {
            printer.line(WARNING, "warning", format!(" {warning}"));
        }
        for note in &self.notes {
            printer.line(FAINT, "note", format!("    {note}"));
        }
    }
}
