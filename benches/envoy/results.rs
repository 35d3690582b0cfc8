//! The file with the samples of a part.

use std::fs;

use serde_json::Value;
use testbed::repository_root;

/// Replaces the samples of an earlier run.
pub fn save(part: &str, samples: &Value) {
    let folder = repository_root().join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{part}.json"));
    fs::write(&path, format!("{samples:#}\n")).unwrap();
    println!("\nAll samples: {}", path.display());
}
