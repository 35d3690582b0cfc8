use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::repository_root;

/// All pages: their paths in the repository, and their texts.
///
/// # Panics
///
/// If one cannot be read.
pub fn pages() -> BTreeMap<PathBuf, String> {
    let root = repository_root();
    let mut pages = BTreeMap::new();
    add(&root, false, &mut pages);
    for folder in [".github", "docs", "envoy"] {
        add(&root.join(folder), true, &mut pages);
    }
    assert!(pages.len() > 20, "{:?}", pages.keys());
    pages
}

fn add(folder: &Path, is_deep: bool, pages: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && is_deep {
            add(&path, is_deep, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).expect("the page is text");
            let path = path.strip_prefix(repository_root()).expect("it is below").to_owned();
            pages.insert(path, text);
        }
    }
}

/// The numbered lines outside code blocks.
pub fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (index, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((index + 1, line));
        }
    }
    lines
}
