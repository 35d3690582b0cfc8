//! The demo: shows what the plugin does, or leaves the parts running for a person to play with.

mod background;
mod report;
mod story;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
usage: demo [demo | up | down]
  demo  start the parts, show a table of calls, stop the parts (the default)
  up    start the parts and leave them running
  down  stop what `up` started";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] | ["demo"] => story::tell().await,
        ["up"] => background::up(),
        ["down"] => background::down(),
        [background::SERVE] => background::serve().await,
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
