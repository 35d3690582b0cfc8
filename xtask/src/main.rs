//! Build steps that cargo does not cover.

mod diagrams;
#[cfg(feature = "images")]
mod images;
mod sizes;
mod trim_exports;

use std::env;
use std::error::Error;
#[cfg(feature = "generate")]
use std::fs;
use std::process::ExitCode;

const USAGE: &str = "\
usage: xtask COMMAND

  diagrams FOLDER      draw the diagrams of the texts in a folder
  images WASM FOLDER   write the plugin as OCI images
  sizes                check that no file of Rust is too long
  trim-exports IN OUT  trim the exports of the plugin's module
  schema               print the JSON Schema of the configuration
  reference            print the reference of the configuration
  fuzz-seeds           write the seeds of the fuzz targets into fuzz/corpus";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(fault)) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// `None` if there is no such command.
fn run(arguments: &[&str]) -> Option<Result<(), Box<dyn Error>>> {
    match arguments {
        ["diagrams", folder] => Some(diagrams::diagrams(folder.as_ref())),
        ["sizes"] => Some(sizes::check_sizes()),
        ["trim-exports", input, output] => Some(trim_exports::trim_exports(input, output)),
        #[cfg(feature = "images")]
        ["images", module, output] => Some(images::images(module, output)),
        #[cfg(feature = "generate")]
        ["schema"] => {
            println!("{:#}", mcp_federated_auth::config_schema());
            Some(Ok(()))
        }
        #[cfg(feature = "generate")]
        ["reference"] => {
            print!("{}", mcp_federated_auth::config_reference());
            Some(Ok(()))
        }
        #[cfg(feature = "generate")]
        ["fuzz-seeds"] => Some(write_fuzz_seeds().map_err(Into::into)),
        _ => None,
    }
}

/// Writes the seeds of the fuzz targets into fuzz/corpus.
#[cfg(feature = "generate")]
fn write_fuzz_seeds() -> std::io::Result<()> {
    for (target, seeds) in testkit::fuzz_seeds() {
        let folder = testkit::repository_root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (index, seed) in seeds.into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
