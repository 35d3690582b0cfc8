//! The demo: shows what the plugin does, or leaves the parts running for experiments.

mod background;
mod parts;
mod report;
mod story;

use std::env;
use std::process::ExitCode;

use testbed::{
    Bootstrap, Envoy, EnvoyBuilder, Stack, StackBuilder, module_path, native_module_path,
};

/// The parts of the demo: with the native module if the environment says `NATIVE`.
fn builder() -> StackBuilder {
    match env::var_os("NATIVE") {
        Some(_) => Stack::builder().native(native_module_path()),
        None => Stack::builder(),
    }
}

/// Envoy with this configuration, and the same module.
fn with_module(mut bootstrap: Bootstrap) -> EnvoyBuilder {
    bootstrap.set_module(&module_path());
    let envoy = Envoy::builder().bootstrap(bootstrap);
    match env::var_os("NATIVE") {
        Some(_) => envoy.native(native_module_path()),
        None => envoy,
    }
}

const USAGE: &str = "\
usage: demo [demo | up | down | provider [PORT] | server [PORT]]
  demo  start the parts, show a table of calls, stop the parts (the default)
  up    start the parts and leave them running
  down  stop what `up` started
  provider, server
        run the identity provider or the MCP server alone, on the port of envoy/envoy.yaml unless
        another is given, until it is stopped";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] | ["demo"] => story::run().await,
        ["up"] => background::up(),
        ["down"] => background::down(),
        [background::SERVE] => background::serve().await,
        [part @ ("provider" | "server"), port @ ..] if port.len() < 2 => {
            match port.first().map(|port| port.parse()).transpose() {
                Ok(port) => parts::run(part, port).await,
                Err(error) => parts::refuse(&format!("no port: {error}")),
            }
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
