//! No file of Rust has too many lines of code. Clippy bounds functions (`clippy.toml`).

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum number of lines of a file that are neither empty nor a comment.
const MAX_LINES: usize = 500;

/// Longer files, with the reason.
const EXCEPTIONS: [(&str, &str); 0] = [];

const FOLDERS: [&str; 7] =
    ["benches", "cli", "fuzz/fuzz_targets", "shells", "src", "tests", "xtask"];

/// Fails if a file is too long without a reason, or has a reason that it does not need.
pub(crate) fn check_sizes() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        add_files(Path::new(folder), &mut files)?;
    }
    files.sort();
    let mut faults = Vec::new();
    for file in files {
        let lines = lines_of_code(&fs::read_to_string(&file)?);
        let is_exception = EXCEPTIONS.iter().any(|(name, _)| Path::new(name) == file);
        match (lines > MAX_LINES, is_exception) {
            (true, false) => faults.push(format!(
                "{}: {lines} lines of code, more than {MAX_LINES}: split it, or give the reason in \
                 xtask/src/sizes.rs",
                file.display()
            )),
            (false, true) => faults.push(format!("{}: needs no exception", file.display())),
            (true, true) | (false, false) => {}
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

fn lines_of_code(text: &str) -> usize {
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
    text.lines().map(str::trim).filter(is_code).count()
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_foreign = path.ends_with("node_modules") || path.ends_with("target");
        if path.is_dir() && !is_foreign {
            add_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
