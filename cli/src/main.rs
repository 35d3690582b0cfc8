//! `mcp-auth`: explains why a token is refused, and finds faults in a configuration. The library
//! decides; this program reads files, makes HTTP requests and prints.

mod arguments;
mod check;
mod clusters;
mod document;
mod explain;
mod fetcher;
mod filter_chain;
mod keys;
mod normalisation;
mod plugin_file;
mod print;
mod routes;
mod surroundings;
mod token;
mod tools;
mod variables;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser as _;
use print::Printer;

/// How a command ended.
enum Outcome {
    /// The token is accepted, or nothing is wrong.
    Good,
    /// The token is refused, or something is wrong.
    Bad,
    /// It is unknown.
    Undecided,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = Printer { json: arguments.json };
    let outcome = match &arguments.command {
        Command::Check(command) => check::run(command, printer),
        Command::Explain(command) => explain::run(command, printer),
        Command::Keys(command) => keys::run(command, printer),
        Command::Tools(command) => tools::run(command, printer),
        Command::Schema => {
            printer.json(&mcp_federated_auth::config_schema());
            Ok(Outcome::Good)
        }
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::from(1),
        Ok(Outcome::Undecided) => ExitCode::from(2),
        Err(why) => {
            printer.trouble(&why);
            ExitCode::from(2)
        }
    }
}
