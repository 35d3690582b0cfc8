//! `make demo` prints the table of the README.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use testbed::{code_blocks, repository_root};

#[test]
fn the_table_of_the_readme_is_what_the_demo_prints() {
    let readme = fs::read_to_string(repository_root().join("README.md")).unwrap();
    let blocks = code_blocks(&readme, "text");
    let table = blocks.iter().find(|block| block.contains("What the caller sent")).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_demo")).arg("demo").output().unwrap();
    let printed = String::from_utf8(run.stdout).unwrap();
    let log = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{printed}\n{log}");
    assert!(printed.contains(table.as_str()), "{printed}\n{log}");
}
